"""The vendor's day, into the catalogue: list and stage, check, fetch (``fetching.py``), keep, balance (``balancing.py``).

Every step may be killed at any line and run again: what it changes, it changes in one transaction with its events and
its counts, and a call's UUID, born at staging, names its object.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from itertools import count, islice, pairwise
from uuid import UUID, uuid4

from callkeeper import db
from callkeeper.clock import HELSINKI, helsinki_day, retention_eligible_at
from callkeeper.crashpoints import reach
from callkeeper.deliveries import Outcome, add_tally
from callkeeper.errors import CallkeeperError, DeliveryUnreadable
from callkeeper.pseudonyms import Keyring, Sealer
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import (
    Actor,
    BlockerKept,
    DayClosed,
    DayListed,
    DeletionPlanned,
    DeletionWithdrawn,
    Event,
    QuarantineLeft,
    RecordingCorrected,
    RecordingKept,
    RecordingQuarantined,
)
from callkeeper.vendors import Direction, MediaStatus, Vendor, VendorCall

log = logging.getLogger(__name__)

ARRIVAL_TYPES = (
    "int8", "uuid", "bytea", "bytea", "bytea", "timestamptz", "int8", "text", "text", "bytea", "text", "bytea", "text", "bytea",
    "text", "int8", "bytea", "text", "text", "text", "text[]", "text",
)  # fmt: skip
"""The types of ``copy_arrival``'s columns."""

CHECK_CHUNKS = 5
"""A check reads so many chunks at a time: it writes little, and is as long under the blockers' lock as a chunk that is kept."""

DOOR_CALLS = 250
"""Calls that pass the door together."""

NOBODY = "-"
"""The controller's place in counts where a line is nobody's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What the configuration says that an import needs."""

    other_party: str
    """What becomes of the other party's number on an outbound call: pseudonym, discard or store."""
    retention_months: int
    quarantine_days: int
    relook_days: int
    chunk_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One run's import from one vendor. ``last_day`` is the run's day; ``only_day`` narrows to one (a manual run)."""

    run: int
    vendor: Vendor
    last_day: date
    only_day: date | None
    keyring: Keyring
    rules: Rules
    actor: Actor


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """What listing gave: days looked at, calls found, and the days that could not be read (day, what was wrong)."""

    days: int
    found: int
    troubles: tuple[tuple[date, str], ...]


# --- list and stage ---------------------------------------------------------------------------------------------------


def stage(conn: db.Connection, job: Import) -> Staged:
    """Lists the vendor's unfinished days and stages what is new, one transaction a day.

    A day whose delivery cannot be read keeps its trouble and does not hold up the next; a vendor that cannot be
    reached raises, after its days have been marked.
    """
    # What an interrupted run had fetched is put away first, so that a newer listing meets it in the catalogue.
    _carry_over(conn, job)
    keep(conn, job)
    days = list(
        db.queries().days_to_take(
            conn, vendor=job.vendor.name, last=job.last_day, only=job.only_day, relook=job.rules.relook_days
        )
    )
    conn.commit()
    found, troubles = 0, []
    for number, wanted in enumerate(days, start=1):
        try:
            found += _stage_day(conn, job, wanted.day)
        except DeliveryUnreadable as wrong:
            conn.rollback()
            _note(conn, job, wanted.day, "open", None, str(wrong))
            troubles.append((wanted.day, str(wrong)))
            log.error("%s, %s: %s", job.vendor.name, wanted.day, wrong)
        except CallkeeperError as wrong:
            if not conn.closed:
                conn.rollback()
                for left in days[number - 1 :]:
                    if left.state != "complete":  # else nothing is known to be missing
                        _note(conn, job, left.day, "open", None, str(wrong))
            raise
        log.info("%s, %s: day %d of %d listed", job.vendor.name, wanted.day, number, len(days))
    return Staged(days=len(days), found=found, troubles=tuple(troubles))


def _note(conn: db.Connection, job: Import, day: date, state: str, delivery: int | None, trouble: str | None) -> None:
    db.queries().note_day(conn, vendor=job.vendor.name, day=day, state=state, delivery=delivery, trouble=trouble)
    conn.commit()


def _carry_over(conn: db.Connection, job: Import) -> None:
    """What earlier runs left in staging, and what a mended register frees from quarantine, is this run's to find."""
    q = db.queries()
    numbers = [r.number for r in q.known_lines(conn)]
    marks = [job.keyring.tombstone("line", number) for number in numbers]
    q.reveal_staged(conn, numbers=numbers, marks=marks)
    q.reveal_quarantined(conn, numbers=numbers, marks=marks)
    mended = [row.recording for row in q.mended(conn, vendor=job.vendor.name)]
    if mended:
        back = list(q.restage(conn, recordings=mended, waive=[]))
        append(
            conn,
            job.actor,
            (
                QuarantineLeft(
                    recording=r.recording,
                    controller=r.controller,
                    vendor=r.vendor,
                    reason="line_undesignated",
                    how="mended",
                )
                for r in back
            ),
        )
    q.unchecked(conn, run=job.run, vendor=job.vendor.name)
    carried = q.carry_over(conn, run=job.run, vendor=job.vendor.name, day=job.only_day)
    add_tally(conn, job.run, job.vendor.name, [(r.controller, Outcome.found, "", r.n) for r in carried])
    conn.commit()


