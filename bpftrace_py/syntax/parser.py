"""Program text to syntax tree: `parse`. PLY's LALR parser runs the grammar of `grammar.py`.

The tables come from `_parsetab.py`, which `build_tables.py` writes when the package is built; without that file they
are made in memory. What the user is told about a syntax error, and where the parser goes on behind it, is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpftrace_py import messages
from bpftrace_py.diagnostics import Diagnostics, Note
from bpftrace_py.language.builtins import BUILTINS
from bpftrace_py.postponed import postponed
from bpftrace_py.source import Source, Span
from bpftrace_py.syntax import ast, grammar
from bpftrace_py.syntax.expectations import describe, shift, valid_tokens
from bpftrace_py.syntax.lexer import MAX_NESTING, TokenList, tokenize
from bpftrace_py.syntax.macros import expand_macros
from bpftrace_py.syntax.type_names import mark_types
from bpftrace_py.syntax.visitor import children

with postponed("inspect"):
    from ply import yacc

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Any

    from bpftrace_py.syntax.lexer import Token

_MAX_TYPE = 32  # pointers and dimensions of a type


def parse(source: Source, diagnostics: Diagnostics) -> ast.Program | None:
    """The syntax tree of a program; None if nothing of it could be used.

    Errors go to `diagnostics`. If there are any, the tree holds the parts between them. A program without probes is not
    an error here.
    """
    lexed = tokenize(source, diagnostics)
    if lexed.broken:
        return None
    program = _Parser(source, diagnostics, lexed).run()
    if program is None or not _check_depth(program, diagnostics):
        return None
    program.span = Span(0, len(source.text))
    return program


def _check_depth(program: ast.Program, diagnostics: Diagnostics) -> bool:
    """Chains such as `1 + 1 + ...` and `else if` make a tree deep without any brackets, and stars make a type deep."""
    for depth, level in enumerate(_levels(program)):
        types = (node for node in level if isinstance(node, ast.TypeName))
        deep = level[0] if depth > MAX_NESTING else next((t for t in types if t.pointers + len(t.dimensions) > _MAX_TYPE), None)
        if deep is not None:
            diagnostics.error(messages.TOO_DEEP, deep.span)
            return False
    return True


def _levels(program: ast.Program) -> Iterator[list[ast.Node]]:
    """The nodes of the tree, level by level."""
    level: list[ast.Node] = [program]
    while level:
        yield level
        level = [child for node in level for child in children(node)]


def deepest(program: ast.Program) -> ast.Node:
    """A node that is as deep in the tree as any."""
    for level in _levels(program):
        node = level[0]
    return node


# --- tables


class _Tables:
    """What PLY's parser needs of a grammar, under PLY's names."""

    def __init__(self, productions: Any, action: Any, goto: Any) -> None:
        self.lr_productions = productions
        self.lr_action: dict[int, dict[str, int]] = action
        self.lr_goto: dict[int, dict[str, int]] = goto


def generate() -> _Tables:
    """New tables, made from the grammar (0.1 s)."""
    # The log would tell that there is no p_error: `_Parser` has it.
    made = yacc.yacc(module=grammar, debug=False, write_tables=False, errorlog=yacc.NullLogger())
    return _Tables(made.productions, made.action, made.goto)


def format_tables(tables: _Tables) -> str:
    """The text of `_parsetab.py`: literals that load without any work, equal rows shared."""
    rows: dict[str, int] = {}

    def numbers(table: dict[int, dict[str, int]]) -> str:
        shared = [rows.setdefault(repr(dict(sorted(row.items()))), len(rows)) for _, row in sorted(table.items())]
        return "{" + ", ".join(f"{state}: r{row}" for state, row in zip(sorted(table), shared, strict=True)) + "}"

    action, goto = numbers(tables.lr_action), numbers(tables.lr_goto)
    productions = [(str(p), p.name, p.len, p.func, "", 0) for p in tables.lr_productions]
    lines = ['"""Written by build_tables.py from grammar.py. Do not edit."""']
    lines += (f"r{number} = {row}" for row, number in rows.items())
    lines += (f"ACTION = {action}", f"GOTO = {goto}", "PRODUCTIONS = (")
    lines += (f"    {production!r}," for production in productions)
    return "\n".join(lines) + "\n)\n"


_tables: _Tables | None = None


def _load_tables() -> _Tables:
    global _tables
    if _tables is None:
        try:
            from bpftrace_py.syntax import _parsetab  # type: ignore[attr-defined, unused-ignore]
        except ImportError:
            _tables = generate()
        else:
            productions = [yacc.MiniProduction(*fields) for fields in _parsetab.PRODUCTIONS]
            functions = vars(grammar)
            for production in productions:
                production.bind(functions)
            _tables = _Tables(productions, _parsetab.ACTION, _parsetab.GOTO)
    return _tables


# --- one run


def _token(kind: str, at: int) -> Token:
    token = yacc.YaccSymbol()
    token.type, token.value, token.lexpos, token.end, token.text = kind, None, at, at, ""
    return token  # type: ignore[no-any-return]


_ARGUMENTS = ("STRING", "INTEGER", "IDENTIFIER", "VARIABLE", "MAP", "POSITIONAL")


class _Parser:
    """PLY's parser over the tokens of one program, and what happens at its errors."""

    def __init__(self, source: Source, diagnostics: Diagnostics, lexed: TokenList) -> None:
        self._source = source
        self._diagnostics = diagnostics
        self._bad_characters = lexed.bad_characters
        # PLY cannot recover if nothing is on its stack, hence START.
        self._tokens = [_token("START", 0), *mark_types(expand_macros(lexed.tokens))]
        self._next = 0
        self._sync: Token | None = None
        self._recovering = False
        self._automaton = yacc.LRParser(_load_tables(), self._error)
        self._automaton.text_of = self._text_of
        self._automaton.integer_too_large = self._integer_too_large

    def run(self) -> ast.Program | None:
        return self._automaton.parse(lexer=self)  # type: ignore[no-any-return]

    def token(self) -> Token | None:
        """The next token, for PLY."""
        if self._sync is not None:
            token, self._sync = self._sync, None
            self._recovering = True
            return token
        if self._recovering:
            # SYNC has been taken. PLY would keep quiet about errors in the next three tokens.
            self._recovering = False
            self._automaton.errok()
        at = self._next
        if at == len(self._tokens):
            return None
        self._next = at + 1
        return self._tokens[at]

    def _text_of(self, token: Token) -> str:
        return token.text or self._source.text[token.lexpos : token.end]

    def _integer_too_large(self, span: Span) -> None:
        self._diagnostics.error(messages.INTEGER_TOO_LARGE, span, text=self._source.text[span.start : span.end])

    # --- errors

    def _error(self, token: Token | None) -> None:
        """Called by PLY at a token that does not fit (None: the end). Reports it and says where to go on."""
        states = list(self._automaton.statestack)
        expected = valid_tokens(self._automaton, states)
        if token is None:
            self._report_end(expected)
            return
        # PLY goes on in the innermost state that can take an `error`.
        recovery = None
        while recovery is None:
            recovery = shift(self._automaton, states, "error")
            states.pop()
        in_block = "SYNC_BLOCK" not in self._automaton.action[recovery]
        header = self._probe_in_block() if in_block else None
        if header is not None:
            self._report(header, {"}"})
            self._next = len(self._tokens)
            return
        if not self._beside_bad_character(token):
            self._report(token, expected)
        if len(self._diagnostics.reported) >= Diagnostics.LIMIT:
            self._next = len(self._tokens)
        elif in_block:
            self._skip_statement()
        else:
            self._skip_probe()

    def _report(self, token: Token, expected: set[str]) -> None:
        self._diagnostics.error(
            messages.UNEXPECTED_TOKEN,
            Span(token.lexpos, token.end),
            hint=self._hint(token, expected),
            notes=self._open_block(self._next - 1) if expected == {"}"} else (),
            found=_quoted(self._text_of(token)),
            expected=describe(expected),
        )

    def _hint(self, token: Token, expected: set[str]) -> str | None:
        """What those who come from other languages, or hurry, mean by this."""
        word, before = self._statement_word(), self._tokens[self._next - 2] if self._next > 1 else None
        if word in _OTHER_LANGUAGES:
            return _OTHER_LANGUAGES[word]
        if "ATTACH_POINT" in expected or (before is not None and before.type == "ATTACH_POINT"):
            return self._hint_outside_blocks(token)
        if token.type == "ASSIGN" and "EQUAL" in expected and expected & {")", "PREDICATE_CLOSE"}:
            return "`==` compares"
        if token.type.startswith("ASSIGN") and token.type not in expected:
            hint = "only `@maps` and `$variables` can be assigned to"
            if before is not None and before.value == word and word not in BUILTINS:
                hint += f": did you mean `${word}`?"
            return hint
        if token.type in ("INCREMENT", "DECREMENT") and before is not None and before.type in ("IDENTIFIER", "INTEGER"):
            return "only `@maps` and `$variables` can be counted up and down"
        if before is not None and (before.type == "ELSE" or (before.type == ")" and expected == {"{"})):
            return "what belongs to `if`, `while` and `unroll` is always in braces"
        if before is not None and before.type == "IDENTIFIER" and token.type in _ARGUMENTS:
            from bpftrace_py.language.functions import FUNCTIONS

            if before.value in FUNCTIONS:
                return f"the arguments of a function are in parentheses: {before.value}(...)"
        return None

    def _hint_outside_blocks(self, token: Token) -> str | None:
        """The same, between the blocks."""
        word = self._top_level_word()
        if word in _NOT_AT_TOP_LEVEL:
            return _NOT_AT_TOP_LEVEL[word]
        from bpftrace_py.language.functions import FUNCTIONS

        if word in FUNCTIONS and self._text_of(token) == "(":
            return f"a program is a probe and its block, such as `BEGIN {{ {FUNCTIONS[word].signature}; }}`"
        if token.type == "{":
            return "before a block stands its probe, such as `BEGIN`"
        return None

    def _top_level_word(self) -> str:
        """The first word behind the last block or declaration, "" if the error is at the first."""
        at = self._next - 1
        while at > 0 and self._tokens[at - 1].type in ("ATTACH_POINT", "JUNK"):
            at -= 1
        first = self._tokens[at]
        return str(first.value.text) if first.type == "ATTACH_POINT" and at < self._next - 1 else ""

    def _statement_word(self) -> str:
        """The name that the statement in which the error is begins with, "" if it is none."""
        at = self._next - 2
        while at > 0 and self._tokens[at - 1].type not in ("{", "}", ";"):
            at -= 1
        return str(self._tokens[at].value) if at > 0 and self._tokens[at].type == "IDENTIFIER" else ""

    def _report_end(self, expected: set[str]) -> None:
        last = self._tokens[-1]
        notes = self._open_block(len(self._tokens)) if "}" in expected else ()
        span = Span(max(0, last.end - 1), last.end)
        self._diagnostics.error(messages.UNEXPECTED_END, span, notes=notes, expected=describe(expected))

    def _open_block(self, end: int) -> tuple[Note, ...]:
        """A note about the innermost `{` that is still open at the token `end`."""
        depth = 0
        for token in reversed(self._tokens[:end]):
            depth += (token.type == "{") - (token.type == "}")
            if depth > 0:
                return (Note("this `{` is not closed", Span(token.lexpos, token.end)),)
        return ()

    def _beside_bad_character(self, token: Token) -> bool:
        """Whether a bad character on the same line, already reported, explains the error."""
        line = self._source.position(token.lexpos)[0]
        return any(self._source.position(at)[0] == line for at in self._bad_characters)

    def _probe_in_block(self) -> Token | None:
        """The beginning of a probe, such as `END` in the first column, if the error is on its line.

        Then the block before it was not closed, and nothing behind it can be trusted.
        """
        line_start = self._source.text.rfind("\n", 0, self._tokens[self._next - 1].lexpos) + 1
        index = self._next - 1
        while index > 0 and self._tokens[index - 1].lexpos >= line_start:
            index -= 1
        token = self._tokens[index]
        if token.lexpos != line_start or line_start == 0 or token.type != "IDENTIFIER":
            return None
        behind = self._source.text[token.end : token.end + 1]
        return token if token.value in ("BEGIN", "END") or behind == ":" else None

    def _skip_statement(self) -> None:
        """Go on behind the statement: behind its semicolon or its last block, or before the end of the block."""
        depth = 0
        at = self._next - 1
        word = self._statement_word()
        if word == "for":  # the semicolons in its head end nothing
            at = next((i for i in range(at, len(self._tokens)) if self._tokens[i].type in ("{", "}")), at)
        while at < len(self._tokens):
            kind = self._tokens[at].type
            if kind == ";" and depth == 0:
                at += 1
                break
            if kind == "{":
                depth += 1
            elif kind == "}":
                if depth == 0:
                    break
                depth -= 1
                follower = self._tokens[at + 1].type if at + 1 < len(self._tokens) else ""
                if depth == 0 and follower != ("WHILE" if word == "do" else "ELSE"):
                    at += 1
                    break
            at += 1
        self._resume(at, "SYNC")

    def _skip_probe(self) -> None:
        """Go on at the block of the broken probe, or behind a brace that opens nothing."""
        at = self._next - 1
        if self._tokens[at].type == "}":
            self._resume(at + 1, "SYNC")
            return
        if self._top_level_word() in ("config", "fn", "macro"):  # what is in its braces is no block of a probe
            self._resume(self._behind_braces(at), "SYNC")
            return
        while at < len(self._tokens) and self._tokens[at].type not in ("{", "DECLARATION"):
            at += 1
        self._resume(at, "SYNC_BLOCK" if at < len(self._tokens) and self._tokens[at].type == "{" else "SYNC")

    def _behind_braces(self, at: int) -> int:
        """The number of the token behind the next braces."""
        depth = 0
        for number in range(at, len(self._tokens)):
            kind = self._tokens[number].type
            depth += (kind == "{") - (kind == "}")
            if kind == "}" and depth == 0:
                return number + 1
        return len(self._tokens)

    def _resume(self, at: int, kind: str) -> None:
        self._next = at
        # PLY drops tokens behind an error until one fits: this one does.
        self._sync = _token(kind, self._tokens[at - 1].end)


