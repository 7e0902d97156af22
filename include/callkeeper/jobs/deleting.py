"""The one destroyer: nothing else removes audio, erases a row or asks a vendor to delete (architecture, rule 2).

Every step may be killed at any line and run again. A state and its event change in one transaction; intent is committed
before an effect, and an effect counts only once it was read again (rule 5). Blockers are asked twice, each time under
their lock as a statement of its own: when a deletion is armed, and when it is sent (rule 3).
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from uuid import UUID

from callkeeper import __version__, db, decisions, deletions, package
from callkeeper.crashpoints import reach
from callkeeper.deletions import Night, NightBalance
from callkeeper.errors import CallkeeperError, ClockWrong, KeyMissing, NotFound, VendorUnavailable, WrongCredentials
from callkeeper.media import Destroyer, ObjectVersion
from callkeeper.pseudonyms import Keyring
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import (
    Actor,
    DeletionArmed,
    DeletionBlocked,
    DeletionDone,
    DeletionPlanned,
    DeletionRetried,
    DeletionSending,
    DeletionStopped,
    DeletionWithdrawn,
    Event,
    NightBalanced,
    NightPlanned,
    StoreProvenEmpty,
    VendorAnswered,
    VendorAsked,
    utc,
)
from callkeeper.vendors import Vendor, VendorRef

log = logging.getLogger(__name__)

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_FIRST = UUID(int=0)
CLOCK_TOLERANCE = timedelta(hours=1)
VENDOR_CLAIM_ROWS = 100
"""A vendor is asked one recording at a time: so many may be asked again after a crash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What the settings say of a night: rows a transaction, rows a claim, rows a night, and how long a claim lasts."""

    chunk_rows: int
    claim_rows: int
    slice_rows: int
    lease_minutes: int
    retention_months: int


# --- the night --------------------------------------------------------------------------------------------------------


def open_night(conn: db.Connection, run_key: str, actor: Actor) -> Night:
    """The run's night, opened if it is new; commits. A rehearsal until a privacy officer's yes to going live stands."""
    db.queries().ensure_trail_partitions(conn)
    row = db.queries().open_night(conn, run_key=run_key, code=actor.rule or __version__, config_version=actor.config)
    conn.commit()
    return Night(**row._asdict())


def require_clock(conn: db.Connection, *, here: datetime, run_at: datetime | None) -> None:
    """Whether the clock that decides is the present, within an hour; else raises ClockWrong.

    A forecast has foreseen what 30 days bring: under a clock that is fast by less the safety stop sees no surplus. ``here`` is this
    machine's clock; ``run_at`` the time for which Airflow planned the run, before which none begins (later ones do: a
    machine was off, or the run was cleared).
    """
    clocks = db.queries().clocks(conn)
    conn.rollback()
    off = {
        "the database host's": abs(clocks.decisions - clocks.host),
        "this machine's": abs(clocks.decisions - here),
        "the run's": (run_at or clocks.decisions) - clocks.decisions,
    }
    whose, most = max(off.items(), key=lambda pair: pair[1])
    if most > CLOCK_TOLERANCE:
        raise ClockWrong(
            f"The clock that decides and {whose} differ by {timedelta(seconds=round(most.total_seconds()))}: nothing is deleted by it.",
            mend="`callkeeper doctor` says which is wrong. Mend it, then clear the run.",
        )


def plan(conn: db.Connection, night: Night, rules: Rules, actor: Actor) -> Counter[str]:
    """Puts what has expired into the journal, a chunk a transaction, then fixes and counts what is due; commits.

    In a live night what the last forecast had not foreseen is marked as a surplus: it waits for a person's yes. The
    rehearsals' figures are what the yes to going live is said to.
    """
    q, done = db.queries(), Counter[str]()
    done["stranded"] = _plan_stranded(conn, rules, actor)
    done["packages"] = package.plan_over(conn, actor)
    # Asked now, and not of the night: an old rehearsal that is run again after the yes is no way past the safety stop.
    is_live = decisions.find(conn, "go_live", "approve") is not None
    foreseen_at = q.foreseen_at(conn, night=night.night)
    at, recording = _LONG_AGO, _FIRST
    while True:
        rows = list(
            q.plan_expired(
                conn, after_at=at, after=recording, limit=rules.chunk_rows, foreseen_only=is_live,
                foreseen_at=foreseen_at,
            )
        )  # fmt: skip
        if not rows:
            break
        fresh = [r for r in rows if r.fresh]
        append(
            conn,
            actor,
            (),
            alike=_alike(
                fresh,
                ("controller", "vendor", "waits"),
                lambda controller, vendor, waits: DeletionPlanned(
                    recording=ANY, controller=controller, vendor=vendor, trigger="retention_expired",
                    reason=waits or "retention_expired", state_before="live",
                ),
            ),
        )  # fmt: skip
        reach("plan.before_commit")
        conn.commit()
        done["planned"] += len(fresh)
        done["surplus"] += sum(r.waits == "surplus" for r in fresh)
        (last,) = (r for r in rows if not r.fresh)
        at, recording = last.due_at, last.recording
        log.info("%d planned", done["planned"])
    planned = q.night_planned(conn, night=night.night)
    q.forget_counts(conn, night=night.night, due=True)
    due = {r.controller: r.n for r in q.count_due(conn, night=night.night, planned_at=planned.planned_at)}
    if planned.first:
        surplus = q.count_surplus(conn)
        append(conn, actor, [NightPlanned(night=night.night, mode=night.mode, due=due, surplus=surplus)])
    conn.commit()
    reach("plan.after_commit")
    done["due"] = sum(due.values())
    return +done


def _plan_stranded(conn: db.Connection, rules: Rules, actor: Actor) -> int:
    """What a vendor left in staging that is no longer configured goes when its term is over: no import looks at it. Commits."""
    q = db.queries()
    rows = list(q.stranded(conn, months=rules.retention_months))
    recordings = [r.recording for r in rows]
    if rows:
        q.plan_refused(conn, recordings=recordings, trigger="retention_expired", months=rules.retention_months)
        q.leave_staging(conn, recordings=recordings)
        alike = _alike(
            rows,
            ("controller", "vendor"),
            lambda controller, vendor: DeletionPlanned(
                recording=ANY, controller=controller, vendor=vendor, trigger="retention_expired", reason="vendor_gone",
                state_before="staged",
            ),
        )  # fmt: skip
        append(conn, actor, (), alike=alike)
    conn.commit()
    return len(rows)


def arm(conn: db.Connection, night: Night, rules: Rules, actor: Actor) -> Counter[str]:
    """Decides on everything due, the oldest first, a chunk a transaction under the blockers' lock.

    Armed means: its tombstone stands in the suppression, and it will be sent. In a rehearsal nothing is armed. A night
    arms ``slice_rows`` at most.
    """
    q, done = db.queries(), Counter[str]()
    planned_at = _planned_at(night)
    left = rules.slice_rows - q.count_armed(conn, night=night.night)
    conn.rollback()
    at, recording = _LONG_AGO, _FIRST
    while True:
        db.lock_blockers(conn, exclusive=False)
        rows = list(q.arm_verdicts(conn, planned_at=planned_at, after_at=at, after=recording, limit=rules.chunk_rows))
        if not rows:
            conn.rollback()
            return +done
        reach("arm.locked")
        last = rows[-1]
        # An import may just have taken back what it had refused: of what is not as it was seen nothing is said.
        now = {r.recording: r.state for r in q.lock_journal(conn, recordings=[r.recording for r in rows])}
        rows = [r for r in rows if now.get(r.recording) == r.state]
        by = {verdict: [r for r in rows if r.verdict == verdict] for verdict in ("withdrawn", "blocked", "waiting")}
        ready = [r for r in rows if r.verdict == "armed"] if night.live else []
        if len(ready) > left:
            ready = ready[: max(left, 0)]
            q.night_sliced(conn, night=night.night)
        left -= len(ready)
        armed = [r.recording for r in ready]
        q.suppress(conn, recordings=armed)
        q.arm(conn, recordings=armed)
        newly_blocked = [r for r in by["blocked"] if r.state != "blocked"]
        q.block(conn, recordings=[r.recording for r in newly_blocked])
        q.withdraw(conn, recordings=[r.recording for r in by["withdrawn"]], night=night.night)
        chosen = {r.recording for verdict in by.values() for r in verdict if r.verdict != "waiting"} | set(armed)
        q.unblock(conn, recordings=[r.recording for r in rows if r.recording not in chosen and r.state == "blocked"])
        alike = _alike(
            ready,
            ("controller", "trigger", "state"),
            lambda controller, trigger, state: DeletionArmed(
                recording=ANY, controller=controller, trigger=trigger, state_before=state
            ),
        )
        alike |= _blocked(newly_blocked) | _withdrawn(by["withdrawn"])
        append(conn, actor, (), alike=alike)
        reach("arm.before_commit")
        conn.commit()
        reach("arm.after_commit")
        done += Counter({"armed": len(ready), **{verdict: len(found) for verdict, found in by.items()}})
        at, recording = last.due_at, last.recording
        log.info("%d armed, %d blocked", done["armed"], done["blocked"])


def _planned_at(night: Night) -> datetime:
    if night.planned_at is None:
        raise NotFound("This night was never planned.", mend="Clear the task `plan`, and those after it.")
    return night.planned_at


# --- the store --------------------------------------------------------------------------------------------------------


def send(
    conn: db.Connection, night: Night, destroyer: Destroyer, *, lane: int, rules: Rules, actor: Actor
) -> Counter[str]:
    """One lane: claims batches until none is left, deletes their exact versions, proves their absence, erases their rows.

    Raises StoreUnavailable or StoreRefused where the store fails as a whole: what was sent stays ``sending``, and the
    next try proves or repeats it.
    """
    done: Counter[str] = Counter()
    if not night.live:
        log.info("a rehearsal: nothing is sent")
        return done
    after: tuple[str, UUID] | None = ("", _FIRST)
    while after is not None:
        began = time.monotonic()
        batch, after = _to_sending(conn, night, lane, rules, actor, after, done)
        if time.monotonic() - began > rules.lease_minutes * 60:
            # This worker slept: somebody else may have taken its claim over. What it left is taken up again.
            log.warning("the claim has run out: its %d recordings are left to the next", len(batch))
            continue
        if batch:
            reach("send.sending")
            done += _destroy(conn, night, batch, destroyer, actor)
            log.info("lane %d: %d gone", lane, done["gone"])
    return +done


def _to_sending(
    conn: db.Connection,
    night: Night,
    lane: int,
    rules: Rules,
    actor: Actor,
    after: tuple[str, UUID],
    done: Counter[str],
) -> tuple[list[db.Row], tuple[str, UUID] | None]:
    """Claims a batch and moves it to ``sending``, the blockers asked again; commits. No more: (.., None).

    What is covered by a blocker, yet was ``sending`` already, may have been deleted by a worker that is thought dead: it
    is given back unsent, to be looked at only.
    """
    q = db.queries()
    db.lock_blockers(conn, exclusive=False)
    claimed = [
        r.recording
        for r in q.claim_to_send(conn, lane=lane, after_key=after[0], after=after[1], limit=rules.claim_rows)
    ]
    if not claimed:
        conn.rollback()
        return [], None
    rows = list(q.send_verdicts(conn, recordings=claimed))
    reach("send.locked")
    withdrawn = [r for r in rows if r.verdict == "withdrawn"]
    # What is covered and was sent is looked for first: a legal hold that stands may have come a moment too late.
    blocked = [r for r in rows if r.verdict == "blocked" and r.state == "armed"]
    ready = [r for r in rows if r.verdict == "sending" and r.state == "armed"]
    q.withdraw(conn, recordings=[r.recording for r in withdrawn], night=night.night)
    q.block(conn, recordings=[r.recording for r in blocked])
    out = {r.recording for r in (*withdrawn, *blocked)}
    batch = [r for r in rows if r.recording not in out]
    q.to_sending(conn, recordings=[r.recording for r in batch], lane=lane, lease_minutes=rules.lease_minutes)
    alike = _alike(
        ready,
        ("controller", "trigger"),
        lambda controller, trigger: DeletionSending(recording=ANY, controller=controller, trigger=trigger),
    )
    alike |= _blocked(blocked) | _withdrawn(withdrawn)
    append(conn, actor, (), alike=alike)
    reach("send.before_commit")
    conn.commit()
    done += Counter(blocked=len(blocked), withdrawn=len(withdrawn))
    return batch, max((r.object_key or "", r.recording) for r in rows)


def _destroy(
    conn: db.Connection, night: Night, batch: Sequence[db.Row], destroyer: Destroyer, actor: Actor
) -> Counter[str]:
    """The effect on one batch, its proof, and what follows; commits."""
    # What a blocker covers was sent by somebody else: nothing more is done to it, it is only looked for.
    known = [
        ObjectVersion(key=r.object_key, version_id=r.version_id, is_delete_marker=False, size_bytes=0)
        for r in batch
        if r.version_id and r.verdict != "blocked"
    ]
    refused = destroyer.delete(known) if known else {}
    reach("send.deleted")
    untouchable = {r.object_key for r in batch if r.verdict == "blocked"}
    left = _left(destroyer, batch)
    # Of a key that was denied a version no other is touched: a legal hold may stand on it.
    untouchable |= {key for (key, _), code in refused.items() if code == "denied"}
    extra = [v for v in left if v.key not in untouchable and (v.key, v.version_id) not in refused]
    if extra:
        # Versions that the catalogue does not know, delete markers, and what a store said it had deleted.
        refused |= destroyer.delete(extra)
        left = _left(destroyer, batch)
    # Sent and not there any more, whatever was answered: an earlier try, whose answer was lost, may have removed it.
    sent = {(v.key, v.version_id) for v in (*known, *extra)}
    removed = Counter(key for key, _ in sent - {(v.key, v.version_id) for v in left})
    uploads = _abort_uploads(destroyer, batch, untouchable)
    reach("send.proven")
    keys_left = {v.key for v in left} | uploads
    # A call that was never in the store, and is covered by now, is not given up: the vendor's copy is the one that is held.
    there = [r for r in batch if r.object_key in keys_left or (r.verdict == "blocked" and r.version_id is None)]
    gone = [r for r in batch if r not in there]
    codes = {key: code for (key, _), code in refused.items()}
    _record_gone(conn, night, gone, removed, actor)
    if there:
        troubles = {r.recording: _trouble(r, codes, uploads) for r in there}
        denied = {v.key: v.version_id for v in left if not v.is_delete_marker and codes.get(v.key) == "denied"}
        _record_there(conn, there, troubles, denied, actor)
    return Counter(gone=len(gone), there=len(there))


def _left(destroyer: Destroyer, batch: Sequence[db.Row]) -> list[ObjectVersion]:
    """What the store still lists of the batch: complete listings of its keys' range in each prefix, compared exactly.

    A HEAD that finds nothing is no proof: a delete marker hides what is there (architecture, rule 5).
    """
    found: list[ObjectVersion] = []
    for prefix, keys in _by_prefix(batch):
        wanted = set(keys)
        found += [v for v in destroyer.versions(prefix, first=keys[0], last=keys[-1]) if v.key in wanted]
    return found


def _abort_uploads(destroyer: Destroyer, batch: Sequence[db.Row], untouchable: set[str]) -> set[str]:
    """Ends the batch's unfinished uploads, whose parts are audio too; the keys that still have one."""
    left: set[str] = set()
    for prefix, keys in _by_prefix(batch):
        wanted = set(keys)
        unfinished = [(key, upload) for key, upload in destroyer.uploads(prefix) if key in wanted]
        for key, upload in unfinished:
            if key not in untouchable:
                destroyer.abort_upload(key, upload)
        if unfinished:
            left |= {key for key, _ in destroyer.uploads(prefix) if key in wanted}
    return left