def _stage_day(conn: db.Connection, job: Import, day: date) -> int:
    q, vendor = db.queries(), job.vendor
    status = vendor.day_status(day, HELSINKI)
    if status == "absent":
        _note(conn, job, day, "absent", None, None)
        return 0
    fingerprint = vendor.fingerprint(day, HELSINKI)
    known = q.known_delivery(conn, vendor=vendor.name, day=day, fingerprint=fingerprint)
    if known is not None:
        taken = q.taken_in_run(conn, run=job.run, vendor=vendor.name, day=day)
        if taken == known:
            # This run has counted it: a task that was run again. What stood in its way is over.
            _note(conn, job, day, "open", int(known), None)
            return 0
        unchanged = [(r.controller, r.n) for r in q.known_counts(conn, delivery=known) if r.n > 0]
        add_tally(
            conn,
            job.run,
            vendor.name,
            [
                (c, outcome, reason, n)
                for c, n in unchanged
                for outcome, reason in ((Outcome.found, ""), (Outcome.unchanged, "known_delivery"))
            ],
        )
        found, delivery = sum(n for _, n in unchanged), known
    else:
        delivery = q.new_delivery(conn, vendor=vendor.name, day=day, fingerprint=fingerprint)
        found = _stage_listing(conn, job, day, delivery)
        append(
            conn,
            job.actor,
            [DayListed(vendor=vendor.name, day=day.isoformat(), delivery=delivery, found=found, status=status)],
        )
    q.take_day(conn, run=job.run, vendor=vendor.name, day=day, delivery=delivery, complete=status == "complete")
    q.note_day(conn, vendor=vendor.name, day=day, state="open", delivery=delivery, trouble=None)
    reach("stage.before_commit")
    conn.commit()
    reach("stage.after_commit")
    return int(found)


