"""The letters of a ticket: which it asks for now, what each of them tells, and which have been sent.

Everything is read from the ticket's rows when a letter is printed, in its language; a name and an address are for that print alone.
Numbers and an officer's words pass through memory here and stand in no event. That something is kept by a legal ground is one
fact, whatever the ground is (requirements, section 2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from callkeeper import controllers, db, letters
from callkeeper.clock import helsinki_day, roll
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import disclosing
from callkeeper.letters import (
    Addressee,
    Correction,
    Facts,
    Held,
    Kind,
    Letter,
    Opening,
    Recipient,
    Recording,
    Redaction,
    Search,
)
from callkeeper.pseudonyms import Keyring
from callkeeper.tickets import Channel, Right, State, mutes_of
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, LetterSent, LetterWritten

if TYPE_CHECKING:
    from callkeeper.wiring import App

ANSWER_DAYS = 14
"""So long an answer of the person is waited for, before a letter says that it was not given; never beyond the due day."""
INTERIM = (
    Kind.receipt,
    Kind.identity,
    Kind.clarification,
    Kind.extension,
    Kind.days_missing,
    Kind.restriction_lifting,
    Kind.recipient_notice,
)
"""Letters that are not the answer: each is noted as sent by itself. ``days_missing`` may be either."""
NOT_TOLD = "recipient_not_told"
"""Noted in the place of a notice that could not be given (GDPR Art. 19: impossible, or a disproportionate effort)."""
ASKED: Mapping[Right, tuple[str, ...]] = {
    Right.rectification: ("which", "what_is_wrong"),
    Right.objection: ("numbers", "period", "calls", "situation"),
}
"""What a person is asked when nobody said what."""
_ASKED_OF_ALL = ("numbers", "period", "calls")
_DECIDED = frozenset({State.carried_out, State.released, State.delivered, State.closed})
_ASKS: Mapping[Kind, State] = {
    Kind.identity: State.identity_asked,
    Kind.clarification: State.clarification_asked,
}
"""What a letter asks the person for, and the state that waits for it."""
_COMPLETED: Mapping[Right, Kind] = {
    Right.access: Kind.completed_access,
    Right.rectification: Kind.completed_rectification,
    Right.erasure: Kind.completed_erasure,
    Right.restriction: Kind.completed_restriction,
    Right.objection: Kind.completed_objection,
}


_TELLS_WHO_WAS_TOLD = frozenset({*_COMPLETED.values(), Kind.partial, Kind.erasure_resumed})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """That a letter was sent, or the answer handed over: which, when, by whom, how."""

    kind: str
    at: datetime
    account: str
    channel: str


# --- which letters ----------------------------------------------------------------------------------------------------


def due(conn: db.Connection, ticket: str) -> tuple[Kind, ...]:
    """The letters that a ticket's state asks for now, and that were not sent yet. Raises NotFound."""
    case = _Case(conn, ticket)
    asks: list[Kind] = []
    answered = case.state in (State.refused, *_DECIDED)
    if not answered and not case.was_sent(Kind.receipt):
        asks.append(Kind.receipt)
    asks += [
        k for k, state in _ASKS.items() if state is case.state and not case.was_sent(k, since=case.wanted_since(k))
    ]
    row = case.row
    if row.extended_to and not answered and row.today <= row.due_on and not case.was_sent(Kind.extension):
        asks.append(Kind.extension)
    standing = db.queries().standing_restriction(conn, ticket=ticket) if row.lifts_on else None
    if standing and standing.announced_at and standing.told_at is None and row.today < row.lifts_on:
        asks.append(Kind.restriction_lifting)
    if case.notices_due:
        asks.append(Kind.recipient_notice)
    if case.state in (State.refused, State.carried_out, State.released) or case.resumed:
        # While a recording is still on its way there is no answer yet.
        with suppress(NotAllowed):
            asks.append(case.final)
    conn.rollback()
    return tuple(asks)


