"""What a person does with a ticket, an act each: what was typed is checked, and the core does it.

What changes the ticket by a person's yes or no goes through Airflow, in her own name; the rest is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from callkeeper import db, tickets, wiring
from callkeeper.clock import day_bounds_utc
from callkeeper.desk import runs, words
from callkeeper.desk.intake import a_day, a_time, calls, lines, numbers, pick
from callkeeper.desk.runs import Runs
from callkeeper.desk.seat import Sent
from callkeeper.errors import NotAllowed
from callkeeper.jobs import answering, carrying_out, fulfilling
from callkeeper.letters import Kind
from callkeeper.tickets import SCOPE_CHARACTERS, Exclusion, Mute, State
from callkeeper.trail.events import Actor

MUTE_ROWS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A form that was sent about a ticket, and what it takes to do it."""

    conn: db.Connection
    app: wiring.App
    ticket: str
    sent: Sent
    runs: Runs

    @property
    def account(self) -> str:
        return self.sent.seat.account

    @property
    def actor(self) -> Actor:
        return self.app.actor(self.conn, account=self.account)


Act = Callable[[Work], str]
"""Does it, and gives the word by which the page says so."""


# --- on its way ---------------------------------------------------------------------------------------------------------


def identity(w: Work) -> str:
    evidence = pick(w.sent, "evidence", tickets.EVIDENCES, "Say how the person proved who they are.")
    first, last = a_day(w.sent.text("from"), "the first day"), a_day(w.sent.text("to"), "the last day")
    fulfilling.prove_identity(
        w.conn, w.app.keyring, w.ticket, evidence=evidence, from_at=day_bounds_utc(first)[0], to_at=day_bounds_utc(last)[1],
        note=w.sent.text("note"), account=w.account, actor=w.actor,
    )  # fmt: skip
    return "identity"


def ask(w: Work) -> str:
    question = pick(w.sent, "question", tickets.QUESTIONS, "Say what the person was asked.")
    about = [code for code in tickets.ASKED if code in w.sent.all("about")]
    fulfilling.ask(w.conn, w.ticket, question, w.actor, about=about if question == "clarification" else ())
    return "asked"


def answered(w: Work) -> str:
    fulfilling.answered(w.conn, w.ticket, w.actor)
    return "answered"


def more(w: Work) -> str:
    asked, times = tuple(numbers(w.sent.text("numbers"))), tuple(calls(w.sent))
    if not asked and not times:
        raise NotAllowed("Write a number, or a call's line, day and time.")
    fulfilling.add_numbers(w.conn, w.app.keyring, w.ticket, asked, times, w.account, w.actor)
    return "more"


def extend(w: Work) -> str:
    reason = pick(w.sent, "reason", tickets.EXTENSION_REASONS, "Say why it takes longer.")
    fulfilling.extend(w.conn, w.ticket, reason, w.actor)
    return "extended"


def search(w: Work) -> str:
    fulfilling.preview(w.conn, w.app.keyring, w.ticket, w.actor)
    return "searched"


def leave_out(w: Work) -> str:
    reason = pick(w.sent, "reason", tickets.EXCLUSIONS, "Say why they are left out.")
    which: dict[UUID, Exclusion] = {uuid(text): reason for text in w.sent.all("recording")}
    if not which:
        raise NotAllowed("Choose at least one recording.", mend="Tick the box before it.")
    fulfilling.leave_out(w.conn, w.app.keyring, w.ticket, which, w.actor)
    return "left_out"


def mute(w: Work) -> str:
    recording = uuid(w.sent.text("recording"))
    ranges = list(_ranges(w.sent))
    channel = w.sent.text("channel")
    if channel not in ("", "0", "1", "2", "3"):
        raise NotAllowed("There is no such channel.")
    fulfilling.redact(
        w.conn, w.app.keyring, w.ticket, recording, mutes=ranges, channel=int(channel) if channel else None, actor=w.actor
    )  # fmt: skip
    return "muted"


