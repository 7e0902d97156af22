"""One recording's rule, clock, blockers and next step in words; and the deletions that are not over.

Whoever is no officer sees each blocker as a *legal ground*, counted: that one is a preservation order shows nowhere
(requirements, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Literal
from uuid import UUID

from callkeeper import db, retention
from callkeeper.clock import HELSINKI
from callkeeper.errors import NotFound
from callkeeper.quality import REASONS
from callkeeper.retention import HOLDS, BlockerKind, Outcome, Situation, Term, Trigger
from callkeeper.troubles import trouble

NIGHT_AT = time(0, 30)
"""When delete_expired runs, in Helsinki."""

RULES: Mapping[Trigger, str] = {
    Trigger.retention_expired: "It goes when its term is over.",
    Trigger.erasure_approved: "It goes because an erasure was approved (GDPR Art. 17).",
    Trigger.objection_upheld: "It goes because an objection was upheld (GDPR Art. 21).",
    Trigger.unlawful_confirmed: "It goes because its line was not designated: a person has confirmed it.",
    Trigger.quarantine_rejected: "It goes because a person rejected it in quarantine.",
    Trigger.redelivered_after_deletion: "It goes because the vendor delivered again what had been deleted.",
    Trigger.orphan: "It goes because no row points to it.",
    Trigger.package_expired: "It goes because the package's term is over.",
}

STATES: Mapping[str, str] = {
    "planned": "planned",
    "armed": "armed",
    "sending": "sent to the store, not proven gone",
    "store_gone": "gone here, open at the vendor",
    "blocked": "blocked",
    "needs_human": "waiting for a person",
}
"""The journal's unfinished states, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """A blocker, as an officer sees it."""

    kind: str
    case_ref: str
    placed_at: datetime
    review_on: date


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What proves a deletion (requirements, section 5); ``night`` is its Helsinki day, None where a person's word ended it."""

    due_at: datetime
    trigger: str
    catalogued: bool
    versions_removed: int | None
    absence_checked_at: datetime | None
    vendor_answer: str | None
    vendor_confirmed: bool | None
    vendor_asked_at: datetime | None
    done_at: datetime | None
    night: date | None
    decision: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What holds for one recording. ``grounds`` are for officers only, else empty; ``legal_grounds`` counts them for all."""

    recording: UUID
    place: Literal["catalogue", "quarantine", "staging", "journal", "gone"]
    where: str
    controller: str | None
    vendor: str
    rule: str
    clock: Term | None
    expired: bool
    legal_grounds: int
    grounds: tuple[Ground, ...]
    outcome: Outcome
    state: str | None
    trouble: str | None
    next: str
    next_at: datetime | None
    evidence: Evidence | None


def explain(conn: db.Connection, recording: UUID, *, months: int, officer: bool) -> Explanation:
    """Explains one recording; ``months`` is the term where no row says another. Raises NotFound if nobody knows it."""
    row = db.queries().explain_recording(conn, recording=recording)
    if row.place is None:
        raise NotFound(
            "No recording of this id is known here: not in the catalogue, quarantine, staging or the journal.",
            mend="Is the id right? The evidence of a deletion is kept for three years, and nothing after that.",
        )
    grounds = list(db.queries().explain_blockers(conn, recording=recording))
    clock = clock_of(row, months)
    full = situation(row, [g.kind for g in grounds], clock)
    seen = full if officer else replace(full, blockers=frozenset(map(_veiled, full.blockers)))
    next_, next_at = _next(row, clock, full, len(grounds))
    return Explanation(
        recording=recording,
        place="gone" if row.state == "done" else row.place,
        where=_where(row),
        controller=row.controller,
        vendor=row.vendor,
        rule=_rule(row, clock),
        clock=clock,
        expired=bool(clock and clock.expired(row.now)),
        legal_grounds=len(grounds),
        grounds=tuple(Ground(**g._asdict()) for g in grounds) if officer else (),
        outcome=retention.resolve(seen),
        state=row.state,
        trouble=row.trouble,
        next=next_,
        next_at=next_at,
        evidence=_evidence(row) if full.gone else None,
    )


def situation(row: db.Row, kinds: Sequence[str], clock: Term | None) -> Situation:
    """What of a recording's facts decides."""
    triggers: set[Trigger] = set()
    if row.place != "journal" and clock and clock.expired(row.now):
        triggers.add(Trigger.retention_expired)
    wanted = Trigger(row.trigger) if row.state not in (None, "withdrawn") else None
    if wanted is Trigger.retention_expired:
        # In the catalogue the clock says it: the vendor may have corrected the time since it was planned.
        if row.place == "journal" and row.due_at <= row.now:
            triggers.add(wanted)
    elif wanted:
        triggers.add(wanted)
    blockers = {BlockerKind(kind) for kind in kinds} | ({BlockerKind.quarantine} if row.quarantined else set())
    unexplained = wanted is Trigger.orphan and row.place == "journal" and row.waits == "approval"
    return Situation(
        triggers=frozenset(triggers),
        blockers=frozenset(blockers),
        erasure_asked=row.erasure_asked,
        explained=not unexplained,
        approved=row.decision is not None,
        gone=row.store_gone_at is not None,
    )


