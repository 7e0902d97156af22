"""Sealing: events get their order as leaves of a tree, and its root is signed (architecture, "The trail").

One sealer at a time, by a lock of its session. Each batch is one transaction: it looks whether what stands is what was signed, gives
the next events their leaves, signs, commits; then the anchor is told. Events are taken by the horizon of transactions, never by
their ids: those commit out of order.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg import errors, sql

from callkeeper import db
from callkeeper.crashpoints import reach
from callkeeper.errors import CallkeeperError, TrailBroken
from callkeeper.trail import notes, tree
from callkeeper.trail.anchor import Anchor
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, ClockWentBack, EpochOpened, SealKeyAdded, canonical, utc
from callkeeper.trail.notes import Checkpoint, SealKeys

LOCK = 0x63616C6C_0005
"""Whoever holds it is the sealer."""

Reason = Literal["first", "restored_backup", "moved_database", "other"]
REASONS: tuple[Reason, ...] = ("restored_backup", "moved_database", "other")

_RESTORED = "If a backup was restored or the database moved: `callkeeper seal new-epoch`. If not, somebody has changed the trail: see the runbook of seal_audit."


class SealerBusy(CallkeeperError):
    """Another sealer is at work, and did not end in time."""

    retry = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What the database says was sealed last, found to be what was signed.

    ``number`` and ``size`` are 0 in an epoch without a checkpoint. The next batch begins behind (last_xid, last_event).
    """

    epoch: int
    number: int
    size: int
    frontier: Sequence[bytes]
    horizon: int
    last_xid: int
    last_event: int
    at: datetime | None
    clock_behind: bool

    @property
    def root(self) -> bytes:
        return tree.root(self.frontier)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A new epoch: leaves that the database took back from the anchor, and events that were carried over into it."""

    epoch: int
    adopted: int
    carried: int


@contextlib.contextmanager
def sole_sealer(conn: db.Connection, *, wait_seconds: float) -> Iterator[None]:
    """The sealers' lock, of the session: it goes with the connection. Raises SealerBusy if it is not free in time."""
    q = db.queries()
    conn.rollback()
    conn.execute(sql.SQL("set lock_timeout = {}").format(max(1, round(wait_seconds * 1000))))
    conn.commit()
    try:
        q.sealing_wait(conn, lock=LOCK)
        conn.commit()
    except errors.LockNotAvailable:
        conn.rollback()
        raise SealerBusy("Another sealer is at work.", mend="Try again when it has ended.") from None
    finally:
        conn.execute("reset lock_timeout")
        conn.commit()
    try:
        yield
    finally:
        if not conn.closed and not conn.broken:
            conn.rollback()
            q.sealing_release(conn, lock=LOCK)
            conn.commit()


def look(conn: db.Connection, keys: SealKeys, *, count: bool = False) -> Standing | None:
    """What stands, in the caller's transaction; None where nothing was ever sealed. ``count``: every leaf is counted too.

    Raises TrailBroken where it is not what was signed, or the database is another one.
    """
    q = db.queries()
    epoch, moment, last = q.sealing_epoch(conn), q.sealing_moment(conn), q.sealing_last(conn)
    if epoch is None:
        if last is not None:
            raise TrailBroken("There are checkpoints, and no epoch.", mend=_RESTORED)
        return None
    if epoch.system_identifier != moment.system_identifier:
        raise TrailBroken(
            "The database is in another cluster than the one that its trail was sealed in.", mend=_RESTORED
        )
    if last is None or last.epoch != epoch.epoch:
        raise TrailBroken("An epoch was opened without its checkpoint.", mend=_RESTORED)
    said = notes.read(last.note, keys.known)
    kept = Checkpoint(
        origin=origin(keys, last.epoch), size=last.size, root=last.root, at=last.at, horizon=int(last.horizon)
    )
    if said != kept:
        raise TrailBroken("The last checkpoint's row is not what was signed.", mend=_RESTORED)
    if tree.root(last.frontier) != said.root or len(last.frontier) != said.size.bit_count():
        raise TrailBroken("The tree's state does not come to the root that was signed.", mend=_RESTORED)
    leaves = q.sealing_count(conn, epoch=last.epoch) if count else said.size
    if leaves != said.size or q.sealing_top(conn, epoch=last.epoch) != said.size - 1:
        raise TrailBroken("There are not as many leaves as were signed.", mend=_RESTORED)
    if last.last_xid is None:
        raise TrailBroken(
            "Checkpoints were adopted from the anchor, and no epoch was opened after them.", mend=_RESTORED
        )
    if int(moment.horizon) < said.horizon:
        raise TrailBroken("The cluster's transaction ids have gone back.", mend=_RESTORED)
    return Standing(
        epoch=last.epoch,
        number=last.number,
        size=last.size,
        frontier=last.frontier,
        horizon=said.horizon,
        last_xid=int(last.last_xid),
        last_event=last.last_event,
        at=last.at,
        clock_behind=last.at == last.at_before,
    )


