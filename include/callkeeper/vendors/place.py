"""A folder at a vendor, wherever fsspec reaches it: on a disk, in an S3 bucket, on an SFTP server.

The one door to a vendor's files. A path is relative to the place and cannot leave it, no symbolic link is followed, and
what a library raises (its text holds paths, and so numbers) comes out as one of our errors, worded without it.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from callkeeper.errors import AudioMissing, CallkeeperError, ConfigurationError, VendorUnavailable, WrongCredentials
from callkeeper.vendors import DeleteAnswer

BLOCK_BYTES = 4 << 20
"""One request to a store reads so much ahead; s3fs' own default would keep 50 MB a file in memory."""

_REFUSALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "AuthenticationException", "PermissionDenied"})
"""How libraries behind fsspec (botocore, paramiko, asyncssh) say that they were refused, but for PermissionError."""

_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


_PLAIN = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_+.-]*(?:/[A-Za-z0-9_+-][A-Za-z0-9_+.-]*)*")
"""The shape of nearly all paths: one look tells that they are safe."""


class File(NamedTuple):
    """A file of a folder: its name, its size in bytes."""

    name: str
    size: int


def is_safe(path: str) -> bool:
    """Whether a path that a vendor wrote stays below its folder, on any file system.

    ``+`` and letters of any language are fine. Refused: ``..``, absolute and empty parts, backslash, ``:`` (drives,
    streams, URLs), ``?`` (s3fs reads a version behind it), what is not printable, and names too long for a disk.
    """
    if _PLAIN.fullmatch(path) and len(path) <= 250:
        return True
    parts = path.split("/")
    return (
        path.isprintable()
        and not any(character in path for character in "\\:?")
        and len(path.encode()) <= 1000
        and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
    )


