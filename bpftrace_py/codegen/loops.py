"""How often a loop may go round.

The kernel's verifier follows a loop round by round and remembers every branch that it has not tried yet, up to a limit.
A short loop, which plainly counts to a small constant, is left to it. Any other gets a bound (`out_of_rounds` in the
prelude): on a kernel that ends loops by itself (may_goto, 6.9) a high one for all loops together, elsewhere one that keeps
the whole program below the verifier's limit. Where a bound cuts a loop short at run time, that is counted and told. On
events, such loops also take from a share of the CPU's time (`enter_loop` in `tables.py`).

What a loop that is not short changes is kept in memory whose content the verifier does not follow (`LoopPlan`): with
their values it would tell each round apart from every other and never be done.
"""

from __future__ import annotations

import re

from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk

# Of the 8192 that the verifier keeps in mind. Where there are more, it gives up; some kernels of 6.18 have an oops then.
BRANCHES = 3500
INSTRUCTIONS = 350_000  # of the million that it looks at
# Of all loops of a probe together, each time it runs.
MOST_ROUNDS = 1_000_000
MOST_ROUNDS_OF_EVENT = 20_000
SHORT = 64  # rounds, of all loops around it together, that the verifier may follow one by one
SHORT_WHEN_TOLD = 8  # the same where each failed read is told (-k): another branch for each of them
SIMPLE = 4000  # the same, times the nodes of its body, of a loop that calls nothing

# What the calls of our own routines and of the prelude's cost, in branches.
_ROUTINES = {
    "wakeup(": 2, "count_lost(": 1, "send(": 5, "signed_div(": 5, "signed_mod(": 5, "log2_bucket(": 8, "linear_bucket(": 3,
    "as_int(": 1, "read_any(": 1, "read_any_str(": 1,
}  # fmt: skip
_BRANCH = re.compile(r"\bif \(|\?|&&|\|\||\bwhile \(")
_COMPARED = re.compile(r"(aligned_)?strings_differ\(.*?, (\d+)\)")
_STACK = re.compile(r"keep_stack\(ctx, [^,]*, (\d+),")
_COUNTED = re.compile(r"\bfor \(u\d+ \w+ = 0; \w+ < (\d+);")
_FILLED = re.compile(r"(?:__builtin_memcpy|copy_text|zero_fill)\(.*?, (\d+)\)")


class Cost:
    """What the verifier has to do for a piece of a program: branches to remember, instructions to look at."""

    __slots__ = ("branches", "instructions")

    def __init__(self, branches: int = 0, instructions: int = 0) -> None:
        self.branches, self.instructions = branches, instructions

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.branches + other.branches, self.instructions + other.instructions)

    def times(self, rounds: int) -> Cost:
        return Cost(self.branches * rounds, self.instructions * rounds)

    def rounds(self, share: float, part: float = 1.0) -> int:
        """How many times it fits in a share of what the verifier allows. `part` is the exponent of a loop in a loop."""
        branches, instructions = (BRANCHES * share) ** part, (INSTRUCTIONS * share) ** part
        return max(
            1, min(int(branches / max(self.branches, 1)), int(instructions / max(self.instructions, 1)), MOST_ROUNDS)
        )

    def share(self) -> float:
        """How much it is of what the verifier allows."""
        return max(self.branches / BRANCHES, self.instructions / INSTRUCTIONS)

    def is_small(self) -> bool:
        """Whether it needs no thought."""
        return self.share() < 0.05


