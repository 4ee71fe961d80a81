"""How attachments are grouped into links."""

from types import SimpleNamespace

from bpftrace_py.codegen.unit import Attachment, Fentry, Kprobe, ProgramSpec, Special, Timer, Tracepoint, Unit, Uprobe
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.plan import plan

ALL = SimpleNamespace(uprobe_multi=True, uprobe_multi_process=True, kprobe_multi=True)
THREADS_ONLY = SimpleNamespace(uprobe_multi=True, uprobe_multi_process=False, kprobe_multi=True)
NONE = SimpleNamespace(uprobe_multi=False, uprobe_multi_process=False, kprobe_multi=False)


def links(features, *targets, cookies=False):
    attachments = tuple(Attachment(t, i if cookies else None) for i, t in enumerate(targets))
    unit = Unit("u", "", (ProgramSpec("f", "kprobe", attachments, 1),), (), ())
    result = plan(unit, features)
    placed = sorted((a.target for link in result for a in link.attachments), key=repr)
    assert placed == sorted(targets, key=repr)
    return [(link.method, len(link.attachments)) for link in result]


def uprobe(path="/lib/a", offset=0, on_return=False, pid=-1):
    return Uprobe("u", path, "f", offset, on_return, pid)


def kprobe(function, offset=0, on_return=False):
    return Kprobe("k", function, offset, on_return)


def test_single_targets():
    targets = (
        Special("BEGIN"), Tracepoint("t", "a", "b"), Timer("i", 0, 1, False), Fentry("f", "x", False), Fentry("r", "x", True),
    )  # fmt: skip
    assert links(ALL, *targets) == [("special", 1), ("tracepoint", 1), ("timer", 1), ("fentry", 1), ("fexit", 1)]


def test_uprobes_of_one_file_are_one_link():
    targets = [uprobe(offset=i) for i in range(5)]
    assert links(ALL, *targets, cookies=True) == [("uprobe_multi", 5)]
    assert links(NONE, *targets) == [("uprobe", 1)] * 5


def test_files_directions_and_processes_are_kept_apart():
    targets = (uprobe(), uprobe("/lib/b"), uprobe(on_return=True), uprobe(offset=8), uprobe(pid=7))
    assert sorted(links(ALL, *targets)) == [("uprobe_multi", 1)] * 3 + [("uprobe_multi", 2)]


def test_links_that_mean_a_thread_are_not_used_for_a_process():
    targets = (uprobe(), uprobe(pid=7), uprobe(offset=8, pid=7))
    assert sorted(links(ALL, *targets)) == [("uprobe_multi", 1), ("uprobe_multi", 2)]
    assert sorted(links(THREADS_ONLY, *targets)) == [("uprobe", 1), ("uprobe", 1), ("uprobe_multi", 1)]


def test_kprobes():
    assert links(ALL, kprobe("a"), kprobe("b"), kprobe("c", offset=4)) == [("kprobe", 1), ("kprobe_multi", 2)]
    assert links(ALL, kprobe("a")) == [("kprobe", 1)]
    assert links(NONE, kprobe("a"), kprobe("b")) == [("kprobe", 1)] * 2


def test_a_link_knows_what_its_program_is_loaded_for():
    unit = Unit("u", "", (ProgramSpec("f", "kprobe", (Attachment(uprobe()), Attachment(kprobe("a"))), 1),), (), ())
    assert {link.method: link.expected_attach_type for link in plan(unit, ALL)} == {
        "uprobe_multi": kernel.ATTACH_UPROBE_MULTI,
        "kprobe": 0,
    }
