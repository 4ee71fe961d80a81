"""Messages of a program that runs: E09, W09."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

UNSAFE_SYSTEM = message(
    "E0901", "a traced string cannot be used here: {reason}",
    "What a traced process chose itself, such as its name, is never given to a shell as code. A script in which that cannot be"
    " kept is refused; see the description of system() for how to write it.",
)
EVENTS_LOST = message(
    "W0901", "lost {count} events: they came faster than they could be printed",
    "The buffer between the kernel and bpftrace-py was full. BPFTRACE_RING_BYTES makes it larger.",
)
OUTPUT_FAILED = message("E0902", "the output could not be written: {reason}", "The disk is full, or the file has gone.")
MAP_FULL = message(
    "W0902", "the map @{map} is full: it has room for {limit} keys",
    "Updates of keys that are in the map still work, those of new keys are lost. BPFTRACE_MAP_KEYS_MAX raises the limit.",
)
KERNEL_REFUSED = message("E0903", "the kernel refused what the session needs: {reason}")
MAP_LOST = message("W0903", "the map @{map} lost {count} updates, because it was full")
OUR_BUG = message(
    "E0904", "{kind}: {text}: this is a bug in bpftrace-py", "Please report it, with the output of the same command with -v."
)
HELPER_FAILED = message(
    "W0904", "line {line}, column {column}: {helper} failed: {reason}", "Told with -k (calls that act) and -kk (all calls)."
)
EXHAUSTED = message("E0905", "there is not enough of what this takes: {reason}")
SYSTEM_FAILED = message("W0905", "the command of system() in line {line} could not be started: {reason}")
CAT_FAILED = message("W0906", "cat() cannot read {path}: {reason}")
PROBE_NOT_ATTACHED = message("W0907", "{probe} is not attached: {reason}")
PROBES_NOT_ATTACHED = message("W0908", "{count} of {total} probes are not attached")
DAMAGED_EVENTS = message(
    "W0909", "{count} events were not understood: this is a bug in bpftrace-py", "The records in the ring buffer were not as expected."
)
STACKS_LOST = message("W0910", "{count} stack traces could not be kept, because too many different ones came")
EVENTS_MISSED = message(
    "W0915", "the probes missed {count} events: they came while their CPU was at another one",
    "The kernel does not run a program inside itself, and most not inside another, whosever that is. An event in an interrupt that"
    " comes while a block is at work, or one that the block itself brings about, is passed over: the quicker the block, the fewer are."
    " The kernel does not count samples of `profile`, `software` and `hardware` that come at such a moment, so that they are not told;"
    " older kernels count those of fewer probes (Linux 6.1: of `kfunc`).",
)
LOOP_STOPPED = message(
    "W0911", "the loop in line {line} was stopped {times}, {after}",
    "The kernel must see that every loop ends, and a loop without end must not stop the machine. From Linux 6.9 on, the loops of a"
    " probe may take 20,000 rounds each time it runs, those of BEGIN and END a million. Older kernels follow a loop round by round,"
    " and one that does not count to a small constant gets a bound on its rounds, as high as they allow for what is in the loop."
    " Besides, the loops of probes other than BEGIN and END may take half of each CPU's time and no more, over a while, and one run"
    " of them some 8 ms: a loop that would go on is stopped, and one that would begin does not.",
)
COMMAND_CRASHED = message("W0914", "the command of -c was ended by signal {number} ({text})", "-v tells its exit status, too.")
COMMANDS_NOT_RUN = message(
    "W0913",
    "{count} commands of system() were not run: the session was stopped before it was their turn",
    "Commands take longer than the events come that they are for. What waits for longer than a second after Ctrl-C is left out.",
)
CPU_GONE = message(
    "W0920", "processor {cpu} went offline: profile, interval, software and hardware probes do not fire on it any more",
    "The kernel takes a timer or counter off a CPU that goes, and does not put it back when the CPU returns. A new session has all"
    " CPUs that are there. Probes at places in code are not concerned.",
)
ADDRESSES_HIDDEN = message(
    "W0921", "the kernel does not tell this user where its functions are: kernel stacks and ksym() show numbers",
    "It takes CAP_SYSLOG, and kernel.kptr_restrict to be 0 or 1: in /proc/kallsyms all addresses are zero otherwise.",
)
STACKS_LEFT_OUT = message(
    "W0950", "{count} stacks are left out, since their value is zero or negative", "A frame of a flame graph is as wide as its value."
)
NO_STACKS_FOUND = message("W0951", "no stack was counted")
