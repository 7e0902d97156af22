"""May this recording go now, and who may use it meanwhile: the decision of the requirements (section 2). All pure.

The nightly sweep decides the same in SQL, over many at once; a test runs both over the same states.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import astuple, dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from callkeeper.clock import add_months, helsinki_day, retention_eligible_at

OVERDUE_AFTER = timedelta(hours=48)
"""From the moment a recording may go until its being here is an alarm (requirements, section 3)."""


class Trigger(StrEnum):
    """Why a recording should go."""

    retention_expired = "retention_expired"
    erasure_approved = "erasure_approved"
    objection_upheld = "objection_upheld"
    unlawful_confirmed = "unlawful_confirmed"
    quarantine_rejected = "quarantine_rejected"
    redelivered_after_deletion = "redelivered_after_deletion"
    orphan = "orphan"
    package_expired = "package_expired"


class BlockerKind(StrEnum):
    """What forbids deletion; a kind that nobody knows is ``unknown``, as is a blocker that could not be looked up."""

    investigation = "investigation"
    authority_preservation = "authority_preservation"
    legal_claim = "legal_claim"
    complaint = "complaint"
    security = "security"
    other = "other"
    access_freeze = "access_freeze"
    restriction = "restriction"
    objection = "objection"
    rectification_pending = "rectification_pending"
    quarantine = "quarantine"
    unknown = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> BlockerKind:
        return cls.unknown


K, T = BlockerKind, Trigger
HOLDS = frozenset({K.investigation, K.authority_preservation, K.legal_claim, K.complaint, K.security, K.other})
RESTRICTIONS = frozenset({K.restriction, K.objection, K.rectification_pending})
"""Asked or in force; an objection until it is decided."""

_APPROVED = frozenset({T.erasure_approved, T.objection_upheld})
_THROUGH_QUARANTINE = frozenset({T.unlawful_confirmed, T.quarantine_rejected})


# Members stand from the mildest to the strictest: where several rows of the table apply, the last of their cells wins.


class StaffUse(StrEnum):
    """Who may use it here."""

    listener = "listener"
    """For one of the notice's four purposes."""
    officer = "officer"
    """Nobody, but for the uses of GDPR Art. 18(2), by the officer."""
    nobody = "nobody"
    hold_roles = "hold_roles"
    """The roles that a hold names, and only they: it wins over every other cell."""


class SubjectCopy(StrEnum):
    """Who gives the subject a copy, if it is still there."""

    officer = "officer"
    officer_first = "officer_first"
    """Before the erasure."""
    secrecy = "secrecy"
    """The officer, who has an order to keep secret."""
    nothing = "nothing"
    """It goes: no copy has been asked for."""
    no_data = "no_data"


class Schedule(StrEnum):
    """Whether the next night deletes it."""

    yes = "yes"
    at_once = "at_once"
    officer = "officer"
    """Not by itself: it is past its term, and the officer decides."""
    undecided = "undecided"
    """Not before a person has decided about the quarantine, or said yes to an orphan."""
    no = "no"
    no_op = "no_op"


class Erasure(StrEnum):
    """What an erasure request (GDPR Art. 17) comes to."""

    yes = "yes"
    officer = "officer"
    officer_after_delivery = "officer_after_delivery"
    """The officer decides; it is carried out once the copy is delivered."""
    after_delivery = "after_delivery"
    deferred = "deferred"
    """The officer refuses it for now (Art. 17(3)(b), (e)); it resumes when the hold is released."""
    no_op = "no_op"


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """Everything about one recording that decides. Expired is the trigger ``retention_expired``.

    ``explained``: a row in staging, quarantine, catalogue or journal says what it is; only an orphan has none, and then
    ``approved`` (a person's yes) stands for the look at blockers that know it by anything but its id.
    """

    triggers: frozenset[Trigger] = frozenset()
    blockers: frozenset[BlockerKind] = frozenset()
    erasure_asked: bool = False
    explained: bool = True
    approved: bool = False
    gone: bool = False

    def __post_init__(self) -> None:
        if not self.explained and self.triggers != {T.orphan}:
            raise ValueError("nothing but an orphan is without a row that explains it")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One row of the table: what holds for a recording."""

    staff: StaffUse
    copy: SubjectCopy
    schedule: Schedule
    erasure: Erasure


def blocks(trigger: Trigger, blockers: Set[BlockerKind]) -> Set[BlockerKind]:
    """Those of the blockers that stand in the trigger's way: a quarantine does not stop what was decided about it."""
    return blockers - {K.quarantine} if trigger in _THROUGH_QUARANTINE else blockers