def origin(keys: SealKeys, epoch: int) -> str:
    """An epoch's name in its notes."""
    return f"{keys.name}/{epoch}"


def put_outside(conn: db.Connection, anchor: Anchor, keys: SealKeys) -> int:
    """Is the anchor's newest checkpoint the database's? What does not stand there yet is put there, the oldest first.

    Commits each; returns how many. Raises TrailBroken, before anything is put, where the anchor holds anything that this database
    did not put there or is about to; and rather than put leaves that do not come to their root.
    """
    q = db.queries()
    last, pending = q.sealing_last(conn), list(q.sealing_unanchored(conn))
    conn.commit()  # the store may take its time
    if last is None:
        if anchor.standing().notes:
            raise TrailBroken("The anchor holds checkpoints, and the database has never been sealed.", mend=_RESTORED)
        return 0
    base = last.epoch, pending[0].start if pending else last.size
    outside = anchor.standing(*base)
    expected = {(row.epoch, row.size) for row in pending} | ({base} if base[1] else set())
    if base[1] and base not in outside.notes:
        raise TrailBroken("The last checkpoint is missing in the anchor, where it was put.", mend=_RESTORED)
    if base[1] and anchor.read(outside.notes[base]) != q.sealing_note(conn, epoch=base[0], size=base[1]).encode():
        raise TrailBroken("The anchor's checkpoint is another one than the database's.", mend=_RESTORED)
    if outside.notes.keys() - expected or outside.leaves.keys() - {(row.epoch, row.start, row.size) for row in pending}:
        raise TrailBroken(
            "The anchor knows of more than the database does: it was sealed further once.", mend=_RESTORED
        )
    for row in pending:
        hashes = q.sealing_hashes(conn, epoch=row.epoch, start=row.start, end=row.size) or b""
        conn.commit()
        frontier, size = tree.extend(row.frontier, row.start, tree.split(hashes))
        said = notes.read(row.note, keys.known)
        if (size, tree.root(frontier)) != (row.size, row.root) or (said.size, said.root) != (row.size, row.root):
            raise TrailBroken("Leaves do not come to the root that was signed over them.", mend=_RESTORED)
        anchor.put_leaves(row.epoch, row.start, row.size, hashes)
        reach("seal.leaves_anchored")
        anchor.put_note(row.epoch, row.size, row.note)
        reach("seal.note_anchored")
        q.sealing_put_anchored(conn, number=row.number)
        conn.commit()
        reach("seal.anchored")
    conn.commit()
    return len(pending)


