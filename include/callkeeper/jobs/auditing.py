"""What an auditor takes home: the trail as a folder that verifies offline, and samples of it in words.

The folder's form is what ``trail/verify.py`` reads; what it means is in docs/auditor.md.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import IO

from callkeeper import db
from callkeeper.clock import HELSINKI
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.trail.events import BodiesExpired, Event, Recorded, SealKeyAdded, read, utc
from callkeeper.trail.verify import inclusion_proofs, parse_checkpoint

PAGE_ROWS = 20_000
BODIES_A_FILE = 100_000

README = """This is the audit trail of callkeeper, from {first} to {last}, as it was exported on {made_at} (code {code}).

It is verified offline, with Python 3.11 or later, its library `cryptography`, and one file of callkeeper's source,
include/callkeeper/trail/verify.py. Take that file from the source, and the verifier key from whoever handed it to you outside this
system: neither from this folder. Then, with checkpoints that you kept yourself, or a copy of the anchor's:

    python verify.py THIS_FOLDER --key KEY --kept YOUR_CHECKPOINTS

Exit code 0: verified; 1: broken, each finding by its name and place; 2: it could not be read. The page docs/auditor.md
of the source says what was verified then, and what was not. No number, name or audio is in this folder.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedEpoch:
    """An epoch in the folder: bodies of the leaves from ``first`` to before ``to``, all ``size`` leaf hashes."""

    epoch: int
    size: int
    first: int
    to: int
    bodies: int
    expired: int
    lost: int
    missing: int
    """Bodies that should be there and are not. The verifier will find them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written into the folder."""

    trail: str
    epochs: tuple[ExportedEpoch, ...]
    unsealed: int


