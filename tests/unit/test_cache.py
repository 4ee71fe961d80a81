"""The compile cache believes nothing that it did not write itself, and never fails."""

import os
import stat
from pathlib import Path

import pytest

from bpftrace_py.runtime import cache as module
from bpftrace_py.runtime.cache import MAGIC, Cache, digest, image_key
from bpftrace_py.runtime.image import Code, Image, MapSpec

KEY = digest("a key")
IMAGE = Image((MapSpec("x", 1, 8, 8, 10, 0),), {"f": Code(bytes(16), ((4, 0),))}, b"GPL")


@pytest.fixture
def cache(tmp_path):
    return Cache(str(tmp_path / "home" / "cache"))


def test_what_is_stored_comes_back(cache):
    assert cache.load(KEY) is None
    assert cache.note == ""
    cache.store(KEY, (1, "two", b"three", (4,)))
    assert cache.load(KEY) == (1, "two", b"three", (4,))
    cache.store_image(KEY, IMAGE)
    assert cache.load_image(KEY).plain() == IMAGE.plain()


def test_directory_and_entries_are_private(cache):
    before = os.umask(0)
    try:
        cache.store(KEY, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(cache.directory).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(cache.directory, KEY)).st_mode) == 0o600
    assert os.listdir(cache.directory) == [KEY]


@pytest.mark.parametrize("at", [0, len(MAGIC), len(MAGIC) + 32, -1])
def test_a_damaged_entry_is_ignored(cache, at):
    cache.store(KEY, (1, 2, 3))
    path = Path(cache.directory, KEY)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)
    assert cache.load(KEY) is None
    assert "damaged" in cache.note


def test_a_cut_entry_is_ignored(cache):
    cache.store(KEY, (1, 2, 3))
    path = Path(cache.directory, KEY)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert cache.load(KEY) is None


@pytest.mark.parametrize(
    "data",
    [
        5,
        (),
        ((), (), "GPL"),
        ((("x", 1, 8, 8, 10),), (), b"GPL"),
        ((("x", 1, 8, 8, "10", 0),), (), b"GPL"),
        ((), (("f", bytes(7), ()),), b"GPL"),
        ((), (("f", bytes(8), ((4, 0),)),), b"GPL"),
        ((("x", 1, 8, 8, 10, 0),), (("f", bytes(8), ((5, 0),)),), b"GPL"),
        ((("x", 1, 8, 8, 10, 0),), (("f", bytes(8), (("4", 0),)),), b"GPL"),
    ],
)
def test_data_of_another_shape_is_no_image(cache, data):
    cache.store(KEY, data)
    assert cache.load_image(KEY) is None
    assert "not a compiled unit" in cache.note


def test_what_others_may_write_to_is_ignored(cache):
    cache.store(KEY, 1)
    path = Path(cache.directory, KEY)
    os.chmod(path, 0o620)
    assert cache.load(KEY) is None
    os.chmod(path, 0o600)
    assert cache.load(KEY) == 1
    os.chmod(cache.directory, 0o770)
    assert cache.load(KEY) is None
    assert "not ours alone" in cache.note


def test_symbolic_links_are_not_followed(cache, tmp_path):
    cache.store(KEY, 1)
    path = Path(cache.directory, KEY)
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    assert cache.load(KEY) is None
    cache.store(KEY, 2)  # replaces the link, not what it points to
    assert cache.load(KEY) == 2
    assert not os.path.islink(path)
    os.symlink(cache.directory, tmp_path / "link")
    linked = Cache(str(tmp_path / "link"))
    assert linked.load(KEY) is None
    linked.store(KEY, 3)
    assert cache.load(KEY) == 2


def test_a_fifo_does_not_hang_it(cache):
    cache.store(KEY, 1)
    other = digest("other")
    os.mkfifo(os.path.join(cache.directory, other), 0o600)
    assert cache.load(other) is None


def test_a_directory_that_cannot_be_made_is_an_empty_cache(tmp_path):
    (tmp_path / "file").write_text("")
    cache = Cache(str(tmp_path / "file" / "cache"))
    cache.store(KEY, 1)
    assert cache.note
    assert cache.load(KEY) is None


def test_the_entries_used_longest_ago_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SWEEP_EVERY", 1)
    cache = Cache(str(tmp_path / "cache"), max_entries=3)
    keys = [digest(i) for i in range(5)]
    for age, key in enumerate(keys[:3]):
        cache.store(key, 1)
        os.utime(os.path.join(cache.directory, key), (1000 + age, 1000 + age))
    assert cache.load(keys[0]) == 1  # now it is the youngest
    cache.store(keys[3], 1)
    assert sorted(os.listdir(cache.directory)) == sorted([keys[0], keys[2], keys[3]])
    small = Cache(cache.directory, max_bytes=2 * (len(MAGIC) + 32 + 5))
    small.store(keys[4], 1)
    assert len(os.listdir(cache.directory)) == 2
    assert small.load(keys[4]) == 1


def test_the_key_has_everything_that_reaches_the_compiler(tmp_path):
    (tmp_path / "include").mkdir()
    header = tmp_path / "include" / "prelude.h"
    header.write_text("1")
    first = image_key("int x;", str(tmp_path), ("f",))
    assert image_key("int x;", str(tmp_path), ("f",)) == first
    others = {image_key("int y;", str(tmp_path), ("f",)), image_key("int x;", str(tmp_path), ("g",))}
    header.write_text("2")
    others.add(image_key("int x;", str(tmp_path), ("f",)))
    assert len(others) == 3
    assert first not in others
    assert digest("ab", "c") != digest("a", "bc")


def test_home_is_used_only_if_it_is_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert module.default_directory() == "/xdg/bpftrace-py"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert module.default_directory() == f"{tmp_path}/.cache/bpftrace-py"
    monkeypatch.setattr(os, "geteuid", lambda: 0 if os.stat(tmp_path).st_uid else 1)  # as under sudo
    assert not module.default_directory().startswith(str(tmp_path))