def _by_prefix(batch: Sequence[db.Row]) -> Iterable[tuple[str, list[str]]]:
    keys = sorted(r.object_key for r in batch if r.object_key)
    for folder, group in groupby(keys, key=lambda key: key.rpartition("/")[0]):
        yield f"{folder}/", list(group)


def _trouble(row: db.Row, codes: Mapping[str, str], uploads: set[str]) -> str:
    code = codes.get(row.object_key)
    if row.verdict == "blocked" or (code == "denied" and row.legal_hold is not False):
        return "held_in_store"
    if code == "denied":
        return "store_denied"
    if code is not None:
        return "store_unavailable"
    return "upload_left" if row.object_key in uploads else "version_left"


def _record_gone(
    conn: db.Connection, night: Night, gone: Sequence[db.Row], removed: Mapping[str, int], actor: Actor
) -> None:
    """The store is proven empty of these: rows, numbers and keys go; commits."""
    q = db.queries()
    # A worker whose claim is not the last one changes nothing.
    now = {
        r.recording: r.fence for r in q.lock_gone(conn, recordings=[r.recording for r in gone]) if r.state == "sending"
    }
    gone = [r for r in gone if now.get(r.recording) == r.fence]
    rows = list(
        q.proven_gone(
            conn,
            recordings=[r.recording for r in gone],
            removed=[removed.get(r.object_key, 0) for r in gone],
        )
    )
    alike = _alike(
        rows,
        ("controller", "trigger", "versions_removed", "catalogued"),
        lambda controller, trigger, versions_removed, catalogued: StoreProvenEmpty(
            recording=ANY, controller=controller, trigger=trigger, versions_removed=versions_removed,
            catalogued=catalogued,
        ),
    )  # fmt: skip
    q.erase(conn, recordings=[r.recording for r in rows])
    if any(r.trigger == "package_expired" for r in rows):
        q.packages_gone(conn)
    final = _finish(conn, [(r, "not_asked", None) for r in rows if r.without_vendor], night.night)
    alike |= _done(final)
    append(conn, actor, (), alike=alike)
    reach("send.before_scrubbed")
    conn.commit()
    reach("send.after_scrubbed")


