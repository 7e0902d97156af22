"""What falls due, is late, or is about to be lost: one mail a morning to the privacy officer and her deputies (docs/adr/0199).

Ticket and case numbers, counts, days and names of the configuration only. A preservation order's end is told to the officer and her
deputies alone, who see its kind; to whoever else, every hold's words are the same (requirements, section 2).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal, cast

from callkeeper import controllers, db, disclosures
from callkeeper.clock import day_bounds_utc, helsinki_day
from callkeeper.controllers import Config, FindingCode
from callkeeper.errors import MailUnavailable
from callkeeper.jobs import disclosing, fulfilling, holding, leading
from callkeeper.jobs.balancing import WINDOW_WARNING_DAYS
from callkeeper.jobs.holding import RATIFY_DAYS
from callkeeper.jobs.pages import counted, day_in_words, render
from callkeeper.jobs.proving import OPEN_AT_VENDOR_DAYS
from callkeeper.notify import Message, Notifier
from callkeeper.retention import OVERDUE_AFTER, RESTRICTIONS, BlockerKind
from callkeeper.tickets import State
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, DeadlinesTold

log = logging.getLogger(__name__)

REQUEST_STEPS = (14, 7, 3, 1)
"""So many days before a request is due somebody is told; then each morning."""
REVIEW_STEPS = (7, 3, 1)
"""The same before a day of review."""
PACKAGE_STEPS = (7, 3, 1)
UNFINISHED_DAYS = 14
"""A disclosure that has neither been handed over nor withdrawn so long after its draft is told each morning."""
QUARANTINE_STEPS = (7, 3, 1)
CONTRACT_STEPS = (60, 30, 7)
"""Requirements, section 1: "warned at 60, 30, 7 days"."""

_ASKED = (State.identity_asked, State.clarification_asked)
_ENDING = (
    FindingCode.contract_ends_in_60_days,
    FindingCode.contract_ends_in_30_days,
    FindingCode.contract_ends_in_7_days,
)


Readers = Literal["privacy", "escalation"]
"""The officer and her deputies, or whoever is told when they do not act."""


class Section(StrEnum):
    """What a matter is about: the headings of the mail, in its order."""

    requests = "Requests"
    holds = "Legal grounds"
    disclosures = "Disclosures"
    quarantine = "Quarantine"
    deletions = "Deletions"
    vendors = "Vendors"
    contracts = "Contracts and legal basis"


@dataclass(frozen=True, kw_only=True, slots=True)
class Matter:
    """A sentence about something that falls due; ``late``: its day is past.

    ``officers_only``: counted nowhere, since a
    count that no day of the register explains would show that a case has an end.
    """

    section: Section
    text: str
    late: bool = False
    officers_only: bool = False
    to: Readers = "privacy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """A morning's matters, in the order of their sections."""

    day: date
    matters: tuple[Matter, ...]

    def of(self, to: Readers) -> dict[Section, list[Matter]]:
        """The matters for these people, by section; sections without any are left out."""
        mine = [m for m in self.matters if m.to == to]
        return {section: found for section in Section if (found := [m for m in mine if m.section == section])}

    def counts(self) -> dict[str, int]:
        """How many of each section the officer is told of, and how many of all are late, as others may see it."""
        mine = [m for m in self.matters if m.to == "privacy" and not m.officers_only]
        sums = Counter(m.section for m in mine)
        return {section.name: sums[section] for section in Section if sums[section]} | {
            "late": sum(m.late for m in mine)
        }


def comes_up(due: date, steps: Sequence[int], *, today: date, last: date | None) -> bool:
    """Whether this morning tells of ``due``: a day so many before it has come since the ``last`` digest, or it is here, or past.

    A morning that was missed is made up for; without a last digest, everything is told that any step has reached.
    """
    return today >= due or any((last or date.min) < due - timedelta(days=step) <= today for step in steps)


def in_days(due: date, today: date) -> str:
    """``today``, ``tomorrow``, ``in 7 days``, ``3 days ago``."""
    days = (due - today).days
    if abs(days) < 2:
        return ("yesterday", "today", "tomorrow")[days + 1]
    return f"in {days} days" if days > 0 else f"{-days} days ago"