def _stage_listing(conn: db.Connection, job: Import, day: date, delivery: int) -> int:
    """Copies the listing in, sorts out what is known already, and stages the rest; returns the calls found now."""
    q, vendor = db.queries(), job.vendor
    dropped: Counter[str] = Counter()
    q.make_arrival(conn)
    lines = {r.number for r in q.known_lines(conn)}
    delivered_at = db.now(conn)
    with conn.cursor() as cursor, cursor.copy(q.copy_arrival.sql) as copy:
        copy.set_types(ARRIVAL_TYPES)
        for row in _rows(job, vendor.list_day(day, HELSINKI), lines, delivered_at, dropped):
            copy.write_row(row)
    reach("stage.copied")
    q.analyze_arrival(conn)
    repeated = q.drop_repeated(conn)
    q.name_controllers(conn)
    counts = [(r.controller, r.n) for r in q.count_arrivals(conn)]
    q.count_delivery(conn, delivery=delivery, controllers=[c for c, _ in counts], counts=[n for _, n in counts])

    tally: list[tuple[str, str, str, int]] = [(NOBODY, "repeated", "", repeated)]
    tally += [(NOBODY, "unknown_field", name, n) for name, n in sorted(dropped.items())]

    def resolved(rows: Iterable[tuple[str, str, str, int]]) -> None:
        for controller, outcome, reason, n in rows:
            tally.extend([(controller, Outcome.found, "", n), (controller, outcome, reason, n)])

    resolved((r.controller, Outcome.unchanged, "", r.n) for r in q.take_unchanged(conn, vendor=vendor.name))
    resolved(
        (r.controller, Outcome.quarantined, r.reason, r.n) for r in q.take_still_quarantined(conn, vendor=vendor.name)
    )
    # Without the blockers' lock, for a day may be long: a blocker that is placed meanwhile has not covered the call yet.
    kept = [BlockerKept(blocker=r.blocker, recording=r.recording) for r in q.keep_redelivered(conn, vendor=vendor.name)]
    append(conn, job.actor, kept)
    append(
        conn,
        job.actor,
        [
            DeletionWithdrawn(
                recording=r.recording, controller=r.controller, trigger=r.trigger, reason="vendor_corrected",
                state_before=r.state,
            )
            for r in q.take_back_refused(conn, vendor=vendor.name)
        ],
    )  # fmt: skip
    resolved(
        (r.controller, r.outcome, "already_planned", r.n) for r in q.take_already_planned(conn, vendor=vendor.name)
    )
    again = list(q.take_redelivered(conn, vendor=vendor.name))
    append(
        conn,
        job.actor,
        (
            QuarantineLeft(
                recording=r.recording, controller=r.controller, vendor=vendor.name, reason=r.reason, how="redelivered"
            )
            for r in again
        ),
    )
    for r in q.renew_staged(conn, vendor=vendor.name, run=job.run, delivery=delivery):
        if r.found and r.was != r.controller:
            tally += [(r.was, Outcome.found, "", -1), (r.controller, Outcome.found, "", 1)]
    q.unchecked(conn, run=job.run, vendor=vendor.name)
    q.redeliver_staged(conn, vendor=vendor.name, delivery=delivery)
    fresh = q.stage_arrivals(conn, run=job.run, vendor=vendor.name, day=day, delivery=delivery)
    tally += [(r.controller, Outcome.found, "", r.n) for r in fresh]
    add_tally(conn, job.run, vendor.name, tally)
    return sum(n for _, outcome, _, n in tally if outcome == Outcome.found)


def _rows(
    job: Import, calls: Iterable[VendorCall], lines: Collection[str], delivered_at: datetime, dropped: Counter[str]
) -> Iterator[tuple[object, ...]]:
    """The door: from here on only pseudonyms and sealed values exist. ``lines`` are the register's numbers.

    A chunk shares one ephemeral key, and goes through whole: reading, sealing and writing call by call takes half as
    long again (the processor's caches).
    """
    months, key_days = job.rules.retention_months, dict[date, str]()
    fallback = _key_day(delivered_at, months)
    revision_key = job.keyring.tombstone("revision", job.vendor.name)
    listed, seq = iter(calls), count()
    while chunk := list(islice(listed, DOOR_CALLS)):
        numbers, references = job.keyring.sealer("number"), job.keyring.sealer("reference")
        rows: list[tuple[object, ...]] = []
        for call in chunk:
            if call.unknown_fields:
                dropped.update(call.unknown_fields)
            identity = job.keyring.tombstone(job.vendor.name, call.identity)
            if call.started_at is None:
                key_day = fallback
            else:
                local = helsinki_day(call.started_at)
                key_day = key_days.get(local) or key_days.setdefault(local, _key_day(call.started_at, months))
            recording, media = uuid4(), call.media
            rows.append(
                (
                    next(seq),
                    recording,
                    identity,
                    _revision(revision_key, call),
                    references.seal(call.ref.encode(), identity),
                    call.started_at,
                    call.duration_ms,
                    call.direction,
                    *_line(job.keyring, call.service_number, lines),
                    *_number(job, call, numbers, identity),
                    call.status,
                    media.bytes,
                    media.sha256,
                    media.codec,
                    media.content_type,
                    media.encryption,
                    list(call.faults),
                    f"rec/{key_day}/{recording}",
                )
            )
        yield from rows


