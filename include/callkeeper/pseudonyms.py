"""How a number is kept: a keyed hash to find it, its value sealed to a public key to read it; rotation and escrow.

Files, all JSON, all mode 0600 in a folder of mode 0700 (docs/adr/0114):

``keyring.json``          ``{"version": 1, "keys": [{"key_id", "purpose", "created_at", "retired_at"?, "key"}, ...]}``, oldest first. ``key``
                          is base64: the HMAC key (pseudonym, tombstone), or the X25519 public key (number, reference).
``number.private.json``   ``{"version": 1, "private": {key_id: base64, ...}}``; absent where nothing may be read.
``reference.private.json``  likewise.

A sealed value: version (1 byte, 0x01), key id (4), ephemeral X25519 public key (32), nonce (12), ciphertext and tag (docs/adr/0115).
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from callkeeper.errors import CallkeeperError, KeyMissing

if TYPE_CHECKING:
    from callkeeper import db

Sealed = Literal["number", "reference"]
Purpose = Literal["number", "reference", "pseudonym", "tombstone"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
SEALED: tuple[Sealed, ...] = get_args(Sealed)

_RING = "keyring.json"
_VERSION = 1
_HEADER = 1 + 4 + 32 + 12


class KeysUnsafe(CallkeeperError):
    """Key files can be read or changed by others, or are not what they should be."""


class Unreadable(CallkeeperError):
    """A sealed value does not open: it is damaged, or was sealed for another purpose or another recording."""


class EscrowRefused(CallkeeperError):
    """An escrow cannot be written or restored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key: ``secret`` is an HMAC key, or the public half of a sealing key. ``created_at`` and ``retired_at`` are UTC."""

    key_id: str
    purpose: Purpose
    created_at: datetime
    retired_at: datetime | None = None
    secret: bytes = field(repr=False)


class Sealer:
    """Seals the values of one chunk: one ephemeral key, one key agreement, a random nonce each."""

    __slots__ = ("_aead", "_header")

    def __init__(self, purpose: Sealed, key: Key) -> None:
        ephemeral = X25519PrivateKey.generate()
        public = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(key.secret))
        self._header = bytes([_VERSION]) + bytes.fromhex(key.key_id) + public
        self._aead = _aead(purpose, shared, self._header, key.secret)

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        """``plain``, readable only with the private key and only for the recording that ``bound_to`` names."""
        nonce = os.urandom(12)
        return self._header + nonce + self._aead.encrypt(nonce, plain, bound_to)

    def __repr__(self) -> str:
        return "Sealer()"


def _aead(purpose: Sealed, shared: bytes, header: bytes, public: bytes) -> ChaCha20Poly1305:
    info = b"callkeeper sealed " + purpose.encode() + b"\0" + header + public
    return ChaCha20Poly1305(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(shared))


class Keyring:
    """Every live key. Immutable: ``rotate`` and ``retire`` give another one."""

    __slots__ = ("_current", "_folder", "_private", "_pseudonym", "_tombstone", "key_id", "keys")

    key_id: str
    """The id of the current pseudonym key."""

    def __init__(self, folder: Path, keys: tuple[Key, ...], private: dict[Sealed, dict[str, bytes]]) -> None:
        self._folder, self.keys, self._private = folder, keys, private
        self._current = {k.purpose: k for k in keys if k.retired_at is None}  # oldest first: the newest wins
        if missing := [p for p in PURPOSES if p not in self._current]:
            raise KeyMissing(f"The keyring has no key for: {', '.join(missing)}.", mend="Restore the escrow (`callkeeper keys restore`).")
        self.key_id = self._current["pseudonym"].key_id
        self._pseudonym = self._current["pseudonym"].secret
        self._tombstone = self._current["tombstone"].secret

    def __repr__(self) -> str:
        return "Keyring()"

    @classmethod
    def create(cls, folder: Path) -> Keyring:
        """The folder's keyring, made if there is none. Killed in the middle, it leaves none, or a whole one."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            if not (folder / _RING).exists():
                made = [_new(purpose) for purpose in PURPOSES]
                for purpose in SEALED:
                    _write_private(folder, purpose, {k.key_id: p for k, p in made if k.purpose == purpose and p})
                _write_ring(folder, tuple(k for k, _ in made))
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Keyring:
        """The folder's keyring. Raises KeyMissing, or KeysUnsafe if others could read or change it."""
        if not (folder / _RING).exists():
            raise KeyMissing("There is no keyring in the keys folder (CALLKEEPER_KEYS_DIR).", mend="`callkeeper up` makes one; `callkeeper keys restore` brings one back.")
        if folder.stat().st_mode & 0o022:
            raise KeysUnsafe("The keys folder can be changed by others.", mend="chmod 700 it.")
        return cls(folder, _read_ring(folder), {p: _read_private(folder, p) for p in SEALED})

    def pseudonym(self, e164: str) -> bytes:
        """The number's keyed hash (HMAC-SHA-256, 32 bytes) under the current key, ``key_id``."""
        return hmac.digest(self._pseudonym, e164.encode(), "sha256")

    def pseudonyms(self, e164: str) -> dict[str, bytes]:
        """The number's keyed hash under every live key, by key id: what a search, a hold or an objection asks for."""
        text = e164.encode()
        live = (k for k in self.keys if k.purpose == "pseudonym" and k.retired_at is None)
        return {k.key_id: hmac.digest(k.secret, text, "sha256") for k in live}

    def tombstone(self, vendor: str, identity: str) -> bytes:
        """The hash (32 bytes) by which a recording is known again after it has gone; its key never rotates."""
        return hmac.digest(self._tombstone, f"{vendor}\0{identity}".encode(), "sha256")

    def sealer(self, purpose: Sealed) -> Sealer:
        """A sealer for one chunk of values, to the purpose's current public key."""
        return Sealer(purpose, self._current[purpose])

    def unseal(self, purpose: Sealed, sealed: bytes, bound_to: bytes) -> bytes:
        """What was sealed. Raises KeyMissing if the private key is not on this machine, Unreadable if it does not open."""
        key_id = bytes(sealed[1:5]).hex()
        public = next((k.secret for k in self.keys if k.key_id == key_id and k.purpose == purpose), None)
        if len(sealed) < _HEADER + 16 or sealed[0] != _VERSION or public is None:
            raise Unreadable(f"A sealed value is damaged, or was not sealed as a {purpose}.")
        private = self._private[purpose].get(key_id)
        if private is None:
            raise KeyMissing(
                f"The private key that opens sealed {purpose}s is not on this machine.",
                mend=f"Run it where {purpose}.private.json is, or restore the escrow.",
            )
        header, nonce = bytes(sealed[:37]), bytes(sealed[37:_HEADER])
        try:
            shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(header[5:]))
            return _aead(purpose, shared, header, public).decrypt(nonce, bytes(sealed[_HEADER:]), bound_to)
        except (InvalidTag, ValueError):
            raise Unreadable(f"A sealed {purpose} does not open: it is damaged, or belongs to another recording.") from None