def _record_there(
    conn: db.Connection,
    there: Sequence[db.Row],
    troubles: Mapping[UUID, str],
    denied: Mapping[str, str],
    actor: Actor,
) -> None:
    """The store did not let go of these: blocked if a blocker covers them by now, else in trouble until the next try.

    ``denied``: the version of each key that the store refused to delete. A legal hold may stand there that nobody knows
    of: it is looked at, and lifted if nothing covers it, before the next try.
    """
    q = db.queries()
    fences = {r.recording: r.fence for r in there}
    db.lock_blockers(conn, exclusive=False)
    covered = list(q.sent_and_covered(conn, recordings=list(fences), fences=list(fences.values())))
    q.block(conn, recordings=[r.recording for r in covered])
    append(
        conn,
        actor,
        [
            DeletionBlocked(recording=r.recording, controller=r.controller, trigger=r.trigger, state_before="sending")
            for r in covered
        ],
    )
    q.not_gone(
        conn,
        recordings=list(fences),
        fences=list(fences.values()),
        troubles=[troubles[recording] for recording in fences],
        version_ids=[denied.get(r.object_key) for r in there],
    )
    q.denied(conn, recordings=[r.recording for r in there if r.object_key in denied])
    conn.commit()


# --- the vendor -------------------------------------------------------------------------------------------------------