def export(conn: db.Connection, folder: Path, *, first: date | None, last: date | None, code: str) -> Exported:
    """Writes the trail into a new folder: all of it, or with the bodies of some Helsinki days and all leaves.

    Read at one moment, in bounded memory. Raises NotFound where nothing was ever sealed, NotAllowed where the folder holds something.
    """
    conn.rollback()
    conn.execute("set transaction isolation level repeatable read, read only")
    epochs = list(db.queries().audit_epochs(conn))
    if not epochs:
        raise NotFound("Nothing has been sealed yet.", mend="Is the DAG seal_audit paused?")
    if folder.exists() and any(folder.iterdir()):
        raise NotAllowed(f"{folder} holds something already.", mend="Name a new folder.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    trail = epochs[-1].origin.rpartition("/")[0]
    gone = _expired_months(conn)
    done = []
    for row in epochs:
        place = folder / str(row.epoch)
        place.mkdir()
        _checkpoints(conn, row.epoch, place)
        a, b = _range(conn, row.epoch, row.size, first, last)
        done.append(_leaves(conn, row.epoch, row.size, a, b, place, gone))
    unsealed = _unsealed(conn, folder)
    made_at = utc(datetime.now(UTC))
    said = [
        {"epoch": e.epoch, "size": e.size, "from": e.first, "to": e.to, "unsealed": unsealed if e is done[-1] else 0}
        for e in done
    ]
    about = {"format": 1, "trail": trail, "made_at": made_at, "epochs": said, "code": code}
    (folder / "bundle.json").write_text(json.dumps(about, indent=1) + "\n")
    keys = [json.loads(r.body)["verifier_key"] for r in db.queries().audit_said(conn, action=SealKeyAdded.action)]
    (folder / "keys.txt").write_text("".join(f"{key}\n" for key in dict.fromkeys(keys)))
    told = {"first": first or "its beginning", "last": last or f"{epochs[-1].at:%Y-%m-%d}", "made_at": made_at}
    (folder / "README.txt").write_text(README.format(**told, code=code))
    conn.rollback()
    return Exported(trail=trail, epochs=tuple(done), unsealed=unsealed)


def _expired_months(conn: db.Connection) -> set[tuple[str, str]]:
    """(class, month) of the bodies that ageing says it dropped."""
    found = [json.loads(row.body) for row in db.queries().audit_said(conn, action=BodiesExpired.action)]
    return {(body["event_class"], body["month"]) for body in found}


def _checkpoints(conn: db.Connection, epoch: int, place: Path) -> None:
    after = -1
    with open(place / "checkpoints.jsonl", "w", encoding="utf-8") as file:
        while rows := list(db.queries().audit_checkpoints(conn, epoch=epoch, after=after, limit=PAGE_ROWS)):
            file.writelines(json.dumps({"note": row.note}) + "\n" for row in rows)
            after = rows[-1].size


def _range(conn: db.Connection, epoch: int, size: int, first: date | None, last: date | None) -> tuple[int, int]:
    """The leaves between two checkpoints around the events of these days; nothing, where the epoch has none of them."""
    if first is None and last is None:
        return 0, size
    span = db.queries().audit_span(
        conn,
        epoch=epoch,
        from_at=datetime.combine(first or date(1, 1, 2), time(), HELSINKI),
        to_at=datetime.combine((last or date(9998, 1, 1)) + timedelta(days=1), time(), HELSINKI),
    )
    if span.first is None:
        return size, size
    around = db.queries().audit_around(conn, epoch=epoch, first=span.first, last=span.last)
    return around.first, around.to


class _Bodies:
    """The files of bodies, so many leaves each."""

    def __init__(self, place: Path) -> None:
        self.place, self.n = place, 0
        self._file: gzip.GzipFile | None = None

    def write(self, seq: int, data: bytes) -> None:
        if self.n % BODIES_A_FILE == 0:
            self.close()
            self._file = gzip.open(self.place / f"events-{seq:016d}.txt.gz", "wb", 6)  # noqa: SIM115  # closed at the next
        assert self._file is not None
        self._file.write(b"%d %s\n" % (seq, data))
        self.n += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _leaves(
    conn: db.Connection, epoch: int, size: int, first: int, to: int, place: Path, gone: set[tuple[str, str]]
) -> ExportedEpoch:
    """Every leaf's hash; its body, where it is of the range; and why it has none, where the trail says so."""
    expired = lost = missing = 0
    bodies = _Bodies(place)
    with ExitStack() as open_files:
        hashes = open_files.enter_context(open(place / "leaves.bin", "wb"))
        own = open_files.enter_context(gzip.open(place / "trail.txt.gz", "wb", 6))
        notes = {why: _Lazy(open_files, place / f"{why}.txt") for why in ("expired", "lost")}
        for row in _pages(conn, epoch, size):
            hashes.write(row.leaf_hash)
            data = _data(row) if row.id is not None else None
            if data and row.class_ == "trail":
                own.write(b"%d %s\n" % (row.seq, data))
            if not first <= row.seq < to:
                continue
            if data:
                bodies.write(row.seq, data)
            elif row.lost:
                notes["lost"].write(f"{row.seq}\n")
                lost += 1
            elif (row.sealed_class, row.month) in gone:
                notes["expired"].write(f"{row.seq} {row.sealed_class} {row.month}\n")
                expired += 1
            else:
                missing += 1
        open_files.callback(bodies.close)
    return ExportedEpoch(
        epoch=epoch, size=size, first=first, to=to, bodies=bodies.n, expired=expired, lost=lost, missing=missing
    )


class _Lazy:
    """A file that is there only if something is written into it."""

    def __init__(self, stack: ExitStack, path: Path) -> None:
        self._stack, self._path = stack, path
        self._file: IO[str] | None = None

    def write(self, text: str) -> None:
        if self._file is None:
            self._file = self._stack.enter_context(self._path.open("w", encoding="ascii"))
        self._file.write(text)


def _pages(conn: db.Connection, epoch: int, size: int) -> Iterator[db.Row]:
    after = -1
    while rows := list(db.queries().audit_leaves(conn, epoch=epoch, after=after, size=size, limit=PAGE_ROWS)):
        yield from rows
        after = rows[-1].seq


def _data(row: db.Row) -> bytes:
    """What the leaf is a hash of."""
    return b"%d %s %s %s" % (row.id, row.xid.encode(), row.class_.encode(), row.body)


def _unsealed(conn: db.Connection, folder: Path) -> int:
    n, xid, event = 0, "0", 0
    with gzip.open(folder / "unsealed.txt.gz", "wb", 6) as file:
        while rows := list(db.queries().audit_unsealed(conn, after_xid=xid, after=event, limit=PAGE_ROWS)):
            for row in rows:
                file.write(_data(row) + b"\n")
            n, xid, event = n + len(rows), rows[-1].xid, rows[-1].id
    return n


# --- a sample ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """An event of an item's story, and where it stands in the tree; ``data`` is what its leaf is a hash of."""

    epoch: int
    seq: int
    data: bytes
    what: Recorded

    @property
    def words(self) -> str:
        """When, what, its codes, and who: no personal data, since the trail has none."""
        event, actor = self.what.event, self.what.actor
        sentence = " ".join((type(event).__doc__ or "").split()).split(". ")[0].rstrip(".")
        facts = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in _facts(event))
        who = actor.account or f"{actor.dag}, run {actor.run}, task {actor.task}, try {actor.attempt}"
        at = f"{self.what.at.astimezone(HELSINKI):%Y-%m-%d %H:%M:%S}"
        return f"{at}  {event.action}: {sentence}. ({facts + '; ' if facts else ''}by {who}; leaf {self.seq} of epoch {self.epoch})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What was drawn, its sealed events in the order in which they were written, and how many of single recordings a run wrote."""

    kind: str
    id: str
    story: tuple[Told, ...]
    steps: Mapping[str, int]


