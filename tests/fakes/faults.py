"""Faults that a test orders in advance: the nth call of an operation from now on goes wrong, in one of a few ways."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeVar

Mode = Literal["before", "after", "denied", "refused", "partial", "twice"]
"""before: an error, and no effect; after: the effect, and its answer lost; denied: no right; refused: the whole call is
refused; partial: a part of it goes wrong; twice: the effect happens two times, as when a library tries again."""

T = TypeVar("T")


class Faults:
    """``unavailable`` and ``refused`` make the errors that the edge raises."""

    def __init__(self, unavailable: Callable[[], Exception], refused: Callable[[], Exception]) -> None:
        self._unavailable, self._refused = unavailable, refused
        self._ordered: dict[str, dict[int, Mode]] = {}
        self._lock = threading.Lock()
        self._counted: Counter[str] = Counter()
        self.calls: list[str] = []
        """The operations in their order."""

    def order(self, operation: str, mode: Mode, nth: int = 1, times: int = 1) -> None:
        with self._lock:
            first = self._counted[operation] + nth
            self._ordered.setdefault(operation, {}).update(dict.fromkeys(range(first, first + times), mode))

    def heal(self) -> None:
        """Takes back what has not happened yet."""
        with self._lock:
            self._ordered.clear()

    def next(self, operation: str) -> Mode | None:
        with self._lock:
            self.calls.append(operation)
            self._counted[operation] += 1
            return self._ordered.get(operation, {}).pop(self._counted[operation], None)

    def through(self, operation: str, effect: Callable[[], T]) -> T:
        """The effect, or what was ordered for this call of it."""
        return self.apply(self.next(operation), effect)

    def apply(self, mode: Mode | None, effect: Callable[[], T]) -> T:
        if mode == "before":
            raise self._unavailable()
        if mode in ("denied", "refused"):
            raise self._refused()
        if mode == "partial":
            raise ValueError("This operation has no parts.")
        answer = effect()
        if mode == "after":
            raise self._unavailable()
        return effect() if mode == "twice" else answer
