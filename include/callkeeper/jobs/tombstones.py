"""Tombstones outside the database: what must not rise when an older state of it is restored.

``tombstones/<day>/<night>-<hash>.jsonl`` in the store, a line a recording: its UUID, its mark in the suppression, why it goes,
when it was armed. They are written before a night's first effect, so a few are of recordings that did not go in the end.
What the database remembers of that arming or of a later one, it knows better; what it does not, it has forgotten.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from uuid import UUID

from callkeeper import db, decisions
from callkeeper.errors import CallkeeperError, NotFound
from callkeeper.jobs import reconciling
from callkeeper.media import Store
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import Actor, DeletionPlanned, Event, RestoreChecked, TombstonesWritten, utc

PREFIX = "tombstones/"
FILE_ROWS = 50_000
"""Recordings a file: some 9 MB."""
_FIRST = UUID(int=0)


class TombstonesDamaged(CallkeeperError):
    """A file of tombstones is not what was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreResult:
    """What a restored database does not know, in counts. ``since``: the day of the first tombstones that were read.

    ``recordings`` and ``quarantined`` have risen, ``under_way`` of them are in the journal already, and ``without_audio`` have no
    object any more. ``staged`` goes at its next import. ``marks`` are missing in the suppression. ``lost``: rows of the
    catalogue or quarantine without an object and without a tombstone. ``live``: whether the yes to going live is there.
    """

    since: date | None
    tombstones: int
    marks: int
    recordings: int
    quarantined: int
    staged: int
    under_way: int
    without_audio: int
    lost: int
    live: bool
    planned: int = 0

    @property
    def undone(self) -> bool:
        """Whether something could rise, or has."""
        return bool(self.marks or self.recordings + self.quarantined > self.under_way)


def export(conn: db.Connection, store: Store, night: int, actor: Actor) -> int:
    """Writes a tombstone of everything that is armed or sent, and commits its event; returns how many there are.

    For between arming and sending. Run again, it writes only what is new: a file's name holds the hash of what is in it,
    so a night's number that comes a second time, after a restore, meets no file of the first.
    """
    day = db.queries().night_day(conn, night=night)
    if day is None:
        raise NotFound("There is no such night.", mend="Clear the whole DAG run, not one of its tasks.")
    after, total = _FIRST, 0
    while rows := list(db.queries().about_to_go(conn, after=after, limit=FILE_ROWS)):
        conn.rollback()  # the store may take its time
        body = "".join(_line(row) for row in rows).encode()
        digest = hashlib.sha256(body).digest()
        key = f"{PREFIX}{day}/{night}-{digest.hex()[:32]}.jsonl"
        store.put(key, io.BytesIO(body), sha256=digest, size_bytes=len(body), content_type="application/jsonl")
        fresh = db.queries().tombstones_stand(conn, recordings=[row.recording for row in rows])
        if fresh:
            append(conn, actor, [TombstonesWritten(night=night, tombstones=fresh)])
        conn.commit()
        after, total = rows[-1].recording, total + len(rows)
    conn.rollback()
    return total


def _line(row: db.Row) -> str:
    facts = {
        "armed_at": utc(row.armed_at),
        "mark": bytes(row.identity).hex() if row.identity else None,
        "recording": str(row.recording),
        "trigger": row.trigger,
    }
    return json.dumps(facts, separators=(",", ":")) + "\n"


def restore_check(conn: db.Connection, store: Store, actor: Actor, *, apply: bool) -> RestoreResult:
    """Compares a restored database with the store and its tombstones; for before access to it is opened.

    With ``apply`` the marks stand in the suppression again, and what has risen is in the journal with the trigger that it
    had: the next night proves it gone, and erases its rows. Commits. Run again, it finds what is left.
    """
    q = db.queries()
    since = q.oldest_kept(conn)
    q.make_tombstone(conn)
    conn.commit()
    read = 0
    for facts in _read(store, since):
        q.put_tombstones(
            conn,
            recordings=[UUID(f["recording"]) for f in facts],
            marks=[bytes.fromhex(f["mark"]) if f["mark"] else None for f in facts],
            triggers=[f["trigger"] for f in facts],
            armed=[datetime.fromisoformat(f["armed_at"]) for f in facts],
        )
        conn.commit()
        read += len(facts)
    started, _ = reconciling.list_store(conn, store)
    q.make_risen(conn)
    count, missing = q.count_risen(conn), q.count_missing_and_risen(conn, started_at=started)
    planned: list[db.Row] = []
    if apply:
        q.put_marks(conn)
        planned = list(q.plan_risen(conn))
        append(conn, actor, (), alike=_planned(planned))
        append(
            conn, actor, [RestoreChecked(tombstones=read, marks=count.marks, planned=len(planned), lost=missing.lost)]
        )
    live = decisions.find(conn, "go_live", "approve") is not None
    conn.commit()
    return RestoreResult(
        since=since, tombstones=read, **count._asdict(), **missing._asdict(), live=live, planned=len(planned)
    )


def _planned(rows: list[db.Row]) -> dict[Event, list[UUID]]:
    def facts(row: db.Row) -> tuple[str, str, str, str]:
        return row.controller or "", row.vendor, row.trigger, row.place

    states = {"catalogue": "live", "quarantine": "quarantined"}
    return {
        DeletionPlanned(
            recording=ANY, controller=controller or None, vendor=vendor, trigger=trigger, reason="restored_backup",
            state_before=states[place],
        ): [row.recording for row in group]
        for (controller, vendor, trigger, place), group in groupby(sorted(rows, key=facts), key=facts)
    }  # fmt: skip


def _read(store: Store, since: date | None) -> Iterator[list[dict[str, str]]]:
    """The files' lines, a file at a time, from the day on. Raises TombstonesDamaged."""
    for version in store.versions(PREFIX):
        day = version.key.removeprefix(PREFIX).split("/")[0]
        if version.is_delete_marker or (since is not None and day < since.isoformat()):
            continue
        with store.open(version.key, version.version_id) as body:
            text = body.read()
        if f"-{hashlib.sha256(text).hexdigest()[:32]}.jsonl" not in version.key:
            raise TombstonesDamaged(
                f"A file of tombstones of {day} is not what was written.",
                mend="Restore the store's own copy of it first: without it the dead could rise.",
            )
        yield [json.loads(line) for line in text.splitlines()]