def unfinished(conn: db.Connection) -> dict[str, int]:
    """How many deletions of each state are not over."""
    return {row.state: row.n for row in db.queries().unfinished_deletions(conn)}


def open_deletions(conn: db.Connection, state: str | None = None) -> list[db.Row]:
    """Those open at the vendor, in trouble or waiting for a person, the oldest first; or all of one state."""
    return list(db.queries().open_deletions(conn, state=state))


def next_night(after: datetime) -> datetime:
    """When the first night from ``after`` on begins."""
    local = after.astimezone(HELSINKI)
    tonight = datetime.combine(local.date(), NIGHT_AT, HELSINKI)
    return tonight if tonight >= after else datetime.combine(local.date() + timedelta(1), NIGHT_AT, HELSINKI)


def _veiled(kind: BlockerKind) -> BlockerKind:
    return BlockerKind.other if kind in HOLDS else kind


def clock_of(row: db.Row, months: int) -> Term | None:
    """The term by which a recording goes; None where no time counts."""
    started_at = row.started_at or row.counts_from
    return retention.term(started_at, row.retention_months or months) if started_at else None


def _where(row: db.Row) -> str:
    if row.state == "done":
        return "Gone, here and at the vendor."
    if row.store_gone_at is not None:
        return "Gone here; its vendor's copy is not settled."
    audio = "its audio is in the store" if row.audio_stored else "no audio of it is known in the store"
    match row.place:
        case "catalogue":
            return f"In the catalogue since {_day(row.imported_at)}; {audio}."
        case "quarantine":
            return f"In quarantine since {_day(row.quarantined_at)}; {audio}. {REASONS[row.reason].means}"
        case "staging":
            return f"On its way in; {audio}."
        case _:
            return f"In the journal only, not in the catalogue; {audio}."


def _rule(row: db.Row, clock: Term | None) -> str:
    if row.state not in (None, "withdrawn"):
        return RULES[Trigger(row.trigger)]
    if clock is None:
        return "It has no usable time: its term counts from its delivery."
    return RULES[Trigger.retention_expired]


def _next(row: db.Row, clock: Term | None, s: Situation, grounds: int) -> tuple[str, datetime | None]:
    """What happens next, and when, if that is known."""
    tonight = next_night(row.now)
    if row.state == "done":
        return "Nothing: this is the end.", None
    if row.state == "needs_human":
        return f"A person mends it. {_trouble(row.trouble)}", None
    if row.store_gone_at is not None:
        if grounds:
            return f"The vendor is not asked, for {_legal_grounds(grounds)}.", None
        return f"The vendor is asked. {_trouble(row.trouble or 'vendor_not_asked')}", tonight
    if row.place == "staging":
        return "The next import checks it.", None
    if row.place == "quarantine" and not s.triggers - {Trigger.retention_expired}:
        return "A person decides: `callkeeper quarantine show` says what would mend it.", row.decide_by
    if grounds and row.state != "sending":
        return (
            f"It stays, for {_legal_grounds(grounds)}. When they end, the next night decides by its clock again.",
            None,
        )
    if not s.triggers:
        if clock is None or clock.expired(row.now):
            return "It stays: what should have deleted it was withdrawn.", None
        return "It goes in the first night after its anniversary.", next_night(clock.eligible_at)
    if row.waits == "surplus" and row.decision is None:
        return "A person says yes: `callkeeper approve surplus`. No forecast had foreseen it.", None
    if row.waits == "approval" and row.decision is None:
        return "A person says yes: `callkeeper approve orphans`.", None
    if not row.live:
        return "Nights rehearse: it goes once a person has said yes to `callkeeper approve go-live`.", None
    if row.trouble:
        return f"The next night tries again. {_trouble(row.trouble)}", tonight
    return "It goes in the next night.", tonight


def _legal_grounds(n: int) -> str:
    return "a legal ground" if n == 1 else f"{n} legal grounds"


def _trouble(code: str) -> str:
    return f"{trouble(code).means} {trouble(code).mend}"


def _evidence(row: db.Row) -> Evidence:
    return Evidence(
        due_at=row.due_at,
        trigger=row.trigger,
        catalogued=row.catalogued,
        versions_removed=row.versions_removed,
        absence_checked_at=row.absence_checked_at,
        vendor_answer=row.vendor_answer,
        vendor_confirmed=row.vendor_confirmed,
        vendor_asked_at=row.vendor_asked_at,
        done_at=row.done_at,
        night=row.night_day,
        decision=row.decision,
    )


def _day(at: datetime) -> str:
    return f"{at.astimezone(HELSINKI):%Y-%m-%d}"
