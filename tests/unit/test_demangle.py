"""C++ names, and names that are made to unfold without end."""

from __future__ import annotations

import shutil
import string
import subprocess

import pytest

from bpftrace_py.symbols import demangle as module
from bpftrace_py.symbols.demangle import demangle, spellings, without_parameters
from bpftrace_py.symbols.elf import ElfFile
from tests.testprogs import build


@pytest.mark.parametrize(("mangled", "name"), [
    ("_Z4overi", "over(int)"),
    ("_ZN6shapes6Square5countEv", "shapes::Square::count()"),
    ("_ZN6shapes5twiceIiEET_S1_", "int shapes::twice<int>(int)"),
    ("_ZN6SquareplEi", "Square::operator+(int)"),
    ("_Z4overi.cold", "over(int) [clone .cold]"),
    ("main", None),
    ("", None),
    ("_Z", None),
    ("_Znonsense", None),
    ("over(int)", None),
    ("_Z\udcff", None),
])  # fmt: skip
def test_names(mangled: str, name: str | None) -> None:
    assert demangle(mangled) == name


@pytest.mark.parametrize(("demangled", "name"), [
    ("shapes::Square::count()", "shapes::Square::count"),
    ("plain", "plain"),
    ("shapes::Square::area(int) const", "shapes::Square::area"),
    ("ns::(anonymous namespace)::f(int)", "ns::(anonymous namespace)::f"),
    ("ns::F::operator()(int, void (*)(int)) const &", "ns::F::operator()"),
    ("main::{lambda(int)#1}::operator()(int) const", "main::{lambda(int)#1}::operator()"),
    ("over(int) [clone .cold]", "over"),
    ("std::vector<int, std::allocator<int> >::size() const", "std::vector<int, std::allocator<int> >::size"),
    ("a(b", "a(b"), (")", ")"), ("", ""),
])  # fmt: skip
def test_without_parameters(demangled: str, name: str) -> None:
    assert without_parameters(demangled) == name


@pytest.mark.parametrize(("demangled", "plain"), [
    ("int ns::twice<int>(int)", "ns::twice<int>"),
    ("std::map<int, char> ns::f<std::pair<int, char> >(int)", "ns::f<std::pair<int, char> >"),
    ("bool ns::operator==<int>(ns::A<int> const&)", "ns::operator==<int>"),
    ("bool ns::operator< <int>(ns::A<int>)", "ns::operator< <int>"),
    ("auto main::{lambda(auto:1)#1}::operator()<int>(int) const", "main::{lambda(auto:1)#1}::operator()<int>"),
    ("ns::A::operator->()", "ns::A::operator->"),
    ("ns::A::operator unsigned int()", "ns::A::operator unsigned int"),
    ("non-virtual thunk to ns::A<int>::f()", "non-virtual thunk to ns::A<int>::f"),
    ("myoperator<int>(int)", "myoperator<int>"),
    ("int myoperator<int>(int)", "myoperator<int>"),
    ("krate::shapes::Square::area::h9b576328fb4bd4b7", "krate::shapes::Square::area"),
    ("krate::h9b576328fb4bd4bx", "krate::h9b576328fb4bd4bx"),
])  # fmt: skip
def test_the_plainest_spelling(demangled: str, plain: str) -> None:
    found = spellings(demangled)
    assert (found[0], found[-1]) == (demangled, plain)


def test_every_spelling() -> None:
    assert spellings("int ns::twice<int>(int)") == (
        "int ns::twice<int>(int)", "ns::twice<int>(int)", "int ns::twice<int>", "ns::twice<int>",
    )  # fmt: skip
    assert spellings("over(int)") == ("over(int)", "over")
    assert spellings("f") == ("f",)


def test_as_cxxfilt_demangles() -> None:
    """All names of a C++ library, those that go to the child process among them."""
    names = [s.name for s in ElfFile("/usr/lib/x86_64-linux-gnu/libstdc++.so.6").functions if s.name.startswith("_Z")]
    assert len(names) > 3000
    assert shutil.which("c++filt")
    shown = subprocess.run(["c++filt", "-i", "-n"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    assert [demangle(name) or name for name in names] == shown.splitlines()


def unfolding(levels: int) -> str:
    """`f(A<int, int>, A<that, that>, ...)`: each level twice the one before."""
    digits = string.digits + string.ascii_uppercase

    def reference(number: int) -> str:
        text = ""
        number -= 1
        if number < 0:
            return "S_"
        while number:
            text, number = digits[number % 36] + text, number // 36
        return f"S{text or '0'}_"

    return "_Z1f1AIiiE" + "".join(f"S_I{reference(i + 1) * 2}E" for i in range(levels))


def test_a_name_that_unfolds_without_end_stays_mangled() -> None:
    assert demangle(unfolding(2)) == "f(A<int, int>, A<A<int, int>, A<int, int> >, A<A<A<int, int>, A<int, int> >, " \
        "A<A<int, int>, A<int, int> > >)"  # fmt: skip
    assert demangle(unfolding(40)) is None
    # The child that it cost is replaced.
    long = unfolding(9)
    assert long.count("S") > module._FEW_REFERENCES
    assert (demangle(long) or "").startswith("f(A<int, int>, A<A<int, int>")


@pytest.mark.parametrize("name", ["_Z1f" + "P" * 16000 + "i", "_Z" + "N" * 16000, "_Z1f" + "F" * 8000 + "v", "_Z" + "nt" * 8000])
def test_deep_names_end(name: str) -> None:
    assert demangle(name) is None or len(demangle(name) or "") < 1 << 20


def test_the_program_of_the_tests() -> None:
    names = {demangle(s.name) for s in ElfFile(str(build.program("overloads"))).functions}
    assert {"over(int)", "over(double)", "shapes::Square::area(int) const", "shapes::Square::operator+(int) const"} <= names
