"""`cached_property`, as that of `functools`, whose import takes more than a millisecond of each start: it brings `collections`."""

from __future__ import annotations

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import functools
if TYPE_CHECKING:
    from functools import cached_property as cached_property
else:

    class cached_property:
        """The method is called once for each object, and its result stays in the object's `__dict__`."""

        def __init__(self, method):
            self.method, self.name, self.__doc__ = method, method.__name__, method.__doc__

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.method(instance)
            return value