class Place:
    """The folder at ``url`` (a path, or an ``s3://``, ``sftp://``, … URL); ``options`` are fsspec's.

    ``whose`` is the vendor's configured name, all that errors say of it. Nothing connects before the first question.
    """

    def __init__(self, url: str, options: Mapping[str, object], *, whose: str) -> None:
        self._url = url
        self._options = options
        self._whose = whose

    def __repr__(self) -> str:
        return f"Place({self._whose})"

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        for chatty in ("s3fs", "fsspec", "botocore", "aiobotocore", "paramiko"):
            logging.getLogger(chatty).setLevel(logging.WARNING)  # at DEBUG they log every path
        try:
            fs, root = fsspec.core.url_to_fs(self._url, **{**self._defaults(), **self._options})
        except (ImportError, ValueError, TypeError):
            raise ConfigurationError(
                f"The location of the vendor {self._whose} cannot be used.",
                mend="Check its URL, its options in the secrets folder, and whether that kind's library is installed.",
            ) from None
        except Exception as wrong:  # noqa: BLE001  # this is the edge: every library of every place has its own errors
            raise self._ours(wrong) from None
        if isinstance(fs, LocalFileSystem):
            root = os.path.realpath(root)
        return fs, root.rstrip("/")

    def _defaults(self) -> dict[str, object]:
        fresh: dict[str, object] = {"use_listings_cache": False, "skip_instance_cache": True}
        if self._url.startswith(("s3://", "s3a://")):  # s3fs tries five times itself, each of them a whole round
            fresh["config_kwargs"] = {"retries": {"max_attempts": 0}, "connect_timeout": 10, "read_timeout": 60}
        return fresh

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @property
    def _is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    @property
    def _is_s3(self) -> bool:
        return "s3" in self._fs.protocol

    def _full(self, path: str) -> str:
        """The path as the file system knows it. Raises AudioMissing for one that would leave the place."""
        full = f"{self._opened[1]}/{path}"
        if not is_safe(path):
            raise AudioMissing(f"A path of the vendor {self._whose} leaves its folder.", mend="Report it to them.")
        if self._is_local and os.path.realpath(full) != full:
            raise AudioMissing(f"A path of the vendor {self._whose} is a link.", mend="Links are not followed.")
        return full

    def _ours(self, wrong: Exception) -> CallkeeperError:
        if isinstance(wrong, CallkeeperError):
            return wrong
        if isinstance(wrong, _NOT_THERE):
            return AudioMissing(f"A file of the vendor {self._whose} is not there.")
        if isinstance(wrong, PermissionError) or type(wrong).__name__ in _REFUSALS:
            return WrongCredentials(
                f"The vendor {self._whose} refused us.",
                mend="Check the credentials and what they may read, or the folder's rights.",
            )
        return VendorUnavailable(f"The vendor {self._whose} did not answer.", mend="Check the network or the share.")

    @contextmanager
    def _ours_only(self) -> Iterator[None]:
        """Turns whatever a library raises into our own: fsspec's back ends share no base class, so all are caught."""
        try:
            yield
        except Exception as wrong:  # noqa: BLE001  # this is the edge: every library of every place has its own errors
            raise self._ours(wrong) from None

    def files(self, folder: str, *, prefix: str = "") -> Iterator[File]:
        """The files directly in a folder (empty: the place itself) whose names begin with ``prefix``, in no order.

        None if the folder does not exist. Raises VendorUnavailable if the place itself is not there (a share that is
        not mounted, no such bucket).
        """
        with self._ours_only():
            try:
                full = self._full(folder) if folder else self._opened[1]
                yield from self._local_files(full, prefix) if self._is_local else self._other_files(full, prefix)
            except (*_NOT_THERE, AudioMissing):
                self._look_for_root()

    @staticmethod
    def _local_files(full: str, prefix: str) -> Iterator[File]:
        with os.scandir(full) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                    yield File(entry.name, entry.stat(follow_symlinks=False).st_size)

    def _other_files(self, full: str, prefix: str) -> Iterator[File]:
        found = 0
        if self._is_s3 and prefix:  # asked of the server: a folder may hold a day's audio beside its manifest
            entries = self._fs.find(full, prefix=prefix, maxdepth=1, detail=True).values()
        else:
            entries = self._fs.ls(full, detail=True)
        for entry in entries:
            found += 1
            name = entry["name"].rpartition("/")[2]
            if entry["type"] == "file" and name.startswith(prefix) and entry["name"].rstrip("/") != full:
                yield File(name, entry["size"])
        if not found:
            raise FileNotFoundError

    def _look_for_root(self) -> None:
        """An S3 prefix without keys does not exist, and need not: the bucket must."""
        fs, root = self._opened
        try:
            fs.info(root.partition("/")[0] if self._is_s3 else root)
        except _NOT_THERE:
            raise VendorUnavailable(
                f"The folder or bucket of the vendor {self._whose} is not there.",
                mend="Is the share mounted, the location right?",
            ) from None

    def open(self, path: str, *, block_bytes: int = BLOCK_BYTES) -> BinaryIO:
        """A file as a stream. Raises AudioMissing, WrongCredentials or VendorUnavailable, here and from every read."""
        with self._ours_only():
            full = self._full(path)
            if self._is_local and not stat.S_ISREG(os.stat(full).st_mode):  # a pipe would wait for ever
                raise FileNotFoundError
            source = self._fs.open(full, "rb", block_size=block_bytes)
        return cast(BinaryIO, io.BufferedReader(_Source(source, self), buffer_size=min(block_bytes, 1 << 20)))

    def delete(self, path: str) -> DeleteAnswer:
        """Removes a file, in a versioned bucket every version of it: a plain delete there only hides it."""
        with self._ours_only():
            try:
                full = self._full(path)
                versions = self._versions(full) if self._is_s3 else None
                if versions is None:
                    if not self._there(full):
                        return "already_gone"
                    self._fs.rm_file(full)
                    return "deleted"
                bucket, _, key = full.partition("/")
                for version, _ in versions:
                    self._fs.call_s3("delete_object", Bucket=bucket, Key=key, VersionId=version)
                return "deleted" if any(holds_bytes for _, holds_bytes in versions) else "already_gone"
            except _NOT_THERE:
                return "already_gone"
            except (PermissionError, AudioMissing):
                return "refused"
            except OSError as wrong:
                if wrong.errno == errno.EROFS:
                    return "refused"
                raise

    def is_gone(self, path: str) -> bool | None:
        """Whether nothing of a file is left; None if the vendor does not let us see hidden versions."""
        with self._ours_only():
            full = self._full(path)
            if not self._is_s3:
                return not self._there(full)
            versions = self._versions(full)
            if versions is None:
                return None if not self._there(full) else False
            return not any(holds_bytes for _, holds_bytes in versions)

    def _there(self, full: str) -> bool:
        try:
            return bool(self._fs.info(full)["type"] == "file")
        except _NOT_THERE:
            return False

    def _versions(self, full: str) -> list[tuple[str, bool]] | None:
        """(version id, whether it holds bytes) of one S3 key, delete markers too; None if we may not list them."""
        bucket, _, key = full.partition("/")
        found: list[tuple[str, bool]] = []
        marker: dict[str, str] = {}
        while True:
            try:
                page = self._fs.call_s3("list_object_versions", Bucket=bucket, Prefix=key, **marker)
            except PermissionError:
                return None
            for kind, holds_bytes in (("Versions", True), ("DeleteMarkers", False)):
                found += [(v["VersionId"], holds_bytes) for v in page.get(kind, ()) if v["Key"] == key]
            if not page.get("IsTruncated") or page.get("NextKeyMarker", "") > key:
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}


class _Source(io.RawIOBase):
    """A file of fsspec as a raw stream: a vendor that fails in mid-read fails in our words."""

    def __init__(self, source: Any, place: Place) -> None:
        self._source = source
        self._place = place

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._place._ours_only():
            return int(self._source.readinto(buffer))

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._place._ours_only():
            return int(self._source.seek(offset, whence))

    def tell(self) -> int:
        return int(self._source.tell())

    def close(self) -> None:
        if not self.closed:
            super().close()
            with suppress(Exception):  # all was read that is wanted, and what it says would hold the path
                self._source.close()