def _new(purpose: Purpose) -> tuple[Key, bytes | None]:
    private = None
    secret = secrets.token_bytes(32)
    if purpose in SEALED:
        pair = X25519PrivateKey.generate()
        private, secret = pair.private_bytes_raw(), pair.public_key().public_bytes_raw()
    return Key(key_id=secrets.token_hex(4), purpose=purpose, created_at=datetime.now(UTC), secret=secret), private


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time; the lock goes with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_ring(folder: Path, keys: tuple[Key, ...]) -> None:
    entries = [
        {
            "key_id": k.key_id,
            "purpose": k.purpose,
            "created_at": k.created_at.isoformat(),
            **({"retired_at": k.retired_at.isoformat()} if k.retired_at else {}),
            "key": b64encode(k.secret).decode(),
        }
        for k in keys
    ]
    _write(folder / _RING, {"version": _VERSION, "keys": entries})


def _write_private(folder: Path, purpose: Sealed, private: dict[str, bytes]) -> None:
    entries = {key_id: b64encode(secret).decode() for key_id, secret in private.items()}
    _write(folder / f"{purpose}.private.json", {"version": _VERSION, "private": entries})


def _document(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise KeysUnsafe(f"{path.name} can be read by others.", mend="chmod 600 it, and think about rotating its keys.")
        try:
            document: dict[str, Any] = json.load(file)
            if document["version"] != _VERSION:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise KeysUnsafe(f"{path.name} is no key file of this version of callkeeper.", mend="Restore the escrow into an empty folder.") from None
    return document


def _read_ring(folder: Path) -> tuple[Key, ...]:
    document = _document(folder / _RING)
    try:
        return tuple(
            Key(
                key_id=e["key_id"],
                purpose=e["purpose"],
                created_at=datetime.fromisoformat(e["created_at"]),
                retired_at=datetime.fromisoformat(e["retired_at"]) if "retired_at" in e else None,
                secret=b64decode(e["key"], validate=True),
            )
            for e in document["keys"]
        )
    except (ValueError, KeyError, TypeError):
        raise KeysUnsafe(f"{_RING} is damaged.", mend="Restore the escrow into an empty folder.") from None


def _read_private(folder: Path, purpose: Sealed) -> dict[str, bytes]:
    path = folder / f"{purpose}.private.json"
    if not path.exists():
        return {}
    document = _document(path)
    try:
        return {key_id: b64decode(secret, validate=True) for key_id, secret in document["private"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KeysUnsafe(f"{path.name} is damaged.", mend="Restore the escrow into an empty folder.") from None
