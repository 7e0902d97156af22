"""What seal_audit and the end of each run do, and what a person does: seal, anchor, say what waits; epochs and keys."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from callkeeper import db
from callkeeper.crashpoints import reach
from callkeeper.errors import CallkeeperError, NotFound, StoreUnavailable
from callkeeper.trail import seal
from callkeeper.trail.anchor import Anchor
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, Heartbeat, SealKeyAdded, SealKeyRetired
from callkeeper.trail.notes import SealKeys, SigningKey, locked
from callkeeper.trail.seal import Opened, Reason, SealerBusy

BUSY_SECONDS = 120
"""How long a sealer waits for another one."""
_TRY_AGAIN_SECONDS = 1.0


class NotRetired(CallkeeperError):
    """A key that was to be retired is none that signs, or the only one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """``chunk_rows`` events a transaction; ``lag_seconds``: waiting longer is an alarm."""

    chunk_rows: int = 50_000
    lag_seconds: int = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocker:
    """Whoever holds the horizon back: a session's pid, or a prepared transaction's name."""

    kind: str
    name: str
    database: str
    role: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} in the database {self.database} (role {self.role})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """What a sealing came to. ``waiting`` events could not be sealed yet, the oldest for ``lag_seconds``, because of ``blockers``."""

    epoch: int
    size: int
    events: int
    checkpoints: int
    anchored: int
    waiting: int
    lag_seconds: int
    blockers: tuple[Blocker, ...]

    @property
    def who(self) -> str:
        """Who is in the way, in words."""
        return "; ".join(map(str, self.blockers)) or "a transaction that has ended since"

    def lags(self, rules: Rules) -> bool:
        """Whether what waits has waited for too long."""
        return bool(self.waiting) and self.lag_seconds >= rules.lag_seconds

    def counts(self) -> dict[str, int]:
        return {
            "epoch": self.epoch,
            "size": self.size,
            "sealed": self.events,
            "checkpoints": self.checkpoints,
            "anchored": self.anchored,
            "waiting": self.waiting,
        }


def heartbeat(conn: db.Connection, actor: Actor) -> None:
    """A sign of life, so that silence shows. Commits."""
    db.queries().ensure_trail_partitions(conn)
    append(conn, actor, [Heartbeat()])
    conn.commit()


def run(
    conn: db.Connection,
    keys: SealKeys,
    anchor: Anchor,
    rules: Rules,
    actor: Actor,
    *,
    wait_seconds: float = BUSY_SECONDS,
    until: float | None = None,
) -> Sealed:
    """Seals what can be sealed, a checkpoint a chunk, and puts it in the anchor; opens the first epoch where there is none.

    ``until``: on the monotonic clock, when no further chunk is begun. Run again, it goes on. Raises SealerBusy, TrailBroken,
    StoreUnavailable (nothing is signed while the anchor cannot be compared).
    """
    with seal.sole_sealer(conn, wait_seconds=wait_seconds):
        return _run(conn, keys, anchor, rules, actor, until)


def _run(
    conn: db.Connection, keys: SealKeys, anchor: Anchor, rules: Rules, actor: Actor, until: float | None
) -> Sealed:
    q = db.queries()
    q.ensure_trail_partitions(conn)
    conn.commit()
    standing = seal.look(conn, keys, count=True)
    conn.commit()
    anchored = seal.put_outside(conn, anchor, keys)
    if standing is None:
        seal.open_epoch(conn, keys, anchor, "first", actor)
        anchored += seal.put_outside(conn, anchor, keys)
    events = checkpoints = 0
    while until is None or time.monotonic() < until:
        done = seal.seal_batch(conn, keys, rows=rules.chunk_rows, actor=actor)
        if not done:
            break
        events, checkpoints = events + done, checkpoints + 1
        anchored += seal.put_outside(conn, anchor, keys)
    last, moment = q.sealing_last(conn), q.sealing_moment(conn)
    waiting = q.sealing_waiting(conn, horizon=moment.horizon)
    blockers = tuple(Blocker(**row._asdict()) for row in q.sealing_blockers(conn, horizon=moment.horizon))
    conn.commit()
    return Sealed(
        epoch=last.epoch,
        size=last.size,
        events=events,
        checkpoints=checkpoints,
        anchored=anchored,
        waiting=waiting.n,
        lag_seconds=waiting.seconds if waiting.n else 0,
        blockers=blockers,
    )


# --- the end of a run -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """Whether all that could be seen when it was asked is under a checkpoint, and in words why not."""

    covered: bool
    events: int
    why: str = ""