def final(conn: db.Connection, ticket: str) -> Kind:
    """Which letter is the answer: all that was asked, a part, a no, that there is nothing, or that it is deferred.

    Raises NotFound; NotAllowed while that is not known, as long as nobody has decided or a recording is still on its way out.
    """
    kind = _Case(conn, ticket).final
    conn.rollback()
    return kind


def letters_sent(conn: db.Connection, ticket: str) -> tuple[Sent, ...]:
    """What was sent for a ticket, the oldest first. Raises NotFound."""
    found = _Case(conn, ticket).sent
    conn.rollback()
    return found


def notices_due(conn: db.Connection, ticket: str) -> tuple[str, ...]:
    """The disclosures whose recipient has to be told what became of it (GDPR Art. 19): for the officer's eyes, the untold are among them."""
    found = tuple(_Case(conn, ticket).notices_due)
    conn.rollback()
    return found


# --- printing and sending ---------------------------------------------------------------------------------------------


def write(
    conn: db.Connection,
    app: App,
    ticket: str,
    kind: Kind | str,
    *,
    actor: Actor,
    addressee: Addressee | None = None,
    disclosure: str | None = None,
) -> Letter:
    """The letter in the ticket's language; that it was printed is an event, which commits before anything is given out.

    ``addressee`` is for this print alone; ``disclosure`` says which recipient's notice it is. Raises NotFound, LetterIncomplete, and
    NotAllowed for a letter that the ticket's state does not ask for.
    """
    return _printed(_Case(conn, ticket, app), Kind(kind), actor, addressee, disclosure).letter


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Printed:
    """A letter with what it tells, and the rows of its recordings in its order."""

    letter: Letter
    facts: Facts
    language: letters.Language
    rows: tuple[db.Row, ...]


def write_answer(conn: db.Connection, app: App, ticket: str, *, actor: Actor) -> Printed:
    """The same of the ticket's answer, without an addressee, for its package."""
    case = _Case(conn, ticket, app)
    return _printed(case, case.final, actor)


def _printed(
    case: _Case, kind: Kind, actor: Actor, addressee: Addressee | None = None, disclosure: str | None = None
) -> Printed:
    case.check(kind, disclosure)
    told, language = _facts(case, kind, disclosure), case.row.language
    letter = letters.render(kind, language, told, addressee)
    found = Printed(letter=letter, facts=told, language=language, rows=tuple(case.rows))
    append(case.conn, actor, [LetterWritten(ticket=case.ticket, kind=kind, language=language, disclosure=disclosure)])
    case.conn.commit()
    return found


def facts(conn: db.Connection, app: App, ticket: str, kind: Kind | str, *, disclosure: str | None = None) -> Facts:
    """What a ticket's letter of that kind would tell. Raises NotFound; whatever is not known is None in it."""
    found = _facts(_Case(conn, ticket, app), Kind(kind), disclosure)
    conn.rollback()
    return found


def sent(
    conn: db.Connection,
    ticket: str,
    kind: Kind | str,
    channel: Channel,
    *,
    disclosure: str | None = None,
    impossible: bool = False,
    account: str,
    actor: Actor,
) -> None:
    """Notes that a letter which is not the answer was sent; commits. The answer itself is noted with its delivery.

    Of a notice to a recipient ``disclosure`` says which, and ``impossible`` that it could not be told (GDPR Art. 19). Raises
    NotAllowed for a letter that was never printed here, since it was last wanted: nobody could say what was in it.
    """
    kind, q, case = Kind(kind), db.queries(), _Case(conn, ticket)
    if kind not in INTERIM:
        raise NotAllowed(f"{kind} is the answer itself.", mend=f"`callkeeper ticket delivered {ticket}`.")
    if kind is Kind.recipient_notice:
        case.check(kind, disclosure)
    elif disclosure or impossible:
        raise NotAllowed(f"The letter {kind} goes to the person who asked.")
    asked = case.wanted_since(kind, disclosure)
    if not impossible and not q.answer_written(conn, ticket=ticket, kind=kind, disclosure=disclosure, since=asked):
        raise NotAllowed(
            "This letter was never printed, or not since it is wanted.",
            mend=f"`callkeeper ticket letter {ticket} {kind}`.",
        )
    said = NOT_TOLD if impossible else kind
    q.note_notice(conn, ticket=ticket, kind=said, account=account, channel=channel, disclosure=disclosure)
    append(conn, actor, [LetterSent(ticket=ticket, kind=said, channel=channel, disclosure=disclosure)])
    conn.commit()


