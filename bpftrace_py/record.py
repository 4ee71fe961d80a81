"""`record`: a dataclass that costs nothing to define.

`dataclasses` writes and compiles source code for each class, some 0.4 ms each at every start, and this program has a
hundred of them: more than a third of its start-up. Here the methods are closures over the names of the fields. Type
checkers take a record for a dataclass; that a frozen one does not change is their business alone.
"""

from __future__ import annotations

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_):
        return lambda decorator: decorator


_MISSING: Any = object()


class _Field:
    __slots__ = ("compare", "default", "factory", "repr")

    def __init__(self, default: Any, factory: Callable[[], Any] | None, compare: bool, repr: bool) -> None:
        self.default, self.factory, self.compare, self.repr = default, factory, compare, repr


def field(
    *, default: Any = _MISSING, default_factory: Callable[[], Any] | None = None, compare: bool = True, repr: bool = True
) -> Any:
    """As `dataclasses.field`."""
    return _Field(default, default_factory, compare, repr)


@dataclass_transform(field_specifiers=(field,))
def record(cls: type[T] | None = None, *, frozen: bool = False, kw_only: bool = False) -> Any:
    """Class decorator: fields from the annotations, those of the base classes first. `frozen` records have a hash."""
    if cls is None:
        return lambda cls: record(cls, frozen=frozen, kw_only=kw_only)
    fields: dict[str, _Field] = dict(getattr(cls, "__record_fields__", {}))
    for name in cls.__annotations__:
        default = cls.__dict__.get(name, _MISSING)
        fields[name] = default if isinstance(default, _Field) else _Field(default, None, True, True)
        if isinstance(default, _Field):
            delattr(cls, name)
    _add_methods(cls, fields, frozen)
    return cls


def names_of(cls: type) -> tuple[str, ...]:
    """The names of a record's fields, in their order."""
    return tuple(getattr(cls, "__record_fields__"))  # noqa: B009  (mypy does not know the attribute)


def _add_methods(cls: Any, fields: dict[str, _Field], frozen: bool) -> None:
    names = tuple(fields)
    count = len(names)
    defaults = {name: f.default for name, f in fields.items() if f.default is not _MISSING}
    factories = [(name, f.factory) for name, f in fields.items() if f.factory is not None]
    compared = tuple(name for name, f in fields.items() if f.compare)
    shown = tuple(name for name, f in fields.items() if f.repr)
    after = getattr(cls, "__post_init__", None)

    def __init__(self: Any, *args: Any, **given: Any) -> None:
        values = self.__dict__
        if defaults:
            values.update(defaults)
        if args:
            values.update(zip(names, args, strict=False))
        values.update(given)
        for name, factory in factories:
            if name not in values:
                values[name] = factory()
        if len(values) != count or len(args) > count:
            _complain(cls.__name__, names, args, values)
        if after is not None:
            after(self)

    def __eq__(self: Any, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = self.__dict__, other.__dict__
        return all(mine[name] == theirs[name] for name in compared)

    def __hash__(self: Any) -> int:
        values = self.__dict__
        return hash((cls, *[values[name] for name in compared]))

    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    cls.__record_fields__ = fields
    setattr(cls, "__match_args__", names)  # noqa: B010
    for method in (__init__, __eq__, __repr__):
        if method.__name__ not in cls.__dict__:
            setattr(cls, method.__name__, method)
    if "__hash__" not in cls.__dict__ or cls.__dict__["__hash__"] is None:
        cls.__hash__ = __hash__ if frozen else None


def _complain(name: str, names: tuple[str, ...], args: tuple[Any, ...], values: dict[str, Any]) -> None:
    missing = [n for n in names if n not in values]
    unknown = [n for n in values if n not in names]
    raise TypeError(f"{name}({', '.join(names)}): {len(args)} positional, missing {missing}, unknown {unknown}")


def replace(value: T, **changes: Any) -> T:
    """As `dataclasses.replace`."""
    return type(value)(**{**{name: getattr(value, name) for name in names_of(type(value))}, **changes})
