"""How `system()` hands strings of the traced world to a shell without their ever being read as code.

A format such as `echo "%s" %d` has holes. Numbers are digits and go into the script text as they are. Every other value
may hold anything (a process may call itself `; rm -rf ~`), so it never becomes part of the text that the shell parses: it
is passed as an argument, kept in a shell variable, and the text has a reference in the place of the hole, written so that
it fits there:

    bare            %s      "${bpftrace_1}"       one word, whatever is in it: no splitting, no wildcards
    "double ..."    %s      ${bpftrace_1}
    'single ...'    %s      '"${bpftrace_1}"'

The script text is therefore the same for every event, and parsing it cannot depend on traced data. That is the guarantee.
What could break it is a second evaluation: something in the script that takes the *value* of a variable and reads it as
code again. So a script that has such holes is refused, when it is compiled, if it uses what evaluates again (`eval`, `sh
-c`, `source`, `trap`, a shell or an interpreter without a script file, `$((...))` over anything but numbers), if a hole
stands where a command's name belongs or inside the program of `awk` or `sed`, or if the quoting around it is of a kind
that this module does not follow (backquotes, here-documents, `${...}`). Such a script without holes, or with numbers only,
is not looked at.

The limits: which program runs is the script's choice, and so is what that program does with its arguments. A value that
begins with `-` may be taken for an option (write `--` before it), a value used as a file name may name any file, and a
program that is given a value and evaluates it, unknown to the lists below, cannot be noticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum


class Hole(Enum):
    """A conversion in the format: of a number (only digits, letters and signs come of it), or of anything else."""

    NUMBER = "number"
    TEXT = "text"


class Refused(Exception):
    """This script cannot be made safe. `reason` ends the sentence "a traced string cannot be used here: ..."."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


SHELLS = frozenset("sh bash dash ash ksh mksh zsh fish csh tcsh busybox".split())
# Take a program as an argument or from standard input, unless they are given a file of it.
_INTERPRETERS = SHELLS | frozenset("python python2 python3 perl ruby node lua php tclsh expect osascript".split())
# Evaluate what they are given, here or elsewhere, or what comes in on standard input.
_EVALUATORS = frozenset(
    "eval . source trap alias let [[ declare typeset su runuser ssh rsh at batch crontab parallel watch script screen"
    " tmux gdb bpftrace bpftrace-py".split()
)
# Have a program among their arguments, or set what later commands depend on. They may stand beside a hole, not hold one.
_PROGRAM_TAKERS = frozenset(
    "awk gawk mawk nawk sed ed ex vi vim jq make export readonly local unset getopts mysql psql sqlite3".split()
)
# Variables whose value says what later commands are, or which libraries they load.
_RULING_VARIABLES = frozenset("PATH IFS ENV BASH_ENV SHELL PS4 CDPATH".split())
_RESERVED = frozenset("if then else elif while until do ! { time".split())
# Run the command that follows: their options that take a value, and how many operands stand before the command.
_WRAPPERS: dict[str, tuple[str, int]] = {
    "builtin": ("", 0), "chroot": ("", 1), "chrt": ("TPD", 1), "command": ("", 0), "doas": ("uC", 0), "env": ("uCS", 0),
    "exec": ("a", 0), "flock": ("wE", 1), "ionice": ("cnp", 0), "nice": ("n", 0), "nohup": ("", 0), "setsid": ("", 0),
    "stdbuf": ("ioe", 0), "sudo": ("ugpChRTD", 0), "taskset": ("", 1), "timeout": ("sk", 1), "xargs": ("IELnPsad", 0),
}  # fmt: skip

_MOST_NESTED = 40  # parentheses, and commands that run one another

_WORD_ENDS = " \t\n;&|()<>"
_TEXT = "\0text"
_NUMBER = "0"


class _Word:
    """One word of a command: its letters without quotes, and whether it has a hole or an expansion."""

    __slots__ = ("pieces", "hole", "expansion", "literal_before_hole")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.hole = self.expansion = False
        self.literal_before_hole = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def name(self) -> str:
        return self.text.rsplit("/", 1)[-1]

    @property
    def is_assignment(self) -> bool:
        before, equals, _ = (self.literal_before_hole if self.hole else self.text).partition("=")
        return bool(equals) and before.isidentifier() and before.isascii()


def reference(number: int) -> str:
    """The shell variable that holds the `number`th text value, counted from 1."""
    return f"${{bpftrace_{number}}}"


