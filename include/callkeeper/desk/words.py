"""What codes are called on the page, in plain words. A code that is not here shows as itself, without its underscores."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Literal

from callkeeper.clock import HELSINKI
from callkeeper.trail.events import Event

IMPOSSIBLE = "impossible"
"""Chosen in the place of a channel: a recipient could not be told (GDPR Art. 19)."""
_CHANNELS = {
    "letter": "by letter",
    "email": "by e-mail",
    "phone": "by phone",
    "visit": "in person",
    "web": "by a web form",
    "other": "in another way",
}
WORDS: Mapping[str, Mapping[str, str]] = {
    "right": {
        "access": "Access",
        "rectification": "Rectification",
        "erasure": "Erasure",
        "restriction": "Restriction",
        "objection": "Objection",
        "portability": "Portability",
    },
    "asks": {
        "access": "a copy of their recordings, and everything that is held on them (Article 15)",
        "rectification": "a wrong number, time or line to be put right (Article 16)",
        "erasure": "their recordings to be erased (Article 17)",
        "restriction": "their recordings to be closed to use (Article 18)",
        "objection": "that their calls are no longer recorded (Article 21)",
        "portability": "their data in a form for another service (Article 20): answered by a reasoned no",
    },
    "state": {
        "open": "Open",
        "identity_asked": "Waits for proof of identity",
        "clarification_asked": "Waits for the person's answer",
        "previewed": "Ready to decide",
        "narrowed": "Being narrowed",
        "approved": "Approved",
        "seconded": "Approved by two people",
        "refused": "Refused",
        "carried_out": "Carried out",
        "released": "Released",
        "delivered": "Delivered",
        "closed": "Closed",
    },
    "channel": _CHANNELS,
    "notice": {**_CHANNELS, IMPOSSIBLE: "it could not be told: impossible, or a disproportionate effort"},
    "language": {"fi": "Finnish", "sv": "Swedish", "en": "English"},
    "identity": {
        "unproven": "not proven yet",
        "callback": "called back under the number",
        "strong": "strong e-identification",
        "other": "other evidence (sealed note)",
    },
    "place": {
        "catalogue": "here",
        "quarantine": "in quarantine",
        "leaving": "being deleted",
        "gone": "deleted",
    },
    "direction": {"inbound": "they called", "outbound": "we called", "in": "they called", "out": "we called"},
    "exclusion": {
        "not_the_person": "another person speaks",
        "others_rights": "giving it would wrong somebody else",
        "taken_back": "no longer asked for",
        "no_longer_found": "not there any more",
    },
    "extension": {"complexity": "the request is complex", "number_of_requests": "there are many requests"},
    "closed_as": {
        "withdrawn": "the person has withdrawn it",
        "answered_by_hand": "answered by hand, outside this page",
        "opened_in_error": "it was opened by mistake",
    },
    "outcome": {
        "fulfilled": "fulfilled",
        "deferred": "deferred: a legal ground keeps some of it for now",
        "refused": "refused",
        "copied": "copied",
        "erased": "erased",
        "restricted": "restricted",
        "corrected": "corrected",
        "withdrawn": "withdrawn by the person",
        "answered_by_hand": "answered by hand",
        "opened_in_error": "opened by mistake",
    },
    "erasure_ground": {
        "no_longer_needed": "it is no longer needed for what it was recorded for (Art. 17(1)(a))",
        "consent_withdrawn": "the person has withdrawn their consent (Art. 17(1)(b))",
        "objected": "the person objects, and nothing outweighs it (Art. 17(1)(c))",
        "unlawful": "it was recorded or kept unlawfully (Art. 17(1)(d))",
        "law_orders_it": "a law orders its erasure (Art. 17(1)(e))",
        "offered_to_a_child": "it is of an online service that was offered to a child (Art. 17(1)(f))",
    },
    "ground": {
        "manifestly_unfounded": "manifestly unfounded (Art. 12(5))",
        "excessive": "excessive (Art. 12(5))",
        "not_identifiable": "the person cannot be identified (Art. 11(2), 12(2))",
        "others_rights": "it would wrong somebody else (Art. 15(4))",
        "legal_obligation": "a legal obligation keeps it (Art. 17(3)(b))",
        "legal_claims": "needed for legal claims (Art. 17(3)(e))",
        "compelling_grounds": "compelling grounds of the company (Art. 21(1))",
        "data_protection_act_34": "Data Protection Act, section 34",
        "not_applicable": "the right does not apply here (Art. 20(1))",
    },
    "lift": {
        "accurate": "the data are accurate",
        "corrected": "the data were corrected",
        "decided": "the objection was decided",
        "not_needed": "the person no longer needs it",
        "asked": "the person asked for it",
    },
    "correctable": {
        "number": "The caller’s number",
        "time": "Date and time of the call",
        "line": "Our line",
        "statement": "A statement of the person, attached",
    },
    "audio": {"0": "first channel", "1": "second channel"},
    "mute": {
        "other_person": "another person can be heard",
        "not_yours": "not about the person",
        "secret": "a secret",
    },
    "asked": {
        "numbers": "which numbers they called from",
        "period": "which time it is about",
        "calls": "which calls it is about",
        "which": "which recording it is about",
        "what_is_wrong": "what is wrong with it",
        "situation": "what in their situation they object for",
    },
    "letter": {
        "receipt": "Receipt",
        "identity": "Asking for proof of identity",
        "clarification": "Asking what is meant",
        "extension": "It takes longer",
        "completed_access": "Answer: the copies, and everything held",
        "completed_rectification": "Answer: put right",
        "completed_erasure": "Answer: erased",
        "completed_restriction": "Answer: restricted",
        "completed_objection": "Answer: the objection is upheld",
        "partial": "Answer: a part of it",
        "refused": "Answer: refused",
        "erasure_deferred": "Answer: erasure deferred",
        "erasure_resumed": "The rest is erased now",
        "no_data": "Answer: nothing found",
        "days_missing": "Some days have not come in yet",
        "cannot_identify": "Answer: the person cannot be identified",
        "restriction_lifting": "The restriction will be lifted",
        "portability": "Answer: portability does not apply",
        "recipient_notice": "Notice to a recipient",
    },
}


def word(code: str | None, of: str) -> str:
    """What a code of that kind is called."""
    return "–" if code is None else WORDS[of].get(code, code.replace("_", " "))


def day(on: date) -> str:
    """``Wed 25 November 2026``: one reading, whatever the reader's country."""
    return f"{on:%a} {on.day} {on:%B %Y}"


