"""A vendor in memory, who deletes as told: at once, later, never, twice; and is away or loses its answer at will."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from datetime import date, tzinfo
from typing import BinaryIO, Literal

from callkeeper.errors import AudioMissing, VendorUnavailable, WrongCredentials
from callkeeper.vendors import Capabilities, DayStatus, DeleteAnswer, VendorCall, VendorRef
from fakes.faults import Faults, Mode

Manner = Literal["deletes", "accepts", "refuses", "cannot"]
"""How it takes a deletion: at once; gone after a few polls; refused; it has no such thing as deleting."""


class FakeVendor:
    """``recordings`` is what it still has, by reference; ``manners`` may name another manner for single references.

    ``polls``: of an accepted deletion, how many questions are answered "not yet". ``confirms`` False: it cannot tell
    whether something is gone. ``keys`` counts the deletions asked for by (reference, idempotency key), ``deletions`` the
    effects by reference.
    """

    def __init__(
        self, name: str = "linna", *, manner: Manner = "deletes", polls: int = 2, confirms: bool = True
    ) -> None:
        self._name, self._manner, self._polls = name, manner, polls
        self._faults = Faults(
            lambda: VendorUnavailable(f"The vendor {name} did not answer."),
            lambda: WrongCredentials(f"The vendor {name} refused us."),
        )
        self._capabilities = Capabilities(
            delete=manner != "cannot", confirm_deleted=confirms, checksums=False, completeness=True
        )
        self.recordings: dict[VendorRef, bytes] = {}
        self.calls_of: dict[date, list[VendorCall]] = {}
        self.manners: dict[VendorRef, Manner] = {}
        self.keys: Counter[tuple[VendorRef, str]] = Counter()
        self.deletions: Counter[VendorRef] = Counter()
        self._waiting: dict[VendorRef, int] = {}
        self._done: dict[tuple[VendorRef, str], DeleteAnswer] = {}

    # --- arranging ----------------------------------------------------------------------------------------------------

    def add(
        self, ref: str, audio: bytes = b"audio", *, call: VendorCall | None = None, day: date | None = None
    ) -> VendorRef:
        """Something to delete; listed on ``day`` if a call is given."""
        self.recordings[VendorRef(ref)] = audio
        if call is not None and day is not None:
            self.calls_of.setdefault(day, []).append(call)
        return VendorRef(ref)

    def fail(self, operation: Literal["delete", "confirm_deleted"], mode: Mode, nth: int = 1, times: int = 1) -> None:
        """The nth call from now on (and the following, ``times`` in all) goes wrong."""
        self._faults.order(operation, mode, nth, times)

    def heal(self) -> None:
        """Takes back the faults that have not happened yet."""
        self._faults.heal()

    @property
    def calls(self) -> list[str]:
        """The operations delete and confirm_deleted, in their order."""
        return self._faults.calls

    # --- Vendor -------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def day_status(self, day: date, tz: tzinfo) -> DayStatus:
        return "complete" if day in self.calls_of else "absent"

    def fingerprint(self, day: date, tz: tzinfo) -> bytes:
        return hashlib.sha256(repr([c.identity for c in self.calls_of.get(day, ())]).encode()).digest()

    def list_day(self, day: date, tz: tzinfo) -> Iterator[VendorCall]:
        yield from (call for call in self.calls_of.get(day, ()) if call.ref in self.recordings)

    def open(self, ref: VendorRef) -> BinaryIO:
        if ref not in self.recordings:
            raise AudioMissing(f"A file of the vendor {self._name} is not there.")
        return io.BytesIO(self.recordings[ref])

    def delete(self, ref: VendorRef, key: str) -> DeleteAnswer:
        def effect() -> DeleteAnswer:
            self.keys[ref, key] += 1
            # The same key again is the same call again: what was done for it has its answer already.
            answer = self._done.get((ref, key)) or self._take(ref)
            if answer in ("deleted", "accepted"):
                self._done[ref, key] = answer
            return answer

        return self._faults.through("delete", effect)

    def confirm_deleted(self, ref: VendorRef) -> bool | None:
        def effect() -> bool | None:
            if self._waiting.get(ref, -1) == 0:
                self._remove(ref)
            elif ref in self._waiting:
                self._waiting[ref] -= 1
            return ref not in self.recordings if self._capabilities.confirm_deleted else None

        return self._faults.through("confirm_deleted", effect)

    # --- within -------------------------------------------------------------------------------------------------------

    def _take(self, ref: VendorRef) -> DeleteAnswer:
        manner = self.manners.get(ref, self._manner)
        if manner == "cannot":
            return "unsupported"
        if manner == "refuses":
            return "refused"
        if ref not in self.recordings:
            return "already_gone"
        if manner == "accepts":
            self._waiting[ref] = self._polls
            return "accepted"
        self._remove(ref)
        return "deleted"

    def _remove(self, ref: VendorRef) -> None:
        self._waiting.pop(ref, None)
        if self.recordings.pop(ref, None) is not None:
            self.deletions[ref] += 1
