"""The functions, as data: analysis, code generation and the docs all read this table.

A parameter's `kind` says what may stand there:
  integer     any integer expression (or pointer)      literal   an integer known when compiling
  string      any string expression                    text      a string literal (or str($1))
  pointer     an address                               map       a map without keys
  element     a map, or one element of it              any       any value
  printable   a value or a map                         mode      a stack mode or a number
  format      a text with % conversions, for which the rest of the arguments are
"""

from __future__ import annotations

from bpftrace_py.record import record


@record(frozen=True)
class Parameter:
    """A parameter of a function. `kind` is what may be given for it: a method `_kind_KIND` of `analysis.calls` checks it."""

    name: str
    kind: str
    optional: bool = False


@record(frozen=True)
class Function:
    """`asynchronous`: user space does it, a moment later. `aggregate`: may only be assigned to a map. `statement`: gives no value.
    `unsafe`: refused under --safe. `variadic`: any number of arguments may follow."""

    name: str
    parameters: tuple[Parameter, ...]
    doc: str
    example: str
    asynchronous: bool = False
    aggregate: bool = False
    statement: bool = False
    unsafe: bool = False
    variadic: bool = False

    @property
    def signature(self) -> str:
        shown = [p.name if not p.optional else f"[{p.name}]" for p in self.parameters]
        return f"{self.name}({', '.join(shown + ['...'] * self.variadic)})"

    @property
    def required(self) -> int:
        return sum(not p.optional for p in self.parameters)


def _p(text: str) -> tuple[Parameter, ...]:
    """Parameters from "name:kind name:kind?"."""
    result = []
    for item in text.split():
        name, kind = item.split(":")
        result.append(Parameter(name, kind.rstrip("?"), kind.endswith("?")))
    return tuple(result)


def _statement(
    name: str, parameters: str, doc: str, example: str, *, unsafe: bool = False, variadic: bool = False
) -> Function:
    return Function(
        name, _p(parameters), doc, example, asynchronous=True, statement=True, unsafe=unsafe, variadic=variadic
    )


def _value(name: str, parameters: str, doc: str, example: str) -> Function:
    return Function(name, _p(parameters), doc, example)


def _aggregate(name: str, parameters: str, doc: str) -> Function:
    arguments = {"lhist": "pid, 0, 100000, 1000", "count": ""}.get(name, "pid")
    return Function(name, _p(parameters), doc, f"BEGIN {{ @ = {name}({arguments}); exit(); }}", aggregate=True)


FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in (
        # output
        _statement(
            "printf",
            "format:format",
            "Print formatted",
            r'BEGIN { printf("%d %s\n", pid, comm); exit(); }',
            variadic=True,
        ),
        _statement(
            "print",
            "value:printable top:literal? divisor:literal?",
            "Print a value or a map",
            "BEGIN { print((1, comm)); exit(); }",
        ),
        _statement(
            "time",
            "format:text?",
            "Print the time of day, with a format for strftime(3)",
            r'BEGIN { time("%H:%M:%S\n"); exit(); }',
        ),
        _statement(
            "join",
            "strings:pointer delimiter:text?",
            "Print an array of strings, joined",
            "tracepoint:syscalls:sys_enter_execve { join(args->argv); }",
        ),
        _statement("cat", "format:format", "Print a file", 'BEGIN { cat("/proc/loadavg"); exit(); }', variadic=True),
        _statement(
            "system",
            "format:format",
            "Run a command in the shell",
            'BEGIN { system("date"); exit(); }',
            unsafe=True,
            variadic=True,
        ),
        _statement("exit", "", "End the program", "BEGIN { exit(); }"),
        # maps
        _statement("clear", "map:map", "Delete all keys of a map", "BEGIN { @[1] = 1; clear(@); exit(); }"),
        _statement("zero", "map:map", "Set all values of a map to zero", "BEGIN { @[1] = 1; zero(@); exit(); }"),
        Function(
            "delete",
            _p("element:element"),
            "Delete one element of a map",
            "BEGIN { @[1] = 1; delete(@[1]); exit(); }",
            statement=True,
        ),
        _aggregate("count", "", "Count the calls"),
        _aggregate("sum", "n:integer", "Sum the values"),
        _aggregate("avg", "n:integer", "Average the values"),
        _aggregate("min", "n:integer", "Keep the smallest value"),
        _aggregate("max", "n:integer", "Keep the largest value"),
        _aggregate("stats", "n:integer", "Count, average and total of the values"),
        _aggregate("hist", "n:integer", "A histogram with buckets of powers of two"),
        _aggregate("lhist", "n:integer min:literal max:literal step:literal", "A histogram with buckets of one width"),
        # strings and memory
        _value(
            "str", "address:pointer length:integer?", "The string at an address", 'BEGIN { print(str("abc")); exit(); }'
        ),
        _value("buf", "address:any length:integer?", "Bytes at an address", 'BEGIN { print(buf("abc", 3)); exit(); }'),
        _value(
            "strncmp",
            "a:string b:string length:literal",
            "0 if two strings begin alike, else 1",
            'BEGIN { print(strncmp("abc", "abd", 2)); exit(); }',
        ),
        _value(
            "kptr",
            "address:pointer",
            "The address, as one of kernel memory",
            "BEGIN { print(kptr(curtask) != 0); exit(); }",
        ),
        _value("uptr", "address:pointer", "The address, as one of user memory", "BEGIN { print(uptr(0)); exit(); }"),
        _value("bswap", "n:integer", "The bytes in reverse order", "BEGIN { print(bswap((uint16)0x1234)); exit(); }"),
        # symbols and names
        _value("ksym", "address:pointer", "Name of a kernel address", "BEGIN { print(ksym(0)); exit(); }"),
        _value("usym", "address:pointer", "Name of a user address", "BEGIN { print(usym(0)); exit(); }"),
        _value("kaddr", "name:text", "Address of a kernel symbol", 'BEGIN { print(kaddr("_text") != 0); exit(); }'),
        _value(
            "uaddr",
            "name:text",
            "Address of a symbol of the traced binary",
            'uprobe:/bin/bash:readline { print(uaddr("ps1_prompt")); }',
        ),
        _value("reg", "name:text", "Value of a register", 'uprobe:/bin/bash:readline { print(usym(reg("ip"))); }'),
        _value("kstack", "mode:mode? limit:mode?", "Kernel stack trace", "BEGIN { print(kstack(3)); exit(); }"),
        _value("ustack", "mode:mode? limit:mode?", "User stack trace", "BEGIN { print(ustack(3)); exit(); }"),
        _value(
            "cgroupid", "path:text", "ID of a cgroup", 'BEGIN { print(cgroupid("/sys/fs/cgroup/unified")); exit(); }'
        ),
        _value(
            "cgroup_path",
            "id:integer filter:text?",
            "Path of a cgroup",
            "BEGIN { print(cgroup_path(cgroup)); exit(); }",
        ),
        _value(
            "strftime",
            "format:text time:integer",
            "A time as text",
            'BEGIN { print(strftime("%H:%M:%S", nsecs)); exit(); }',
        ),
        _value("strerror", "number:integer", "Text of an error number", "BEGIN { print(strerror(2)); exit(); }"),
        _value(
            "path", "path:any", "Full path of a `struct path`", "kfunc:filp_close { print(path(args->filp->f_path)); }"
        ),
        # addresses of networks
        _value(
            "ntop",
            "family_or_address:any address:any?",
            "An IP address as text",
            "BEGIN { print(ntop(0x0100007f)); exit(); }",
        ),
        _value(
            "pton", "text:text", "An IP address from text, as bytes", 'BEGIN { print(pton("127.0.0.1")[0]); exit(); }'
        ),
        _value(
            "macaddr",
            "bytes:any",
            "A MAC address as text",
            "kprobe:__dev_queue_xmit { print(macaddr(((struct sk_buff *)arg0)->dev->dev_addr)); }",
        ),
        # acting on what is traced
        Function(
            "signal",
            _p("signal:any"),
            "Send a signal to the current process",
            'tracepoint:syscalls:sys_enter_kill /comm == "victim"/ { signal("KILL"); }',
            statement=True,
            unsafe=True,
        ),
        Function(
            "override",
            _p("value:integer"),
            "Return this from the traced function instead of running it",
            "kprobe:should_failslab { override(-12); }",
            statement=True,
            unsafe=True,
        ),
    )
}
