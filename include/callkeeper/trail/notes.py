"""Checkpoints as signed notes, and the keys that sign them.

The forms are C2SP's: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint. A checkpoint's extension lines, ``time`` and ``horizon``, are
signed with the rest (ADR 0171). Keys are files in a folder of their own, apart from the pseudonyms' and from the database.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from callkeeper.errors import CallkeeperError, KeyMissing, TrailBroken
from callkeeper.trail.events import utc

_ED25519 = b"\x01"
_DASH = "— "
_PRIVATE = "PRIVATE+KEY+"
_NAME = re.compile(r"[^\s+]+")
LIVE, PENDING, RETIRED = ".key", ".pending", ".retired"


class SealKeysUnsafe(CallkeeperError):
    """A sealing key's file is damaged, or open to others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What a checkpoint says. ``at`` is the real time of its signing, ``horizon`` the transaction id below which it took events."""

    origin: str
    size: int
    root: bytes
    at: datetime
    horizon: int

    @property
    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\ntime {utc(self.at)}\nhorizon {self.horizon}\n"


@dataclass(frozen=True)
class VerifierKey:
    """The public half: ``name+hash+key``, as an auditor is given it."""

    name: str
    public: bytes

    @cached_property
    def key_hash(self) -> bytes:
        """Four bytes that say which key signed."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises ValueError."""
        name, _, rest = text.strip().partition("+")
        key_hash, _, encoded = rest.partition("+")
        data = base64.b64decode(encoded, validate=True)
        key = cls(name, data[1:])
        if len(data) != 33 or data[:1] != _ED25519 or not _NAME.fullmatch(name) or key.key_hash.hex() != key_hash:
            raise ValueError("no verifier key")
        return key

    def verifies(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """A key that signs; its private half never leaves its file but into this process."""

    name: str
    private: Ed25519PrivateKey

    @cached_property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw())

    def line(self, text: str) -> str:
        """The signature's line under a text."""
        signature = base64.b64encode(self.verifier.key_hash + self.private.sign(text.encode())).decode()
        return f"{_DASH}{self.name} {signature}\n"

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"


def write(checkpoint: Checkpoint, keys: Sequence[SigningKey]) -> str:
    """The signed note, a signature a key."""
    return f"{checkpoint.text}\n{''.join(key.line(checkpoint.text) for key in keys)}"


def read(note: str, known: Sequence[VerifierKey]) -> Checkpoint:
    """What a note says, once a known key has signed exactly this. Raises TrailBroken."""
    text, gap, signatures = note.rpartition("\n\n")
    text += "\n"
    if not gap or not any(_signed(text, line, known) for line in signatures.splitlines()):
        raise TrailBroken(
            "A checkpoint bears no signature of a key that is known here.",
            mend="Are the sealing keys the ones that signed it? If they are, somebody has forged or changed it.",
        )
    return parse(note)


def parse(note: str) -> Checkpoint:
    """What a note says, whoever signed it. Raises TrailBroken where it is not of our form."""
    text = note.rpartition("\n\n")[0] + "\n"
    try:
        origin, size, root, at, horizon = text.splitlines()
        found = Checkpoint(
            origin=origin,
            size=int(size),
            root=base64.b64decode(root, validate=True),
            at=datetime.fromisoformat(at.removeprefix("time ")),
            horizon=int(horizon.removeprefix("horizon ")),
        )
    except ValueError:
        found = None
    if found is None or found.text != text:
        raise TrailBroken("A checkpoint is not of the form that we sign.", mend="Report it.")
    return found


def _signed(text: str, line: str, known: Sequence[VerifierKey]) -> bool:
    if not line.startswith(_DASH):
        return False
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return False
    return any(key.name == name and key.key_hash == data[:4] and key.verifies(text, data[4:]) for key in known)