def prologue(count: int) -> str:
    """What stands before a script with `count` text holes: it takes the values from `$1`, `$2`, ... and hides those."""
    return "".join(f"bpftrace_{n}=${{{n}}} " for n in range(1, count + 1)) + "; set --; " if count else ""


def plan(pieces: Sequence[str | Hole]) -> list[str]:
    """What to write in the place of each `Hole.TEXT` in a format, given as literal texts and holes in their order.

    Raises `Refused`. The script is then `prologue(len(result))`, the literals, the numbers, and these references.
    """
    if Hole.TEXT not in pieces:
        return []
    symbols: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            symbols.extend(piece)
        else:
            symbols.append(_TEXT if piece is Hole.TEXT else _NUMBER)
    scanner = _Scanner(symbols)
    scanner.commands_until("")
    for command in scanner.commands:
        _check_command(command)
    return scanner.references


class _Scanner:
    """Follows the quoting of a POSIX shell through a script, far enough to know the quotes around each hole."""

    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols
        self._at = 0
        self._depth = 0  # of parentheses
        self.references: list[str] = []
        self.commands: list[list[_Word]] = []

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._symbols[at] if at < len(self._symbols) else ""

    def _hole(self, before: str, after: str) -> None:
        self.references.append(before + reference(len(self.references) + 1) + after)
        self._at += 1

    def commands_until(self, closing: str) -> None:
        """Scan commands up to `closing` (`)` or the end), which is consumed."""
        words: list[_Word] = []
        redirected = False
        while True:
            while self._peek() and self._peek() in " \t":
                self._at += 1
            symbol = self._peek()
            if symbol == "#":
                self._comment()
            elif symbol in ("<", ">"):
                self._redirection()
                redirected = True
            elif not symbol or symbol in ";&|()\n":
                self.commands.append(words)
                words, redirected = [], False
                self._at += 1
                if not symbol or symbol == closing:
                    if closing and not symbol:
                        raise Refused("its parentheses do not match")
                    return
                if symbol == "(":
                    self._parenthesis()
            else:
                word = self._word()
                if redirected:  # a file name, or the digit before `>`
                    redirected = False
                elif not (word.text.isdigit() and self._peek() in ("<", ">")):
                    if closing and word.text == "case" and not words:
                        raise Refused("`case` inside `$(...)` cannot be followed")
                    words.append(word)

    def _parenthesis(self) -> None:
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise Refused("its parentheses are nested too deeply")
        if self._peek() == "(":
            self._at += 1
            self._arithmetic()
        else:
            self.commands_until(")")
        self._depth -= 1

    def _comment(self) -> None:
        while self._peek() not in ("", "\n"):
            if self._peek() == _TEXT:
                self._hole("", "")
            else:
                self._at += 1

    def _redirection(self) -> None:
        if self._peek() == "<" and self._peek(1) == "<":
            raise Refused("the script has a here-document (`<<`)", 'echo "..." | command does the same')
        self._at += 1
        while self._peek() and self._peek() in "<>&|":
            self._at += 1

    def _word(self) -> _Word:
        word = _Word()
        while (symbol := self._peek()) and symbol not in _WORD_ENDS:
            if symbol == _TEXT:
                self._note_hole(word)
                self._hole('"', '"')
            elif symbol == "'":
                self._single_quoted(word)
            elif symbol == '"':
                self._double_quoted(word)
            elif symbol in "\\$`":
                self._special(word, quoted=False)
            else:
                word.pieces.append(symbol)
                self._at += 1
        return word

    @staticmethod
    def _note_hole(word: _Word) -> None:
        if not word.hole:
            word.hole, word.literal_before_hole = True, word.text

    def _single_quoted(self, word: _Word) -> None:
        self._at += 1
        while (symbol := self._peek()) != "'":
            if not symbol:
                raise Refused("its quotes do not match")
            if symbol == _TEXT:
                self._note_hole(word)
                self._hole("'\"", "\"'")
            else:
                word.pieces.append(symbol)
                self._at += 1
        self._at += 1

    def _double_quoted(self, word: _Word) -> None:
        self._at += 1
        while (symbol := self._peek()) != '"':
            if not symbol:
                raise Refused("its quotes do not match")
            if symbol == _TEXT:
                self._note_hole(word)
                self._hole("", "")
            elif symbol in "\\$`":
                self._special(word, quoted=True)
            else:
                word.pieces.append(symbol)
                self._at += 1
        self._at += 1

    def _special(self, word: _Word, quoted: bool) -> None:
        """A backslash, a dollar sign or a backquote."""
        symbol, following = self._peek(), self._peek(1)
        if symbol == "`":
            raise Refused("the script has backquotes", "use $(...) instead")
        if following == _TEXT:
            raise Refused(f"`{symbol}` stands before it")
        if symbol == "\\":
            if quoted and following not in ("$", "`", '"', "\\", "\n"):
                word.pieces.append(symbol)
            word.pieces.append("" if following == "\n" else following)
            self._at += 2
            return
        word.expansion = True
        self._at += 1
        if following == "(":
            self._at += 1
            self._parenthesis()
        elif following == "{":
            self._parameter()
        elif following in ("'", '"') and not quoted:
            raise Refused(f"shells differ in what `${following}` means")

    def _arithmetic(self) -> None:
        depth = 2
        while depth:
            symbol = self._peek()
            if not symbol:
                raise Refused("its parentheses do not match")
            if symbol not in "()0123456789 +-*/%<>=!&|^~?:":
                raise Refused("the script computes with `((...))` on something other than numbers")
            depth += (symbol == "(") - (symbol == ")")
            self._at += 1

    def _parameter(self) -> None:
        self._at += 1
        while (symbol := self._peek()) != "}":
            if not (symbol and symbol.isascii() and (symbol.isalnum() or symbol in "_@*#?:-+=%/.,")):
                raise Refused(
                    "the script has a `${...}` that is more than a name", "set a variable before, and use its name"
                )
            self._at += 1
        self._at += 1