def correct(w: Work) -> str:
    """What is to be put right of a recording; an empty value takes it back."""
    recording = uuid(w.sent.text("recording"))
    what = pick(w.sent, "what", tickets.CORRECTABLE, "Say what is put right.")
    fulfilling.correct(w.conn, w.app.keyring, w.ticket, recording, what, _value(w, what), w.actor)
    return "corrected"


def announce(w: Work) -> str:
    reason = pick(w.sent, "reason", tickets.LIFT_REASONS, "Say why the restriction ends.")
    on = a_day(w.sent.text("day"), "the day on which it ends")
    carrying_out.announce_lifting(w.conn, w.ticket, on, reason, account=w.account, actor=w.actor)
    return "announced"


def lift(w: Work) -> str:
    carrying_out.lift(w.conn, w.ticket, account=w.account, actor=w.actor)
    return "lifted"


def close(w: Work) -> str:
    outcome = pick(w.sent, "outcome", tickets.CLOSED_AS, "Say why it is over.")
    fulfilling.close(w.conn, w.ticket, outcome, years=w.app.config.terms.tickets_years, actor=w.actor)
    return "closed"


# --- a person's yes or no, through Airflow --------------------------------------------------------------------------------


def decide(w: Work) -> str:
    """The officer's yes to what the page showed her; or her no, with reasons that are sealed before Airflow hears of it."""
    t = fulfilling.show(w.conn, w.ticket)
    if t.state is not State.previewed:
        raise NotAllowed("There is nothing to decide on now.", mend="Load the page again.")
    if w.sent.text("choice") == "approve":
        _same(w)
        why = None
        if w.sent.text("erasure_ground") or (t.right == "erasure" and fulfilling.seen(w.conn, w.ticket).chosen):
            why = pick(w.sent, "erasure_ground", tickets.ERASURE_GROUNDS, "Say on which ground it is erased.")
        runs.say(
            w.conn,
            w.runs,
            t,
            "decide",
            "Approve",
            scope=w.sent.text("scope"),
            erasure_ground=why,
            ground=None,
            extension_reason=None,
        )
        _require_moved(w, State.previewed)
        return "approved"
    ground = pick(w.sent, "ground", tickets.GROUNDS, "Say on which ground it is refused.")
    if t.right not in tickets.GROUNDS_OF[ground]:
        raise NotAllowed("This ground does not go with what is asked for.")
    fulfilling.note_reasons(w.conn, w.app.keyring, w.ticket, w.sent.text("reasons"), account=w.account, actor=w.actor)
    runs.say(
        w.conn, w.runs, t, "decide", "Refuse", scope=None, erasure_ground=None, ground=ground, extension_reason=None
    )
    _require_moved(w, State.previewed)
    return "refused"


def second(w: Work) -> str:
    t = fulfilling.show(w.conn, w.ticket)
    if t.state is not State.approved:
        raise NotAllowed("It does not wait for a second person now.", mend="Load the page again.")
    yes = w.sent.text("choice") == "yes"
    if yes:
        _same(w)
    runs.say(w.conn, w.runs, t, "second", "Approve" if yes else "Reject", scope=w.sent.text("scope") if yes else None)
    _require_moved(w, State.approved)
    return "seconded" if yes else "rejected"


def release(w: Work) -> str:
    t = fulfilling.show(w.conn, w.ticket)
    back = w.sent.text("choice") == "back"
    runs.say(w.conn, w.runs, t, "release", "Take back" if back else "Release")
    _require_moved(w, t.state)
    return "taken_back" if back else "released"


def deliver(w: Work) -> str:
    channel = pick(w.sent, "channel", tickets.CHANNELS, "Say how it was handed over.")
    t = fulfilling.show(w.conn, w.ticket)
    runs.say(w.conn, w.runs, t, "deliver", "Delivered", channel=channel)
    _require_moved(w, State.released)
    return "delivered"


def go_on(w: Work) -> str:
    runs.go_on(w.conn, w.runs, fulfilling.show(w.conn, w.ticket))
    return "goes_on"