# --- what an erased row no longer tells --------------------------------------------------------------------------------


def remember(conn: db.Connection, keyring: Keyring, ticket: str) -> None:
    """Seals into the ticket when each recording of its answer was, how long, on which line; in the caller's transaction.

    Once it is erased nobody knows that any more (architecture, rule 6), and the letter has to say which calls they were.
    """
    case = _Case(conn, ticket, keyring=keyring)
    known = {
        str(r.recording): [r.started_at.isoformat() if r.started_at else None, r.duration_ms, r.line]
        for r in case.rows
        if r.here
    }
    case.keep(calls=json.dumps(known))


def forget(conn: db.Connection, keyring: Keyring, ticket: str) -> None:
    """Takes that out of the ticket, once the person has been told all of it; in the caller's transaction."""
    case = _Case(conn, ticket, keyring=keyring)
    if "calls" in case.notes:
        case.keep(calls=None)


# --- a ticket, as its letters see it ------------------------------------------------------------------------------------


class _Case:
    """A ticket's rows, each asked for when a letter first needs it, in the caller's transaction."""

    def __init__(
        self, conn: db.Connection, ticket: str, app: App | None = None, keyring: Keyring | None = None
    ) -> None:
        self.conn, self.ticket, self._app = conn, ticket, app
        self._keyring = app.keyring if app else keyring
        row = db.queries().answer_ticket(conn, ticket=ticket)
        if row is None:
            raise NotFound("There is no such ticket.", mend="`callkeeper ticket list` lists them.")
        self.row = row
        self.right, self.state = Right(row.access_right), State(row.state)

    @property
    def app(self) -> App:
        assert self._app is not None
        return self._app

    @property
    def keyring(self) -> Keyring:
        assert self._keyring is not None
        return self._keyring

    @cached_property
    def rows(self) -> list[db.Row]:
        """The recordings of the answer, those that the officer refused for others' sake too."""
        rows = list(db.queries().answer_recordings(self.conn, ticket=self.ticket, months=self._months))
        if self._keyring is not None:
            rows = [self._as_remembered(r) for r in rows]
        if self.right is Right.rectification and self.state in _DECIDED:
            # Of what was found, what nothing was wrong with is not spoken of.
            rows = [r for r in rows if r.outcome == "corrected" or r.refused]
        elif self.right is not Right.access:
            # What had gone by itself before.
            rows = [r for r in rows if r.outcome != "none" or r.refused]
        # What is gone had no place in the order.
        return sorted(rows, key=lambda r: (r.started_at is None, r.started_at or r.recording, r.recording))

    def _as_remembered(self, row: db.Row) -> db.Row:
        """With what `remember` kept of it, where its own row knows no more."""
        kept = self._calls.get(str(row.recording))
        if row.here or kept is None:
            return row
        at, duration_ms, line = kept
        started_at = datetime.fromisoformat(at) if at else None
        return row._replace(started_at=started_at, duration_ms=duration_ms, line=line, here=True)

    @cached_property
    def _calls(self) -> Mapping[str, Sequence[Any]]:
        calls: Mapping[str, Sequence[Any]] = json.loads(self.notes.get("calls", "{}"))
        return calls

    @cached_property
    def _months(self) -> int:
        return controllers.months_in_force(self.conn)

    @cached_property
    def sent(self) -> tuple[Sent, ...]:
        return tuple(
            Sent(kind=row.kind, at=row.at, account=row.account, channel=row.channel) for row in self._deliveries
        )

    @cached_property
    def _deliveries(self) -> list[db.Row]:
        return list(db.queries().answer_sent(self.conn, ticket=self.ticket))

    def given(self, *, officer: bool) -> list[disclosing.Given]:
        """What of the answer's recordings was handed over to others; ``officer``: what the law forbids to tell, too."""
        keyring = self._keyring
        return disclosing.of_recordings(self.conn, [r.recording for r in self.rows], officer=officer, keyring=keyring)

    @cached_property
    def notices(self) -> Mapping[str, bool | None]:
        """By disclosure of what was erased, corrected or restricted: True, its recipient was told; False, it could not be; None, not yet."""
        told: dict[str, bool | None] = {}
        for disclosure, at in self._become_of.items():
            said = [d.kind for d in self._deliveries if d.disclosure == disclosure and d.at >= at]
            told[disclosure] = (Kind.recipient_notice in said) if said else None
        return told

    @cached_property
    def _become_of(self) -> Mapping[str, datetime]:
        """By disclosure, when the last of what its recipient was given was erased, corrected or restricted."""
        if self.state not in _DECIDED or self.right not in letters.RIGHTS_OF[Kind.recipient_notice]:
            return {}
        done = {r.recording: r.done_at for r in self.rows if self.outcome(r) in ("erased", "corrected", "restricted")}
        since: dict[str, datetime] = {}
        for g in self.given(officer=True):
            if g.recording in done:
                since[g.disclosure] = max(done[g.recording], since.get(g.disclosure, done[g.recording]))
        return since

    @cached_property
    def notices_due(self) -> list[str]:
        return [disclosure for disclosure, told in self.notices.items() if told is None]

    def wanted_since(self, kind: Kind, disclosure: str | None = None) -> datetime | None:
        """What a letter has to tell is as old as this; None: as the ticket."""
        if kind is Kind.recipient_notice:
            return self._become_of.get(disclosure or "")
        if (state := _ASKS.get(kind)) is None:
            return None
        asked_at: datetime | None = db.queries().answer_asked_at(self.conn, ticket=self.ticket, state=state)
        return asked_at

    def was_sent(self, kind: Kind, *, since: datetime | None = None) -> bool:
        return any(s.kind == kind and (since is None or s.at >= since) for s in self.sent)

    @cached_property
    def missing_days(self) -> tuple[date, ...]:
        return tuple(day.day for day in self._days if not day.lost)

    @cached_property
    def lost_days(self) -> tuple[date, ...]:
        return tuple(day.day for day in self._days if day.lost)

    @cached_property
    def _days(self) -> list[db.Row]:
        return list(db.queries().answer_days(self.conn, ticket=self.ticket, months=self._months))

    @cached_property
    def others(self) -> list[db.Row]:
        return list(db.queries().answer_other_tickets(self.conn, ticket=self.ticket))

    def outcome(self, row: db.Row) -> str | None:
        """What became of a recording; one of an access that was approved is given, once its letter is read."""
        if row.refused:
            return "refused"
        if self.right is Right.access and row.outcome not in ("copied", "none"):
            return "copied" if row.sound else "none"
        outcome: str | None = row.outcome
        return outcome

    @property
    def resumed(self) -> bool:
        """It ended as deferred, and all has gone since."""
        return self.row.outcome == "deferred" and all(self.outcome(r) in ("erased", "refused") for r in self.rows)

    @cached_property
    def final(self) -> Kind:
        row, outcomes = self.row, [self.outcome(r) for r in self.rows]
        if row.refusal and self.state in (State.refused, *_DECIDED):
            alone = {"not_applicable": Kind.portability, "not_identifiable": Kind.cannot_identify}
            return Kind.portability if self.right is Right.portability else alone.get(row.refusal, Kind.refused)
        known = self.state in _DECIDED or (
            self.right is Right.access and self.state in (State.approved, State.seconded)
        )
        if not known and not (self.state in (State.previewed, State.approved, State.seconded) and not outcomes):
            raise NotAllowed(f"Nobody has decided on {self.ticket} yet, so there is no answer to write.")
        if not outcomes and self.right is not Right.objection:
            if self.missing_days:
                return Kind.days_missing
            return Kind.completed_access if self.right is Right.access and self.others else Kind.no_data
        if on_its_way := outcomes.count(None):
            raise NotAllowed(
                f"{on_its_way} of its recordings are still on their way: the answer cannot say yet what became of them.",
                mend="The next night deletes. `callkeeper explain` tells of one.",
            )
        if self.resumed:
            return Kind.erasure_resumed
        if "refused" in outcomes:
            return Kind.partial
        return Kind.erasure_deferred if "deferred" in outcomes else _COMPLETED[self.right]

    def check(self, kind: Kind, disclosure: str | None = None) -> None:
        """Raises NotAllowed for a letter that would not be true of the ticket as it is."""
        fits: Mapping[Kind, Callable[[], bool]] = {
            Kind.receipt: lambda: self.state is not State.closed,
            Kind.identity: lambda: self.state is State.identity_asked,
            Kind.clarification: lambda: self.state is State.clarification_asked,
            Kind.extension: lambda: self.row.extended_to is not None and self.state is not State.closed,
            Kind.restriction_lifting: lambda: self.row.lifts_on is not None,
        }
        if self.row.erased_at:
            raise NotAllowed(f"What was personal of {self.ticket} is erased: its term is over.")
        if kind is Kind.recipient_notice:
            if disclosure not in self.notices:
                known = ", ".join(self.notices) or "none"
                raise NotAllowed(
                    f"A notice tells a recipient what became of what it was given: of {self.ticket} these are {known}.",
                    mend="Name the disclosure.",
                )
        elif kind in fits:
            if not fits[kind]():
                raise NotAllowed(
                    f"{self.ticket} is {self.state.replace('_', ' ')}: it does not ask for the letter {kind}."
                )
        elif kind is not (answer := self.final):
            raise NotAllowed(f"The answer to {self.ticket} is the letter {answer}, not {kind}.")
        elif kind in _TELLS_WHO_WAS_TOLD and (left := [g for g in self.notices_due if g in self._may_be_told]):
            raise NotAllowed(
                f"The letter says which recipients were told, and nobody has told {', '.join(left)}.",
                mend=f"`callkeeper ticket letter {self.ticket} recipient_notice`, then `callkeeper ticket sent`.",
            )

    @property
    def _may_be_told(self) -> set[str]:
        return {str(g.disclosure) for g in self.given(officer=False)}

    @cached_property
    def notes(self) -> Mapping[str, str]:
        """The officer's free text, and what `remember` has kept."""
        if not self.row.sealed_facts:
            return {}
        found: dict[str, str] = json.loads(
            self.keyring.unseal("reference", self.row.sealed_facts, self.ticket.encode())
        )
        return found

    def keep(self, **notes: str | None) -> None:
        kept = {name: text for name, text in {**self.notes, **notes}.items() if text is not None}
        sealed = self.keyring.sealer("reference").seal(json.dumps(kept).encode(), self.ticket.encode())
        db.queries().keep_ticket_facts(self.conn, ticket=self.ticket, sealed_facts=sealed)