def _line(keyring: Keyring, number: str | None, lines: Collection[str]) -> tuple[str | None, bytes | None]:
    """The line if it is ours; a number that is not may be a person's: of it only a hash."""
    if number is None or number in lines:
        return number, None
    return None, keyring.tombstone("line", number)


def _number(
    job: Import, call: VendorCall, numbers: Sealer, identity: bytes
) -> tuple[str, bytes | None, str | None, bytes | None]:
    """The other party: its state, pseudonym, the pseudonym's key, the sealed number."""
    e164 = call.other_party.e164
    if e164 is None:
        return call.other_party.kind, None, None, None
    policy = "store" if call.direction is Direction.inbound else job.rules.other_party
    if policy == "discard":
        return "discarded", None, None, None
    sealed = numbers.seal(e164.encode(), identity) if policy == "store" else None
    return "known", job.keyring.pseudonym(e164), job.keyring.key_id, sealed


def _key_day(started_at: datetime, months: int) -> str:
    """Objects group by the day on which they expire (architecture, Scale)."""
    return helsinki_day(retention_eligible_at(started_at, months)).isoformat()


def _revision(key: bytes, call: VendorCall) -> bytes:
    """Tells whether a redelivered record says something else; keyed, since it covers the number."""
    media = call.media
    facts = (
        f"{call.ref}\n{call.other_party}\n{call.started_at and call.started_at.timestamp()}\n{call.duration_ms}\n{call.direction}\n{call.service_number}\n"
        f"{call.status}\n{media.bytes}\n{media.sha256 and media.sha256.hex()}\n{media.encryption}\n{call.faults}"
    )
    return blake2b(facts.encode(), key=key, digest_size=16).digest()


# --- check ------------------------------------------------------------------------------------------------------------


