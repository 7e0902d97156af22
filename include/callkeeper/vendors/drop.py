"""A drop: a folder, an S3 bucket or an SFTP server into which a vendor puts a day's manifest and its audio.

``<location>/<YYYY-MM-DD>/manifest*.json`` (or ``.csv``), the audio's paths relative to that folder. Several deliveries
a day are read in the order of their ``delivery_seq``: of a record that comes again, the last is the valid one.
What is deleted here is the audio: the manifest's line stays in the vendor's folder, as long as the vendor keeps it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, tzinfo
from typing import BinaryIO, Final

from callkeeper.errors import AudioMissing, DeliveryUnreadable
from callkeeper.vendors import Capabilities, DayStatus, DeleteAnswer, VendorCall, VendorRef
from callkeeper.vendors.fields import read_call
from callkeeper.vendors.manifest import Head, Unreadable, read_head, read_records
from callkeeper.vendors.place import Place

_MANIFEST: Final = re.compile(r"manifest[\w.+-]*\.(?:json|csv)", re.IGNORECASE | re.ASCII)
_PARTIAL: Final = re.compile(r"\.(?:tmp|part|partial|filepart|upload)\b", re.IGNORECASE)
_HEAD_BLOCK_BYTES = 256 << 10


class Drop:
    """A vendor that delivers to ``location``, a folder or an fsspec URL; ``options`` are fsspec's (endpoint, keys).

    ``retention_days``: how long audio stays there; None: until it is deleted.
    """

    def __init__(
        self,
        name: str,
        *,
        location: str,
        options: Mapping[str, object] | None = None,
        retention_days: int | None = None,
    ) -> None:
        self._name = name
        self._place = Place(location, options or {}, whose=name)
        self._capabilities = Capabilities(
            delete=True, confirm_deleted=True, checksums=True, completeness=True, retention_days=retention_days
        )

    def __repr__(self) -> str:
        return f"Drop({self._name})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def day_status(self, day: date, tz: tzinfo) -> DayStatus:
        """What the newest delivery of the day's folder says. Raises DeliveryUnreadable."""
        deliveries = self._deliveries(day)
        if not deliveries:
            return "absent"
        return "complete" if deliveries[-1].head.complete else "open"

    def fingerprint(self, day: date, tz: tzinfo) -> bytes:
        """SHA-256 over the names and the bytes of the day's manifests."""
        whole = hashlib.sha256()
        for path in self._manifests(day):
            content = hashlib.sha256()
            with self._place.open(path) as file:
                while block := file.read(1 << 20):
                    content.update(block)
            whole.update(path.encode() + b"\0" + content.digest())
        return whole.digest()

    def list_day(self, day: date, tz: tzinfo) -> Iterator[VendorCall]:
        """The day's records, delivery by delivery. Raises DeliveryUnreadable, maybe at the end only: take nothing then.

        A call that starts on another Helsinki day than its folder's is listed all the same; its own start counts.
        """
        folder = day.isoformat()
        for delivery in self._deliveries(day):
            last: VendorCall | None = None
            with delivery.reading(), self._place.open(delivery.path) as file:
                for item in read_records(file, is_csv=delivery.is_csv):
                    if last is not None and not isinstance(item, Head):
                        yield last
                    if not isinstance(item, Head):
                        last = read_call(*item, folder=folder)
                    elif last is not None:
                        yield replace(last, unknown_fields=last.unknown_fields + item.unknown_fields)

    def open(self, ref: VendorRef) -> BinaryIO:
        """The audio as a stream. Raises AudioMissing, WrongCredentials or VendorUnavailable, in every read too."""
        path = _path(ref)
        if path is None:
            raise AudioMissing(f"The vendor {self._name} names no audio for a call, or an unsafe path.")
        return self._place.open(path)

    def delete(self, ref: VendorRef, key: str) -> DeleteAnswer:
        """Removes the audio; the manifest's record stays. ``key`` is not needed: a second call finds nothing."""
        if _path(ref) is None:
            return "refused" if _is_unsafe(ref) else "already_gone"
        return self._place.delete(str(_path(ref)))

    def confirm_deleted(self, ref: VendorRef) -> bool | None:
        """Looks again; None where an unsafe path cannot be looked at, or hidden versions cannot be seen."""
        path = _path(ref)
        if path is None:
            return None if _is_unsafe(ref) else True
        return self._place.is_gone(path)

    def _manifests(self, day: date) -> list[str]:
        folder = day.isoformat()
        names = (file.name for file in self._place.files(folder, prefix="manifest"))
        return sorted(f"{folder}/{name}" for name in names if _MANIFEST.fullmatch(name) and not _PARTIAL.search(name))

    def _deliveries(self, day: date) -> list[_Delivery]:
        """The day's deliveries, the newest last."""
        found = []
        paths = self._manifests(day)
        for number, path in enumerate(paths, start=1):
            where = f"The manifest of {self._name} for {day}"
            if len(paths) > 1:
                where += f" ({number} of {len(paths)} by name)"
            delivery = _Delivery(path, where)
            with delivery.reading(), self._place.open(path, block_bytes=_HEAD_BLOCK_BYTES) as file:
                delivery.head = read_head(file, is_csv=delivery.is_csv)
                if delivery.head.business_date not in (day, None):
                    raise Unreadable("its business_date is another day than its folder's")
            found.append(delivery)
        return sorted(found, key=lambda d: (d.head.delivery_seq, d.path))


class _Delivery:
    head: Head

    def __init__(self, path: str, where: str) -> None:
        self.path = path
        self.where = where
        self.is_csv = path.lower().endswith(".csv")

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            yield
        except Unreadable as wrong:
            raise DeliveryUnreadable(
                f"{self.where} cannot be read: {wrong}.",
                mend="Nothing of it was taken. Ask the vendor to deliver it again.",
            ) from None
        except AudioMissing:  # it was listed a moment ago
            raise DeliveryUnreadable(f"{self.where} went away in mid-read.", mend="The next run looks again.") from None


def _path(ref: VendorRef) -> str | None:
    path = json.loads(ref).get("path")
    return path if isinstance(path, str) else None


def _is_unsafe(ref: VendorRef) -> bool:
    return bool(json.loads(ref).get("unsafe"))
