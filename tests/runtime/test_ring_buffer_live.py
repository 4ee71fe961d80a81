"""The ring buffer of a real kernel: written by BPF programs, read by both consumers, decoded to text.

The programs are compiled by our own backend against our own prelude, and triggered from here: by BPF_PROG_TEST_RUN,
which runs a program in this process, or by system calls of a child.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpftrace_py import types as t
from bpftrace_py.codegen import unit
from bpftrace_py.output.base import Writer
from bpftrace_py.output.text import TextOutput
from bpftrace_py.output.values import Texts
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.bcc_backend import compile_image
from bpftrace_py.runtime.decoder import Decoder
from bpftrace_py.runtime.ring_buffer import Consumer, LibbpfRing, MappedRing, Poller, open_ring_buffer

SIZE = 1 << 16
COMM = t.StringType(16)
TABLE: tuple[unit.Action, ...] = (
    unit.Printf(1, "%d %s %d\n", (t.UINT64, COMM, t.UINT64)),
    unit.Printf(2, "wide %d %s\n", (t.UINT32, t.StringType(60))),
    unit.Clear(3, "x"),
)
SOURCE = f"""
RING(1, events, {SIZE});
TABLE(2, "array", u32, u64, want, 1);
TABLE(3, "array", u32, u64, lost, 1);
TABLE(4, "array", u32, u64, counter, 1);
struct line {{ u32 action; u64 pid; char comm[16]; u64 count; }};
struct wide {{ u32 action; u32 n; char text[60]; }};
struct bare {{ u32 action; }};

inline_ u64 *slot(void *map) {{ u32 zero = 0; return map_lookup(map, &zero); }}
inline_ void lose(void) {{ u64 *n = slot(MAP(lost)); if (n) *n += 1; }}
inline_ u64 wake(void)
{{
	u64 *w = slot(MAP(want));
	if (!w || !*w) return NO_WAKEUP;
	*w = 0;
	return FORCE_WAKEUP;
}}
inline_ void send_line(u64 count)
{{
	struct line *e = ring_reserve(MAP(events), sizeof(*e), 0);
	if (!e) {{ lose(); return; }}
	e->action = 0;
	e->pid = pid_tgid() >> 32;
	current_comm(e->comm, 16);
	e->count = count;
	ring_submit(e, wake());
}}
SEC("x") int mixed(void *ctx)
{{
	u64 *n = slot(MAP(counter));
	if (!n) return 0;
	u64 i = (*n)++;
	send_line(i);
	if (i % 3 == 0) {{
		struct wide *e = ring_reserve(MAP(events), sizeof(*e), 0);
		if (!e) {{ lose(); return 0; }}
		e->action = 1;
		e->n = i;
		zero_fill(e->text, 60);
		e->text[0] = 'a' + i % 26;
		if (i % 2) ring_discard(e, NO_WAKEUP); else ring_submit(e, wake());
	}}
	if (i % 5 == 0) {{
		struct bare *e = ring_reserve(MAP(events), sizeof(*e), 0);
		if (!e) {{ lose(); return 0; }}
		e->action = 2;
		ring_submit(e, wake());
	}}
	return 0;
}}
SEC("x") int one(void *ctx) {{ send_line(7); return 0; }}
struct args {{ u64 common; long number; u64 fd; u64 buffer; u64 count; }};
SEC("x") int reads(struct args *ctx)
{{
	char comm[16];
	current_comm(comm, 16);
	if (comm[0] == 'd' && comm[1] == 'd' && !comm[2])
		send_line(ctx->count);
	return 0;
}}
"""
SOURCE = "static void (*ring_discard)(void *record, u64 flags) = (void *)133;\n" + SOURCE.replace('SEC("x") ', "")


class Clears:
    """The one action of these programs."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def clear(self, action: unit.Clear) -> None:
        self.seen.append(action)


