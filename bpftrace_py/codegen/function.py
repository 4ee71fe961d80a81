"""`FunctionText`: the text of one C function while it is written.

Memory that a program needs for a moment (keys, strings, tuples) is asked for here and given back at the end of the
statement, so that a later one can have it. What does not fit on the kernel's stack of 512 bytes is moved to a per-CPU
map of the program's own when the function is finished; the text has marks until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bpftrace_py.codegen.ctypes_text import Structs, is_memory
from bpftrace_py.types import Type

# Bytes of named memory on the stack; the rest of the 512 is for what the compiler spills, which is more in long functions.
STACK_BUDGET = ((100, 256), (250, 128), (1 << 30, 32))  # (up to so many lines, bytes)
_MANY_ADDRESSES = 40  # lines, from which on a loop may have more of them than the compiler has room for
_MARK = "\x01"


class FunctionText:
    """Lines, names and memory of one function. `finish` puts its head before them."""

    def __init__(self, structs: Structs, reserved: frozenset[str]) -> None:
        self._structs = structs
        self._reserved = reserved
        self._lines: list[str] = []
        self._depth = 1
        self._counters: dict[str, int] = {}
        self._memory: dict[str, Type] = {}  # name -> type, in order of first use
        self._scalars: list[str] = []
        self._cleared: dict[str, int] = {}  # name -> its value at the start, other than 0 for numbers only
        self._unfollowed: set[str] = set()
        self._zero = ""
        self._entries: dict[str, str] = {}  # what is read of the context -> its local
        self._entry_lines: list[str] = []
        self._free: dict[tuple[Type, str], list[str]] = {}
        self._taken: list[tuple[tuple[Type, str], str]] = []
        self._known: list[dict[str, str]] = [{}]
        self.names: set[str] = set()  # that are taken, beside the reserved ones
        self.scratch_size = 0  # bytes of the struct `scratch`, when the function is finished

    # --- lines

    def line(self, text: str) -> None:
        self._lines.append("\t" * self._depth + text)

    def comment(self, text: str) -> None:
        self.line("// " + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """`head {` ... `}`. What is learned inside is not known after it."""
        if head == "else" and self._lines and self._lines[-1] == "\t" * self._depth + "}":
            self._lines[-1] += " else {"
        else:
            self.line(f"{head} {{")
        self._depth += 1
        self._known.append({})
        yield
        self._known.pop()
        self._depth -= 1
        self.line("}")

    @contextmanager
    def captured(self, deeper: int = 1) -> Iterator[list[str]]:
        """Lines written inside go to the list that is given instead, indented for a block so many levels below this one."""
        outer, self._lines = self._lines, []
        self._known.append({})
        self._depth += deeper
        inner = self._lines
        try:
            yield inner
        finally:
            self._depth -= deeper
            self._known.pop()
            self._lines = outer

    def add(self, lines: list[str]) -> None:
        self._lines += lines

    # --- names

    def fresh(self, stem: str) -> str:
        """A name that nothing in the function has yet: `key`, `key_2`, ..."""
        while True:
            n = self._counters.get(stem, 0) + 1
            self._counters[stem] = n
            name = stem if n == 1 else f"{stem}_{n}"
            if name not in self.names and name not in self._reserved:
                self.names.add(name)
                return name

    def known(self, what: str) -> str | None:
        """The local variable that holds a value asked for before, if it is sure to have been set here."""
        for scope in reversed(self._known):
            if what in scope:
                return scope[what]
        return None

    def learn(self, what: str, name: str) -> None:
        self._known[-1][what] = name

    # --- memory

    def memory(self, type_: Type, stem: str, kept: bool = False) -> str:
        """An object of a type, as an lvalue. Unless `kept`, it is another statement's after this one."""
        free = self._free.get((type_, stem))
        if free and not kept:
            name = free.pop()
        else:
            name = self.fresh(stem)
            self._memory[name] = type_
        if not kept:
            self._taken.append(((type_, stem), name))
        return f"{_MARK}{name}{_MARK}"

    def unfollowed(self, type_: Type, stem: str, start: int | None = 0) -> str:
        """A kept object in memory whose content the verifier knows nothing about: all zeros at the start, or a number (None:
        whatever it was)."""
        lvalue = self.memory(type_, stem, kept=True)
        name = lvalue.strip(_MARK)
        self._unfollowed.add(name)
        if start is not None:
            self._cleared[name] = start
        return lvalue

    def release(self) -> None:
        """The statement is over: its memory is free again."""
        for kind, name in self._taken:
            self._free.setdefault(kind, []).append(name)
        self._taken = []

    def scalar(self, c_type: str, stem: str) -> str:
        """A number that lives as long as the function, 0 at its start."""
        name = self.fresh(stem)
        self._scalars.append(f"{c_type} {name} = 0;")
        return name

    def entry(self, text: str, stem: str, signed: bool) -> str:
        """A local that is given a value of the context at the very start: behind a branch the compiler may load from an
        address that it has chosen by the branch, and the verifier wants the context at constant offsets."""
        if text not in self._entries:
            self._entries[text] = name = self.fresh(stem)
            self._entry_lines += [f"{'s64' if signed else 'u64'} {name} = {text};", f"keep({name});"]
        return self._entries[text]

    def zero(self) -> str:
        """A u32 that is 0, whose address is the key of an array's only slot."""
        if not self._zero:
            self._zero = self.scalar("u32", "zero")
        return self._zero

    def cleared(self, lvalue: str) -> None:
        """This object is all zeros at the start of the function."""
        self._cleared[lvalue.strip(_MARK)] = 0

    def finish(self, scratch: str, getter: str) -> tuple[list[str], list[str]]:
        """The lines of the body, and the members of the struct `scratch` that it needs (none if all fits on the stack)."""
        moved = self._moved()
        head = [*self._entry_lines, *self._scalars]
        for name, type_ in self._memory.items():
            if name not in moved:
                aligned = " aligned8" if type_.alignment < 8 <= type_.size else ""
                head.append(f"{self._structs.declare(type_, name)}{aligned};")
        if moved:
            head += [f"struct {scratch} *scratch = {getter}();", "if (!scratch)", "\treturn 0;"]
        for name, start in self._cleared.items():
            place = f"scratch->{name}" if name in moved else name
            type_ = self._memory[name]
            if not is_memory(type_):
                head.append(f"{place} = {start};")
                continue
            size = type_.size
            address = place if self._structs.is_array(type_) else f"&{place}"
            head.append(f"{'zero_fill' if size <= 128 else 'zero_fill_large'}({address}, {size});")
        if moved and len(self._lines) > _MANY_ADDRESSES:
            self._forget_scratch_in_loops()
        parts = "\n".join(self._lines).split(_MARK)
        for i in range(1, len(parts), 2):
            if parts[i] in moved:
                parts[i] = f"scratch->{parts[i]}"
        # A number is volatile: in a register its values would be followed again.
        members = [
            f"{'volatile ' if n in self._unfollowed and not is_memory(t) else ''}{self._structs.declare(t, n)} aligned8;"
            for n, t in self._memory.items()
            if n in moved
        ]
        self.scratch_size = sum((self._memory[name].size + 7) & ~7 for name in moved)
        return ["\t" + line for line in head] + [""] * bool(head) + ["".join(parts)], members

    def _forget_scratch_in_loops(self) -> None:
        """The compiler works out addresses in front of a loop, those of all that is in it if it sees that they stay the
        same, and has no room to keep so many."""
        lines: list[str] = []
        for line in self._lines:
            lines.append(line)
            code = line.lstrip("\t")
            if code.startswith(("while (", "for (")) and code.endswith("{"):
                lines.append("\t" * (len(line) - len(code) + 1) + "keep(scratch);")
        self._lines = lines

    def _moved(self) -> set[str]:
        """The names of what must not be on the stack or has no room there: the largest first."""
        budget = next(size for lines, size in STACK_BUDGET if len(self._lines) <= lines)
        moved = set(self._unfollowed)
        total = sum((t.size + 7) & ~7 for name, t in self._memory.items() if name not in moved)
        for name, type_ in sorted(self._memory.items(), key=lambda item: -item[1].size):
            if total <= budget:
                break
            if name in moved:
                continue
            moved.add(name)
            total -= (type_.size + 7) & ~7
        return moved