# --- what there is to tell --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Morning:
    conn: db.Connection
    now: datetime
    last: date | None

    @property
    def today(self) -> date:
        return helsinki_day(self.now)

    def comes_up(self, due: date, steps: Sequence[int]) -> bool:
        return comes_up(due, steps, today=self.today, last=self.last)

    def when(self, due: date) -> str:
        return f"{day_in_words(due)}, {in_days(due, self.today)}"


def look(conn: db.Connection, *, deputies_told: bool = True) -> Digest:
    """What people must be told this morning; changes nothing.

    ``deputies_told``: the privacy officer and her deputies have an address of their own. Where they have none, the mail goes to
    the data team, and tells every hold in the same words.
    """
    q, now = db.queries(), db.now(conn)
    last = q.watch_last_told(conn, before=day_bounds_utc(helsinki_day(now))[0])
    morning = _Morning(conn=conn, now=now, last=helsinki_day(last) if last else None)
    found = [
        *_requests(morning),
        *_holds(morning, deputies_told),
        *_disclosures(morning, deputies_told),
        *_quarantine(morning),
        *_deletions(morning),
    ]
    found += [*_vendors(morning), *_contracts(morning)]
    conn.rollback()
    return Digest(day=morning.today, matters=tuple(dict.fromkeys(found)))


def _requests(m: _Morning) -> Iterator[Matter]:
    """Requests by the law's clock, which no question to the person stops; what they froze; copies that nobody has fetched."""
    q = db.queries()
    for r in q.watch_tickets(m.conn, ahead=max(REQUEST_STEPS)):
        late = r.due_on < m.today
        if r.untold:
            text = f"{r.ticket}: its extension was not told by {m.when(r.due_on)}, so it does not count."
            if not late:
                text = f"{r.ticket}: its extension does not count before its letter is sent, by {m.when(r.due_on)}: `callkeeper ticket letter {r.ticket} extension`."
            yield Matter(section=Section.requests, text=text, late=late)
        if not m.comes_up(r.due_on, REQUEST_STEPS):
            continue
        waits = " The person was asked; the day stays." if r.state in _ASKED else ""
        due = ("was " if late else "") + ("extended to" if r.extended else "due on")
        text = f"{r.ticket}, {r.access_right}: {due} {m.when(r.due_on)}.{waits}"
        yield Matter(section=Section.requests, text=text, late=late)
        if late:
            text = f"{r.ticket}: its answer was due on {m.when(r.due_on)}, and nobody has given it."
            yield Matter(section=Section.requests, text=text, late=True, to="escalation")
    kinds = [str(kind) for kind in RESTRICTIONS]
    for r in q.watch_freezes(m.conn, ahead=max(REVIEW_STEPS), kinds=kinds, freeze=str(BlockerKind.access_freeze)):
        if m.comes_up(r.review_on, REVIEW_STEPS):
            why = "nobody has proven who asks, and " if r.unproven else ""
            text = f"{r.case_ref}: {why}what it keeps is looked at again on {m.when(r.review_on)}."
            yield Matter(section=Section.requests, text=text, late=r.review_on < m.today)
    for r in q.watch_objections(m.conn, ahead=max(REVIEW_STEPS)):
        if m.comes_up(r.review_on, REVIEW_STEPS):
            text = f"{counted(r.n, 'number')} under an objection, to be looked at again on {m.when(r.review_on)}: numbers change hands."
            yield Matter(section=Section.requests, text=text, late=r.review_on < m.today)
    for r in q.watch_liftings(m.conn):
        if not r.told:
            text = f"{r.ticket}: its restriction is to end on {m.when(r.lifts_on)}, and the person has not been told."
            yield Matter(section=Section.requests, text=text, late=r.lifts_on <= m.today)
        elif r.lifts_on <= m.today:
            text = f"{r.ticket}: its restriction ends as the person was told: `callkeeper ticket lift {r.ticket}`."
            yield Matter(section=Section.requests, text=text, late=r.lifts_on < m.today)
    waiting = leading.on_their_way(m.conn)
    for t in fulfilling.register(m.conn):
        if t.state is State.carried_out and t.right in fulfilling.GOES and t.ticket not in waiting:
            text = f"{t.ticket}: what was approved is done. Its answer is ready to be looked at and released: on the privacy desk, go on with it."
            yield Matter(section=Section.requests, text=text)
    for r in q.resumed_tickets(m.conn):
        text = f"{r.ticket}: what a legal ground had kept has gone. The person is told so; then `callkeeper ticket delivered {r.ticket}`."
        yield Matter(section=Section.requests, text=text)
    for r in q.answers_overtaken(m.conn, months=controllers.months_in_force(m.conn)):
        since = (
            f"{counted(r.calls, 'call')} that it searched for came in after its answer"
            if r.calls
            else "the days have come in that were missing when it was answered"
        )
        text = (
            f"{r.ticket}: {since}. The person was promised word: take the request up again, `callkeeper ticket open`."
        )
        yield Matter(section=Section.requests, text=text)
    for r in q.watch_packages(m.conn, ahead=max(PACKAGE_STEPS)):
        if m.comes_up(r.expires_on, PACKAGE_STEPS):
            text = f"{r.ticket}: its package was not handed over, and goes on {m.when(r.expires_on)}."
            yield Matter(section=Section.requests, text=text, late=r.expires_on < m.today)