def check(conn: db.Connection, job: Import) -> Counter[str]:
    """Decides on every listed call, a range of UUIDs a transaction: refused, quarantined, pending, or to be fetched.

    Blockers are asked under the shared lock: a call past its term or suppressed that one of them covers is kept.
    """
    q, done = db.queries(), Counter[str]()
    listed = q.count_listed(conn, run=job.run, vendor=job.vendor.name)
    conn.rollback()
    for first, last in _ranges(-(-listed // (job.rules.chunk_rows * CHECK_CHUNKS))):
        # A statement of its own: the lock, then the look (architecture, rule 3).
        db.lock_blockers(conn, exclusive=False)
        rows = list(
            q.verdicts(
                conn, vendor=job.vendor.name, run=job.run, first=first, last=last, months=job.rules.retention_months
            )
        )
        done += _decide(conn, job, rows)
        reach("check.before_commit")
        conn.commit()
        reach("check.after_commit")
    q.checked(conn, run=job.run, vendor=job.vendor.name)
    done["to_fetch"] = q.count_listed(conn, run=job.run, vendor=job.vendor.name)
    conn.commit()
    return +done


def _ranges(parts: int) -> Iterator[tuple[UUID, UUID]]:
    """All UUIDs in so many ranges (one at least), first and last included; random ones fall evenly into them."""
    parts = max(parts, 1)
    edges = [2**128 * n // parts for n in range(parts + 1)]
    for low, high in pairwise(edges):
        yield UUID(int=low), UUID(int=high - 1)


def _decide(conn: db.Connection, job: Import, rows: Sequence[db.Row]) -> Counter[str]:
    q = db.queries()
    refused: dict[str, list[db.Row]] = {}
    quarantined: list[db.Row] = []
    corrections: list[UUID] = []
    released: list[UUID] = []
    hold: list[db.Row] = []
    done: Counter[str] = Counter()
    for row in rows:
        if row.refusal:
            refused.setdefault(row.refusal, []).append(row)
        elif row.media_status == MediaStatus.unanswered and not row.blocked and not row.corrects:
            # A file without a call: it goes at the vendor when its term ends, like the calls beside it.
            refused.setdefault("unanswered", []).append(row)
        elif row.fault:
            quarantined.append(row)
        elif row.media_status == MediaStatus.pending and not row.corrects:
            done[Outcome.pending] += 1
        elif row.corrects:
            corrections.append(row.recording)
        elif row.released:
            released.append(row.recording)
        else:
            hold.append(row)
    for why, calls in refused.items():
        trigger = "retention_expired" if why == "unanswered" else why
        outcome = Outcome.suppressed if why in ("redelivered_after_deletion", "objection_upheld") else Outcome.refused
        ids = [r.recording for r in calls]
        q.plan_refused(conn, recordings=ids, trigger=trigger, months=job.rules.retention_months)
        _leave(
            conn,
            job,
            [(r.recording, r.controller, outcome, why) for r in calls],
            lambda r, c, reason, trigger=trigger: DeletionPlanned(  # type: ignore[misc]  # the default binds the loop's value
                recording=r, controller=c, vendor=job.vendor.name, trigger=trigger, reason=reason, state_before="staged"
            ),
        )
        done[outcome] += len(calls)
    if quarantined:
        quarantine(conn, job, [(r.recording, r.controller, r.fault) for r in quarantined])
        done[Outcome.quarantined] += len(quarantined)
    if corrections:
        q.mark_correction(conn, recordings=corrections)
        done["correction"] += len(corrections)
    if released:
        q.mark_released(conn, recordings=released)
    if hold:
        q.mark_held(conn, recordings=[r.recording for r in hold], held=[r.recording for r in hold if r.blocked])
    return done


def quarantine(conn: db.Connection, job: Import, calls: Sequence[tuple[UUID, str | None, str]]) -> None:
    """Moves staged calls (recording, controller, reason) into quarantine, in the caller's transaction."""
    there = {r.recording for r in db.queries().still_staged(conn, recordings=[c[0] for c in calls])}
    calls = [c for c in calls if c[0] in there]
    db.queries().quarantine_staged(
        conn, recordings=[c[0] for c in calls], reasons=[c[2] for c in calls], days=job.rules.quarantine_days
    )
    _leave(
        conn,
        job,
        [(r, c, Outcome.quarantined, reason) for r, c, reason in calls],
        lambda r, c, reason: RecordingQuarantined(recording=r, controller=c, vendor=job.vendor.name, reason=reason),
    )


def _leave(
    conn: db.Connection,
    job: Import,
    calls: Sequence[tuple[UUID, str | None, str, str]],
    event: Callable[[UUID, str | None, str], Event],
) -> None:
    """Calls (recording, controller, outcome, reason) leave staging: their events, their counts, their rows."""
    append(conn, job.actor, (event(r, c, reason) for r, c, _, reason in calls))
    counts = Counter((c or NOBODY, outcome, reason) for _, c, outcome, reason in calls)
    add_tally(conn, job.run, job.vendor.name, [(*key, n) for key, n in counts.items()])
    db.queries().leave_staging(conn, recordings=[r for r, *_ in calls])


# --- keep -------------------------------------------------------------------------------------------------------------


def keep(conn: db.Connection, job: Import) -> Counter[str]:
    """Puts what is fetched into the catalogue, a chunk a transaction, under the shared lock, the blockers asked again."""
    done: Counter[str] = Counter()
    while chunk := keep_chunk(conn, job):
        done += chunk
        log.info("%s: %d kept, %d corrected", job.vendor.name, done[Outcome.kept], done[Outcome.corrected])
    return done


def keep_chunk(conn: db.Connection, job: Import) -> Counter[str]:
    """One chunk of ``keep``: commits, and returns how many were kept or corrected (or listed again); none left: empty."""
    q = db.queries()
    db.lock_blockers(conn, exclusive=False)
    rows = list(q.fetched(conn, vendor=job.vendor.name, run=job.run, limit=job.rules.chunk_rows))
    if not rows:
        conn.rollback()
        return Counter()
    if corrects := [r.corrects for r in rows if r.corrects]:
        # Statements of their own: what was put right since the check is read once nobody can put it right any more.
        q.lock_catalogued(conn, recordings=corrects)
        q.mark_correction(conn, recordings=[r.recording for r in rows if r.corrects])
        now = {r.recording: r for r in q.fetched(conn, vendor=job.vendor.name, run=job.run, limit=job.rules.chunk_rows)}
        rows = [now[r.recording] for r in rows if r.recording in now]
        if not rows:
            conn.rollback()
            return keep_chunk(conn, job)
    reach("keep.locked")
    outdated = [r for r in rows if r.outdated and (r.corrects or not r.blockers)]
    if outdated:
        q.relist_fetched(conn, recordings=[r.recording for r in outdated])
        rows = [r for r in rows if r not in outdated]
    fresh = [r for r in rows if r.corrects is None]
    alike: dict[Event, list[UUID]] = {}
    for r in fresh:
        kept = RecordingKept(
            recording=ANY, controller=r.controller, vendor=r.vendor, delivery=r.delivery, blocked=bool(r.blockers)
        )
        alike.setdefault(kept, []).append(r.recording)
    events: list[Event] = []
    ids = [r.recording for r in fresh]
    if q.keep_fetched(conn, recordings=ids, months=job.rules.retention_months) != len(ids):
        # The task's other self, believed dead, is at it too: look again at what it has left.
        conn.rollback()
        return keep_chunk(conn, job)
    corrections = [r.recording for r in rows if r.corrects is not None]
    held = list(q.keep_corrected(conn, recordings=corrections)) if corrections else []
    if corrections:
        corrected = {r.staged: r for r in q.correct_fetched(conn, recordings=corrections)}
        # What has gone this very moment is left where it is: the next look finds it outdated.
        rows = [r for r in rows if r.corrects is None or r.recording in corrected]
        events += [
            RecordingCorrected(
                recording=r.recording,
                controller=r.controller,
                vendor=r.vendor,
                delivery=r.delivery,
                changed=tuple(r.changed),
            )
            for r in corrected.values()
        ]
    covered = [(b, r.corrects or r.recording) for r in rows for b in r.blockers]
    covered += [(h.blocker, h.recording) for h in held]
    events += [BlockerKept(blocker=h.blocker, recording=h.recording) for h in held]
    if covered:
        q.cover(conn, blockers=[b for b, _ in covered], recordings=[r for _, r in covered])
    append(conn, job.actor, events, alike=alike)
    reach("keep.written")
    counts = Counter((r.controller, Outcome.corrected if r.corrects else Outcome.kept) for r in rows)
    add_tally(conn, job.run, job.vendor.name, [(c, outcome, "", n) for (c, outcome), n in counts.items()])
    if corrections:
        q.leave_staging(conn, recordings=[r.recording for r in rows if r.corrects])
    reach("keep.before_commit")
    conn.commit()
    reach("keep.after_commit")
    done: Counter[str] = Counter(Outcome.corrected if r.corrects else Outcome.kept for r in rows)
    if outdated:
        done["listed_again"] = len(outdated)
    return done


def finish_days(conn: db.Connection, job: Import) -> tuple[date, ...]:
    """Closes the days that the vendor called complete when they were taken, and of which nothing is on its way any more; commits.

    What the vendor says now is not asked: it may be true of a delivery that this run has not seen.
    """
    closed = tuple(r.day for r in db.queries().finish_days(conn, run=job.run, vendor=job.vendor.name))
    append(
        conn, job.actor, (DayClosed(vendor=job.vendor.name, day=day.isoformat(), state="complete") for day in closed)
    )
    conn.commit()
    return closed