class Programs:
    """The compiled programs and their maps."""

    def __init__(self) -> None:
        self.image, _ = compile_image(SOURCE, ["mixed", "one", "reads"])
        self.map_fds = tuple(
            kernel.map_create(m.kind, m.key_size, m.value_size, m.max_entries, m.flags, m.name) for m in self.image.maps
        )
        self.fds = {m.name: fd for m, fd in zip(self.image.maps, self.map_fds, strict=True)}
        self.programs: dict[str, int] = {}

    def load(self, name: str, kind: int = kernel.PROG_TYPE_RAW_TRACEPOINT) -> int:
        image = self.image
        if name not in self.programs:
            self.programs[name] = kernel.prog_load(
                kind, image.programs[name].linked(self.map_fds), image.license, name
            )
        return self.programs[name]

    def number(self, table: str) -> int:
        raw = kernel.map_lookup(self.fds[table], bytes(4), 8)
        assert raw is not None
        return int.from_bytes(raw, "little")

    def request_wakeup(self) -> None:
        kernel.map_update(self.fds["want"], bytes(4), (1).to_bytes(8, "little"))

    def close(self) -> None:
        for fd in (*self.programs.values(), *self.map_fds):
            os.close(fd)


@pytest.fixture
def programs() -> Iterator[Programs]:
    made = Programs()
    yield made
    made.close()


@pytest.fixture(params=["mapped", "libbpf"])
def ring(request: pytest.FixtureRequest, programs: Programs) -> Iterator[Consumer]:
    fd = programs.fds["events"]
    made: Consumer = MappedRing(fd, SIZE) if request.param == "mapped" else LibbpfRing(fd)
    yield made
    made.close()


def expected_of_mixed(numbers: range) -> list[Any]:
    me, expected = os.getpid(), []
    comm = Path("/proc/self/comm").read_bytes().strip()
    for n in numbers:
        expected.append(b"%d %s %d\n" % (me, comm, n))
        if n % 3 == 0 and n % 2 == 0:
            expected.append(b"wide %d %c\n" % (n, ord("a") + n % 26))
        if n % 5 == 0:
            expected.append(TABLE[2])
    return expected


def test_mixed_kinds_sizes_and_discards_arrive_in_order_around_the_wrap(programs: Programs, ring: Consumer) -> None:
    program, seen = programs.load("mixed"), []
    decoder = Decoder(TABLE, Texts(None), seen.extend, Clears(seen))  # type: ignore[arg-type]
    for round in range(40):  # some 2,000 events, more than twice around
        for _ in range(50):
            kernel.prog_test_run(program)
        ring.drain(decoder)
        decoder.flush()
        assert len(seen) == len(expected_of_mixed(range((round + 1) * 50)))
    assert seen == expected_of_mixed(range(2000))
    assert programs.number("lost") == 0 and ring.damaged == 0 and decoder.damaged == 0 and not ring.pending


def test_a_full_ring_loses_the_newest_and_goes_on(programs: Programs, ring: Consumer) -> None:
    program, seen = programs.load("one"), []
    decoder = Decoder(TABLE, Texts(None), seen.extend, Clears(seen))  # type: ignore[arg-type]
    for _ in range(3000):
        kernel.prog_test_run(program)
    lost = programs.number("lost")
    assert lost > 0
    assert ring.drain(decoder) == 3000 - lost
    kernel.prog_test_run(program)
    assert ring.drain(decoder) == 1
    decoder.flush()
    assert len(seen) == 3001 - lost and programs.number("lost") == lost


def test_a_handlers_error_reaches_the_caller(programs: Programs, ring: Consumer) -> None:
    kernel.prog_test_run(programs.load("one"))

    class Fails:
        def run(self, action: int, records: memoryview, count: int) -> bool:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        ring.drain(Fails())


def test_the_limit_holds(programs: Programs, ring: Consumer) -> None:
    for _ in range(10):
        kernel.prog_test_run(programs.load("one"))
    seen: list[Any] = []
    decoder = Decoder(TABLE, Texts(None), seen.extend, Clears(seen))  # type: ignore[arg-type]
    assert [ring.drain(decoder, 4), ring.drain(decoder, 4), ring.drain(decoder, 4)] == [4, 4, 2]