def reasons(w: Work) -> str:
    fulfilling.note_reasons(w.conn, w.app.keyring, w.ticket, w.sent.text("reasons"), account=w.account, actor=w.actor)
    return "noted"


def _same(w: Work) -> None:
    """A yes is to what the page showed."""
    if w.sent.text("scope") != fulfilling.seen(w.conn, w.ticket).scope.hex()[:SCOPE_CHARACTERS]:
        raise NotAllowed(
            "What this is about has changed since the page was shown.", mend="Look at it again, then decide."
        )


def _require_moved(w: Work, before: State) -> None:
    if fulfilling.show(w.conn, w.ticket).state is before:
        raise NotAllowed(
            "Airflow took your answer, and nothing was changed by it.",
            mend="The note on the run of subject_request says why.",
        )


# --- letters ------------------------------------------------------------------------------------------------------------


def letter_sent(w: Work) -> str:
    kind = pick(w.sent, "kind", tuple(Kind), "Say which letter it was.")
    disclosure = w.sent.text("disclosure") or None
    impossible = disclosure is not None and w.sent.text("channel") == words.IMPOSSIBLE
    channel: tickets.Channel = (
        "other" if impossible else pick(w.sent, "channel", tickets.CHANNELS, "Say how it was sent.")
    )
    answering.sent(
        w.conn, w.ticket, kind, channel, disclosure=disclosure, impossible=impossible, account=w.account, actor=w.actor
    )
    return "letter_sent"


ACTS: Mapping[str, Act] = {
    "/identity": identity,
    "/ask": ask,
    "/answered": answered,
    "/more": more,
    "/extend": extend,
    "/search": search,
    "/leave-out": leave_out,
    "/mute": mute,
    "/correct": correct,
    "/announce": announce,
    "/lift": lift,
    "/close": close,
    "/decide": decide,
    "/release": release,
    "/deliver": deliver,
    "/go-on": go_on,
    "/reasons": reasons,
    "/letter-sent": letter_sent,
}
"""Each officer's form, by where it is sent."""
SECONDS: Mapping[str, Act] = {"/second": second}
"""What the approver may send, too."""


def uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotAllowed("One of the recordings is none.", mend="Load the page again.") from None


def _value(w: Work, what: str) -> str | datetime | None:
    if what == "time":
        day, at = w.sent.text("day"), w.sent.text("time")
        return a_time(a_day(day, "the call's day"), at) if day or at else None
    if what == "number":
        found = list(numbers(w.sent.text("value")))
        if len(found) > 1:
            raise NotAllowed("A call has one number.")
        return found[0] if found else None
    if what == "line":
        line = w.sent.text("line")
        if line and line not in {known.number for known in lines(w.app, w.conn)}:
            raise NotAllowed("There is no such line.")
        return line or None
    return w.sent.text("value") or None


def _ranges(sent: Sent) -> list[Mute]:
    rows = zip(*(sent.all(f"mute_{part}") for part in ("from", "to", "reason")), strict=False)
    found = []
    for from_, to, reason in rows:
        if not (from_ or to):
            continue
        code = next((known for known in tickets.MUTE_REASONS if known == reason), None)
        if code is None:
            raise NotAllowed("A muted range has a reason.")
        found.append(Mute(from_ms=_position(from_), to_ms=_position(to), reason=code))
    return found


def _position(text: str) -> int:
    """``1:05`` or ``65``, in milliseconds."""
    minutes, _, seconds = text.rpartition(":")
    try:
        ms = round((int(minutes or 0) * 60 + float(seconds.replace(",", "."))) * 1000)
    except (ValueError, OverflowError):
        raise NotAllowed("A muted range is written as minutes and seconds.", mend="Like 1:05.") from None
    if not 0 <= ms < 24 * 3_600_000:
        raise NotAllowed("A muted range is written as minutes and seconds.", mend="Like 1:05.")
    return ms
