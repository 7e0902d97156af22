"""What people do about quarantined calls: look, mend and look again, let pass, or mark for deletion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from callkeeper import db, decisions
from callkeeper.controllers import OFFICERS
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.quality import REASONS
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, DeletionPlanned, QuarantineLeft


def waiting(conn: db.Connection, reason: str | None = None) -> list[db.Row]:
    """What waits, the oldest first; no number and no reference."""
    return list(db.queries().quarantined(conn, reason=reason))


def one(conn: db.Connection, recording: UUID) -> db.Row:
    """One quarantined call. Raises NotFound."""
    row = db.queries().quarantined_one(conn, recording=recording)
    if row is None:
        raise NotFound("No such call is in quarantine.", mend="`callkeeper quarantine list` shows what is.")
    return row


def reevaluate(conn: db.Connection, *, recordings: Sequence[UUID], reason: str | None, actor: Actor) -> int:
    """Sends calls back into staging, where the next run looks at them again; commits and returns how many."""
    chosen = [w for w in waiting(conn, reason) if w.recording in recordings or (reason and not recordings)]
    return _restage(conn, chosen, how="mended", waive=False, actor=actor)


def release(conn: db.Connection, *, recording: UUID, account: str, actor: Actor) -> None:
    """Lets a call pass the check that stopped it, by an officer's word; commits.

    Raises NotAllowed where no person may let it pass (an undesignated line, a missing time), and to whoever is no officer.
    """
    decisions.require(conn, account, OFFICERS)
    call = one(conn, recording)
    if not REASONS[call.reason].releasable:
        raise NotAllowed(f"Nobody may let a call pass with the reason {call.reason}.", mend=REASONS[call.reason].mend)
    _restage(conn, [call], how="released", waive=True, actor=actor)


def _restage(
    conn: db.Connection, calls: Sequence[db.Row], *, how: Literal["mended", "released"], waive: bool, actor: Actor
) -> int:
    reasons = {c.recording: c.reason for c in calls}
    back = list(
        db.queries().restage(conn, recordings=list(reasons), waive=sorted(set(reasons.values())) if waive else [])
    )
    append(
        conn,
        actor,
        (
            QuarantineLeft(
                recording=r.recording, controller=r.controller, vendor=r.vendor, reason=reasons[r.recording], how=how
            )
            for r in back
        ),
    )
    conn.commit()
    return len(back)


def reject(conn: db.Connection, *, recording: UUID, account: str, actor: Actor) -> None:
    """Marks a call for deletion by an officer's word: it leaves quarantine for the journal; commits. Nothing is deleted here."""
    decisions.require(conn, account, OFFICERS)
    call = one(conn, recording)
    out = db.queries().reject_quarantined(conn, recording=recording)
    if out is None:
        raise NotFound("Somebody else has just decided about this call.")
    append(
        conn,
        actor,
        [
            DeletionPlanned(
                recording=recording, controller=out.controller, vendor=out.vendor, trigger=out.trigger,
                reason=call.reason, state_before="quarantined",
            )
        ],
    )  # fmt: skip
    conn.commit()
