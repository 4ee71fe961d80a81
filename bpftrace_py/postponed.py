"""Modules that libraries import at once and need seldom: they are read when they are needed."""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Any


class _Postponed(ModuleType):
    """What an importer gets: the module is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(__import__(self.__name__), name)


class postponed:  # noqa: N801: reads as the verb that it is
    """While it is entered, `import name` does not read the modules of these names yet, if nobody has so far."""

    def __init__(self, *names: str) -> None:
        self._names = [name for name in names if name not in sys.modules]

    def __enter__(self) -> None:
        for name in self._names:
            sys.modules[name] = _Postponed(name)

    def __exit__(self, *exception: object) -> None:
        for name in self._names:
            if isinstance(sys.modules.get(name), _Postponed):
                del sys.modules[name]