def ask_vendor(
    conn: db.Connection, night: Night, vendor: Vendor, *, keyring: Keyring, rules: Rules, actor: Actor
) -> Counter[str]:
    """Asks a vendor to delete what is gone here, with the recording's UUID as idempotency key, and looks whether it did.

    ``accepted`` is looked at again each night; what it refuses or cannot do stays an open line. A vendor that does not
    answer is not an error of the night: its recordings stay open.
    """
    done: Counter[str] = Counter()
    if not night.live:
        return done
    after, q = _FIRST, db.queries()
    while True:
        db.lock_blockers(conn, exclusive=False)
        rows = sorted(
            q.claim_to_ask(
                conn, vendor=vendor.name, after=after, limit=VENDOR_CLAIM_ROWS, can_delete=vendor.capabilities.delete,
                lease_minutes=rules.lease_minutes,
            ),
            key=lambda r: r.recording,
        )  # fmt: skip
        asked = [r for r in rows if r.answer != "accepted"]
        alike = _alike(
            asked,
            ("controller",),
            lambda controller: VendorAsked(recording=ANY, controller=controller, vendor=vendor.name),
        )
        append(conn, actor, (), alike=alike, at=asked[0].asked_at if asked else None)
        reach("ask.before_commit")
        conn.commit()
        if not rows:
            return +done
        reach("ask.claimed")
        answers: list[_Answer] = []
        down = ""
        for row in rows:
            answer = (
                _Answer(row=row, answer=row.answer, confirmed=None, trouble=down)
                if down
                else _ask(vendor, keyring, row)
            )
            if answer.trouble in ("vendor_unavailable", "vendor_credentials"):
                down = answer.trouble
            answers.append(answer)
        reach("ask.asked")
        done += _record_answers(conn, night, answers, actor)
        if down:
            log.warning("%s: %s; what is open there is asked again tomorrow", vendor.name, down)
            return +done
        after = rows[-1].recording


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    row: db.Row
    answer: str | None
    confirmed: bool | None
    trouble: str

    @property
    def final(self) -> bool:
        return not self.trouble


