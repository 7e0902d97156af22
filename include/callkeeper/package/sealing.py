"""The file that opens itself: a page of HTML with its content sealed in it, opened in any browser with the passphrase.

PBKDF2-SHA256 makes the key, of a salt of the file's own; AES-256-GCM seals chunks of at most a MiB, each bound to its place and to
the file's header: what is changed, left out, cut off or put in another order does not open. The page may reach no network. On
disk is only ever what is sealed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

HERE = Path(__file__).parent
ROUNDS = 600_000
"""Of PBKDF2-HMAC-SHA256: what OWASP's Password Storage Cheat Sheet asks for at least (2023)."""
CHUNK_BYTES = 1 << 20
CHECK, INDEX, CHUNK = 0, 1, 2
"""What a nonce is of: its first four bytes. A key seals one file only, so none comes twice."""


def normal(passphrase: str) -> bytes:
    """One spelling for what two people type differently: case, blanks or hyphens between the words, composed letters."""
    words = unicodedata.normalize("NFKC", passphrase).lower().replace("-", " ").split()
    return "-".join(words).encode()


class Hashed:
    """A file that is written once, with the SHA-256 and the size of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self._digest, self.size_bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    @property
    def sha256(self) -> bytes:
        return self._digest.digest()


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Key:
    """What seals one file, and no other: the key, and the salt that makes it again of the passphrase."""

    salt: bytes
    aead: AESGCM


def new_key(passphrase: str) -> Key:
    """A key of the passphrase and a new salt. Takes a tenth of a second and more, in which other threads go on."""
    salt = os.urandom(16)
    derived = PBKDF2HMAC(algorithm=SHA256(), length=32, salt=salt, iterations=ROUNDS).derive(normal(passphrase))
    return Key(salt=salt, aead=AESGCM(derived))


@dataclass(kw_only=True, slots=True)
class _Entry:
    name: str
    content_type: str
    first: int
    chunks: int = 0
    size_bytes: int = 0


@dataclass(kw_only=True, slots=True)
class SelfOpening:
    """Writes one such file, front to back: ``begin``, then ``add`` and ``write`` for each content, then ``finish``."""

    target: Hashed
    key: Key
    package: UUID
    part: int
    parts: int
    language: str
    _header: bytes = field(init=False)
    _entries: list[_Entry] = field(init=False, default_factory=list)
    _chunks: int = field(init=False, default=0)
    _waiting: bytearray = field(init=False, default_factory=bytearray)

    def begin(self) -> None:
        """Writes the page up to where its content begins."""
        header = {
            "package": str(self.package),
            "part": self.part,
            "parts": self.parts,
            "rounds": ROUNDS,
            "salt": base64.b64encode(self.key.salt).decode(),
            "version": 1,
        }
        self._header = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
        self.target.write(_page(self.language, self.part, self.parts).encode())
        self._block("header", self._header)
        self._block("check", self._sealed(CHECK, 0, b"callkeeper"))

    def add(self, name: str, content_type: str) -> None:
        """From here on what is written is the content of that name."""
        self._flush()
        self._entries.append(_Entry(name=name, content_type=content_type, first=self._chunks))

    def write(self, data: bytes) -> None:
        self._entries[-1].size_bytes += len(data)
        if not self._waiting and len(data) == CHUNK_BYTES:
            self._chunk(data)
            return
        self._waiting += data
        while len(self._waiting) >= CHUNK_BYTES:
            self._chunk(bytes(self._waiting[:CHUNK_BYTES]))
            del self._waiting[:CHUNK_BYTES]

    def finish(self, index: str) -> None:
        """Seals the index (HTML), which names every content and how many chunks there are, and ends the page."""
        self._flush()
        facts = {
            "chunks": self._chunks,
            "files": {
                e.name: {"type": e.content_type, "first": e.first, "chunks": e.chunks, "size": e.size_bytes}
                for e in self._entries
            },
            "index": index,
        }
        self._block("index", self._sealed(INDEX, 0, json.dumps(facts).encode()))
        self.target.write(b"</body>\n</html>\n")

    def _flush(self) -> None:
        if self._waiting:
            self._chunk(bytes(self._waiting))
            self._waiting.clear()

    def _chunk(self, data: bytes) -> None:
        self._block("chunk", self._sealed(CHUNK, self._chunks, data))
        self._chunks += 1
        self._entries[-1].chunks += 1

    def _sealed(self, kind: int, n: int, data: bytes) -> bytes:
        nonce = kind.to_bytes(4, "big") + n.to_bytes(8, "big")
        return base64.b64encode(self.key.aead.encrypt(nonce, data, self._header))

    def _block(self, kind: str, text: bytes) -> None:
        self.target.write(f'<script type="text/plain" data-is="{kind}">'.encode())
        self.target.write(text)
        self.target.write(b"</script>\n")


@cache
def words(language: str) -> Mapping[str, Any]:
    """The page's and the index's words."""
    import tomllib

    return tomllib.loads((HERE / "words" / f"{language}.toml").read_text(encoding="utf-8"))


def environment() -> Any:
    """The templates; whatever is put into them is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def style() -> str:
    return (HERE / "page.css").read_text(encoding="utf-8")


@cache
def _page(language: str, part: int, parts: int) -> str:
    script = (HERE / "page.js").read_text(encoding="utf-8")
    said = words(language)["page"]
    page: str = environment().get_template("page.html").render(
        language=language, part=part, parts=parts, w=said, style=_raw(style()), script=_raw(script),
        style_hash=_allowed(style()), script_hash=_allowed(script), words=_raw(json.dumps(said).replace("<", "\\u003c")),
    )  # fmt: skip
    return page


def _raw(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  # files of ours


def _allowed(text: str) -> str:
    """By this hash the page's policy lets its own script and style through, and nothing else."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