def _check_command(words: list[_Word], wrappers: int = 0) -> None:
    """Refuse a simple command that would evaluate a value again, in a script that has text holes."""
    first = 0
    while first < len(words) and (
        words[first].is_assignment or (words[first].text in _RESERVED and not words[first].hole)
    ):
        _check_assignment(words[first])
        first += 1
    if first == len(words):
        return
    command, arguments = words[first], words[first + 1 :]
    if command.hole:
        raise Refused("it would choose which command is run")
    if command.expansion:
        raise Refused(f"the command `{command.text}...` is not known before it is run")
    name = command.name
    if name in _WRAPPERS:
        if wrappers > _MOST_NESTED:
            raise Refused("too many commands run one another")
        _check_command(_wrapped(name, arguments), wrappers + 1)
    elif name in _EVALUATORS:
        raise Refused(f"`{name}` may evaluate it as code")
    elif name in _INTERPRETERS:
        _check_interpreter(name, arguments)
    else:
        _check_arguments(name, arguments)


def _check_assignment(word: _Word) -> None:
    name = word.literal_before_hole.partition("=")[0]
    if name in _RULING_VARIABLES or name.startswith(("LD_", "PYTHON", "PERL", "GIT_")):
        raise Refused(f"`{name}` rules which code other commands run")


def _check_interpreter(name: str, arguments: list[_Word]) -> None:
    script = arguments[0] if arguments else None
    if script is None or script.hole or script.expansion or script.text.startswith("-") or name == "busybox":
        hint = "system() is a shell already: write the command itself" if name in SHELLS else None
        raise Refused(
            f"`{name}` may evaluate it as code", hint or f"give `{name}` its program in a file, before any option"
        )


def _check_arguments(name: str, arguments: list[_Word]) -> None:
    if name in _PROGRAM_TAKERS and any(word.hole for word in arguments):
        raise Refused(f"`{name}` may take it for a part of its program")
    for word in arguments:
        if word.name in SHELLS and name not in ("echo", "printf", "ls", "pgrep", "pkill", "killall", "which"):
            raise Refused(f"`{name}` may start `{word.name}`, which may evaluate it as code")


def _wrapped(name: str, arguments: list[_Word]) -> list[_Word]:
    """The words of the command that a wrapper such as `timeout 5 COMMAND...` runs."""
    with_value, operands = _WRAPPERS[name]
    rest = deque(arguments)
    while rest:
        word = rest[0]
        if word.text.startswith("-") and not word.hole and not word.expansion:
            rest.popleft()
            if name in ("env", "sudo", "flock") and (
                word.text.startswith(("-S", "--split", "-c", "--command", "-s", "-i"))
            ):
                raise Refused(f"`{name} {word.text}` may evaluate it as code")
            if word.text == "--":
                break
            if len(word.text) == 2 and word.text[1] in with_value and rest:
                rest.popleft()
        elif word.is_assignment:
            _check_assignment(rest.popleft())
        elif operands:
            operands -= 1
            rest.popleft()
        else:
            break
    return list(rest)[operands:]