# --- facts ------------------------------------------------------------------------------------------------------------


def _facts(case: _Case, kind: Kind, disclosure: str | None = None) -> Facts:
    row = case.row
    base = Facts(
        controller=_sender(case),
        ticket=case.ticket,
        right=case.right,
        received_on=row.received_on,
        dated=row.today,
        due_on=row.due_on,
        extended_to=row.extended_to,
        extension_reason=row.extension_reason,
        lifts_on=row.lifts_on,
        lift_reason=row.lift_reason,
        review_on=row.review_on,
        suppressed_until=row.suppressed_until,
        retention_months=case._months,
        answer_by=min(roll(row.today + timedelta(days=ANSWER_DAYS)), max(row.extended_to or row.due_on, row.today)),
    )
    if kind in (Kind.receipt, Kind.extension):
        return base
    if kind is Kind.identity:
        numbers = any(s.kind == "number" for s in db.queries().answer_subjects(case.conn, ticket=case.ticket))
        return replace(base, ways=("callback", "strong", "other") if numbers else ("strong", "other"))
    if kind is Kind.clarification:
        return replace(base, asked=_asked(case))
    reasons = tuple(p for p in re.split(r"\n\s*\n", case.notes.get("reasons", "")) if p.strip())
    base = replace(base, reasons=reasons, grounds=_grounds(case), searched=_searched(case))
    base = replace(base, missing_days=case.missing_days, lost_days=case.lost_days)
    if kind in (Kind.no_data, Kind.days_missing, Kind.refused, Kind.cannot_identify, Kind.portability):
        return base
    given = case.given(officer=kind is Kind.recipient_notice)
    if kind is Kind.recipient_notice:
        (handed_over, *_) = [g.handed_over_at for g in given if g.disclosure == disclosure]
        these = {g.recording for g in given if g.disclosure == disclosure}
        rows = [
            r for r in case.rows if r.recording in these and case.outcome(r) in ("erased", "corrected", "restricted")
        ]
        return replace(
            base,
            recordings=_recordings(case, rows),
            corrections=_corrections(case, rows),
            disclosed_on=helsinki_day(handed_over),
            disclosure=disclosure,
        )
    base = replace(base, recordings=_recordings(case, case.rows))
    if case.right is Right.access:
        return replace(base, **_article_15(case, given))
    gone = [r.gone_on for r in case.rows if r.gone_on]
    return replace(
        base,
        corrections=_corrections(case, case.rows),
        recipients=tuple(
            replace(r, told=case.notices.get(d)) for d, r in _recipients(given).items() if d in case.notices
        ),
        vendor_open=any(r.vendor_open for r in case.rows),
        backups_until=max(gone) + timedelta(days=case.app.config.terms.backups_days) if gone else None,
    )