def _ask(vendor: Vendor, keyring: Keyring, row: db.Row) -> _Answer:
    """One recording at its vendor: asked, unless it was accepted before, and looked at again."""
    open_line = _Answer(row=row, answer=row.answer, confirmed=None, trouble="")
    try:
        ref = VendorRef(keyring.unseal("reference", row.sealed_ref, row.identity).decode())
    except (KeyMissing, ValueError, CallkeeperError):
        return replace(open_line, trouble="key_missing")
    try:
        if row.answer == "accepted":
            gone = vendor.confirm_deleted(ref)
            return replace(open_line, confirmed=gone, trouble="" if gone else "vendor_pending")
        if not vendor.capabilities.delete:
            return replace(open_line, answer="unsupported", trouble="vendor_unsupported")
        answer = vendor.delete(ref, key=str(row.recording))
        reach("ask.deleted")
        if answer in ("refused", "unsupported"):
            return replace(open_line, answer=answer, trouble=f"vendor_{answer}")
        if answer == "accepted":
            return replace(open_line, answer=answer, trouble="vendor_pending")
        gone = vendor.confirm_deleted(ref)
        if gone is False:
            # It says that it did, and has it still: looked at again each night.
            return replace(open_line, answer="accepted", confirmed=False, trouble="vendor_pending")
        return replace(open_line, answer=answer, confirmed=gone)
    except VendorUnavailable:
        return replace(open_line, trouble="vendor_unavailable")
    except WrongCredentials:
        return replace(open_line, trouble="vendor_credentials")


