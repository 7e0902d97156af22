"""A copy in the store for somebody to take: its parts, its passphrase, its way out.

A part's object has its entry in the package's row before it is written, and its row in the journal when it is to go: so the
one destroyer finds it, whenever a process dies. ``sealing`` writes the file that opens itself.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args
from uuid import UUID

from callkeeper import db
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import Actor, DeletionPlanned, Event, PackageEnded

Kind = Literal["html", "zip"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The file that opens itself, and a zip of the same."""
EndReason = Literal["expired", "withdrawn", "unfinished"]

UNFINISHED_HOURS = 24
"""A package that was begun so long ago and is not whole is nobody's: its maker died, and nobody ran it again."""

CONSONANTS, VOWELS = "hjklmnprstv", "aeiou"
"""What Finnish, Swedish and English spell alike, and any keyboard has."""
WORDS, SYLLABLES = 5, 3
PASSPHRASE_BITS = math.floor(WORDS * SYLLABLES * math.log2(len(CONSONANTS) * len(VOWELS)))
"""86: beyond reach even under the zip's thousand rounds of a fast hash (docs/adr/0223)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One file of a package. ``part`` is its row in the journal; version, hash and size are known once the package is whole."""

    n: int
    kind: Kind
    part: UUID
    key: str
    version: str | None = None
    sha256: bytes | None = None
    size_bytes: int | None = None

    @property
    def content_type(self) -> str:
        return "text/html" if self.kind == "html" else "application/zip"

    def __repr__(self) -> str:
        return f"Part({self.n}, {self.kind})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A copy. ``expires_on``: the day that it goes on; the last one on which it can be had is the day before."""

    package: UUID
    ticket: str | None
    parts: tuple[Part, ...]
    made_at: datetime
    expires_on: date
    over: bool = False
    """Its term is over, or it was taken back: it is on its way out."""

    @property
    def whole(self) -> bool:
        return bool(self.parts) and all(p.version for p in self.parts)


def passphrase() -> str:
    """A passphrase of our own syllables, easy to read out and to type: ``kalevo-miruta-...``, PASSPHRASE_BITS of entropy."""
    syllables = [c + v for c in CONSONANTS for v in VOWELS]
    words = ("".join(secrets.choice(syllables) for _ in range(SYLLABLES)) for _ in range(WORDS))
    return "-".join(words)


def written(parts: Iterable[Part]) -> str:
    """The parts as the row has them."""
    return json.dumps(
        [
            {
                name: value
                for name, value in {
                    "n": p.n,
                    "kind": p.kind,
                    "part": str(p.part),
                    "key": p.key,
                    "version": p.version,
                    "sha256": p.sha256.hex() if p.sha256 else None,
                    "bytes": p.size_bytes,
                }.items()
                if value is not None
            }
            for p in parts
        ]
    )


def from_row(row: db.Row) -> Package:
    """The package of a row with package, ticket, parts, made_at, expires_on, over."""
    parts = tuple(
        Part(
            n=e["n"], kind=e["kind"], part=UUID(e["part"]), key=e.get("key", ""), version=e.get("version"),
            sha256=bytes.fromhex(e["sha256"]) if "sha256" in e else None, size_bytes=e.get("bytes"),
        )
        for e in row.parts
    )  # fmt: skip
    return Package(
        package=row.package,
        ticket=row.ticket,
        parts=parts,
        made_at=row.made_at,
        expires_on=row.expires_on,
        over=row.over,
    )


def to_go(conn: db.Connection, packages: Sequence[UUID], reason: EndReason, actor: Actor) -> int:
    """Puts the packages' parts into the journal, with their events, in the caller's transaction; says how many parts.

    From then on nobody can have them; the next night deletes. What is on its way out already stays so.
    """
    q = db.queries()
    rows = list(q.plan_parts(conn, packages=list(packages), at_once=reason != "expired"))
    event: Event = DeletionPlanned(
        recording=ANY, controller=None, vendor="-", trigger="package_expired", reason=f"package_{reason}",
        state_before="stored",
    )  # fmt: skip
    append(conn, actor, (), alike={event: [row.part for row in rows]} if rows else None)
    ended = list(q.end_packages(conn, packages=list(packages)))
    append(conn, actor, [PackageEnded(ticket=row.ticket, package=row.package, reason=reason) for row in ended])
    return len(rows)


def plan_over(conn: db.Connection, actor: Actor) -> int:
    """Has everything go whose term is over, or that was never finished; commits, and says how many parts that were."""
    n = 0
    for row in list(db.queries().packages_over(conn, hours=UNFINISHED_HOURS)):
        n += to_go(conn, [row.package], "expired" if row.whole else "unfinished", actor)
    conn.commit()
    return n