# --- the keys' folder -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SealKeys:
    """The keys in a folder: those that sign, one that waits until its adding is sealed, and the public halves of retired ones."""

    folder: Path
    live: tuple[SigningKey, ...]
    pending: tuple[SigningKey, ...]
    retired: tuple[VerifierKey, ...]

    @property
    def name(self) -> str:
        return self.live[0].name

    @property
    def known(self) -> list[VerifierKey]:
        """Whose signatures are believed here."""
        return [*(key.verifier for key in self.live), *self.retired]

    @classmethod
    def load(cls, folder: Path) -> SealKeys:
        """Raises KeyMissing or SealKeysUnsafe."""
        found: dict[str, list[str]] = {LIVE: [], PENDING: [], RETIRED: []}
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.suffix in found:
                if path.suffix != RETIRED and path.stat().st_mode & 0o077:
                    raise SealKeysUnsafe(
                        f"{path.name} can be read or changed by others.", mend="chmod 600 it, and rotate the key."
                    )
                found[path.suffix].append(path.read_text(encoding="utf-8"))
        if not found[LIVE]:
            raise KeyMissing(
                "There is no key that signs the trail.",
                mend="Bring its folder back (CALLKEEPER_TRAIL_KEYS_DIR). `callkeeper up` makes a first one; a new one after a loss begins a new epoch.",
            )
        try:
            return cls(
                folder,
                tuple(map(_signing_key, found[LIVE])),
                tuple(map(_signing_key, found[PENDING])),
                tuple(map(VerifierKey.parse, found[RETIRED])),
            )
        except ValueError:
            raise SealKeysUnsafe("A sealing key's file is damaged.", mend="Bring it back from its copy.") from None

    @classmethod
    def create(cls, folder: Path, name: str) -> SealKeys:
        """The folder's keys; the first one is made if there is none."""
        with locked(folder):
            if not any(folder.glob(f"*{LIVE}")) and not any(folder.glob(f"*{RETIRED}")):
                _put(folder, _make(name), LIVE)
            return cls.load(folder)

    def add(self) -> SigningKey:
        """The key that waits; a new one is made if none does."""
        if self.pending:
            return self.pending[0]
        key = _make(self.name)
        _put(self.folder, key, PENDING)
        return key

    def take_up(self, key: SigningKey) -> None:
        """A key that waited signs from now on."""
        (self.folder / f"{key.verifier.key_hash.hex()}{PENDING}").rename(
            self.folder / f"{key.verifier.key_hash.hex()}{LIVE}"
        )
        _sync(self.folder)

    def retire(self, key: SigningKey) -> None:
        """A key signs no more: its private half is gone, its public one stays to check what it signed."""
        stem = key.verifier.key_hash.hex()
        _write(self.folder / f"{stem}{RETIRED}", f"{key.verifier}\n")
        (self.folder / f"{stem}{LIVE}").unlink()
        _sync(self.folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One who changes the folder at a time; it is made where it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(name: str) -> SigningKey:
    if not _NAME.fullmatch(name):
        raise KeyMissing("The trail's name may hold no blank and no plus.", mend="Correct CALLKEEPER_TRAIL_NAME.")
    return SigningKey(name, Ed25519PrivateKey.generate())


def _signing_key(text: str) -> SigningKey:
    name, _, rest = text.strip().removeprefix(_PRIVATE).partition("+")
    key_hash, _, encoded = rest.partition("+")
    data = base64.b64decode(encoded, validate=True)
    if data[:1] != _ED25519:
        raise ValueError("no signing key")
    key = SigningKey(name, Ed25519PrivateKey.from_private_bytes(data[1:]))
    if key.verifier.key_hash.hex() != key_hash:
        raise ValueError("no signing key")
    return key


def _put(folder: Path, key: SigningKey, suffix: str) -> None:
    data = base64.b64encode(_ED25519 + key.private.private_bytes_raw()).decode()
    stem = key.verifier.key_hash.hex()
    _write(folder / f"{stem}{suffix}", f"{_PRIVATE}{key.name}+{stem}+{data}\n")


def _write(path: Path, text: str) -> None:
    """All of the file or nothing of it, on the disk itself; only ever readable by its owner."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