def _record_answers(conn: db.Connection, night: Night, answers: Sequence[_Answer], actor: Actor) -> Counter[str]:
    q = db.queries()
    lost = [a.row for a in answers if a.trouble == "key_missing"]
    if lost:
        q.stop(conn, recordings=[r.recording for r in lost], trouble="key_missing")
    alike = _alike(
        lost,
        ("controller",),
        lambda controller: DeletionStopped(
            recording=ANY, controller=controller, trigger="vendor_copy", trouble="key_missing",
            state_before="store_gone",
        ),
    )  # fmt: skip
    was = {a.row.recording: a.row.answer for a in answers}
    still_open = [a for a in answers if a.trouble and a.trouble != "key_missing"]
    heard = list(
        q.vendor_answered(
            conn,
            recordings=[a.row.recording for a in still_open],
            fences=[a.row.fence for a in still_open],
            answers=[a.answer for a in still_open],
            confirmed=[a.confirmed for a in still_open],
            troubles=[a.trouble for a in still_open],
        )
        if still_open
        else ()
    )
    final = _finish(conn, [(a.row, a.answer or "", a.confirmed) for a in answers if a.final], night.night)
    alike |= _answered(r for r in (*heard, *final) if r.answer != was[r.recording]) | _done(final)
    append(conn, actor, (), alike=alike, at=final[0].done_at if final else None)
    reach("ask.before_recorded")
    conn.commit()
    reach("ask.after_recorded")
    return Counter("done" if a.final else a.trouble for a in answers)


def _finish(
    conn: db.Connection, final: Sequence[tuple[db.Row, str, bool | None]], night: int | None
) -> Sequence[db.Row]:
    """The vendor's answers (row, answer, confirmed) are final: the last of the person's data goes, in the caller's transaction."""
    if not final:
        return []
    rows = db.queries().finish(
        conn,
        recordings=[r.recording for r, _, _ in final],
        fences=[r.fence for r, _, _ in final],
        answers=[answer for _, answer, _ in final],
        confirmed=[confirmed for _, _, confirmed in final],
        night=night,
    )
    return list(rows)


# --- by a person's word -----------------------------------------------------------------------------------------------


