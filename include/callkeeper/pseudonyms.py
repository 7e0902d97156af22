"""How a number is kept: a keyed hash to find it, its value sealed to a public key to read it; rotation and escrow.

Files, JSON, mode 0600 in a folder that only its owner changes (docs/adr/0114):

``keyring.json``
    ``{"version": 1, "keys": [{"key_id", "purpose", "created_at", "retired_at", "key"}, ...]}``, the oldest first.
    ``key`` is base64: an HMAC key (pseudonym, tombstone), or an X25519 public key (number, reference).
``number.private.json``, ``reference.private.json``
    ``{"version": 1, "private": {key_id: base64, ...}}``. Absent where nothing may be read.

A sealed value (docs/adr/0115): version (1 byte, 0x01), key id (4), ephemeral X25519 public key (32), nonce (12), then
ciphertext and tag (16) of ChaCha20-Poly1305.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
import secrets
import unicodedata
from base64 import b64decode, b64encode, encodebytes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from callkeeper.errors import CallkeeperError, KeyMissing, NotAllowed

if TYPE_CHECKING:
    from callkeeper import db

Sealed = Literal["number", "reference"]
Purpose = Literal["number", "reference", "pseudonym", "tombstone"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
SEALED: tuple[Sealed, ...] = get_args(Sealed)

PASSPHRASE_CHARACTERS = 12
"""The shortest passphrase of an escrow."""

_VERSION = 1
_RING = "keyring.json"
_BEGUN = ".begun"  # a keyring is being made: private keys without a keyring are its leftovers, not a lost one's
_HEADER = 1 + 4 + 32
_NONCE = 12
_TAG = 16
_ESCROW = b"callkeeper escrow 1\n"
_SALT = 16


class KeysUnsafe(CallkeeperError):
    """Key files can be read or changed by others, or are not what callkeeper wrote."""


class Unreadable(CallkeeperError):
    """A sealed value does not open: it is damaged, or was sealed for another purpose or another recording."""


class EscrowRefused(CallkeeperError):
    """An escrow cannot be written, or not be opened: its passphrase is wrong, or it is damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key. ``secret``: its HMAC key, or its public half (32 bytes). ``created_at`` and ``retired_at`` are aware."""

    key_id: str
    purpose: Purpose
    created_at: datetime
    retired_at: datetime | None = None
    secret: bytes = field(repr=False)


class Sealer:
    """Seals the values of one chunk: one ephemeral key and one key agreement for all, a random nonce for each."""

    __slots__ = ("_aead", "_header")

    def __init__(self, key: Key) -> None:
        ephemeral = X25519PrivateKey.generate()
        self._header = bytes([_VERSION]) + bytes.fromhex(key.key_id) + ephemeral.public_key().public_bytes_raw()
        self._aead = _aead(key, ephemeral.exchange(X25519PublicKey.from_public_bytes(key.secret)), self._header)

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        """``plain``, to be opened with the private key only, and only for the recording that ``bound_to`` names."""
        nonce = os.urandom(_NONCE)
        return self._header + nonce + self._aead.encrypt(nonce, plain, bound_to)

    def __repr__(self) -> str:
        return "Sealer()"


def _aead(key: Key, shared: bytes, header: bytes) -> ChaCha20Poly1305:
    info = b"callkeeper sealed " + key.purpose.encode() + b"\0" + header + key.secret
    return ChaCha20Poly1305(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(shared))


class Keyring:
    """The keys of one folder. It does not change: ``rotate`` and ``retire`` give another one."""

    __slots__ = ("_current", "_folder", "_private", "_pseudonym", "_tombstone", "key_id", "keys")

    key_id: str
    """The id of the pseudonym key in use."""
    keys: tuple[Key, ...]
    """Every key, the oldest first."""

    def __init__(self, folder: Path, keys: tuple[Key, ...], private: Mapping[Sealed, Mapping[str, bytes]]) -> None:
        self._folder, self.keys, self._private = folder, keys, private
        self._current = {k.purpose: k for k in keys if k.retired_at is None}  # the newest of each purpose
        if missing := [p for p in PURPOSES if p not in self._current]:
            raise KeyMissing(f"The keyring has no key for: {', '.join(missing)}.", mend="Restore the escrow.")
        self.key_id = self._current["pseudonym"].key_id
        self._pseudonym = self._current["pseudonym"].secret
        self._tombstone = self._current["tombstone"].secret

    def __repr__(self) -> str:
        return "Keyring()"

    # --- files --------------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, folder: Path) -> Keyring:
        """The folder's keyring, made if there is none. Killed in the middle, it leaves none or a whole one."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            begun = folder / _BEGUN
            if not (folder / _RING).exists():
                if not begun.exists() and any((folder / _private_name(p)).exists() for p in SEALED):
                    raise KeysUnsafe(
                        "The keys folder has private keys but no keyring: a new one would overwrite them.",
                        mend="Bring keyring.json back, or restore the escrow into an empty folder.",
                    )
                begun.touch(mode=0o600)
                made = [_new(purpose) for purpose in PURPOSES]
                private = {p: {key.key_id: half for key, half in made if key.purpose == p and half} for p in SEALED}
                _write_all(folder, tuple(key for key, _ in made), private)
            begun.unlink(missing_ok=True)
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Keyring:
        """The folder's keyring. Raises KeyMissing, or KeysUnsafe if others could read or change it."""
        if not (folder / _RING).exists():
            raise KeyMissing(
                "There is no keyring in the keys folder (CALLKEEPER_KEYS_DIR).",
                mend="`callkeeper up` makes one, `callkeeper keys restore` brings one back.",
            )
        if folder.stat().st_mode & 0o022:
            raise KeysUnsafe("The keys folder can be changed by others.", mend="chmod 700 it.")
        keys = _keys(_RING, _read(folder / _RING))
        private = {p: _halves(p, _read(f), keys) if (f := folder / _private_name(p)).exists() else {} for p in SEALED}
        return cls(folder, keys, private)

    def rotate(self, purpose: Purpose) -> Keyring:
        """The keyring with a new key in use for ``purpose``; older ones stay live, to find and read what is there.

        Raises NotAllowed for the tombstone key, which never rotates: what has gone would be imported again.
        """
        if purpose == "tombstone":
            raise NotAllowed("The tombstone key never rotates: what has gone would be imported again.")
        with _locked(self._folder):
            now = self.load(self._folder)
            key, half = _new(purpose)
            private = {p: dict(now._private[p]) for p in SEALED}
            if half and purpose in SEALED:
                now._require_private(now._current[purpose])
                private[purpose][key.key_id] = half
            _write_all(self._folder, (*now.keys, key), private)
        return self.load(self._folder)

    def retire(self, key_id: str) -> Keyring:
        """The keyring in which no search asks for that pseudonym key any more: for when no row refers to it."""
        with _locked(self._folder):
            now = self.load(self._folder)
            if key_id not in {k.key_id for k in now.keys if k.purpose == "pseudonym"} - {now.key_id}:
                raise NotAllowed("Only a pseudonym key that is not in use can retire.", mend="`callkeeper keys list`.")
            when = datetime.now(UTC)
            keys = tuple(replace(k, retired_at=when) if k.key_id == key_id else k for k in now.keys)
            _write(self._folder / _RING, _ring(keys))
        return self.load(self._folder)

    # --- finding ------------------------------------------------------------------------------------------------------

    def pseudonym(self, e164: str) -> bytes:
        """The number's HMAC-SHA-256 (32 bytes) under the key in use, ``key_id`` (requirements, section 5)."""
        return hmac.digest(self._pseudonym, e164.encode(), "sha256")

    def pseudonyms(self, e164: str) -> dict[str, bytes]:
        """The number's HMAC under every live key, by key id: what a search, a hold and an objection ask for."""
        number = e164.encode()
        live = (k for k in self.keys if k.purpose == "pseudonym" and k.retired_at is None)
        return {k.key_id: hmac.digest(k.secret, number, "sha256") for k in live}

    def tombstone(self, vendor: str, identity: str) -> bytes:
        """The hash (32 bytes) by which a recording is known again when it has gone; its key never rotates."""
        return hmac.digest(self._tombstone, f"{vendor}\0{identity}".encode(), "sha256")

    def sign(self, purpose: str, text: bytes) -> bytes:
        """A MAC (32 bytes) by which this installation knows its own text again: a listening's token, say.

        Its key is derived from the one that never rotates, for that purpose only.
        """
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"callkeeper sign " + purpose.encode())
        return hmac.digest(key.derive(self._tombstone), text, "sha256")

    # --- reading ------------------------------------------------------------------------------------------------------

    def sealer(self, purpose: Sealed) -> Sealer:
        """A sealer for the values of one chunk, to the public key in use for ``purpose``."""
        return Sealer(self._current[purpose])

    def unseal(self, purpose: Sealed, sealed: bytes, bound_to: bytes) -> bytes:
        """What was sealed for that purpose and recording. Raises Unreadable, or KeyMissing: no private key here."""
        sealed = bytes(sealed)
        header, nonce, ciphertext = sealed[:_HEADER], sealed[_HEADER : _HEADER + _NONCE], sealed[_HEADER + _NONCE :]
        key = next((k for k in self.keys if k.purpose == purpose and k.key_id == header[1:5].hex()), None)
        if key is None or header[0] != _VERSION or len(ciphertext) < _TAG:
            raise Unreadable(f"This is no sealed {purpose} of this keyring.", mend="Was another keyring restored?")
        self._require_private(key)
        half = X25519PrivateKey.from_private_bytes(self._private[purpose][key.key_id])
        try:
            shared = half.exchange(X25519PublicKey.from_public_bytes(header[5:]))
            return _aead(key, shared, header).decrypt(nonce, ciphertext, bound_to)
        except (InvalidTag, ValueError):
            raise Unreadable(f"A sealed {purpose} is damaged, or belongs to another recording.") from None

    def has_private(self, key: Key) -> bool:
        """Whether the private half of that sealing key is on this machine."""
        return key.purpose in SEALED and key.key_id in self._private[key.purpose]

    def _require_private(self, key: Key) -> None:
        if not self.has_private(key):
            raise KeyMissing(
                f"The private key for a sealed {key.purpose} is not on this machine.",
                mend=f"Do this where {key.purpose}.private.json is, or bring it back from the escrow.",
            )

    # --- escrow -------------------------------------------------------------------------------------------------------

    def escrow(self, passphrase: str) -> bytes:
        """Every key, as text to keep elsewhere: scrypt (128 MiB, a second), then ChaCha20-Poly1305 over the files.

        Raises EscrowRefused for a short passphrase, KeyMissing where a private key is absent: half an escrow is none.
        """
        if len(passphrase) < PASSPHRASE_CHARACTERS:
            raise EscrowRefused(f"The passphrase is too short: {PASSPHRASE_CHARACTERS} characters at least.")
        for key in self.keys:
            if key.purpose in SEALED:
                self._require_private(key)
        files = {_RING: _ring(self.keys), **{_private_name(p): _private(self._private[p]) for p in SEALED}}
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        sealed = _escrow_aead(passphrase, salt).encrypt(nonce, json.dumps(files).encode(), _ESCROW)
        return _ESCROW + encodebytes(salt + nonce + sealed)


