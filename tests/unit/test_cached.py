"""`cached_property`."""

from __future__ import annotations

from bpftrace_py.cached import cached_property


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    @cached_property
    def answer(self) -> int:
        """The answer."""
        self.calls += 1
        return 41 + self.calls


def test_it_is_computed_once_for_each_object() -> None:
    one, other = Counted(), Counted()
    assert (one.answer, one.answer, one.calls, other.calls) == (42, 42, 1, 0)
    del one.__dict__["answer"]
    assert (one.answer, one.calls) == (43, 2)


def test_of_the_class_it_is_itself() -> None:
    assert isinstance(Counted.answer, cached_property)
    assert Counted.answer.__doc__ == "The answer."
