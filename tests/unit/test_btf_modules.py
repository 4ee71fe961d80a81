"""The BTF of kernel modules, which continues the kernel's."""

from __future__ import annotations

from typing import Any

import pytest

from bpftrace_py.ktypes import btf_image
from bpftrace_py.ktypes.btf import Btf
from bpftrace_py.probes.type_listing import list_types, type_hint
from bpftrace_py.types import Field, IntegerType, PointerType, RecordType
from tests.btf_blob import BtfBlob
from tests.fake_host import FakeHost

INT32 = IntegerType(4, True)


def kernel_and_module() -> tuple[Btf, Btf]:
    kernel = BtfBlob()
    integer = kernel.integer("int", 4, encoding=1)
    file = kernel.record("file", 8, [("flags", integer, 0), ("mode", integer, 32)])
    kernel.function("vfs_open", [("file", kernel.pointer(file))], integer)
    kernel.enum("color", [("RED", 1)])
    module = BtfBlob(kernel)
    own = module.record("ovl_file", 16, [("real", module.pointer(file), 0), ("flags", integer, 64)])
    module.function("ovl_open", [("file", module.pointer(file)), ("of", module.pointer(own))], integer)
    # The kernel has the name of this one in its strings, but no such function.
    module.function("flags", [], integer)
    module.enum("state", [("OVL_BUSY", 7)])
    module.record("file", 4, [("other", integer, 0)])  # a name that the kernel has, too
    base = btf_image.parse(kernel.data())
    assert base is not None
    image = btf_image.parse_module(module.data(), base)
    assert image is not None
    return Btf(base), Btf(image, "overlay")


@pytest.fixture
def types() -> tuple[Btf, Btf]:
    return kernel_and_module()


def test_functions_of_the_module_with_types_of_both(types: tuple[Btf, Btf]) -> None:
    kernel, module = types
    assert kernel.function("ovl_open") is None
    found = module.function("ovl_open")
    assert found is not None
    file, own = RecordType("struct file", 8), RecordType("struct ovl_file of overlay", 16)
    assert found == ((("file", PointerType(file)), ("of", PointerType(own))), INT32)
    assert module.function("flags") == ((), INT32)
    assert module.function("vfs_open") == kernel.function("vfs_open")


def test_records(types: tuple[Btf, Btf]) -> None:
    kernel, module = types
    own = RecordType("struct ovl_file of overlay", 16)
    assert module.find("struct ovl_file") == own
    assert module.fields(own) == (
        Field("real", PointerType(RecordType("struct file", 8)), 0),
        Field("flags", INT32, 8),
    )
    assert kernel.find("struct ovl_file") is None and kernel.fields(own) is None


def test_a_record_of_a_name_that_the_kernel_has_too(types: tuple[Btf, Btf]) -> None:
    kernel, module = types
    assert module.find("struct file") == RecordType("struct file of overlay", 4)
    assert module.fields(RecordType("struct file of overlay")) == (Field("other", INT32, 0),)
    flags = kernel.fields(RecordType("struct file"))
    assert flags is not None and [field.name for field in flags] == ["flags", "mode"]


def test_enumerators(types: tuple[Btf, Btf]) -> None:
    kernel, module = types
    assert (module.enumerator("OVL_BUSY"), module.enumerator("RED")) == (7, 1)
    assert kernel.enumerator("OVL_BUSY") is None


def test_listing(types: tuple[Btf, Btf]) -> None:
    _, module = types
    lines = ["    struct file * file", "    struct ovl_file * of", "    int retval"]
    assert module.function_listing("ovl_open") == lines


def test_a_damaged_one_is_none() -> None:
    base = btf_image.parse(BtfBlob().data())
    assert base is not None
    assert btf_image.parse_module(b"nothing", base) is None


class _Host(FakeHost):
    """A kernel with one module, from blobs."""

    def __init__(self) -> None:
        super().__init__()
        self._kernel, self._module = kernel_and_module()

    def kernel_types(self) -> Any:
        return self._kernel

    def module_types(self, module: str) -> Any:
        return self._module


def test_types_of_modules_are_listed_with_the_kernels() -> None:
    host = _Host()
    assert list(list_types("struct", "*", host, False)) == ["struct file", "struct ovl_file"]
    assert list(list_types("enum", "*", host, False)) == ["enum color", "enum state"]
    assert list(list_types("struct", "ovl_file", host, True)) == [
        "struct ovl_file {", "\tstruct file *real;", "\tint flags;", "};", "",
    ]  # fmt: skip
    kernels, modules = "struct file {\n\tint flags;\n\tint mode;\n};\n", "struct file {\n\tint other;\n};\n"
    assert "\n".join(list_types("struct", "file", host, True)) == f"{kernels}\n{modules}"
    assert type_hint("enum", "ovl_file", host) == "did you mean `struct ovl_file`?"