def settle_at_vendor(conn: db.Connection, lines: Sequence[db.Row], actor: Actor) -> None:
    """A person's word that the vendor's copy is gone ends open lines, which the caller has locked; commits."""
    append(conn, actor, (), alike=_done(_finish(conn, [(line, "settled_by_person", None) for line in lines], None)))
    conn.commit()


def retry(conn: db.Connection, recording: UUID, actor: Actor) -> None:
    """A person has mended what stood in a deletion's way: the next night goes on with it; commits. Raises NotFound."""
    found = db.queries().retry_stopped(conn, recording=recording)
    if found is None:
        raise NotFound("No deletion of that recording waits for a person.")
    append(
        conn,
        actor,
        [
            DeletionRetried(
                recording=recording, controller=found.controller, trigger=found.trigger, state_after=found.state
            )
        ],
    )
    conn.commit()


# --- the end of the night ---------------------------------------------------------------------------------------------


def balance(conn: db.Connection, night: Night, actor: Actor) -> NightBalance:
    """Counts what became of what was due, and stores it with its events; commits. The same a second time changes nothing."""
    q = db.queries()
    q.forget_counts(conn, night=night.night, due=False)
    sliced = q.night_was_sliced(conn, night=night.night)
    q.count_night(conn, night=night.night, planned_at=_planned_at(night), live=night.live, sliced=sliced)
    result = deletions.read_balance(conn, night)
    per_controller = {c: result.of(c) for c in result.controllers}
    report = json.dumps(per_controller, sort_keys=True)
    if q.end_night(conn, night=night.night, balanced=result.balanced, report=report):
        append(
            conn,
            actor,
            [
                NightBalanced(
                    night=night.night, mode=night.mode, controller=c, counts=counts, balanced=result.difference(c) == 0
                )
                for c, counts in per_controller.items()
            ],
        )
    conn.commit()
    return result


def forecast(conn: db.Connection, night: Night) -> None:
    """Keeps how many recordings will be due in 1, 7 and 30 days from the night: what a later night finds beyond it is a surplus.

    One forecast a night, of what it knew when it planned; a second try changes nothing. Commits.
    """
    db.queries().make_forecast(conn, planned_at=_planned_at(night))
    conn.commit()


# --- events -----------------------------------------------------------------------------------------------------------


Alike = dict[Event, list[UUID]]


def _blocked(rows: Iterable[db.Row]) -> Alike:
    return _alike(
        rows,
        ("controller", "trigger", "state"),
        lambda controller, trigger, state: DeletionBlocked(
            recording=ANY, controller=controller, trigger=trigger, state_before=state
        ),
    )


def _withdrawn(rows: Iterable[db.Row]) -> Alike:
    return _alike(
        rows,
        ("controller", "trigger", "state"),
        lambda controller, trigger, state: DeletionWithdrawn(
            recording=ANY, controller=controller, trigger=trigger, reason="term_not_over", state_before=state
        ),
    )


def _answered(rows: Iterable[db.Row]) -> Alike:
    return _alike(
        rows,
        ("controller", "vendor", "answer", "confirmed"),
        lambda controller, vendor, answer, confirmed: VendorAnswered(
            recording=ANY, controller=controller, vendor=vendor, answer=answer, confirmed=confirmed
        ),
    )


def _done(rows: Iterable[db.Row]) -> Alike:
    return _alike(
        rows,
        ("controller", "vendor", "trigger", "due_at", "versions_removed", "answer", "confirmed"),
        lambda controller, vendor, trigger, due_at, versions_removed, answer, confirmed: DeletionDone(
            recording=ANY, controller=controller, vendor=vendor, trigger=trigger, due_at=utc(due_at),
            versions_removed=versions_removed, vendor_answer=answer, vendor_confirmed=confirmed,
        ),
    )  # fmt: skip


def _alike(rows: Iterable[db.Row], facts: Sequence[str], event: Callable[..., Event]) -> Alike:
    """Rows whose events differ by the recording only, together; the event is made once for all that share the facts."""
    shared: dict[tuple[object, ...], list[UUID]] = {}
    for row in rows:
        shared.setdefault(tuple([getattr(row, fact) for fact in facts]), []).append(row.recording)
    return {event(*values): recordings for values, recordings in shared.items()}