def may_go(s: Situation) -> bool:
    """``delete = trigger and not blocker``: asked again under the lock, just before the deletion."""
    if s.gone:
        return False
    if not s.explained:
        return s.approved and not s.blockers
    return any(not blocks(trigger, s.blockers) for trigger in s.triggers)


def resolve(s: Situation) -> Outcome:
    """The one outcome of a recording: of every row of the table that applies the strictest cell, and a hold's roles."""
    if s.gone:
        return _row(StaffUse.nobody, SubjectCopy.no_data, Schedule.no_op, Erasure.no_op)
    staff, copy, schedule, erasure = zip(*map(astuple, _rows(s)), strict=True)
    return _row(_strictest(staff), _strictest(copy), _strictest(schedule), _strictest(erasure))


def _rows(s: Situation) -> Iterator[Outcome]:
    """The rows of the requirements' table that apply, in its order; at least one."""
    goes, expired = may_go(s), T.retention_expired in s.triggers
    approved, closed = bool(s.triggers & _APPROVED), bool(s.triggers - {T.retention_expired}) or s.erasure_asked
    if not closed and not s.blockers:
        yield (
            _row(StaffUse.nobody, SubjectCopy.officer, Schedule.yes, Erasure.yes)
            if expired
            else _row(StaffUse.listener, SubjectCopy.officer, Schedule.no, Erasure.officer)
        )
    if K.access_freeze in s.blockers:
        yield (
            _row(StaffUse.nobody, SubjectCopy.officer_first, Schedule.no, Erasure.after_delivery)
            if approved
            else _row(
                StaffUse.nobody if expired else StaffUse.listener,
                SubjectCopy.officer,
                Schedule.no,
                Erasure.officer_after_delivery,
            )
        )
    if s.erasure_asked and not approved:
        yield _row(StaffUse.nobody, SubjectCopy.officer, Schedule.yes if s.triggers else Schedule.no, Erasure.officer)
    if approved and not s.blockers:
        yield _row(StaffUse.nobody, SubjectCopy.nothing, Schedule.yes, Erasure.yes)
    if s.blockers & HOLDS:
        secret = K.authority_preservation in s.blockers
        yield _row(
            StaffUse.hold_roles,
            SubjectCopy.secrecy if secret else SubjectCopy.officer,
            Schedule.no,
            Erasure.deferred,
        )
    if s.blockers & RESTRICTIONS:
        yield _row(StaffUse.officer, SubjectCopy.officer, Schedule.officer if expired else Schedule.no, Erasure.officer)
    if K.quarantine in s.blockers and not s.triggers & _THROUGH_QUARANTINE:
        yield _row(StaffUse.nobody, SubjectCopy.officer, Schedule.undecided, Erasure.officer)
    if K.unknown in s.blockers:
        yield _row(StaffUse.nobody, SubjectCopy.officer, Schedule.no, Erasure.officer)
    if not s.explained and not goes:
        yield _row(StaffUse.nobody, SubjectCopy.officer, Schedule.undecided, Erasure.officer)
    if s.triggers - _APPROVED - {T.retention_expired}:
        # "quarantined, unlawful confirmed", and whatever else is on its way out by a decision
        yield _row(StaffUse.nobody, SubjectCopy.officer, Schedule.at_once, Erasure.yes)
    elif closed:
        yield _row(StaffUse.nobody, SubjectCopy.officer, Schedule.yes, Erasure.yes)


def _row(staff: StaffUse, copy: SubjectCopy, schedule: Schedule, erasure: Erasure) -> Outcome:
    return Outcome(staff=staff, copy=copy, schedule=schedule, erasure=erasure)


_E = TypeVar("_E", bound=StrEnum)


def _strictest(cells: tuple[_E, ...]) -> _E:
    members = list(type(cells[0]))
    return max(cells, key=members.index)


# --- the clock --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A recording's clock, in days of Helsinki: it may go from the midnight after its anniversary (``eligible_at``)."""

    started_at: datetime
    anniversary: date
    eligible_at: datetime

    def expired(self, now: datetime) -> bool:
        """Computed, never stored."""
        return now >= self.eligible_at

    def overdue(self, now: datetime) -> bool:
        """It should have gone two days ago."""
        return now >= self.eligible_at + OVERDUE_AFTER


def term(started_at: datetime, months: int = 6) -> Term:
    """The term of a call that started then (notice, "Kuinka kauan…"). Raises NaiveTime."""
    return Term(
        started_at=started_at,
        anniversary=add_months(helsinki_day(started_at), months),
        eligible_at=retention_eligible_at(started_at, months),
    )