def restore_escrow(folder: Path, escrow: bytes, passphrase: str) -> Keyring:
    """The keyring of the escrow, in a folder that has nothing in it or is not there. Raises EscrowRefused."""
    if not escrow.startswith(_ESCROW):
        raise EscrowRefused("This is no escrow of callkeeper's keys.")
    try:
        sealed = b64decode(b"".join(escrow[len(_ESCROW) :].split()), validate=True)
        salt, nonce, ciphertext = sealed[:_SALT], sealed[_SALT : _SALT + _NONCE], sealed[_SALT + _NONCE :]
        files = json.loads(_escrow_aead(passphrase, salt).decrypt(nonce, ciphertext, _ESCROW))
    except (InvalidTag, ValueError):
        raise EscrowRefused("The passphrase is wrong, or the escrow is damaged. Nothing was restored.") from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        if any(folder.iterdir()):
            raise EscrowRefused("The keys folder is not empty. Nothing was restored.", mend="Move what is in it away.")
        keys = _keys(_RING, files[_RING])
        _write_all(folder, keys, {p: _halves(p, files[_private_name(p)], keys) for p in SEALED})
    return Keyring.load(folder)


def register(conn: db.Connection, keyring: Keyring) -> tuple[Key, ...]:
    """Brings the table of keys up to date, without committing; gives the keys whose row is new or newly retired."""
    from callkeeper import db

    q = db.queries()
    return tuple(
        key
        for key in keyring.keys
        if q.register_key(
            conn, key_id=key.key_id, purpose=key.purpose, created_at=key.created_at, retired_at=key.retired_at
        )
    )


