"""Holds: drafted, placed at once on one person's word, ratified by a second; extended, narrowed and released by two.

A hold is effective when it is committed, a legal hold stands in the store on every version that it covers, and no
deletion that could touch one is under way (architecture, rule 4). Nothing here tells a hold's kind: a preservation order
has the same dates, words and events as any other (requirements, sections 2 and 3).
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from functools import partial
from threading import Event
from typing import Literal, get_args
from uuid import UUID, uuid4

from callkeeper import blockers, db, decisions
from callkeeper.blockers import Blocker, Predicate
from callkeeper.clock import HELSINKI, add_months, helsinki_day
from callkeeper.crashpoints import reach
from callkeeper.errors import CallkeeperError, MailUnavailable, NotAllowed, NotFound
from callkeeper.media import Holder
from callkeeper.notify import Message, Notifier
from callkeeper.pseudonyms import Keyring
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import (
    Actor,
    BlockerChangeAsked,
    BlockerDrafted,
    BlockerEffective,
    BlockerEnded,
    BlockerExtended,
    BlockerRatified,
    BlockerTooLate,
    LegalHoldLifted,
    LegalHoldPlaced,
)
from callkeeper.trail.events import Event as TrailEvent

log = logging.getLogger(__name__)

Kind = Literal["investigation", "authority_preservation", "legal_claim", "complaint", "security", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Change = Literal["extend", "narrow", "release"]
Action = Literal["place", "ratify", "extend", "narrow", "release"]
ACTIONS: tuple[Action, ...] = get_args(Action)

PLACERS = ("privacy_officers", "deputies")
"""Whose word alone places a hold, and who may ask for a change; they alone see its kind."""
SECONDERS = (*PLACERS, "approvers")
"""Who may be the second person: another account, always."""

RATIFY_DAYS = 3
"""Requirements, section 1: ratified by a second person within so many days; unratified is an alarm, never a release."""
ESCALATE_RATIFY_DAYS, ESCALATE_REVIEW_DAYS = 6, 14
"""So late, whoever stands above the officer and her deputies is told."""
REVIEW_DAYS = 30
"""Until the first review, unless a day is given."""
REVIEW_MONTHS = 12
"""The farthest review."""
END_MONTHS = 3
"""The farthest end, from the day on which it is said: a preservation order's (Pakkokeinolaki 8:24), and so any case's."""
END_WARNING_DAYS = 14
REQUEST_DAYS = 14
"""A change that nobody has confirmed for so long is no longer meant."""
WINDOW_WARNING_DAYS = 2
"""So many days before a vendor deletes what a hold's window covers, and nobody has imported yet."""
TELL_DAYS = 7
"""So long each night's mail says that a vendor's correction took recordings out of what a hold names."""
WIDE = 0.1
"""The share of a controller's recordings from which a predicate is wide."""
LATE_DAYS = 31
"""A vendor may deliver a call so many days late: before, a window that is over can still be filled."""

WAIT_SECONDS, POLL_SECONDS = 60.0, 0.5
BATCH = 200
"""Recordings whose rows are locked while the store is asked."""
STORE_CALLS = 8
"""Calls to the store at a time."""