def moment(at: datetime | None) -> str:
    """``25 November 2026, 09:05``, Helsinki's time."""
    if at is None:
        return "–"
    here = at.astimezone(HELSINKI)
    return f"{here.day} {here:%B %Y}, {here:%H:%M}"


def lasts(seconds: int | None) -> str:
    """``4 min 20 s``."""
    if seconds is None:
        return "–"
    minutes, left = divmod(seconds, 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def position(ms: int) -> str:
    """``1:05``: minutes and seconds from a recording's beginning."""
    seconds = ms / 1000
    minutes = int(seconds // 60)
    left = seconds - 60 * minutes
    return f"{minutes}:{left:02.0f}" if left == int(left) else f"{minutes}:{left:06.3f}"


def capital(text: str) -> str:
    """The same with a capital at its beginning; what has capitals keeps them."""
    return text[:1].upper() + text[1:]


def counted(n: int, what: str) -> str:
    """``1 recording``, ``2 recordings``."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


Tone = Literal["late", "soon", "calm", "over"]
SOON_DAYS = 7


def left(days: int | None) -> tuple[Tone, str]:
    """How urgent a ticket is, as a tone (a colour) and in words."""
    if days is None:
        return "over", "closed"
    if days < 0:
        return "late", f"{counted(-days, 'day')} late"
    if days == 0:
        return "late", "due today"
    return ("soon" if days <= SOON_DAYS else "calm"), f"{counted(days, 'day')} left"


_SAID = {
    "ticket.opened": "took the request in; what it is about is frozen from here on",
    "ticket.identity_proven": "noted how the person proved who they are",
    "ticket.extended": "extended the request",
    "ticket.previewed": "searched",
    "ticket.resumed": "told the person that what was deferred has gone",
    "ticket.forgotten": "erased what was personal of the request, its term being over",
    "ticket.seen": "looked at what is searched",
    "ticket.widened": "added more to search for, frozen too",
    "ticket.restricted": "restricted the recordings; that outlasts the request",
    "ticket.lifting_announced": "announced the end of the restriction",
    "ticket.caller_suppressed": "noted that calls from the numbers are not kept",
    "package.begun": "began to make the package",
    "package.made": "made the package",
    "package.ended": "ended the package",
    "package.taken": "fetched a file of the package",
    "passphrase.seen": "looked at the passphrase",
}
_MOVED = {
    "open": "noted the person's answer",
    "identity_asked": "asked the person to prove who they are",
    "clarification_asked": "asked the person what they mean",
    "previewed": "put what was found before the officer again",
    "narrowed": "left recordings out",
    "approved": "said the first yes",
    "seconded": "said the second yes",
    "refused": "refused the request",
    "carried_out": "carried it out",
    "released": "released the answer",
    "delivered": "recorded its delivery",
    "closed": "closed the request",
}


def told(event: Event) -> str:
    """A line of the timeline, after the name of who did it."""
    action = event.action
    reason = getattr(event, "reason", None)
    if action == "ticket.moved":
        said = _MOVED.get(str(getattr(event, "state_after", "")), "moved it on")
    elif action == "ticket.previewed":
        said = f"searched: {counted(getattr(event, 'recordings', 0), 'recording')}"
    elif action in ("letter.written", "letter.sent"):
        said = f"{'printed' if action == 'letter.written' else 'sent'} a letter: {word(getattr(event, 'kind', ''), 'letter').lower()}"
    elif action == "ticket.noted":
        said = f"noted {'a correction' if getattr(event, 'noted', '') == 'correction' else 'reasons'}, sealed"
    else:
        said = _SAID.get(action, action.partition(".")[2].replace("_", " "))
    if reason:
        known = next(
            (
                WORDS[of][reason]
                for of in ("ground", "erasure_ground", "extension", "closed_as", "outcome")
                if reason in WORDS[of]
            ),
            None,
        )
        said += f" ({known or str(reason).replace('_', ' ')})"
    return said