def _holds(m: _Morning, deputies_told: bool) -> Iterator[Matter]:
    for alarm in holding.alarms(m.conn):
        yield Matter(
            section=Section.holds,
            text=alarm.text if deputies_told else alarm.alike,
            late=alarm.late,
            to=alarm.level,
            officers_only=alarm.officers_only,
        )
    for h in db.queries().watch_holds(m.conn, ratify_days=RATIFY_DAYS):
        if h.ratify_by:
            text = f"{h.case_ref} was placed on {day_in_words(h.placed_on)}: a second person ratifies it by {day_in_words(h.ratify_by)}."
            yield Matter(section=Section.holds, text=text)
        if h.review_on and m.comes_up(h.review_on, REVIEW_STEPS):
            yield Matter(section=Section.holds, text=f"{h.case_ref}: its review is on {m.when(h.review_on)}.")


def _disclosures(m: _Morning, deputies_told: bool) -> Iterator[Matter]:
    """Those that nobody ends. What the register shows to officers only is told to them only, and counted nowhere."""
    for d in disclosing.register(m.conn, officer=deputies_told):
        drafted_on = helsinki_day(d.drafted_at)
        if disclosures.LAWFUL[d.state] and drafted_on + timedelta(days=UNFINISHED_DAYS) <= m.today:
            yield Matter(
                section=Section.disclosures,
                text=f"{d.disclosure}: drafted on {day_in_words(drafted_on)}, and neither handed over nor withdrawn.",
                officers_only=d.untold or d.state is disclosures.State.drafted,
            )


def _quarantine(m: _Morning) -> Iterator[Matter]:
    for r in db.queries().watch_quarantine(m.conn, ahead=max(QUARANTINE_STEPS)):
        where, mend = f"{r.vendor}, {r.controller}", "`callkeeper quarantine list`"
        if r.late:
            text = (
                f"{where}: {counted(r.n, 'call')} undecided beyond the term, the first since {m.when(r.due)}: {mend}."
            )
            yield Matter(section=Section.quarantine, text=text, late=True)
        elif m.comes_up(r.due, QUARANTINE_STEPS):
            text = f"{where}: {counted(r.n, 'call')} to decide on by {m.when(r.due)}: {mend}."
            yield Matter(section=Section.quarantine, text=text)


def _deletions(m: _Morning) -> Iterator[Matter]:
    """In a rehearsal the night itself tells those who decide what is overdue: it waits for their yes."""
    q = db.queries()
    overdue = q.report_overdue(m.conn, by=m.now - OVERDUE_AFTER) if q.watch_live(m.conn) else ()
    for r in overdue:
        since = day_in_words(helsinki_day(r.oldest_due_at))
        text = f"{r.controller}: {counted(r.n, 'recording')} more than 48 hours past the term and not blocked, the oldest since {since}."
        yield Matter(section=Section.deletions, text=text, late=True)


