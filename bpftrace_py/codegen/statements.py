"""Statements in C, each under a comment with the script's line."""

from __future__ import annotations

import re

from bpftrace_py.codegen import loops
from bpftrace_py.codegen.events import EventText
from bpftrace_py.codegen.loops import Cost
from bpftrace_py.language import functions
from bpftrace_py.syntax import ast
from bpftrace_py.types import INT64, UINT32, AggregateType, PointerType

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText

_AS_WRITTEN = "#pragma clang loop unroll(disable)"
_RETURN = re.compile(r"^(\t+)return 0;$")


class StatementText:
    """Writes the body of one probe instance."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function
        self._generator = expressions.generator
        self._events = EventText(expressions)
        self._times = 1  # how often the statement at hand runs, by the loops around it that have a constant count
        self._loops_cost = Cost()  # of the loops written so far, inside the innermost one that is being written
        self._roots: list[ast.While] | None = None  # the outermost `while` loops of the program
        self._written = 0  # how many of them are written
        self._spent = Cost()  # of those
        self._left = ""  # the number of rounds that all loops together may still take
        self._height = 0  # of the outermost `while` around the statement at hand
        self._inside = False  # whether the statement at hand is in a loop
        self._timed = False  # whether it is in one that takes time from the loops' share
        self._run = ""  # where that time is kept

    def block(self, block: ast.Block) -> bool:
        """Write the statements. True if control does not come out at the end; what follows such a statement is left out."""
        return any(self.statement(statement) for statement in block.statements)

    def statement(self, node: ast.Statement) -> bool:
        self._comment(node)
        ends = self._write(node)
        self._fn.release()
        return ends

    def _comment(self, node: ast.Statement) -> None:
        if isinstance(node, ast.If) and node.span.start < node.condition.span.start:  # and no `pid ? exit() : clear(@)`
            text = self._generator.excerpt(node.span.start, node.condition.span.end) + ")"
        elif isinstance(node, (ast.Unroll, ast.While)):
            text = self._generator.excerpt(node.span.start, node.body.span.start)
        else:
            text = self._generator.excerpt(node.span.start, node.span.end)
        self._fn.comment(f"{self._generator.line_of(node.span)}: {text}")

    def _write(self, node: ast.Statement) -> bool:
        match node:
            case ast.ExpressionStatement():
                return self._expression(node.expression)
            case ast.Assignment():
                self._assignment(node)
            case ast.If():
                return self._if(node)
            case ast.Unroll() | ast.While():
                self._loop(node)
            case ast.Jump():
                self._fn.line("return 0;" if node.kind == "return" else f"{node.kind};")
                return True
            case _:
                raise AssertionError(type(node).__name__)
        return False

    def _expression(self, node: ast.Expression) -> bool:
        if isinstance(node, ast.Call) and functions.FUNCTIONS[node.name].statement:
            return self._events.statement(node)
        if isinstance(node, ast.Increment) and isinstance(node.target, ast.Map):
            self._ex.maps.increment(node.target, "+" if node.operator == "++" else "-", "1")
        elif isinstance(node, ast.Increment) and not isinstance(node.type, PointerType):
            self._fn.line(f"{self._ex.place_of(node.target.name)}{node.operator};")
        else:
            self._ex.value(node)
        return False

    def _assignment(self, node: ast.Assignment) -> None:
        if isinstance(node.target, ast.Map):
            self._map_assignment(node, node.target)
            return
        place = self._ex.place_of(node.target.name)
        type_ = self._ex.instance.variables[node.target.name]
        if node.operator == "=":
            self._ex.replace(node.target, node.value, place, type_)
            return
        combined = ast.Binary(operator=node.operator[:-1], left=node.target, right=node.value, span=node.span)
        combined.left.type = combined.type = type_
        self._fn.line(f"{place} = {self._ex.number(combined).text};")

    def _map_assignment(self, node: ast.Assignment, target: ast.Map) -> None:
        if isinstance(node.value, ast.Call) and isinstance(node.value.type, AggregateType):
            self._ex.maps.aggregate(target, node.value)
        elif node.operator == "=":
            self._ex.maps.assign(target, node.value)
        else:
            self._ex.maps.compound(target, node.operator[:-1], node.value)

    def _if(self, node: ast.If) -> bool:
        with self._fn.block(f"if ({self._ex.condition(node.condition)})"):
            then_ends = self.block(node.then)
        else_ends = False
        if node.otherwise is not None and node.otherwise.statements:
            with self._fn.block("else"):
                else_ends = self.block(node.otherwise)
        return then_ends and else_ends

    def _loop(self, node: ast.Unroll | ast.While) -> None:
        """A loop. Around an outermost one stands what keeps the time, if that or one inside has a bound."""
        write = self._unroll if isinstance(node, ast.Unroll) else self._while
        if self._inside:
            write(node)  # type: ignore[arg-type]
            return
        self._inside, self._timed = True, False
        with self._fn.captured(0) as lines:
            write(node)  # type: ignore[arg-type]
        self._inside = False
        if not self._timed:
            self._fn.add(lines)
            return
        self._fn.line(f"if (!enter_loop(&{self._run}))")
        self._fn.line(f"\t{self._left} = 0;")
        self._fn.add([_RETURN.sub(rf"\1return leave_loop(&{self._run});", line) for line in lines])
        self._fn.line(f"leave_loop(&{self._run});")

    def _unroll(self, node: ast.Unroll) -> None:
        assert isinstance(node.count, ast.Integer)
        rounds = node.count.value
        lines, cost = self._body(node.body, rounds)
        if cost.times(rounds * self._times).is_small():
            i = self._fn.fresh("round")
            self._loops_cost += cost.times(rounds)
        else:
            i = self._fn.unfollowed(UINT32, "round")
            most = min(rounds, cost.rounds(0.5 / self._times))
            lines = [*self._bound(node, most), *lines]
            self._loops_cost += cost.times(most)
        self._fn.line(_AS_WRITTEN)
        start = f"u32 {i} = 0" if i.isidentifier() else f"{i} = 0"
        with self._fn.block(f"for ({start}; {i} < {rounds}; {i}++)"):
            self._fn.add(lines)

    def _while(self, node: ast.While) -> None:
        counted = self._ex.loops.counted(node)
        if self._roots is None:
            self._roots = loops.outermost(self._ex.instance.tree)
        outer, self._height = self._height, self._height or loops.height(node)
        with self._fn.captured() as head:
            condition = self._ex.condition(node.condition)
        lines, cost = self._body(node.body, counted or 1)
        cost += loops.cost_of([*head, f"while ({condition})"])
        rounds = self._rounds(node, counted, cost)
        if not (self._ex.loops.is_short(node) and cost.times(rounds * self._times).is_small()):
            lines = [*self._bound(node, rounds), *lines]
        self._loops_cost += cost.times(rounds)
        self._height = outer
        if not self._height:
            self._written += 1
            self._spent += cost.times(rounds * self._times)
        self._fn.line(_AS_WRITTEN)
        if not head:
            with self._fn.block(f"while ({condition})"):
                self._fn.add(lines)
            return
        with self._fn.block("for (;;)"):
            self._fn.add(head)
            self._fn.line(f"if (!({condition}))")
            self._fn.line("\tbreak;")
            self._fn.add(lines)

    def _rounds(self, node: ast.While, counted: int | None, cost: Cost) -> int:
        """How often a loop may go round, by what one round costs and what the script's other loops need."""
        share = self._share(counted is not None) / self._times
        if counted is not None and counted <= cost.rounds(share):
            return max(1, counted)
        return cost.rounds(share, loops.height(node) / self._height)

    def _share(self, counts: bool) -> float:
        """How much of what the verifier allows a loop may take. One that counts may take what the loops after it do not
        need at the very least: it is wanted in full."""
        assert self._roots is not None
        after = len(self._roots) - self._written - 1
        left = max(0.05, 1 - self._spent.share())
        return max(left - 0.1 * after, left / (after + 1)) if counts else left / (after + 1)

    def _body(self, block: ast.Block, rounds: int) -> tuple[list[str], Cost]:
        """The lines of a loop's body, indented for it, and what one round of it costs."""
        outside, self._loops_cost = self._loops_cost, Cost()
        self._times *= rounds
        with self._fn.captured() as lines:
            self.block(block)
        self._times //= rounds
        cost, self._loops_cost = self._loops_cost, outside
        return lines, cost + loops.cost_of(lines)

    def _bound(self, node: ast.While | ast.Unroll, most: int) -> list[str]:
        """The lines that stop a loop after so many rounds (or the kernel's many), and count that it was stopped."""
        rounds = self._fn.fresh("rounds")
        self._fn.line(f"u32 {rounds} = 0;")
        special = self._ex.instance.context.probe_type in ("BEGIN", "END")
        if not self._left:
            self._left = self._fn.unfollowed(
                INT64, "rounds_left", loops.MOST_ROUNDS if special else loops.MOST_ROUNDS_OF_EVENT
            )
        stop, in_time = f"out_of_rounds({rounds}, {most}, {self._left})", ""
        if not special:  # those run once, and not in anybody's way
            self._run = self._run or self._generator.loop_run(self._fn)
            self._timed = True
            stop += f" || out_of_time({rounds}, {self._left}, &{self._run})"
            in_time = f"{self._run}.seen"
        with self._fn.captured() as lines, self._fn.block(f"if ({stop})"):
            self._fn.line(f"{self._generator.count_stopped(node, most, in_time)}; // the verifier has to see an end")
            self._fn.line("break;")
        return lines