def seal_batch(conn: db.Connection, keys: SealKeys, *, rows: int, actor: Actor) -> int:
    """Seals the next events, so many at most, and commits; returns how many. 0: none could be, and nothing was signed.

    Raises TrailBroken, and signs nothing, where what stands is not what was signed.
    """
    q = db.queries()
    before = look(conn, keys)
    if before is None:
        raise TrailBroken("No epoch is open.", mend="`callkeeper seal` opens the first.")
    # In this order, as statements of their own: whoever had ended at the first is seen by the second.
    moment = q.sealing_moment(conn)
    reach("seal.begun")
    taken = q.sealing_take(
        conn,
        epoch=before.epoch,
        size=before.size,
        last_xid=str(before.last_xid),
        last_event=before.last_event,
        horizon=moment.horizon,
        rows=rows,
    )
    if not taken.n:
        conn.rollback()
        return 0
    reach("seal.leaves")
    last = q.sealing_leaf(conn, epoch=before.epoch, seq=before.size + taken.n - 1)
    at = _time(conn, before, moment.at, actor)
    _sign(
        conn,
        keys,
        before,
        hashes=taken.hashes,
        at=at,
        horizon=int(moment.horizon),
        last_xid=last.xid,
        last_event=last.event_id,
    )
    reach("seal.signed")
    conn.commit()
    reach("seal.committed")
    return int(taken.n)


def _time(conn: db.Connection, before: Standing, now: datetime, actor: Actor) -> datetime:
    """The checkpoint's time, which never goes back; that the clock did is told once."""
    if before.at is None or now >= before.at:
        return now
    if not before.clock_behind and (seconds := int((before.at - now).total_seconds())):
        append(conn, actor, [ClockWentBack(seconds=seconds)])
    return before.at


def _sign(
    conn: db.Connection,
    keys: SealKeys,
    before: Standing,
    *,
    hashes: bytes,
    at: datetime,
    horizon: int,
    last_xid: str,
    last_event: int,
) -> None:
    frontier, size = tree.extend(before.frontier, before.size, tree.split(hashes))
    checkpoint = Checkpoint(
        origin=origin(keys, before.epoch), size=size, root=tree.root(frontier), at=at, horizon=horizon
    )
    db.queries().sealing_put_checkpoint(
        conn,
        epoch=before.epoch,
        size=size,
        root=checkpoint.root,
        horizon=str(horizon),
        last_xid=last_xid,
        last_event=last_event,
        at=at,
        frontier=list(frontier),
        note=notes.write(checkpoint, keys.live),
    )


# --- epochs -----------------------------------------------------------------------------------------------------------


def open_epoch(conn: db.Connection, keys: SealKeys, anchor: Anchor, reason: Reason, actor: Actor) -> Opened:
    """Begins a tree: its leaf 0 says why, and what was written before and never sealed comes next. Commits.

    Before that the database learns from the anchor what it lost (``adopt``). With the reason ``other`` it goes on where the two
    are no longer one history, or the keys that signed are lost: the event then tells of both. Raises TrailBroken.
    """
    q = db.queries()
    adopted = 0
    if reason != "first":
        try:
            adopted = adopt(conn, keys, anchor)
        except TrailBroken:
            conn.rollback()
            if reason != "other":
                raise
    outside = anchor.standing()
    newest = outside.newest
    anchored = notes.parse(anchor.read(outside.notes[newest]).decode()) if newest else None
    last, open_now, moment = q.sealing_last(conn), q.sealing_epoch(conn), q.sealing_moment(conn)
    epoch = 1 + max(open_now.epoch if open_now else 0, newest[0] if newest else 0)
    # After the moment: whose events are not seen now has an id that the next batches begin before.
    if carry := reason != "first" or bool(q.sealing_foreign(conn)):
        q.make_unsealed(conn)
    lost = q.sealing_lost(conn)
    opened = EpochOpened(
        epoch=epoch,
        reason=reason,
        carried=q.sealing_unsealed(conn) if carry else 0,
        previous_epoch=last.epoch if last else None,
        previous_size=last.size if last else None,
        previous_root=_b64(last.root) if last else None,
        anchored_size=anchored.size if anchored else None,
        anchored_root=_b64(anchored.root) if anchored else None,
        lost=lost.n or None,
        lost_digest=lost.digest if lost.n else None,
    )
    now = db.now(conn)
    q.sealing_put_epoch(conn, epoch=epoch, reason=reason, system_identifier=moment.system_identifier)
    append(conn, actor, [opened], at=now)
    opening = q.sealing_written_here(conn, body=canonical(opened, actor.facts(), utc(now)))
    hashes = q.sealing_put_opening(conn, epoch=epoch, opening=opening)
    if carry:
        hashes += q.sealing_carry(conn, epoch=epoch)
    told = {json.loads(row.body)["verifier_key"] for row in q.sealing_said(conn, action=SealKeyAdded.action)}
    append(
        conn, actor, [SealKeyAdded(verifier_key=v) for key in keys.live if (v := str(key.verifier)) not in told], at=now
    )
    reach("epoch.leaves")
    _sign(
        conn,
        keys,
        Standing(
            epoch=epoch, number=0, size=0, frontier=[], horizon=0, last_xid=0, last_event=0, at=None, clock_behind=False
        ),
        hashes=hashes,
        at=max(moment.at, last.at) if last else moment.at,
        horizon=int(moment.horizon),
        last_xid=moment.horizon if carry else "0",
        last_event=0,
    )
    conn.commit()
    reach("epoch.committed")
    return Opened(epoch=epoch, adopted=adopted, carried=opened.carried)