def _sender(case: _Case) -> letters.Sender:
    """The company that the officer narrowed the search to, else the register's first: the notice is a joint one (docs/adr/0211)."""
    companies = case.app.config.controllers
    return letters.sender(next((c for c in companies if c.id == case.row.controller), companies[0]))


def _asked(case: _Case) -> tuple[str, ...]:
    return tuple(case.row.asked or ()) or ASKED.get(case.right, _ASKED_OF_ALL)


def _grounds(case: _Case) -> tuple[str, ...] | None:
    if case.row.refusal:
        return (case.row.refusal,)
    return ("others_rights",) if any(r.refused for r in case.rows) else None


def _searched(case: _Case) -> tuple[Search, ...] | None:
    """What was looked for, as people write it; None while nobody knows from when to when a number was theirs."""
    found = []
    for s in db.queries().answer_subjects(case.conn, ticket=case.ticket):
        if s.from_at is None:
            return None
        what = s.line or s.company
        if s.kind == "number":
            what = case.keyring.unseal("number", s.sealed_number, case.ticket.encode()).decode()
        found.append(
            Search(
                what=letters.spoken(what),
                from_day=helsinki_day(s.from_at),
                to_day=helsinki_day(s.to_at - timedelta(microseconds=1)),
                controller=s.company if s.narrowed else None,
            )
        )
    return tuple(found)