_OTHER_LANGUAGES = {
    "for": "there is no `for` loop: `while` and `unroll` are the loops",
    "do": "there is no `do` loop: `while` and `unroll` are the loops",
    "switch": "there is no `switch`: write `if` and `else if`",
    **dict.fromkeys(("elif", "elseif", "elsif"), "it is written `else if`"),
    "goto": "there is no `goto`",
    **dict.fromkeys(
        ("let", "var", "local", "my", "int", "long", "char", "unsigned", "auto", "string", "uint64", "int64", "uint32", "int32"),
        "variables are not declared: write `$name = value`",
    ),
}


# What newer versions of bpftrace, and C, have between the blocks.
_NOT_AT_TOP_LEVEL = {
    "config": "there are no `config` blocks: the BPFTRACE_* variables of the environment are the settings",
    "fn": "there are no functions of the script's own",
    "macro": "there are no macros but those of `#define`",
    "import": "there is no `import`: `#include` takes declarations from a file",
    **dict.fromkeys(
        ("int", "void", "char", "long", "unsigned", "static", "const", "let"),
        "there are no functions or variables outside the blocks: what probes share is kept in a map, such as `@name`",
    ),
}


def _quoted(text: str) -> str:
    line = text.partition("\n")[0]
    return f"`{line if len(line) <= 40 else line[:37] + '...'}`"