def sample(conn: db.Connection, *, seed: str, n: int) -> list[Item]:
    """Draws ``n`` deleted, held and quarantined recordings, holds and runs: the same ones for the same seed and trail."""
    q = db.queries()
    conn.rollback()
    drawn = list(q.audit_draw(conn, seed=seed, n=n))
    ids = [row.id for row in drawn]
    if not ids:
        return []
    stories: dict[str, list[Told]] = {}
    for row in q.audit_stories(conn, ids=ids):
        told = Told(epoch=row.epoch, seq=row.seq, data=_data(row), what=read(row.body))
        stories.setdefault(row.item, []).append(told)
    steps: dict[str, dict[str, int]] = {}
    for row in q.audit_run_steps(conn, ids=ids):
        steps.setdefault(row.item, {})[row.action] = row.n
    conn.rollback()
    return [
        Item(kind=row.kind, id=row.id, story=tuple(stories.get(row.id, ())), steps=steps.get(row.id, {}))
        for row in drawn
    ]


def prove(conn: db.Connection, items: Sequence[Item], *, seed: str) -> str:
    """The sample as a file that `callkeeper-verify` reads: each event with the proof that it stands under a checkpoint.

    Reads all leaf hashes of the epochs that occur (32 bytes each) into memory.
    """
    q = db.queries()
    notes = {epoch: q.audit_last_note(conn, epoch=epoch) for epoch in sorted({t.epoch for i in items for t in i.story})}
    proofs: dict[tuple[int, int], list[str]] = {}
    for epoch, note in notes.items():
        size = parse_checkpoint(note.encode()).size
        leaves = b"".join(
            q.audit_hashes(conn, epoch=epoch, start=at, end=min(at + PAGE_ROWS, size))
            for at in range(0, size, PAGE_ROWS)
        )
        wanted = {t.seq for i in items for t in i.story if t.epoch == epoch}
        for seq, proof in inclusion_proofs(leaves, wanted).items():
            proofs[epoch, seq] = [base64.b64encode(node).decode() for node in proof]
    conn.rollback()
    body = {
        "format": 1,
        "seed": seed,
        "checkpoints": {str(epoch): note for epoch, note in notes.items()},
        "items": [
            {
                "kind": item.kind,
                "id": item.id,
                "events": [
                    {"epoch": t.epoch, "seq": t.seq, "data": t.data.decode(), "proof": proofs[t.epoch, t.seq]}
                    for t in item.story
                ],
            }
            for item in items
        ],
    }
    return json.dumps(body, indent=1) + "\n"


def _facts(event: Event) -> Iterator[tuple[str, object]]:
    """An event's own facts, but whose it is."""
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name in ("recording", "blocker", "state_before", "state_after") or value in (None, (), ""):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{n} {name}" for name, n in sorted(value.items())) or "none"
        elif isinstance(value, tuple):
            value = ", ".join(map(str, value))
        yield field.name.rstrip("_"), value
