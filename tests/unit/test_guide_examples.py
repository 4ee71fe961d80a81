"""Every program of the reference guide parses, and so do programs of our own with the same constructs.

The guide is not part of this repository: BPFTRACE_GUIDE names it, or it lies in `shared` beside the checkout.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Source
from bpftrace_py.syntax.parser import parse
from bpftrace_py.syntax.printer import to_source

GUIDE = Path(os.environ.get("BPFTRACE_GUIDE", Path(__file__).parents[3] / "shared" / "reference_guide.md"))

ONE_LINER = re.compile(r"^.*?bpftrace\b[^'\n]*-e '(.*?)'", re.MULTILINE | re.DOTALL)
CODE_BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```|^<pre>\n(.*?)^</pre>", re.MULTILINE | re.DOTALL)
LINE_NUMBER = re.compile(r"^ +\d+(?:\t|$)", re.MULTILINE)
SCRIPT_START = re.compile(r"^(?:#!|#include|//|struct |BEGIN\b|END\b|(?:kprobe|tracepoint):\w)", re.MULTILINE)
LISTED = re.compile(r"^# cat (?:-n )?\S+\.bt\n(.*?)(?=^# |\Z)", re.MULTILINE | re.DOTALL)


def programs_of(guide: str) -> list[str]:
    """The programs that a text in the guide's style shows: one-liners, scripts shown with `cat`, and bare scripts."""
    found = []
    for match in CODE_BLOCK.finditer(guide):
        text = match[1] if match[1] is not None else match[2]
        one_liners = ONE_LINER.findall(text)
        if one_liners:
            found += [program for program in one_liners if "{" in program]  # not the usage's 'program'
            continue
        listed = LISTED.findall(text)
        for script in listed or [text]:
            script = LINE_NUMBER.sub("", script)
            if SCRIPT_START.match(script) and ("{" in script) and (listed or script.rstrip().endswith(("}", "};"))):
                # Shown with two first lines to choose from.
                found.append(re.sub(r"\A(#![^\n]*\n)#![^\n]*\n", r"\1", script))
    return found


def errors(text: str) -> list[str]:
    source = Source(text)
    diagnostics = Diagnostics(source)
    program = parse(source, diagnostics)
    if program is None or diagnostics.reported:
        return [reported.render() for reported in diagnostics.reported]
    printed = to_source(program)
    again = parse(Source(printed), diagnostics)
    assert again is not None and to_source(again) == printed
    return []


def test_guide():
    if not GUIDE.exists():
        pytest.skip(f"the reference guide is not at {GUIDE}; BPFTRACE_GUIDE can name it")
    guide = GUIDE.read_text()
    programs = programs_of(guide)
    for line in guide.splitlines():  # none is overlooked
        if (beginning := line.partition("-e '")[2].partition("'")[0]) and "{" in line:
            assert any(program.startswith(beginning) for program in programs), line
    wrong = {program: found for program in programs if (found := errors(_completed(program)))}
    assert wrong == {}
    text = "\n".join(programs)
    for part in ("unroll(5)", "uretprobe:", "ntop(AF_INET", "struct nameidata", "clear(@start);\n}", "lhist(", "/args->bytes > $1/"):
        assert part in text


def _completed(program: str) -> str:
    """The program; with a probe behind it if it shows a declaration only."""
    return program + "BEGIN { }" if program.rstrip().endswith("};") else program


def test_programs_are_found():
    sample = """
Text with `bpftrace -e 'no'` in it.

```
# bpftrace -e 'kprobe:f { @ = count(); }
    kprobe:g { exit(); }'
Attaching 2 probes...
@: {1}
# BPFTRACE_STRLEN=200 bpftrace -v -e 'BEGIN { }'
```
```
# cat -n sleepers.bt
     1	tracepoint:a:b
     2	{
     3		f();
     4	}
```
```
#!/usr/bin/bpftrace

BEGIN
{
}
```
```
     1	#!/usr/local/bin/bpftrace
     1	#!/usr/bin/env bpftrace
     2
     3	BEGIN { }
```
```
# ./sleepers.bt
Attaching 1 probe...
{ }
```
<pre>
# bpftrace -e 'END { }'
</pre>
"""
    assert programs_of(sample) == [
        "kprobe:f { @ = count(); }\n    kprobe:g { exit(); }",
        "BEGIN { }",
        "tracepoint:a:b\n{\n\tf();\n}\n",
        "#!/usr/bin/bpftrace\n\nBEGIN\n{\n}\n",
        "#!/usr/local/bin/bpftrace\n\nBEGIN { }\n",
        "END { }",
    ]


OURS = [
    'BEGIN { printf("Hello\\n"); }',
    'tracepoint:syscalls:sys_enter_openat { printf("%s %s\\n", comm, str(args->filename)); }',
    "#!/usr/bin/env bpftrace-py\n\n// comment\ntracepoint:syscalls:sys_enter_openat\n{\n\tprint(1); /* two\n lines */\n}\n",
    "kprobe:vfs_read /arg2 < 16/ { @ = count(); }",
    'kprobe:vfs_read /comm == "bash"/ { @[comm] = count(); }',
    "#include <linux/path.h>\n#include <linux/dcache.h>\n\nkprobe:vfs_open\n{\n\t"
    'printf("%s\\n", str(((struct path *)arg0)->dentry->d_name.name));\n}\n',
    "struct a { struct path path; // [...]\n}; BEGIN { }",
    "t:a:sys_exit_read { @error[args->ret < 0 ? - args->ret : 0] = count(); }",
    "t:a:b { @reads = count(); if (args->count > 1024) { @large = count(); } }",
    "kprobe:f { $i = 1; unroll(5) { print($i); $i = $i + 1; } }",
    "k:vfs_read { @[probe]++ }",
    "struct S { int y[4]; } uprobe:./bin/x:f { $s = (struct S *) arg0; @x = $s->y[0]; exit(); }",
    "uretprobe:/lib/x86_64-linux-gnu/libc-2.23.so:fopen { @ = hist(retval); }",
    'usdt:/root/tick:loop /arg1 > 2/ { printf("%s: %d\\n", str(arg0), arg1); }',
    "usdt:/root/tock:tick:loop { @ = lhist(arg0, 0, 100, 10); }",
    "profile:hz:99 { @[kstack(perf, 3), ustack] = count(); }",
    "software:faults:100,\nhardware:cache-misses:1000000,\nsoftware:cpu-clock:\n{ @[comm] = count(); }",
    "k:f { @s[tid] = nsecs; } kr:f /@s[tid] != 0/ { $d = nsecs - @s[tid]; print($d / 1000000); delete(@s[tid]); }",
    "END { print(@, 5); print(@ms, 0, 1000000); clear(@); zero(@ms); }",
    'BEGIN { printf("%d, %s\\n", $1, str($2)); }\n\nt:a:b\n/args->bytes > $1/\n{\n\t@ = hist(args->bytes);\n}\n',
    't:a:b /cgroup == cgroupid("/sys/fs/cgroup/x")/ { system("ps -p %d\\n", pid); cat("/proc/loadavg"); }',
    "BEGIN { print(str(*kaddr(\"usbcore_name\"))); @[ksym(reg(\"ip\"))] = count(); }",
    "#include <linux/socket.h>\nBEGIN { print(ntop(AF_INET, 0x0100007f));}",
]  # fmt: skip


@pytest.mark.parametrize("text", OURS)
def test_our_own(text):
    assert errors(text) == []