def cost_of(lines: list[str]) -> Cost:
    """An estimate for lines of C, each once; loops of the script inside them are counted apart."""
    branches = instructions = 0
    for line in lines:
        text = line.partition("//")[0]
        stacks = [int(n) for n in _STACK.findall(text)]
        compared = [(int(n), 11 if aligned else 112) for aligned, n in _COMPARED.findall(text)]  # bytes, instructions for 8
        branches += len(_BRANCH.findall(text)) + sum(n * text.count(name) for name, n in _ROUTINES.items())
        branches += sum(n // 8 + 1 for n, _ in compared) + sum(n // 2 + 20 for n in stacks)
        branches += sum(8 * int(n) for n in _COUNTED.findall(text) if "round" not in text)
        instructions += 6 + sum(2 * int(n) for n in _FILLED.findall(text))
        instructions += sum(n * each // 8 for n, each in compared) + sum(20 * n for n in stacks)
    return Cost(branches, instructions + 6 * branches)


class LoopPlan:
    """The loops of one program: which are `short`, and the variables that loops change and the verifier must not follow."""

    def __init__(self, tree: ast.Probe, longest_short: int = SHORT) -> None:
        self._longest_short = longest_short
        self._counted: dict[int, int | None] = {}  # id of a `while` -> the rounds that it counts
        self._short: dict[int, str] = {}  # id of a loop -> the variable that it counts; "" for `unroll`
        self._find_short(tree.body, 1)
        while True:
            self.unfollowed: set[str] = set()
            self._find_changes(tree.body)
            short = {loop: name for loop, name in self._short.items() if name not in self.unfollowed}
            if short == self._short:
                return
            self._short = short

    def is_short(self, node: ast.While | ast.Unroll) -> bool:
        return id(node) in self._short

    def counted(self, node: ast.While) -> int | None:
        """The rounds of a loop that counts from a constant to a constant."""
        return self._counted[id(node)]

    def _find_short(self, block: ast.Block, times: int) -> None:
        for i, statement in enumerate(block.statements):
            match statement:
                case ast.If():
                    self._find_short(statement.then, times)
                    if statement.otherwise is not None:
                        self._find_short(statement.otherwise, times)
                case ast.While():
                    rounds = self._counted[id(statement)] = counted_rounds(statement, block.statements[:i])
                    self._find_short(statement.body, self._loop(statement, rounds, times))
                case ast.Unroll():
                    assert isinstance(statement.count, ast.Integer)
                    self._find_short(statement.body, self._loop(statement, statement.count.value, times))

    def _loop(self, node: ast.While | ast.Unroll, rounds: int | None, times: int) -> int:
        """How often the body of a loop runs, as far as the verifier follows it; the loop runs `times` times."""
        if rounds is None or (rounds * times > self._longest_short and not _is_simple(node.body, rounds * times)):
            return times
        self._short[id(node)] = counter(node) if isinstance(node, ast.While) else ""
        return max(rounds, 1) * times

    def _find_changes(
        self, block: ast.Block, inside: bool = False, followed: bool = True, counters: tuple[str, ...] = ()
    ) -> None:
        """`inside`: in a loop; `followed`: in every round of it; `counters`: of the short loops around."""
        for statement in block.statements:
            match statement:
                case ast.If():
                    if inside:
                        self._note(statement.condition, counters)
                    for branch in (statement.then, statement.otherwise):
                        if branch is not None:
                            self._find_changes(branch, inside, followed and not inside, counters)
                case ast.While() | ast.Unroll() if self.is_short(statement):
                    skips = any(isinstance(n, ast.Jump) and n.kind == "continue" for n in walk(statement.body))
                    self._find_changes(
                        statement.body, True, followed and not skips, (*counters, self._short[id(statement)])
                    )
                case ast.While() | ast.Unroll():
                    self._note(statement, counters)
                case _ if inside:
                    self._note(statement, counters, statement if followed else None)

    def _note(self, node: ast.Node, counters: tuple[str, ...], but: ast.Statement | None = None) -> None:
        """Remember what is changed below a node, other than by one statement itself."""
        own = but.expression if isinstance(but, ast.ExpressionStatement) else but
        for inner in walk(node):
            if (
                inner is not own and isinstance(inner, (ast.Assignment, ast.Increment))
                and isinstance(inner.target, ast.Variable) and inner.target.name not in counters
            ):  # fmt: skip
                self.unfollowed.add(inner.target.name)


def _is_simple(body: ast.Block, rounds: int) -> bool:
    """Whether a body is so plain that the verifier can follow it so often."""
    nodes = list(walk(body))
    return len(nodes) * rounds <= SIMPLE and not any(isinstance(n, (ast.Call, ast.String)) for n in nodes)


def counter(node: ast.While) -> str:
    """The variable that a loop with `counted_rounds` counts."""
    assert isinstance(node.condition, ast.Binary) and isinstance(node.condition.left, ast.Variable)
    return node.condition.left.name


def outermost(node: ast.Node) -> list[ast.While]:
    """The `while` loops below a node that are in no other one."""
    loops = [inner for inner in walk(node) if isinstance(inner, ast.While)]
    inside = {id(inner) for loop in loops for inner in walk(loop.body) if isinstance(inner, ast.While)}
    return [loop for loop in loops if id(loop) not in inside]


def height(node: ast.While) -> int:
    """How many loops stand inside each other, this one included."""
    return 1 + max((height(inner) for inner in walk(node.body) if isinstance(inner, ast.While)), default=0)


def counted_rounds(node: ast.While, before: list[ast.Statement]) -> int | None:
    """The rounds of a loop that counts a variable from a constant to a constant: `$i = 0; while ($i < 10) { ... $i++; }`.

    `before` are the statements in front of it. None if it is not as plain as that.
    """
    condition = node.condition
    if not (
        isinstance(condition, ast.Binary)
        and isinstance(condition.left, ast.Variable)
        and isinstance(condition.right, ast.Integer)
    ):
        return None
    name = condition.left.name
    first = _constant_before(before, name)
    changes = [n for n in walk(node.body) if _changes(n, name)]
    step = _step(changes[0]) if len(changes) == 1 else None
    if first is None or step is None or not _always_reached(node.body, changes[0]):
        return None
    return _rounds(first, condition.operator, condition.right.value, step)


def _constant_before(before: list[ast.Statement], name: str) -> int | None:
    """The constant that a variable has behind some statements, if the last one to change it is an assignment of that."""
    for statement in reversed(before):
        if any(_changes(n, name) for n in walk(statement)):
            if (
                isinstance(statement, ast.Assignment)
                and statement.operator == "="
                and isinstance(statement.value, ast.Integer)
            ):
                return statement.value.value
            return None
    return None


def _changes(node: ast.Node, name: str) -> bool:
    return (
        isinstance(node, (ast.Assignment, ast.Increment))
        and isinstance(node.target, ast.Variable)
        and node.target.name == name
    )


def _step(node: ast.Node) -> int | None:
    """What a statement adds to the variable, if that is a constant."""
    if isinstance(node, ast.Increment):
        return 1 if node.operator == "++" else -1
    assert isinstance(node, ast.Assignment)
    value = node.value
    if isinstance(value, ast.Integer) and node.operator in ("+=", "-="):
        return value.value if node.operator == "+=" else -value.value
    if (
        node.operator == "=" and isinstance(value, ast.Binary) and value.operator in ("+", "-")
        and isinstance(value.left, ast.Variable) and isinstance(node.target, ast.Variable)
        and value.left.name == node.target.name and isinstance(value.right, ast.Integer)
    ):  # fmt: skip
        return value.right.value if value.operator == "+" else -value.right.value
    return None


def _always_reached(body: ast.Block, change: ast.Node) -> bool:
    """Whether the change is a statement of the body itself, and nothing in front of it goes on to the next round."""
    for statement in body.statements:
        if statement is change or (isinstance(statement, ast.ExpressionStatement) and statement.expression is change):
            return True
        if any(isinstance(n, ast.Jump) and n.kind == "continue" for n in walk(statement)):
            return False
    return False


def _rounds(start: int, operator: str, end: int, step: int) -> int | None:
    distance = end - start
    if operator in ("<=", ">="):
        distance += 1 if operator == "<=" else -1
    elif operator == "!=":
        return distance // step if step and distance % step == 0 and distance // step >= 0 else None
    elif operator not in ("<", ">"):
        return None
    if step == 0 or (step > 0) != (operator in ("<", "<=")):
        return None
    return max(0, -(-distance // step))