def record_escrow(conn: db.Connection, keyring: Keyring) -> None:
    """Records, without committing, that an escrow of all these (registered) keys has been written."""
    from callkeeper import db

    db.queries().record_escrow(conn, key_ids=[key.key_id for key in keyring.keys])


def _new(purpose: Purpose) -> tuple[Key, bytes | None]:
    """A key, and the private half of a sealing one."""
    half, secret = None, secrets.token_bytes(32)
    if purpose in SEALED:
        pair = X25519PrivateKey.generate()
        half, secret = pair.private_bytes_raw(), pair.public_key().public_bytes_raw()
    return Key(key_id=secrets.token_hex(4), purpose=purpose, created_at=datetime.now(UTC), secret=secret), half


def _escrow_aead(passphrase: str, salt: bytes) -> ChaCha20Poly1305:
    # one spelling for what two keyboards type differently: ä, or a and its dots
    secret = unicodedata.normalize("NFKC", passphrase).encode()
    return ChaCha20Poly1305(Scrypt(salt=salt, length=32, n=2**17, r=8, p=1).derive(secret))


# --- the files' form --------------------------------------------------------------------------------------------------


def _private_name(purpose: Sealed) -> str:
    return f"{purpose}.private.json"


def _ring(keys: tuple[Key, ...]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "keys": [
            {
                "key_id": key.key_id,
                "purpose": key.purpose,
                "created_at": key.created_at.isoformat(),
                "retired_at": key.retired_at.isoformat() if key.retired_at else None,
                "key": b64encode(key.secret).decode(),
            }
            for key in keys
        ],
    }