class DatesDoNotFit(NotAllowed):
    """A review or an end is missing, past, or too far away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What only the officer reads: sealed, and bound to the case."""

    authority: str = ""
    reference: str = ""
    ground: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a predicate covers now, per controller: (recordings, of how many)."""

    counts: dict[str, tuple[int, int]]

    @property
    def recordings(self) -> int:
        return sum(n for n, _ in self.counts.values())

    @property
    def wide(self) -> tuple[str, ...]:
        """The controllers of whose recordings it covers more than a tenth (and more than one)."""
        return tuple(c for c, (n, of) in self.counts.items() if n > 1 and n > WIDE * of)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of an action, in words that tell neither kind nor person. ``waits``: for a second person."""

    case_ref: str
    text: str
    waits: bool = False
    effective: bool = False
    held: int = 0
    open: int = 0
    too_late: int = 0

    def counts(self) -> dict[str, int]:
        return {f.name: int(getattr(self, f.name)) for f in fields(self) if f.name not in ("case_ref", "text")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Something that somebody must do: the officer and her deputies, or whoever is told when they do not.

    ``late``: its day is past. ``officers_only``: the text shows that the case has an end, as a preservation order has, so to
    others it is told as ``alike``.
    """

    level: Literal["privacy", "escalation"]
    text: str
    late: bool = False
    officers_only: bool = False

    @property
    def alike(self) -> str:
        """What anybody may read of it."""
        return (
            "The hold register has a matter for the privacy officer: `callkeeper holds`."
            if self.officers_only
            else self.text
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NotImported:
    """The days of a hold's window of which a vendor has the calls alone: ``n`` of them, and ``gone`` that it keeps no longer.

    ``until``: as long as it keeps the first; None: for ever. ``due``: the same of those that somebody has asked for.
    """

    vendor: str
    n: int
    first: date | None
    last: date | None
    until: date | None
    gone: int
    due: date | None

    def __str__(self) -> str:
        parts = []
        if self.n:
            days = f"{self.first:%d.%m.%Y}" + (f" to {self.last:%d.%m.%Y}" if self.n > 1 else "")
            if self.until:
                days += f", {'the first ' if self.n > 1 else ''}kept there until {self.until:%d.%m.%Y}"
            parts.append(f"{self.n} ({days})")
        if self.gone:
            parts.append(f"{self.gone} that it keeps no longer")
        return f"{self.vendor}, {' and '.join(parts)}"


# --- drafting ---------------------------------------------------------------------------------------------------------


def preview(conn: db.Connection, predicate: Predicate) -> Preview:
    """What the predicate would cover now. Raises NotAllowed for a wildcard."""
    if predicate.wildcard:
        raise NotAllowed(
            "This would hold everything.",
            mend="Name recordings, numbers, or a line or a controller from a day on.",
        )
    live: Counter[str] = Counter()
    for row in db.queries().live_recordings(conn):
        live[row.controller] += row.n
    found = blockers.count(conn, predicate)
    conn.rollback()
    return Preview(counts={c: (n, live[c]) for c, n in sorted(found.items())})


def of_numbers(keyring: Keyring, numbers: Iterable[str]) -> tuple[bytes, ...] | None:
    """The pseudonyms of these numbers (E.164) under every live key; no number, none."""
    return tuple(p for number in numbers for p in keyring.pseudonyms(number).values()) or None


def draft(
    conn: db.Connection,
    keyring: Keyring,
    *,
    kind: Kind,
    facts: Facts,
    predicate: Predicate,
    account: str,
    actor: Actor,
    wide: bool = False,
) -> tuple[str, Preview]:
    """Writes a case down, which blocks nothing until it is placed; its number, and what it would cover. Commits.

    Raises NotAllowed for a predicate that is a wildcard, covers nothing and never will, or is wide and not said to be.
    """
    if kind == "other" and not facts.ground:
        raise NotAllowed("A hold of the kind 'other' needs its ground.")
    if kind in ("investigation", "authority_preservation") and not (facts.authority and facts.reference):
        raise NotAllowed("This kind of hold needs the authority and its reference.")
    found = preview(conn, predicate)
    _check(conn, predicate, found, wide)
    q = db.queries()
    q.number_case(conn)
    case_ref: str = q.next_case(conn)
    sealed = keyring.sealer("reference").seal(json.dumps(asdict(facts)).encode(), case_ref.encode())
    q.draft_hold(conn, case_ref=case_ref, kind=kind, sealed_facts=sealed, account=account)
    _write_predicate(conn, keyring, case_ref, predicate, account, actor)
    conn.commit()
    return case_ref, found


def draft_narrower(
    conn: db.Connection, keyring: Keyring, *, case_ref: str, by: Predicate, account: str, actor: Actor
) -> tuple[Preview, Preview]:
    """Writes down what a placed case is to be narrowed to; what it covers now, and then. Commits.

    Narrower by construction: ``by``'s parts are cut from what the case names. Raises NotAllowed where they are not of it.
    What it keeps of a vendor's corrections goes with any narrowing; to let go of that alone, name nothing.
    """
    hold = _live(conn, case_ref)
    whole = _predicate(conn, hold.blocker)
    part = _narrowed(conn, hold.blocker, whole, by)
    before, after = preview(conn, whole), preview(conn, part)
    _write_predicate(conn, keyring, case_ref, part, account, actor)
    conn.commit()
    return before, after


def _narrowed(conn: db.Connection, blocker: UUID, whole: Predicate, by: Predicate) -> Predicate:
    if by in (Predicate(), whole) and db.queries().count_kept(conn, blocker=blocker):
        return whole
    return whole.narrowed(by)


def _check(conn: db.Connection, predicate: Predicate, found: Preview, wide: bool) -> None:
    if found.wide and not wide:
        which = ", ".join(f"{found.counts[c][0]} of {found.counts[c][1]} of {c}" for c in found.wide)
        raise NotAllowed(f"This is wide: {which}.", mend="Narrow it, or say --wide.")
    if found.recordings:
        return
    over = predicate.to_at is not None and predicate.to_at < db.now(conn) - timedelta(days=LATE_DAYS)
    conn.rollback()
    if predicate.recordings or over:
        raise NotAllowed(
            "This covers no recording, and none that is still to come.", mend="Look at the ids, or at the days."
        )


def _write_predicate(
    conn: db.Connection, keyring: Keyring, case_ref: str, predicate: Predicate, account: str, actor: Actor
) -> None:
    named = uuid4()
    db.queries().draft_predicate(
        conn,
        predicate=named,
        case_ref=case_ref,
        recordings=list(predicate.recordings) if predicate.recordings else None,
        pseudonyms=list(predicate.pseudonyms) if predicate.pseudonyms else None,
        pseudonym_keys=[k.key_id for k in keyring.keys if k.purpose == "pseudonym" and k.retired_at is None],
        line=predicate.line,
        controller=predicate.controller,
        from_at=predicate.from_at,
        to_at=predicate.to_at,
        account=account,
    )
    append(conn, actor, [BlockerDrafted(blocker=named)])


def _predicate(conn: db.Connection, predicate: UUID) -> Predicate:
    return _as_predicate(db.queries().predicate_of(conn, predicate=predicate))


def _as_predicate(row: db.Row) -> Predicate:
    return Predicate(
        recordings=tuple(row.recordings) if row.recordings else None,
        pseudonyms=tuple(map(bytes, row.pseudonyms)) if row.pseudonyms else None,
        line=row.line,
        controller=row.controller,
        from_at=row.from_at,
        to_at=row.to_at,
    )


def not_imported(conn: db.Connection, predicate: Predicate) -> tuple[NotImported, ...]:
    """What of the predicate's window is not imported yet: of its calls there nothing is known, and nothing is held."""
    if predicate.recordings:
        return ()
    rows = db.queries().days_not_imported(conn, from_at=predicate.from_at, to_at=predicate.to_at)
    return tuple(NotImported(**row._asdict()) for row in rows)


# --- acting -----------------------------------------------------------------------------------------------------------


def act(
    conn: db.Connection,
    case_ref: str,
    action: Action,
    *,
    account: str,
    duties: Set[str],
    actor: Actor,
    holder: Holder,
    review_on: date | None = None,
    ends_on: date | None = None,
) -> Outcome:
    """Does what the account asks for, if one of its duties lets it. Raises NotAllowed, NotFound or DatesDoNotFit."""
    if action == "place":
        _require(duties, PLACERS)
        return place(conn, case_ref, account, actor, holder, review_on=review_on, ends_on=ends_on)
    _require(duties, SECONDERS)
    if action == "ratify":
        return ratify(conn, case_ref, account, actor)
    return change(
        conn, case_ref, action, account, actor, holder, may_ask=not duties.isdisjoint(PLACERS), review_on=review_on,
        ends_on=ends_on,
    )  # fmt: skip


def _require(duties: Set[str], allowed: Sequence[str]) -> None:
    if duties.isdisjoint(allowed):
        raise NotAllowed(
            "This account may not do this.", mend=f"It takes one of: {', '.join(allowed)} ([people] in force)."
        )


def place(
    conn: db.Connection,
    case_ref: str,
    account: str,
    actor: Actor,
    holder: Holder,
    *,
    review_on: date | None = None,
    ends_on: date | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Outcome:
    """Places a drafted case, on one person's word: committed, it blocks; then it is made effective, as far as it goes.

    Waits at most ``wait_seconds`` for deletions under way; what is open then, later runs of ``settle`` finish. Placed
    already, it is only made effective.
    """
    db.lock_blockers(conn, exclusive=True)
    hold = _find(conn, case_ref)
    if hold.released_at:
        raise NotAllowed(f"{case_ref} has been released.", mend="Draft a case of its own.")
    if hold.placed_at is None:
        _place(conn, hold, account, actor, review_on, ends_on)
        reach("hold.before_commit")
        conn.commit()
        reach("hold.placed")
    else:
        conn.rollback()
    return _until_effective(conn, holder, actor, case_ref, wait_seconds)


def _place(
    conn: db.Connection, hold: db.Row, account: str, actor: Actor, review_on: date | None, ends_on: date | None
) -> None:
    q, today = db.queries(), helsinki_day(db.now(conn))
    drafted = q.drafted_predicate(conn, case_ref=hold.case_ref)
    if drafted.outdated:
        raise NotAllowed("The keys were rotated after this case was drafted.", mend="Draft it again.")
    if ends_on is None and hold.kind == "authority_preservation":
        ends_on = add_months(today, END_MONTHS)
    if review_on is None:
        review_on = min(today + timedelta(days=REVIEW_DAYS), ends_on or date.max)
    _check_dates(today, review_on, ends_on)
    _add(conn, hold, drafted.predicate, _as_predicate(drafted), account, review_on, actor)
    q.hold_placed(
        conn, case_ref=hold.case_ref, account=account, blocker=drafted.predicate, review_on=review_on, ends_on=ends_on
    )
    _say_yes(conn, hold.case_ref, "place", account, drafted.predicate, actor)


def _add(
    conn: db.Connection, hold: db.Row, named: UUID, predicate: Predicate, account: str, review_on: date, actor: Actor
) -> None:
    parts = {f.name: getattr(predicate, f.name) for f in fields(predicate)}
    blockers.add(
        conn,
        Blocker(blocker=named, kind=hold.kind, case_ref=hold.case_ref, placed_by=account, review_on=review_on, **parts),
        actor,
    )
    db.queries().predicate_placed(conn, predicate=named)


def _check_dates(today: date, review_on: date | None, ends_on: date | None) -> None:
    """The same for every kind: a refusal must not tell one."""
    if review_on and not today < review_on <= add_months(today, REVIEW_MONTHS):
        raise DatesDoNotFit(f"The review must be after today, and within {REVIEW_MONTHS} months.")
    if ends_on and not today < ends_on <= add_months(today, END_MONTHS):
        raise DatesDoNotFit(
            f"The end must be after today, and within {END_MONTHS} months.", mend="A later one is said by extending."
        )


def _say_yes(conn: db.Connection, case_ref: str, action: str, account: str, predicate: UUID, actor: Actor) -> None:
    """A person's yes, with its event; its scope is the predicate that it was said to."""
    decisions.record(conn, case_ref, action, account, decisions.scope_of([predicate]), actor)


def ratify(conn: db.Connection, case_ref: str, account: str, actor: Actor) -> Outcome:
    """A second person stands behind a placed case; commits. Raises NotAllowed for the one who placed it."""
    hold = _live(conn, case_ref)
    if hold.placed_by == account:
        raise NotAllowed("Who placed a hold cannot ratify it.", mend="Another account must.")
    if hold.ratified_by is None:
        db.queries().hold_ratified(conn, case_ref=case_ref, account=account)
        append(conn, actor, [BlockerRatified(blocker=hold.blocker)])
        _say_yes(conn, case_ref, "ratify", account, hold.blocker, actor)
    conn.commit()
    return _outcome(conn, case_ref, f"{case_ref} is ratified.")


def change(
    conn: db.Connection,
    case_ref: str,
    action: Change,
    account: str,
    actor: Actor,
    holder: Holder,
    *,
    may_ask: bool = True,
    review_on: date | None = None,
    ends_on: date | None = None,
) -> Outcome:
    """Extends, narrows or releases a case once two accounts want it: the first asks, the second carries it out; commits.

    A run of the DAG that has done its part does it once, however often its task is run.
    """
    q = db.queries()
    # A statement of its own, before the look: narrowing puts one blocker in another's place.
    db.lock_blockers(conn, exclusive=True)
    mine = actor.run and q.request_of_run(conn, case_ref=case_ref, action=action, run=actor.run)
    if mine:
        conn.rollback()
        settle(conn, holder, actor)
        if mine.confirmed_at:
            return _outcome(conn, case_ref, _changed(case_ref, action))
        taken_back = f"{case_ref}: what this run asked for was taken back."
        waits = mine.withdrawn_at is None
        return _outcome(conn, case_ref, _asked(case_ref, action) if waits else taken_back, waits=waits)
    hold = _live(conn, case_ref)
    asked = q.open_request(conn, case_ref=case_ref, action=action, days=REQUEST_DAYS)
    if asked is None or asked.asked_by == account:
        if not may_ask:
            raise NotAllowed(f"Nobody has asked to {action} {case_ref}.", mend="An officer or a deputy asks first.")
        return _ask(conn, hold, action, account, actor, review_on, ends_on)
    if (review_on or asked.review_on, ends_on or asked.ends_on) != (asked.review_on, asked.ends_on):
        raise DatesDoNotFit("Other dates were asked for.", mend="Confirm without dates, or have them asked for anew.")
    _carry_out(conn, hold, action, asked, account, actor)
    q.confirm_change(conn, request=asked.request, account=account, run=actor.run)
    reach("hold.before_change")
    conn.commit()
    reach("hold.changed")
    settle(conn, holder, actor)
    return _outcome(conn, case_ref, _changed(case_ref, action))


def _asked(case_ref: str, action: Change) -> str:
    return f"{case_ref}: asked to {action}. It waits for a second person, and nothing has changed yet."


def _changed(case_ref: str, action: Change) -> str:
    done = {"extend": "extended", "narrow": "narrowed", "release": "released"}[action]
    return f"{case_ref} is {done}, by two people."


def _ask(
    conn: db.Connection, hold: db.Row, action: Change, account: str, actor: Actor, review_on: date | None,
    ends_on: date | None,
) -> Outcome:  # fmt: skip
    """The first of two people; who asks anew takes back what they had asked for. Commits."""
    q, predicate = db.queries(), None
    if action == "extend":
        if not (review_on or ends_on):
            raise DatesDoNotFit("To extend a hold takes a later review, or a later end.")
        _check_dates(helsinki_day(db.now(conn)), review_on, ends_on)
    elif review_on or ends_on:
        raise DatesDoNotFit(f"To {action} a hold takes no date.")
    if action == "narrow":
        drafted = q.drafted_predicate(conn, case_ref=hold.case_ref)
        if drafted is None:
            raise NotAllowed("Nothing narrower was drafted.", mend="`callkeeper hold draft --case` writes it down.")
        predicate, part = drafted.predicate, _as_predicate(drafted)
        if _narrowed(conn, hold.blocker, _predicate(conn, hold.blocker), part) != part:
            raise NotAllowed(
                "It was narrowed otherwise since.", mend="`callkeeper hold draft --case` writes it down anew."
            )
    q.withdraw_request(conn, case_ref=hold.case_ref, action=action)
    q.ask_for_change(
        conn, case_ref=hold.case_ref, action=action, review_on=review_on, ends_on=ends_on, predicate=predicate,
        account=account, run=actor.run,
    )  # fmt: skip
    append(conn, actor, [BlockerChangeAsked(blocker=hold.blocker, change=action)])
    _say_yes(conn, hold.case_ref, action, account, predicate or hold.blocker, actor)
    conn.commit()
    return _outcome(conn, hold.case_ref, _asked(hold.case_ref, action), waits=True)


def _carry_out(conn: db.Connection, hold: db.Row, action: Change, asked: db.Row, account: str, actor: Actor) -> None:
    q, events = db.queries(), list[TrailEvent]()
    if action == "extend":
        _check_dates(helsinki_day(db.now(conn)), asked.review_on, asked.ends_on)
        q.hold_extended(conn, case_ref=hold.case_ref, review_on=asked.review_on, ends_on=asked.ends_on)
        review_on = asked.review_on or hold.review_on
        q.review_blocker(conn, blocker=hold.blocker, review_on=review_on)
        events.append(BlockerExtended(blocker=hold.blocker, review_on=review_on.isoformat()))
    elif action == "narrow":
        part = _predicate(conn, asked.predicate)
        _add(conn, hold, asked.predicate, part, account, hold.review_on, actor)
        q.cover_followed(conn, before=hold.blocker, blocker=asked.predicate)
        q.end_blocker(conn, blocker=hold.blocker)
        q.hold_narrowed(conn, case_ref=hold.case_ref, blocker=asked.predicate)
        events.append(BlockerEnded(blocker=hold.blocker, why="narrowed", followed_by=asked.predicate))
    else:
        q.end_blocker(conn, blocker=hold.blocker)
        q.hold_released(conn, case_ref=hold.case_ref)
        events.append(BlockerEnded(blocker=hold.blocker, why="released"))
    append(conn, actor, events)
    _say_yes(conn, hold.case_ref, action, account, asked.predicate or hold.blocker, actor)


def _find(conn: db.Connection, case_ref: str) -> db.Row:
    hold = db.queries().hold_for_change(conn, case_ref=case_ref)
    if hold is None:
        raise NotFound(f"There is no case {case_ref}.", mend="`callkeeper holds` lists them.")
    return hold


def _live(conn: db.Connection, case_ref: str) -> db.Row:
    """A case that is placed and not released, for nobody else to change until the transaction ends."""
    hold = _find(conn, case_ref)
    if hold.placed_at is None or hold.released_at:
        raise NotAllowed(f"{case_ref} {'has been released' if hold.released_at else 'is not placed yet'}.")
    return hold


# --- the store --------------------------------------------------------------------------------------------------------


def settle(conn: db.Connection, holder: Holder, actor: Actor, *, patient: bool = True) -> Counter[str]:
    """Brings the store's legal holds in line with the blockers, both ways, and says which holds have become effective.

    May be killed at any line: what is being placed or lifted is flagged before the store is asked, and looked at again
    by whoever comes next. A store that does not answer is counted (``unreachable``), never raised: the blockers hold
    without it. ``patient``: while a deletion is sent no hold on it is called effective, though a legal hold stands; only
    who has waited for its worker may be otherwise.
    """
    q, done, missing = db.queries(), Counter[str](), set[UUID]()
    for row in list(q.uncovered_blockers(conn)):
        blockers.cover(conn, row.blocker)
        reach("hold.covered")
    left = [row.recording for row in q.unsettled(conn)]
    conn.commit()
    with ThreadPoolExecutor(STORE_CALLS) as pool:
        while left and not done["unreachable"]:
            batch, left = left[:BATCH], left[BATCH:]
            done += _settle_batch(conn, holder, pool, batch, missing, actor)
    done["unreachable"] += len(left)
    late = list(q.note_too_late(conn, missing=sorted(missing)))
    append(conn, actor, [BlockerTooLate(blocker=r.blocker, recording=r.recording) for r in late])
    conn.commit()
    done["too_late"] = len(late)
    for hold in list(q.holds_not_effective(conn)):
        done["effective"] += _make_effective(conn, holder, hold, missing, actor, patient=patient)
    conn.rollback()
    return +done


def _settle_batch(
    conn: db.Connection,
    holder: Holder,
    pool: ThreadPoolExecutor,
    batch: list[UUID],
    missing: set[UUID],
    actor: Actor,
) -> Counter[str]:
    """Places and lifts the legal holds of a batch; commits. What a blocker covers and is not in the store: ``missing``.

    The flag is null, committed, before the look at the blockers, and the rows stay locked from that look until the store
    has answered. So whoever places a blocker after the look finds the flag null, waits for the rows, and sets it right.
    """
    q = db.queries()
    list(q.lock_audio(conn, recordings=batch))
    q.flag_audio(conn, recordings=batch, legal_hold=None)
    conn.commit()
    reach("hold.flagged")
    list(q.lock_audio(conn, recordings=batch))
    rows = [r for r in q.look_at_audio(conn, recordings=batch) if r.version_id]
    answers = list(pool.map(partial(_align, holder, Event()), rows))
    reach("hold.stored")
    by = {answer: [r for r, a in zip(rows, answers, strict=True) if a == answer] for answer in set(answers)}
    alike: dict[TrailEvent, list[UUID]] = {}
    for answer, flag, event in (("held", True, LegalHoldPlaced), ("lifted", False, LegalHoldLifted)):
        q.flag_audio(conn, recordings=[r.recording for r in by.get(answer, ())], legal_hold=flag)
        for r in by.get(answer, ()):
            alike.setdefault(event(recording=ANY, controller=r.controller), []).append(r.recording)
    append(conn, actor, (), alike=alike)
    reach("hold.before_settled")
    conn.commit()
    reach("hold.settled")
    missing |= {r.recording for r in by.get("missing", ())}
    if by.get("unreachable"):
        log.warning(
            "the store did not answer for %d legal holds: a later run places or lifts them", len(by["unreachable"])
        )
    return Counter(answers)


def _align(holder: Holder, down: Event, row: db.Row) -> str:
    """One call to the store; after the first that fails no more of the batch, since rows are locked meanwhile."""
    try:
        if down.is_set():
            return "unreachable"
        if not row.covered:
            holder.release(row.object_key, row.version_id)
            return "lifted"
        return "held" if holder.hold(row.object_key, row.version_id) else "missing"
    except CallkeeperError:
        down.set()
        return "unreachable"


def _make_effective(
    conn: db.Connection, holder: Holder, hold: db.Row, missing: Set[UUID], actor: Actor, *, patient: bool
) -> bool:
    """Whether the hold has become effective just now; commits.

    A deletion that is still ``sending`` stands in its way, unless the store refuses it: the legal hold was placed, and is
    there when it is looked at again.
    """
    q = db.queries()
    covered = [row.recording for row in q.covered_recordings(conn, blocker=hold.blocker)]
    rows = [r for r in q.look_at_audio(conn, recordings=covered) if r.recording not in missing]
    conn.rollback()
    unheld = [r for r in rows if r.covered and r.version_id and not r.legal_hold]
    sending = [r for r in rows if r.sending and (patient or not r.legal_hold or not _stands(holder, r))]
    if unheld or sending:
        return False
    if q.hold_effective(conn, case_ref=hold.case_ref, blocker=hold.blocker) is None:
        conn.rollback()
        return False
    late = sum(1 for r in q.too_late(conn, case_ref=hold.case_ref))
    append(conn, actor, [BlockerEffective(blocker=hold.blocker, recordings=len(rows), too_late=late)])
    conn.commit()
    reach("hold.effective")
    return True


def _stands(holder: Holder, row: db.Row) -> bool:
    try:
        return holder.is_held(row.object_key, row.version_id) is True
    except CallkeeperError:
        return False


def _until_effective(conn: db.Connection, holder: Holder, actor: Actor, case_ref: str, wait_seconds: float) -> Outcome:
    deadline = time.monotonic() + wait_seconds
    while True:
        patient = time.monotonic() < deadline
        settle(conn, holder, actor, patient=patient)
        (hold,) = db.queries().hold_register(conn, case_ref=case_ref, days=REQUEST_DAYS)
        conn.rollback()
        if hold.effective_at or not patient:
            break
        time.sleep(POLL_SECONDS)
    by = f"{helsinki_day(hold.placed_at + timedelta(days=RATIFY_DAYS)):%d.%m.%Y}"
    ratify = "" if hold.ratified_by else f" A second person ratifies it by {by}."
    if hold.effective_at:
        return _outcome(conn, case_ref, f"{case_ref} is placed and effective.{ratify}")
    text = (
        f"{case_ref} is placed: nothing that it covers is deleted any more, but the store has not confirmed all of it. "
        f"The next night or import goes on with it; or run `place` again.{ratify}"
    )
    return _outcome(conn, case_ref, text)


def _outcome(conn: db.Connection, case_ref: str, text: str, *, waits: bool = False) -> Outcome:
    """The text, and how the case stands."""
    q = db.queries()
    (hold,) = q.hold_register(conn, case_ref=case_ref, days=REQUEST_DAYS)
    now = q.count_held(conn, blocker=hold.blocker)
    missing = not_imported(conn, _predicate(conn, hold.blocker))
    conn.rollback()
    held, unheld = (0, 0) if hold.released_at else (now.held, now.open)
    if not hold.released_at:
        text += f" It holds {held} recordings" + (
            f", {unheld} more are not in the store's hands yet." if unheld else "."
        )
        if missing:
            text += f" Days of its window that are not imported yet: {'; '.join(map(str, missing))}."
    if hold.too_late:
        text += f" For {hold.too_late} it was too late: `callkeeper hold show {case_ref}` lists them."
    return Outcome(
        case_ref=case_ref, text=text, waits=waits, effective=hold.effective_at is not None and not hold.released_at,
        held=held, open=unheld, too_late=hold.too_late,
    )  # fmt: skip


# --- looking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A line of the register. To whoever is no officer every kind is "legal ground", and a hold has no end but its review."""

    case_ref: str
    ground: str
    state: str
    placed_by: str | None
    ratified_by: str | None
    review_on: date | None
    ends_on: date | None
    recordings: int
    too_late: int
    corrected: int
    waiting: tuple[str, ...]
    not_imported: tuple[str, ...] = ()


def register(conn: db.Connection, *, officer: bool, case_ref: str | None = None) -> list[Case]:
    """The register, the newest case first."""
    rows = list(db.queries().hold_register(conn, case_ref=case_ref, days=REQUEST_DAYS))
    return [
        Case(
            case_ref=r.case_ref,
            ground=r.kind.replace("_", " ") if officer else "legal ground",
            state="released"
            if r.released_at
            else "draft"
            if not r.placed_at
            else "effective"
            if r.effective_at
            else "placed",
            placed_by=r.placed_by,
            ratified_by=r.ratified_by,
            review_on=r.review_on,
            ends_on=r.ends_on if officer else None,
            recordings=r.recordings,
            too_late=r.too_late,
            corrected=r.corrected,
            waiting=tuple(r.waiting),
            not_imported=()
            if r.released_at or not r.placed_at
            else tuple(map(str, not_imported(conn, _predicate(conn, r.blocker)))),
        )
        for r in rows
    ]


def show(
    conn: db.Connection, case_ref: str, keyring: Keyring | None
) -> tuple[Case, Facts | None, Predicate, list[UUID]]:
    """A case, its facts (for an officer, who gives the keyring), what it names, and what it was too late for."""
    found = register(conn, officer=keyring is not None, case_ref=case_ref)
    if not found:
        raise NotFound(f"There is no case {case_ref}.", mend="`callkeeper holds` lists them.")
    q = db.queries()
    (row,) = q.hold_register(conn, case_ref=case_ref, days=REQUEST_DAYS)
    named = row.blocker or q.drafted_predicate(conn, case_ref=case_ref).predicate
    facts = None
    if keyring is not None:
        facts = Facts(**json.loads(keyring.unseal("reference", row.sealed_facts, case_ref.encode())))
    late = [r.recording for r in q.too_late(conn, case_ref=case_ref)]
    return found[0], facts, _predicate(conn, named), late


def tell_placed(conn: db.Connection, notifier: Notifier, *, to: str) -> int:
    """Mails the officer and her deputies of each hold that was placed, once: a number and dates, the same words for every kind.

    Commits each, and returns how many. A relay that does not take it is logged: whoever settles next tells.
    """
    q = db.queries()
    untold = list(q.untold_holds(conn))
    conn.rollback()
    for told, hold in enumerate(untold):
        by = helsinki_day(hold.placed_at + timedelta(days=RATIFY_DAYS))
        placed_on = f"{hold.placed_at.astimezone(HELSINKI):%d.%m.%Y at %H:%M}"
        text = (
            f"{hold.case_ref} was placed on {placed_on}, and is in force.\n\n"
            f"A second person ratifies it by {by:%d.%m.%Y}: `callkeeper hold ratify {hold.case_ref}`, or the DAG legal_hold.\n"
            f"Its first review is on {hold.review_on:%d.%m.%Y}. What it is about: `callkeeper hold show {hold.case_ref} --as` you.\n"
        )
        try:
            notifier.send(Message(subject=f"callkeeper: {hold.case_ref} was placed", text=text), to=to)
        except MailUnavailable as wrong:
            log.warning("%s: nobody could be told that it was placed. %s", hold.case_ref, wrong)
            return told
        q.hold_told(conn, case_ref=hold.case_ref)
        conn.commit()
    return len(untold)


def alarms(conn: db.Connection) -> list[Alarm]:
    """What somebody must be told of the live holds: case numbers and days only, the same words for every kind.

    Whoever is told when the officers do not act is no officer: to her an end is no other word than a review.
    """
    found: list[Alarm] = []
    for h in list(db.queries().hold_dues(conn, tell_days=TELL_DAYS)):
        if h.unratified and h.since > timedelta(days=RATIFY_DAYS):
            text = f"{h.case_ref} was placed {h.since.days} days ago, and no second person has ratified it. It stays in force."
            found.append(Alarm(level="privacy", text=text, late=True))
            if h.since > timedelta(days=ESCALATE_RATIFY_DAYS):
                found.append(Alarm(level="escalation", text=text, late=True))
        if h.review_overdue_days > 0:
            text = f"{h.case_ref}: its review is {h.review_overdue_days} days overdue. Extend or release it; until then it stays."
            found.append(Alarm(level="privacy", text=text, late=True))
        ended = h.ends_in_days is not None and h.ends_in_days < 0
        if h.ends_in_days is not None and h.ends_in_days <= END_WARNING_DAYS:
            when = f"in {h.ends_in_days} days" if h.ends_in_days >= 0 else f"{-h.ends_in_days} days ago"
            text = f"{h.case_ref}: its ground ends {when}. Extend or release it."
            found.append(Alarm(level="privacy", text=text, late=ended, officers_only=True))
        if ended or h.review_overdue_days > ESCALATE_REVIEW_DAYS:
            text = f"{h.case_ref}: nobody has extended or released it in time. It stays in force."
            found.append(Alarm(level="escalation", text=text, late=True))
        for missing in not_imported(conn, _predicate(conn, h.blocker)):
            if missing.due and (missing.due - h.today).days <= WINDOW_WARNING_DAYS:
                text = f"{h.case_ref}: of its window days are not imported, and the vendor deletes the first soon: {missing}."
                found.append(Alarm(level="privacy", text=text))
        if h.kept_recently:
            found.append(
                Alarm(
                    level="privacy",
                    text=f"{h.case_ref}: the vendor corrected {h.corrected} of its recordings out of what it names (another "
                    f"number, line or time). They stay held. To let them go: `callkeeper hold draft --case {h.case_ref}`, "
                    "then narrow it; or release it.",
                )
            )
        if h.not_effective and h.since > timedelta(hours=1):
            found.append(
                Alarm(level="privacy", text=f"{h.case_ref} is placed, and the store has not confirmed all of it.")
            )
    return found