def test_both_consumers_start_where_the_last_one_ended(programs: Programs) -> None:
    fd, seen = programs.fds["events"], []
    decoder = Decoder(TABLE, Texts(None), seen.extend, Clears(seen))  # type: ignore[arg-type]
    for make in (lambda: MappedRing(fd, SIZE), lambda: LibbpfRing(fd), lambda: open_ring_buffer(fd, SIZE)):
        kernel.prog_test_run(programs.load("one"))
        ring = make()
        assert ring.drain(decoder) == 1
        ring.close()


def test_an_idle_poller_is_woken_by_an_event(programs: Programs, ring: Consumer) -> None:
    program = programs.load("one")
    seen: list[Any] = []
    decoder = Decoder(TABLE, Texts(None), seen.extend, Clears(seen))  # type: ignore[arg-type]
    poller = Poller(ring, programs.request_wakeup)
    poller.LONGEST = 3600.0  # nothing but the wake-up can end the wait
    idle = threading.Event()

    def trigger() -> None:
        idle.wait()
        while programs.number("want") == 0:
            time.sleep(0.001)
        time.sleep(0.05)  # let it fall asleep
        kernel.prog_test_run(program)

    for number in range(3):
        idle.clear()
        thread = threading.Thread(target=trigger)
        thread.start()
        idle.set()
        while len(seen) <= number:
            drained = ring.drain(decoder)
            decoder.flush()
            if len(seen) <= number:
                poller.wait(drained)
        thread.join()
        assert programs.number("want") == 0  # the program has cleared it
        poller.wait(1)
    poller.close()


def test_a_storm_of_events_is_written_whole(programs: Programs, tmp_path: Path) -> None:
    """One `dd` making 100,000 reads, through tracepoint, ring, decoder and writer into a file."""
    program = programs.load("reads", kernel.PROG_TYPE_TRACEPOINT)
    number = Path("/sys/kernel/tracing/events/syscalls/sys_enter_read/id").read_text()
    event = attach_tracepoint(int(number), program)
    ring = MappedRing(programs.fds["events"], SIZE)
    target = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY, 0o600)
    output = TextOutput(Writer(target), Texts(None))  # type: ignore[arg-type]
    decoder = Decoder(TABLE, output.texts, output.printf, Clears([]))  # type: ignore[arg-type]
    dd = subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=100000"], stderr=subprocess.DEVNULL)
    taken = 0
    while True:
        ended = dd.poll() is not None
        drained = ring.drain(decoder)
        decoder.flush()
        output.writer.settle()
        taken += drained
        if ended and not drained:
            break
        if not drained:
            time.sleep(0.0005)
    output.finish()
    os.close(target)
    os.close(event)
    ring.close()
    lines = (tmp_path / "out").read_bytes().splitlines()
    lost = programs.number("lost")
    assert len(lines) == taken and taken + lost >= 100000  # dd also reads what its libraries are loaded from
    assert all(line.startswith(b"%d dd " % dd.pid) for line in lines)
    assert sum(line.endswith(b"dd 1") for line in lines) + lost >= 100000


def attach_tracepoint(number: int, program: int) -> int:
    """Run `program` at each event of a tracepoint, on every CPU, while the returned fd is open."""
    event = kernel.perf_event_open(kernel.PERF_TYPE_TRACEPOINT, number, period=1)
    kernel.perf_set_bpf(event, program)
    return event


def test_memory_that_is_not_a_ring_buffer_is_refused(programs: Programs) -> None:
    with pytest.raises(OSError):
        MappedRing(programs.fds["want"], SIZE)
    with pytest.raises(OSError):
        LibbpfRing(programs.fds["want"])


def test_closing_unmaps(programs: Programs) -> None:
    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count("anon_inode:bpf-map")

    before = mappings()
    ring = MappedRing(programs.fds["events"], SIZE)
    assert mappings() > before
    ring.close()
    assert mappings() == before