def _private(halves: Mapping[str, bytes]) -> dict[str, Any]:
    return {"version": _VERSION, "private": {key_id: b64encode(half).decode() for key_id, half in halves.items()}}


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KeysUnsafe(
            f"{name} is damaged, or of another version of callkeeper.", mend="Restore the escrow into an empty folder."
        ) from None


def _keys(name: str, document: Any) -> tuple[Key, ...]:
    with _damage(name):
        if document["version"] != _VERSION:
            raise ValueError
        keys = tuple(
            Key(
                key_id=bytes.fromhex(e["key_id"]).hex(),
                purpose=PURPOSES[PURPOSES.index(e["purpose"])],
                created_at=datetime.fromisoformat(e["created_at"]),
                retired_at=datetime.fromisoformat(e["retired_at"]) if e["retired_at"] else None,
                secret=b64decode(e["key"], validate=True),
            )
            for e in document["keys"]
        )
        if any(len(k.key_id) != 8 or len(k.secret) != 32 for k in keys) or len({k.key_id for k in keys}) < len(keys):
            raise ValueError
        return keys


def _halves(purpose: Sealed, document: Any, keys: tuple[Key, ...]) -> dict[str, bytes]:
    """The private halves of the keys; others, which a rotation killed in the middle left, are of no use."""
    with _damage(_private_name(purpose)):
        if document["version"] != _VERSION:
            raise ValueError
        public = {k.key_id: k.secret for k in keys if k.purpose == purpose}
        halves = {i: b64decode(half, validate=True) for i, half in document["private"].items() if i in public}
        for key_id, half in halves.items():
            if X25519PrivateKey.from_private_bytes(half).public_key().public_bytes_raw() != public[key_id]:
                raise ValueError
        return halves


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise KeysUnsafe(
                f"{path.name} can be read or changed by others.", mend="chmod 600 it, and rotate its keys."
            )
        with _damage(path.name):
            return json.load(file)


def _write_all(folder: Path, keys: tuple[Key, ...], private: Mapping[Sealed, Mapping[str, bytes]]) -> None:
    """The private halves first: a key that is in the keyring can be opened, whenever the process dies."""
    for purpose in SEALED:
        if private[purpose]:
            _write(folder / _private_name(purpose), _private(private[purpose]))
    _write(folder / _RING, _ring(keys))


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """All of the file or nothing of it, on the disk itself; only ever readable by its owner."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(document, file, indent=1)
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


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time; a killed one's lock goes with it."""
    _sync(folder.parent)  # the folder itself may be new
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