def _recordings(case: _Case, rows: Sequence[db.Row]) -> tuple[Recording, ...] | None:
    """The recordings of a letter in their order; None if of one nobody knows any more when it was.

    Of one that came without a usable time nobody ever knew: that is said.
    """
    found = []
    for r in rows:
        if r.started_at is None and not r.here:
            return None
        deletes: Any = None
        if r.eligible_on is not None:
            deletes = "legal_ground" if r.kept else "after_request" if r.expired else r.eligible_on
        found.append(
            Recording(
                started_at=r.started_at,
                duration_s=None if r.duration_ms is None else round(r.duration_ms / 1000),
                line=letters.spoken(r.line) if r.line else "-",
                controller=r.company or r.controller,
                outcome=case.outcome(r),
                deletes=deletes,
            )
        )
    return tuple(found)


def _corrections(case: _Case, rows: Sequence[db.Row]) -> tuple[Correction, ...] | None:
    """What was put right on these, as people write it; None where the request was of another kind."""
    if case.right is not Right.rectification:
        return None
    n = {r.recording: i for i, r in enumerate(rows, 1)}
    bound, found = case.ticket.encode(), []
    for c in db.queries().ticket_corrections(case.conn, ticket=case.ticket):
        if c.recording in n and c.applied_at is not None:
            before, after = (
                case.keyring.unseal("reference", sealed, bound).decode() if sealed else None
                for sealed in (c.sealed_before, c.sealed_after)
            )
            found.append(
                Correction(
                    recording=n[c.recording],
                    what=c.what,
                    before=_said(c.what, before, case.row.language),
                    after=_said(c.what, after, case.row.language),
                )
            )
    return tuple(found)