def cover(conn: db.Connection, keys: SealKeys, anchor: Anchor, rules: Rules, actor: Actor, *, seconds: float) -> Cover:
    """Seals until every event that can be seen now is under a checkpoint, for so long at most.

    What is not is left to the hourly run, in words. Raises TrailBroken.
    """
    q, end, events = db.queries(), time.monotonic() + seconds, 0
    last = q.sealing_last(conn)
    newest = q.sealing_newest_event(conn, since=(last and last.last_xid) or "0")
    conn.rollback()
    if newest is None:
        return Cover(covered=True, events=0)
    why = "there was no time to seal them"
    while True:
        try:
            left = max(0.05, end - time.monotonic())
            done = run(conn, keys, anchor, rules, actor, wait_seconds=left, until=time.monotonic() + left)
            events += done.events
            why = f"{done.waiting} events wait for {done.who}" if done.waiting else why
        except SealerBusy:
            why = "another sealer is at work"
        except StoreUnavailable:
            why = "the anchor does not answer"
        covered = bool(q.sealing_covered(conn, event=newest.id))
        conn.rollback()
        if covered or time.monotonic() + _TRY_AGAIN_SECONDS > end:
            return Cover(covered=covered, events=events, why="" if covered else why)
        time.sleep(_TRY_AGAIN_SECONDS)


# --- what a person does -----------------------------------------------------------------------------------------------


def new_epoch(conn: db.Connection, keys: SealKeys, anchor: Anchor, reason: Reason, actor: Actor) -> Opened:
    """Begins a new tree after a restore, or whatever the person says: see ``seal.open_epoch``. Raises TrailBroken."""
    with seal.sole_sealer(conn, wait_seconds=BUSY_SECONDS):
        db.queries().ensure_trail_partitions(conn)
        conn.commit()
        opened = seal.open_epoch(conn, keys, anchor, reason, actor)
        seal.put_outside(conn, anchor, keys)
    return opened


def add_key(conn: db.Connection, keys: SealKeys, anchor: Anchor, rules: Rules, actor: Actor) -> SigningKey:
    """A new key signs beside the old ones, once its adding stands under a checkpoint of theirs. Run again, it goes on."""
    with locked(keys.folder):
        keys = SealKeys.load(keys.folder)
        key = keys.add()
        reach("key.made")
        _say(conn, actor, SealKeyAdded(verifier_key=str(key.verifier)))
        reach("key.said")
        _under_a_checkpoint(conn, keys, anchor, rules, actor, SealKeyAdded(verifier_key=str(key.verifier)))
        keys.take_up(key)
    return key


def retire_key(
    conn: db.Connection, keys: SealKeys, anchor: Anchor, rules: Rules, actor: Actor, key_hash: str
) -> SigningKey:
    """A key signs for the last time the checkpoint that says so. Run again, it goes on. Raises NotRetired, NotFound."""
    with locked(keys.folder):
        keys = SealKeys.load(keys.folder)
        key = next((k for k in keys.live if k.verifier.key_hash.hex() == key_hash), None)
        if key is None:
            raise NotFound("No key that signs has this hash.", mend="`callkeeper seal status` lists them.")
        if len(keys.live) == 1:
            raise NotRetired("It is the only key that signs.", mend="First a new one: callkeeper seal rotate-key")
        _say(conn, actor, SealKeyRetired(verifier_key=str(key.verifier)))
        _under_a_checkpoint(conn, keys, anchor, rules, actor, SealKeyRetired(verifier_key=str(key.verifier)))
        keys.retire(key)
    return key


def _said(conn: db.Connection, event: SealKeyAdded | SealKeyRetired) -> int | None:
    """The id of the event that says it, if it is written."""
    for row in db.queries().sealing_said(conn, action=event.action):
        if json.loads(row.body)["verifier_key"] == event.verifier_key:
            return int(row.id)
    return None


def _say(conn: db.Connection, actor: Actor, event: SealKeyAdded | SealKeyRetired) -> None:
    db.queries().ensure_trail_partitions(conn)
    if _said(conn, event) is None:
        append(conn, actor, [event])
    conn.commit()


def _under_a_checkpoint(
    conn: db.Connection,
    keys: SealKeys,
    anchor: Anchor,
    rules: Rules,
    actor: Actor,
    event: SealKeyAdded | SealKeyRetired,
) -> None:
    end = time.monotonic() + BUSY_SECONDS
    while True:
        done = run(conn, keys, anchor, rules, actor)
        covered = bool(db.queries().sealing_covered(conn, event=_said(conn, event)))
        conn.rollback()
        if covered:
            return
        if time.monotonic() > end:
            raise SealerBusy(
                f"The change of keys is not sealed yet: it waits for {done.who}.", mend="Run it again then."
            )
        time.sleep(_TRY_AGAIN_SECONDS)
