"""Kernel functions: kprobes singly, many in one link and by tracefs, and fentry, counted on real calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpftrace_py.codegen.unit import Attachment, Fentry, Kprobe
from bpftrace_py.runtime.attach import attach
from bpftrace_py.runtime.features import Features
from tests.runtime.small_units import FEATURES, loaded, program, unit
from tests.runtime.test_attach import PLAIN, WITH_COOKIE, hits, links_left, only_this_process


def kprobe(function: str, on_return: bool = False, offset: int = 0) -> Kprobe:
    return Kprobe(f"kprobe:{function}", function, offset, on_return)


def features(**answers: object) -> Features:
    result = Features()
    result.__dict__.update(answers)
    return result


needs_kprobe_multi = pytest.mark.skipif(
    not FEATURES.kprobe_multi, reason="the kernel has no kprobe_multi links (CONFIG_FPROBE)"
)
WAYS = [
    pytest.param(FEATURES, id="multi", marks=needs_kprobe_multi),
    pytest.param(features(kprobe_multi=False), id="perf"),
    pytest.param(features(kprobe_multi=False, kprobe_pmu=None), id="tracefs"),
]


def yield_cpu(times: int) -> None:
    for _ in range(times):
        os.sched_yield()


def test_this_kernel_has_what_is_tested_here():
    table = FEATURES.table()
    needed = ("kprobe (perf PMU)", "kprobe (kprobe_events)", "fentry", "cookies on perf events", "BTF")
    assert {name: table[name] for name in needed} == dict.fromkeys(needed, True), table


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("on_return", [False, True])
def test_kprobes_told_apart_by_cookie(way, on_return):
    names = ("__x64_sys_sched_yield", "__x64_sys_getsid", "__x64_sys_getpriority")
    attachments = [Attachment(kprobe(name, on_return), cookie) for cookie, name in enumerate(names, 1)]
    with loaded(unit(WITH_COOKIE, program("count", *attachments, kind="kprobe")), way) as result:
        only_this_process(result)
        with attach(result) as attached:
            assert (attached.count, attached.failures) == (3, [])
            yield_cpu(2)
            for _ in range(3):
                os.getsid(0)
            for _ in range(4):
                os.getpriority(os.PRIO_PROCESS, 0)
            assert hits(result)[1:4] == [2, 3, 4]
        os.getsid(0)
        assert hits(result)[2] == 3
    assert links_left() == set()
    assert "bpftrace_py" not in Path("/sys/kernel/tracing/kprobe_events").read_text()


@pytest.mark.parametrize("way", WAYS)
def test_a_function_that_cannot_be_probed_does_not_take_the_others_with_it(way):
    bad = kprobe("no_such_function")
    targets = [kprobe("__x64_sys_sched_yield"), bad, kprobe("__x64_sys_getsid"), kprobe("__x64_sys_getsid", offset=1 << 20)]
    with loaded(unit(PLAIN, program("count", *targets, kind="kprobe")), way) as result:
        only_this_process(result)
        with attach(result) as attached:
            assert attached.count == 2
            assert [f.target for f in attached.failures if f.target is bad] == [bad]
            assert all(f.reason.startswith("the ") for f in attached.failures), attached.failures
            os.getsid(0)
            yield_cpu(1)
            assert hits(result)[0] == 2
    assert links_left() == set()
    assert "bpftrace_py" not in Path("/sys/kernel/tracing/kprobe_events").read_text()


@pytest.mark.parametrize("on_return", [False, True])
def test_fentry(on_return):
    targets = [
        Attachment(Fentry(f"kfunc:{name}", name, on_return), cookie)
        for cookie, name in enumerate(("__x64_sys_getpriority", "__x64_sys_getsid", "no_such_function"), 1)
    ]
    kind = "fexit" if on_return else "fentry"
    with loaded(unit(WITH_COOKIE, program("count", *targets, kind=kind))) as result:
        only_this_process(result)
        with attach(result) as attached:
            assert attached.count == 2
            assert [(f.target.function, f.reason) for f in attached.failures] == [
                ("no_such_function", "the kernel's BTF has no such function")
            ]
            for _ in range(2):
                os.getpriority(os.PRIO_PROCESS, 0)
            os.getsid(0)
            assert hits(result)[1:3] == [2, 1]
        os.getsid(0)
        assert hits(result)[2] == 1


def test_fentry_without_cookie_in_a_module():
    """overlay is loaded: it is the guest's root. Its functions are in a BTF of their own."""
    target = Fentry("kfunc:overlay:ovl_open", "ovl_open", False, "overlay")
    with loaded(unit(PLAIN, program("count", target, kind="fentry"))) as result:
        only_this_process(result)
        with attach(result) as attached:
            assert attached.failures == []
            Path("/etc/passwd").read_bytes()
            assert hits(result)[0] >= 1