def _said(what: str, value: str | None, language: letters.Language) -> str | None:
    if what == "statement":
        return None
    if value is None:
        return "–"
    return letters.time_in_words(datetime.fromisoformat(value), language) if what == "time" else letters.spoken(value)


def _recipients(given: Sequence[disclosing.Given]) -> dict[str, Recipient]:
    """Whom the recordings were given to, by disclosure; one whose name went with its term is left out."""
    return {
        str(g.disclosure): Recipient(name=g.recipient, kind=g.recipient_kind, day=helsinki_day(g.handed_over_at))
        for g in given
        if g.recipient
    }


def _article_15(case: _Case, given: Sequence[disclosing.Given]) -> dict[str, Any]:
    """What GDPR Art. 15(1) wants beside the copy: openings, recipients, what the copy leaves out, what else there is."""
    n = {r.recording: i for i, r in enumerate(case.rows, 1)}
    terms = case.app.config.terms
    return {
        "openings": tuple(
            Opening(recording=n[o.recording], at=o.at, purpose=o.purpose)
            for o in db.queries().answer_openings(case.conn, ticket=case.ticket)
        ),
        "recipients": (*_processors(case), *_recipients(given).values()),
        "redactions": tuple(part for r in case.rows if not r.refused for part in _redactions(r, n[r.recording])),
        "also_held": _also_held(case, given),
        # It goes at the beginning of its last day.
        "package_until": (case.row.package_until or case.row.today + timedelta(days=terms.packages_days))
        - timedelta(1),
    }


def _processors(case: _Case) -> tuple[Recipient, ...]:
    """The vendors that the recordings came from, every one where there is no recording, and the other processors."""
    config = case.app.config
    of = {v.id: v.processor for v in config.vendors}
    vendors = {of.get(r.vendor) for r in case.rows} or set(of.values())
    chosen = [p for p in config.processors if p.kind == "other" or p.id in vendors]
    return tuple(
        Recipient(name=p.name, kind="vendor" if p.kind == "vendor" else "processor")
        for p in sorted(chosen, key=lambda p: p.kind == "other")
    )


def _redactions(row: db.Row, n: int) -> list[Redaction]:
    """What the copy of one recording leaves out."""
    found = [Redaction(recording=n, reason="not_yours")] if row.channel is not None else []
    return found + [
        Redaction(recording=n, from_ms=m.from_ms, to_ms=m.to_ms, reason=m.reason) for m in mutes_of(row.mutes)
    ]


def _also_held(case: _Case, given: Sequence[disclosing.Given]) -> tuple[Held, ...]:
    """Other requests of the person, disclosures, an objection's hash, and what a vendor still has of the calls."""
    found = [Held(kind="request", reference=o.ticket, until=o.erase_on) for o in case.others]
    if given:
        found.append(Held(kind="disclosure"))
    if case.row.suppressed_until:
        found.append(Held(kind="objection", until=case.row.suppressed_until))
    keeps = {v.id: v.retention_days for v in case.app.config.vendors}
    if any(
        r.vendor in keeps and r.started_at is not None and _still_there(r.started_at, keeps[r.vendor], case.row.today)
        for r in case.rows
    ):
        found.append(Held(kind="vendor_metadata"))
    return tuple(found)


def _still_there(started_at: datetime, days: int | None, today: date) -> bool:
    return days is None or helsinki_day(started_at) >= today - timedelta(days=days)
