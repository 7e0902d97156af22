"""A person's request: its reference, its right, its lawful way, its clocks. All pure; what is stored is in queries/tickets.sql.

A ticket knows no name and no address: of the person it has what is searched, hashed and sealed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Literal, NewType, get_args
from uuid import UUID

from callkeeper.clock import add_months, request_due, request_due_extended
from callkeeper.errors import NotAllowed
from callkeeper.phone import E164

TicketId = NewType("TicketId", str)
"""``DSR-2026-0007``: its year is the Helsinki day's on which it was opened."""
SCOPE_CHARACTERS = 12
"""So much of a scope's hash is shown, and repeated with a yes, as a sign that it was read."""
REFERENCE = re.compile(r"DSR-\d{4}-\d{4,}", re.ASCII)

Channel = Literal["letter", "email", "phone", "visit", "web", "other"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Language = Literal["fi", "sv", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
ExtensionReason = Literal["complexity", "number_of_requests"]
"""GDPR Art. 12(3) knows these two."""
EXTENSION_REASONS: tuple[ExtensionReason, ...] = get_args(ExtensionReason)
Evidence = Literal["callback", "strong", "other"]
"""How somebody proved who they are: called back under the number, by strong e-identification, or as a sealed note says."""
EVIDENCES: tuple[Evidence, ...] = get_args(Evidence)
Question = Literal["identity", "clarification"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
Asked = Literal["numbers", "period", "calls", "which", "what_is_wrong", "situation"]
"""What the person is asked to make clear: codes that the letters have words for."""
ASKED: tuple[Asked, ...] = get_args(Asked)
MuteReason = Literal["other_person", "not_yours", "secret"]
"""Why a range is not on the copy: somebody else's rights (Art. 15(4)), it is not about the person, a secret."""
MUTE_REASONS: tuple[MuteReason, ...] = get_args(MuteReason)
Correctable = Literal["number", "time", "line", "statement"]
"""What a rectification puts right, or, a statement, adds. The audio is never touched (GDPR Art. 16; requirements, section 4)."""
CORRECTABLE: tuple[Correctable, ...] = get_args(Correctable)
LiftReason = Literal["accurate", "corrected", "decided", "not_needed", "asked"]
"""Why a restriction ends (GDPR Art. 18(1), (3))."""
LIFT_REASONS: tuple[LiftReason, ...] = get_args(LiftReason)
ClosedAs = Literal["withdrawn", "answered_by_hand", "opened_in_error"]
"""How an officer ends a ticket by her word alone."""
CLOSED_AS: tuple[ClosedAs, ...] = get_args(ClosedAs)

Exclusion = Literal["not_the_person", "others_rights", "taken_back"]
"""Why the officer leaves a recording out: another person speaks, giving it would wrong one (Art. 15(4)), or it is no longer asked for."""
EXCLUSIONS: tuple[Exclusion, ...] = get_args(Exclusion)
Ground = Literal[
    "manifestly_unfounded", "excessive", "not_identifiable", "others_rights", "legal_obligation", "legal_claims", "compelling_grounds", "data_protection_act_34",
    "not_applicable",
]  # fmt: skip
"""Why a request may be refused: GDPR Art. 12(5), 12(5), 11(2) and 12(2), 15(4), 17(3)(b), 17(3)(e), 21(1), Tietosuojalaki 34 §, 20(1)."""
GROUNDS: tuple[Ground, ...] = get_args(Ground)
ErasureGround = Literal[
    "no_longer_needed", "consent_withdrawn", "objected", "unlawful", "law_orders_it", "offered_to_a_child"
]
"""Why what is erased must be: GDPR Art. 17(1)(a) to (f), in their order."""
ERASURE_GROUNDS: tuple[ErasureGround, ...] = get_args(ErasureGround)

UNPROVEN_DAYS = 30
"""Requirements, section 2: so long a freeze stands on an identity that nobody has proven, until somebody looks."""
WINDOW = timedelta(hours=25)
"""The longest time of a line or a company that one person's calls are looked for in: a Helsinki day. More is the whole switchboard."""
SUPPRESSED_MONTHS = 12
"""Requirements, section 4: numbers change hands, so somebody looks again whether calls from one are still not to be kept."""
RESTRICTED_MONTHS = 12
"""A restriction that stands is looked at again by then."""
OLDEST_MONTHS = 12
"""A receipt that is longer ago is taken for a slip of the pen."""


class Right(StrEnum):
    """What is asked for."""

    access = "access"
    """GDPR Art. 15."""
    rectification = "rectification"
    """Art. 16."""
    erasure = "erasure"
    """Art. 17."""
    restriction = "restriction"
    """Art. 18."""
    objection = "objection"
    """Art. 21."""
    portability = "portability"
    """Art. 20, which does not apply to a legitimate interest: it is answered so."""


FREEZES: Mapping[Right, str] = {
    Right.access: "access_freeze",
    Right.rectification: "rectification_pending",
    Right.restriction: "restriction",
    Right.objection: "restriction",
}
"""The kind of blocker that stands from intake on. An erasure has none (both sides want the same), portability neither."""


class State(StrEnum):
    """Where a ticket is on its way."""

    open = "open"
    identity_asked = "identity_asked"
    clarification_asked = "clarification_asked"
    previewed = "previewed"
    """What was found lies before the officer, hashed."""
    narrowed = "narrowed"
    approved = "approved"
    seconded = "seconded"
    """Another person has said yes, too."""
    refused = "refused"
    carried_out = "carried_out"
    released = "released"
    """The officer lets package or letter go."""
    delivered = "delivered"
    closed = "closed"


S = State
LAWFUL: Mapping[State, frozenset[State]] = {
    S.open: frozenset({S.identity_asked, S.clarification_asked, S.previewed, S.refused, S.closed}),
    S.identity_asked: frozenset({S.open, S.refused, S.closed}),
    S.clarification_asked: frozenset({S.open, S.refused, S.closed}),
    S.previewed: frozenset({S.previewed, S.approved, S.narrowed, S.open, S.refused, S.identity_asked, S.clarification_asked, S.closed}),
    S.narrowed: frozenset({S.previewed, S.closed}),
    # A scope that has changed since is looked at anew.
    S.approved: frozenset({S.seconded, S.carried_out, S.previewed, S.closed}),
    S.seconded: frozenset({S.carried_out, S.previewed, S.closed}),
    S.refused: frozenset({S.released}),
    S.carried_out: frozenset({S.released}),
    S.released: frozenset({S.delivered}),
    S.delivered: frozenset({S.closed}),
    S.closed: frozenset(),
}  # fmt: skip
"""From each state to which. Once something was carried out or refused, a ticket ends by the delivery of its answer only."""


GROUNDS_OF: Mapping[Ground, frozenset[Right]] = {
    "manifestly_unfounded": frozenset(Right),
    "excessive": frozenset(Right),
    "not_identifiable": frozenset(Right),
    "others_rights": frozenset({Right.access}),
    "legal_obligation": frozenset({Right.erasure}),
    "legal_claims": frozenset({Right.erasure, Right.objection}),
    "compelling_grounds": frozenset({Right.objection}),
    "data_protection_act_34": frozenset({Right.access}),
    "not_applicable": frozenset({Right.portability}),
}
"""Which rights a ground can refuse; there is no other ground."""


def takes_two(right: Right, identity: str, recordings: int = 1) -> bool:
    """Whether a second person must say yes: to erasure always, to handing out audio on weak evidence (requirements, section 4).

    Where nothing was found one is enough; but an objection, which keeps out what is still to come, too.
    """
    weak = right is Right.access and identity != "strong"
    return right is Right.objection or (bool(recordings) and (right is Right.erasure or weak))


@dataclass(frozen=True, kw_only=True, slots=True)
class Mute:
    """A range of the copy without sound: milliseconds from the start, ``to_ms`` exclusive; and why."""

    from_ms: int
    to_ms: int
    reason: MuteReason


def mutes_of(kept: Iterable[tuple[int, int, MuteReason]] | None) -> tuple[Mute, ...]:
    """What is muted, as ``ticket_recording.mutes`` has it."""
    return tuple(Mute(from_ms=from_ms, to_ms=to_ms, reason=reason) for from_ms, to_ms, reason in kept or ())


def check_mutes(mutes: Iterable[Mute], *, channel: int | None, duration_ms: int, channels: int) -> tuple[Mute, ...]:
    """The ranges in their order, if a recording of that length and so many channels has them. Raises NotAllowed."""
    ordered = tuple(sorted(mutes, key=lambda mute: mute.from_ms))
    for mute in ordered:
        if mute.reason not in MUTE_REASONS:
            raise NotAllowed("A muted range has a reason.", mend=f"Known: {', '.join(MUTE_REASONS)}.")
        if not 0 <= mute.from_ms < mute.to_ms:
            raise NotAllowed("A muted range ends after it begins, and neither is before the start.")
        if mute.from_ms >= duration_ms:
            raise NotAllowed("A muted range begins after the recording has ended.")
    if any(one.to_ms > other.from_ms for one, other in pairwise(ordered)):
        raise NotAllowed("Two muted ranges overlap.", mend="Say them as one.")
    if channel is not None and not (0 <= channel < channels and channels > 1):
        raise NotAllowed(
            f"The recording has {channels} channel{'s' if channels > 1 else ''}: there is no other to leave out.",
            mend="Mute ranges instead.",
        )
    return ordered


def entry(
    recording: UUID, *, channel: int | None, mutes: Sequence[Mute], corrected: Mapping[Correctable, bytes]
) -> str:
    """A recording's place in a scope: its id, and what of its copy is left out or what of its row is put right.

    ``corrected``: the hash of the sealed value of each thing that is corrected; of the value itself nothing can be told from it.
    """
    said = str(recording)
    if channel is not None or mutes:
        said += f" {_canonical([channel, [[m.from_ms, m.to_ms, m.reason] for m in mutes]])}"
    if corrected:
        said += f" {_canonical({what: digest.hex() for what, digest in corrected.items()})}"
    return said


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Call:
    """A call that is looked for by its time, as a withheld caller or a member of staff gives it; aware, ``to_at`` exclusive."""

    from_at: datetime
    to_at: datetime
    line: E164 | None = None
    controller: str | None = None


def reference(year: int, n: int) -> TicketId:
    """The year's n-th ticket."""
    return TicketId(f"DSR-{year}-{n:04d}")


def move(before: State, after: State) -> State:
    """``after``, if it may follow ``before``. Raises NotAllowed."""
    if after not in LAWFUL[before]:
        raise NotAllowed(f"A ticket that is {before.replace('_', ' ')} cannot become {after.replace('_', ' ')}.")
    return after


def taken_back(right: Right, before: State) -> State:
    """Where a copy that was made and not handed over goes back to: the officer looks again. Raises NotAllowed."""
    if right is not Right.access or before not in (State.carried_out, State.released):
        raise NotAllowed(
            "Only a copy that is made and not handed over yet can be taken back.",
            mend="What was erased, restricted or corrected stays so.",
        )
    return State.previewed


def due(received_on: date, today: date) -> date:
    """The last day to answer (GDPR Art. 12(3)). Raises NotAllowed for a day of receipt that cannot be meant."""
    if received_on > today:
        raise NotAllowed(
            "The day of receipt is still to come.", mend="It is the day on which the request reached the company."
        )
    if received_on < add_months(today, -OLDEST_MONTHS):
        raise NotAllowed(f"The day of receipt is more than {OLDEST_MONTHS} months ago.", mend="Look at its year.")
    return request_due(received_on)


def extended(received_on: date, due_on: date, today: date) -> date:
    """The last day once it is extended: three months from receipt, told by the first due day (GDPR Art. 12(3)). Raises NotAllowed."""
    if today > due_on:
        raise NotAllowed("Its first due day is past: it can no longer be extended.", mend="Answer it now.")
    return request_due_extended(received_on)


def check_call(call: Call) -> Call:
    """The call, if one person's calls can be looked for by it. Raises NotAllowed for a whole switchboard's."""
    if call.line is None and call.controller is None:
        raise NotAllowed("A call by its time needs its line, or its company.")
    if call.from_at >= call.to_at:
        raise NotAllowed("A call's time ends before it begins.")
    if call.to_at - call.from_at > WINDOW:
        raise NotAllowed(
            "This would be the whole switchboard's calls, not one person's.",
            mend="Name times of a day at most; several, if there were several calls.",
        )
    return call
