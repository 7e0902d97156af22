"""Checkpoints and leaf hashes outside the database, in a bucket where nobody can delete them before their term.

``<epoch:04d>/<size:016d>.note`` is a checkpoint; ``<epoch:04d>/<from:016d>-<to:016d>.leaves`` are the 32-byte hashes of the leaves
``from`` up to, and without, ``to``. A note is put after the leaves that it adds.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from callkeeper.errors import StoreConflict, TrailBroken
from callkeeper.media import ObjectVersion, Vault

_NOTE = re.compile(r"(\d{4,})/(\d{16,})\.note")
_LEAVES = re.compile(r"(\d{4,})/(\d{16,})-(\d{16,})\.leaves")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What stands in the anchor: sizes by epoch that have a note, and (from, to) by epoch of the leaves."""

    notes: dict[tuple[int, int], ObjectVersion]
    leaves: dict[tuple[int, int, int], ObjectVersion]

    @property
    def newest(self) -> tuple[int, int] | None:
        """(epoch, size) of the newest note."""
        return max(self.notes, default=None)


@dataclass(frozen=True, slots=True)
class Anchor:
    """``days``: how long nobody can delete what is put there."""

    vault: Vault
    days: int

    def put(self, epoch: int, start: int, size: int, hashes: bytes, note: str) -> None:
        """A checkpoint with the leaves that it adds. Put again, it changes nothing. Raises TrailBroken if others stand there."""
        self.put_leaves(epoch, start, size, hashes)
        self.put_note(epoch, size, note)

    def put_leaves(self, epoch: int, start: int, size: int, hashes: bytes) -> None:
        """The hashes of the leaves from ``start`` up to ``size``."""
        self._put(f"{epoch:04d}/{start:016d}-{size:016d}.leaves", hashes)

    def put_note(self, epoch: int, size: int, note: str) -> None:
        """A checkpoint, once its leaves stand."""
        self._put(f"{epoch:04d}/{size:016d}.note", note.encode())

    def _put(self, key: str, content: bytes) -> None:
        try:
            self.vault.put(
                key,
                io.BytesIO(content),
                sha256=hashlib.sha256(content).digest(),
                size_bytes=len(content),
                content_type="application/octet-stream",
                retain_until=datetime.now(UTC) + timedelta(days=self.days),
            )
        except StoreConflict:
            raise TrailBroken(
                "The anchor holds another history under the place of a checkpoint of this database.",
                mend="Two databases seal with one key, or this one was restored: see the runbook of seal_audit.",
            ) from None

    def standing(self, epoch: int = 0, size: int = 0) -> Standing:
        """What stands from the checkpoint of that size on (epoch 0: all). Raises TrailBroken where something lies over a note."""
        found: dict[str, list[ObjectVersion]] = defaultdict(list)
        for version in self.vault.versions("", first=f"{epoch:04d}/{size:016d}" if epoch else ""):
            found[version.key].append(version)
        notes, leaves = {}, {}
        for key, versions in found.items():
            note, hashes = _NOTE.fullmatch(key), _LEAVES.fullmatch(key)
            if (note or hashes) and (len(versions) > 1 or versions[0].is_delete_marker):
                raise TrailBroken(
                    "Something lies over a checkpoint in the anchor: another version, or a delete marker.",
                    mend="Only an administrator of the store can do that. What was signed is the oldest version, under its lock.",
                )
            if note:
                notes[int(note[1]), int(note[2])] = versions[0]
            elif hashes:
                leaves[int(hashes[1]), int(hashes[2]), int(hashes[3])] = versions[0]
        return Standing(notes=notes, leaves=leaves)

    def read(self, version: ObjectVersion) -> bytes:
        """What one of its objects holds."""
        with self.vault.open(version.key, version.version_id) as body:
            return body.read()