def _b64(root: bytes) -> str:
    return base64.b64encode(root).decode()


def _two_histories() -> TrailBroken:
    return TrailBroken(
        "The anchor's checkpoints and the database's are two histories.",
        mend="Find out which of them is true. Then: callkeeper seal new-epoch --reason other, which tells of both.",
    )


def adopt(conn: db.Connection, keys: SealKeys, anchor: Anchor) -> int:
    """Takes from the anchor the leaves and checkpoints that the database lost; returns how many leaves. Commits each checkpoint.

    Of a leaf whose event is still here, the event keeps its place; of the others only the hash is known. Raises TrailBroken
    where the two are no longer one history.
    """
    q, n = db.queries(), 0
    last, pending = q.sealing_last(conn), list(q.sealing_unanchored(conn))
    conn.commit()
    if last:
        notes.read(last.note, keys.known)
    here = (last.epoch, last.size) if last else (0, 0)
    outside = anchor.standing(here[0], pending[0].start if pending else here[1])
    beyond = sorted(key for key in outside.notes if key > here)
    for epoch, size in outside.notes.keys() - set(beyond):
        if (q.sealing_note(conn, epoch=epoch, size=size) or "").encode() != anchor.read(outside.notes[epoch, size]):
            raise _two_histories()
    if last and not beyond:
        put_outside(conn, anchor, keys)
        return 0
    if last and here not in outside.notes:
        raise _two_histories()
    for row in pending:
        q.sealing_put_anchored(conn, number=row.number)
    conn.commit()
    epoch, size, frontier = (last.epoch, last.size, list(last.frontier)) if last else (0, 0, [])
    for at_epoch, at_size in beyond:
        if at_epoch != epoch:
            epoch, size, frontier = at_epoch, 0, []
        note = anchor.read(outside.notes[at_epoch, at_size]).decode()
        said = notes.read(note, keys.known)
        leaves = outside.leaves.get((at_epoch, size, at_size))
        if leaves is None:
            raise TrailBroken("The anchor lacks the leaves of one of its checkpoints.", mend="Look at its bucket.")
        hashes = list(tree.split(anchor.read(leaves)))
        frontier, grown = tree.extend(frontier, size, hashes)
        if (said.origin, said.size, said.root) != (origin(keys, epoch), grown, tree.root(frontier)) or grown != at_size:
            raise TrailBroken(
                "The anchor's leaves do not come to the root that was signed over them.", mend="Look at its bucket."
            )
        known = q.sealing_epoch(conn)
        if known is None or known.epoch < epoch:
            q.sealing_put_epoch(conn, epoch=epoch, reason="other", system_identifier="lost")
        q.make_unsealed(conn)
        q.sealing_adopt(conn, epoch=epoch, start=size, hashes=hashes)
        number = q.sealing_put_checkpoint(
            conn,
            epoch=epoch,
            size=grown,
            root=said.root,
            horizon=str(said.horizon),
            last_xid=None,
            last_event=None,
            at=said.at,
            frontier=frontier,
            note=note,
        )
        q.sealing_put_anchored(conn, number=number)
        conn.commit()
        reach("epoch.adopted")
        n, size = n + len(hashes), grown
    return n
