"""A store in memory: versions, delete markers, legal holds, unfinished uploads, three identities, and faults at will."""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO
from uuid import uuid4

from callkeeper.errors import NotFound, StoreConflict, StoreRefused, StoreUnavailable
from callkeeper.media import ObjectVersion, Stored
from fakes.faults import Faults, Mode

_MAY = {
    "importer": {"put", "head", "open", "hold", "release", "is_held", "abort_upload"},
    "destroyer": {"delete", "abort_upload"},
    "holder": {"hold", "release", "is_held"},
}
"""As the embedded store's policies say; every identity may list."""
OPERATIONS = frozenset({"versions", "uploads"}.union(*_MAY.values()))


@dataclass(kw_only=True)
class _Version:
    data: bytes | None
    """None: a delete marker."""
    held: bool = False


@dataclass
class _Bucket:
    """What is kept, the newest version of a key last."""

    objects: dict[str, dict[str, _Version]] = field(default_factory=dict)
    uploads: dict[tuple[str, str], bool] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.RLock = field(default_factory=threading.RLock)


def _refused() -> StoreRefused:
    return StoreRefused("The object store does not let us.", mend="Look at its keys and rights.")


class FakeStore:
    """Store, Destroyer and Holder in one; made as it is, it may do everything but delete what is held.

    ``as_importer``, ``as_destroyer`` and ``as_holder`` are the same store with one identity's rights each. The faults
    that ``fail`` orders are shared by all of them, and so is ``calls``, the operations in their order.
    """

    def __init__(self) -> None:
        self._bucket = _Bucket()
        self._faults = Faults(lambda: StoreUnavailable("The object store does not answer."), _refused)
        self._identity = ""

    def _as(self, identity: str) -> FakeStore:
        other = FakeStore()
        other._bucket, other._faults, other._identity = self._bucket, self._faults, identity
        return other

    @property
    def as_importer(self) -> FakeStore:
        return self._as("importer")

    @property
    def as_destroyer(self) -> FakeStore:
        return self._as("destroyer")

    @property
    def as_holder(self) -> FakeStore:
        return self._as("holder")

    @property
    def calls(self) -> list[str]:
        return self._faults.calls

    def fail(self, operation: str, mode: Mode, nth: int = 1, times: int = 1) -> None:
        """The nth call of the operation from now on (and the following, ``times`` in all) goes wrong.

        A ``delete`` that is ``denied`` answers so for each of its versions, as a store does whose rights were taken away;
        ``refused`` is the whole call. ``partial``: of a deletion every other version fails, a listing breaks off.
        """
        if operation not in OPERATIONS:
            raise ValueError(f"No operation of a store: {operation}.")
        self._faults.order(operation, mode, nth, times)

    def heal(self) -> None:
        """Takes back the faults that have not happened yet."""
        self._faults.heal()

    # --- what others do to the store --------------------------------------------------------------------------------

    def add(self, key: str, data: bytes = b"audio", *, held: bool = False) -> ObjectVersion:
        """One more version under the key, whatever is there."""
        with self._bucket.lock:
            version_id = f"v{next(self._bucket.numbers):08}"
            self._bucket.objects.setdefault(key, {})[version_id] = _Version(data=data, held=held)
        return ObjectVersion(key=key, version_id=version_id, is_delete_marker=False, size_bytes=len(data))

    def hide(self, key: str) -> ObjectVersion:
        """What a delete without a version does: a marker in front, nothing gone."""
        with self._bucket.lock:
            version_id = f"v{next(self._bucket.numbers):08}"
            self._bucket.objects.setdefault(key, {})[version_id] = _Version(data=None)
        return ObjectVersion(key=key, version_id=version_id, is_delete_marker=True, size_bytes=0)

    def begin_upload(self, key: str) -> str:
        """A multipart upload that nobody finishes; its id."""
        upload_id = uuid4().hex
        self._bucket.uploads[key, upload_id] = True
        return upload_id

    # --- Store ------------------------------------------------------------------------------------------------------

    def put(
        self, key: str, body: BinaryIO, *, sha256: bytes, size_bytes: int, content_type: str, legal_hold: bool = False
    ) -> Stored:
        data = body.read(size_bytes)
        if hashlib.sha256(data).digest() != sha256:
            raise StoreUnavailable("The audio arrived damaged at the store.", mend="Try again.")

        def effect() -> Stored:
            self._needs("put")
            with self._bucket.lock:
                there = self._newest(key)
                if there is None:
                    added = self.add(key, data, held=legal_hold)
                    return _stored(key, added.version_id, data, created=True)
                version_id, version = there
                if version.data != data:
                    raise StoreConflict("Another object, with other bytes, stands under this key.")
                version.held = version.held or legal_hold
                return _stored(key, version_id, data)

        return self._faults.through("put", effect)

    def head(self, key: str, version_id: str | None = None) -> Stored | None:
        def effect() -> Stored | None:
            self._needs("head")
            found = self._newest(key) if version_id is None else (version_id, self._find(key, version_id))
            if found is None or found[1] is None or found[1].data is None:
                return None
            return _stored(key, found[0], found[1].data)

        return self._faults.through("head", effect)

    def open(self, key: str, version_id: str, *, first: int = 0, last: int | None = None) -> BinaryIO:
        def effect() -> BinaryIO:
            self._needs("open")
            found = self._find(key, version_id)
            if found is None or found.data is None:
                raise NotFound("The object is not in the store.")
            return io.BytesIO(found.data[first : None if last is None else last + 1])

        return self._faults.through("open", effect)

    def region(self) -> str | None:
        return None

    def check(self) -> tuple[str, ...]:
        return ()

    # --- Destroyer --------------------------------------------------------------------------------------------------

    def delete(self, versions: Sequence[ObjectVersion]) -> dict[tuple[str, str], str]:
        mode = self._faults.next("delete")
        if mode == "denied" or self._lacks("delete"):
            return {(v.key, v.version_id): "denied" for v in versions}
        spared = list(versions)[::2] if mode == "partial" else []

        def effect() -> dict[tuple[str, str], str]:
            failed = {(v.key, v.version_id): "unavailable" for v in spared}
            for v in versions:
                if (v.key, v.version_id) not in failed and not self._remove(v):
                    failed[v.key, v.version_id] = "denied"
            return failed

        return self._faults.apply(None if mode == "partial" else mode, effect)

    def versions(self, prefix: str, *, first: str = "", last: str = "") -> Iterator[ObjectVersion]:
        mode = self._faults.next("versions")
        found = self._faults.apply(None if mode == "partial" else mode, lambda: self._list(prefix, first, last))
        if mode == "partial":
            yield from found[: len(found) // 2]
            raise StoreUnavailable("The store broke off its listing.", mend="Try again.")
        yield from found

    def uploads(self, prefix: str, *, begun_before: datetime | None = None) -> Iterator[tuple[str, str]]:
        yield from self._faults.through(
            "uploads", lambda: [which for which in list(self._bucket.uploads) if which[0].startswith(prefix)]
        )

    def abort_upload(self, key: str, upload_id: str) -> None:
        def effect() -> None:
            self._needs("abort_upload")
            self._bucket.uploads.pop((key, upload_id), None)

        self._faults.through("abort_upload", effect)

    # --- Holder -----------------------------------------------------------------------------------------------------

    def hold(self, key: str, version_id: str) -> bool:
        return self._faults.through("hold", lambda: self._set_hold("hold", key, version_id, held=True))

    def release(self, key: str, version_id: str) -> bool:
        return self._faults.through("release", lambda: self._set_hold("release", key, version_id, held=False))

    def is_held(self, key: str, version_id: str) -> bool | None:
        def effect() -> bool | None:
            self._needs("is_held")
            found = self._find(key, version_id)
            return None if found is None else found.held

        return self._faults.through("is_held", effect)

    # --- within -----------------------------------------------------------------------------------------------------

    def _lacks(self, operation: str) -> bool:
        return bool(self._identity) and operation not in _MAY[self._identity]

    def _needs(self, operation: str) -> None:
        if self._lacks(operation):
            raise _refused()

    def _find(self, key: str, version_id: str) -> _Version | None:
        return self._bucket.objects.get(key, {}).get(version_id)

    def _newest(self, key: str) -> tuple[str, _Version] | None:
        """The newest version, unless a marker hides it."""
        with self._bucket.lock:
            found = list(self._bucket.objects.get(key, {}).items())
        return found[-1] if found and found[-1][1].data is not None else None

    def _remove(self, version: ObjectVersion) -> bool:
        """False: a legal hold stands on it."""
        with self._bucket.lock:
            versions = self._bucket.objects.get(version.key, {})
            if version.version_id in versions and versions[version.version_id].held:
                return False
            versions.pop(version.version_id, None)
            if not versions:
                self._bucket.objects.pop(version.key, None)
            return True

    def _list(self, prefix: str, first: str, last: str) -> list[ObjectVersion]:
        with self._bucket.lock:
            return [
                ObjectVersion(
                    key=key, version_id=version_id, is_delete_marker=v.data is None, size_bytes=len(v.data or b"")
                )
                for key in sorted(self._bucket.objects, key=str.encode)
                if key.startswith(prefix)
                and first.encode() <= key.encode()
                and (not last or key.encode() <= last.encode())
                for version_id, v in reversed(self._bucket.objects[key].items())
            ]

    def _set_hold(self, operation: str, key: str, version_id: str, *, held: bool) -> bool:
        self._needs(operation)
        with self._bucket.lock:
            found = self._find(key, version_id)
            if found is not None:
                found.held = held
        return found is not None


def _stored(key: str, version_id: str, data: bytes, *, created: bool = False) -> Stored:
    return Stored(
        key=key,
        version_id=version_id,
        sha256=hashlib.sha256(data).digest(),
        size_bytes=len(data),
        created=created,
    )
