"""Messages about maps (E05) and limits (E06)."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

MAP_TYPE = message(
    "E0501", "`@{name}` holds {known}, and cannot be given a value of type {type}",
    "A map has one type of value in the whole script, whichever probe comes first.",
)
KEYS_DIFFER = message(
    "E0502", "`@{name}` has {known}, and is given {given}",
    "A map has one number of keys and one type for each of them, in the whole script.",
)
KEY_TYPE = message(
    "E0503", "a value of type {type} cannot be a key",
    "Keys are copied and compared byte by byte. An aggregate has no single value that could be.",
)
AGGREGATE_NEEDS_MAP = message(
    "E0504", "{name}() can only be assigned to a map, alone and by `=`",
    "The kernel keeps a count for each CPU, which needs a map. `++` counts in a variable.",
)
AGGREGATE_AS_VALUE = message(
    "E0505", "{map} is a {type}() of all CPUs, which has no single value before it is printed",
    "Each CPU counts for itself, so that counting costs little. print() puts the parts together; a map that is counted with"
    " `++` has one value that a script can read.",
)
LHIST_STEP = message("E0506", "the step of lhist() is 1 or more, not {step}")
LHIST_RANGE = message("E0507", "the range of lhist() is empty: {low} to {high}")
LHIST_BUCKETS = message(
    "E0508", "lhist() would have {buckets} buckets, and {limit} is the limit",
    "Each bucket takes memory in the kernel for each key and CPU.",
)
LHIST_WIDE = message("E0509", "the step {step} of lhist() is larger than its range {range}")
ELEMENT_WITHOUT_KEYS = message("E0510", "{name}() is for one element, and `@{map}` has {known}")

# Limits
TOO_MANY_PROBES = message(
    "E0601", "the program would attach {count} probes, and {limit} is the limit",
    "Each attach point takes memory and time, above all when it is detached. A narrower wildcard is the better remedy.",
)