def _vendors(m: _Morning) -> Iterator[Matter]:
    q = db.queries()
    for r in q.watch_windows(m.conn, days=WINDOW_WARNING_DAYS):
        if r.closing:
            text = f"{r.vendor}: {_days(r.closing, r.first_closing)} not complete, and kept there until {m.when(r.closes)}."
            yield Matter(section=Section.vendors, text=text)
        if r.closed:
            text = (
                f"{r.vendor}: {_days(r.closed, r.first_closed)} not complete, and no longer kept there: "
                "a person declares it lost, `callkeeper days list`."
            )
            yield Matter(section=Section.vendors, text=text, late=True)
    for r in q.watch_open_lines(m.conn, before=m.now - timedelta(days=OPEN_AT_VENDOR_DAYS)):
        text = (
            f"{r.vendor}: {counted(r.n, 'recording')} gone here and open there for more than {OPEN_AT_VENDOR_DAYS} days, the first since "
            f"{day_in_words(r.since)}: `callkeeper deletions list`."
        )
        yield Matter(section=Section.vendors, text=text, late=True)


def _days(n: int, first: date) -> str:
    return day_in_words(first) if n == 1 else f"{n} days, the first {day_in_words(first)},"


def _contracts(m: _Morning) -> Iterator[Matter]:
    """What the preflight finds of the configuration in force: ends at their steps, all else each morning."""
    applied = db.queries().config_last(m.conn)
    if applied is None:
        return
    config = Config.model_validate_json(applied.body)
    ends = {processor.id: processor.valid_to for processor in config.processors}
    for finding in controllers.preflight_all(config, m.today):
        ending = finding.code in _ENDING
        if not ending or m.comes_up(ends[finding.subject], CONTRACT_STEPS):
            yield Matter(section=Section.contracts, text=finding.message, late=not ending)


# --- what is told -----------------------------------------------------------------------------------------------------


def message(digest: Digest, to: Readers, *, link: str) -> Message:
    """The mail to the officer and her deputies, or to whoever is told when they do not act. ``link`` leads to the runbook."""
    sections = digest.of(to)
    matters = [m for found in sections.values() for m in found]
    late = sum(m.late for m in matters)
    word = "nobody has acted" if to == "escalation" else f"{len(matters)} for you" + (f", {late} late" if late else "")
    return Message(
        subject=f"callkeeper deadlines {digest.day}: {word}",
        text=render("deadlines.txt", digest=digest, sections=sections, escalation=to == "escalation", link=link),
    )


def note(digest: Digest) -> str:
    """The morning as a note on its run: how many of what; which, stands in the officer's mail only."""
    counts = digest.counts()
    late = counts.pop("late")
    if not counts:
        return f"**{digest.day}: nothing falls due**"
    sums = ", ".join(f"{Section[name].value.lower()} {n}" for name, n in counts.items())
    return f"**{digest.day}: {counted(sum(counts.values()), 'matter')}, {late} late**: {sums}"


def tell(
    conn: db.Connection,
    notifier: Notifier | None,
    digest: Digest,
    actor: Actor,
    *,
    link: str,
    privacy: str,
    escalation: str,
) -> int:
    """Sends the morning's mails, a run's once, and writes that people were told; commits, and returns how many mails.

    ``privacy`` and ``escalation`` are addresses; whom nobody is named for, the data team is told. Nothing to tell: nothing is
    sent. Without a notifier what there is to tell counts as untold. Raises MailUnavailable.
    """
    told = db.queries().watch_told_by_run(conn, run=actor.run or "")
    conn.rollback()
    if told:
        return 0
    addresses: dict[Readers, str] = {"privacy": privacy, "escalation": escalation}
    letters = [(message(digest, to, link=link), at) for to, at in addresses.items() if digest.of(to)]
    if letters and notifier is None:
        log.warning("no mail relay is configured: nobody is told what falls due")
        return 0
    # One address that is refused keeps no other from being told.
    refused: MailUnavailable | None = None
    for letter, at in letters:
        try:
            cast("Notifier", notifier).send(letter, to=at)
        except MailUnavailable as wrong:
            refused = wrong
    if refused is not None:
        raise refused
    counts = digest.counts()
    late = counts.pop("late")
    append(conn, actor, [DeadlinesTold(matters=sum(counts.values()), late=late)])
    conn.commit()
    return len(letters)
