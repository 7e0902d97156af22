"""What a letter tells, as records. Whatever a letter needs and does not find in them, it asks for by name.

None of them shows its content in a ``repr``: numbers, names and an officer's reasons pass through here on their way to
paper, and must not stand in a log. There is no field for a hold: that something is kept by a legal ground is one fact, alike
for all of them (requirements, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final, Literal


class Kind(StrEnum):
    """The letters of requirements, section 4."""

    receipt = "receipt"
    identity = "identity"
    """Who asks must first be proven."""
    clarification = "clarification"
    extension = "extension"
    """GDPR Art. 12(3); sent by the first due day."""
    completed_access = "completed_access"
    """The whole list of Art. 15 is in it."""
    completed_rectification = "completed_rectification"
    completed_erasure = "completed_erasure"
    completed_restriction = "completed_restriction"
    completed_objection = "completed_objection"
    partial = "partial"
    refused = "refused"
    erasure_deferred = "erasure_deferred"
    erasure_resumed = "erasure_resumed"
    no_data = "no_data"
    days_missing = "days_missing"
    """Goes in the place of ``no_data`` while a day of the period that was searched has not come in."""
    cannot_identify = "cannot_identify"
    """GDPR Art. 11(2), 12(2)."""
    restriction_lifting = "restriction_lifting"
    """GDPR Art. 18(3): before it is lifted."""
    portability = "portability"
    recipient_notice = "recipient_notice"
    """GDPR Art. 19, to whom the data were given."""


RIGHTS: Final = ("access", "rectification", "erasure", "restriction", "objection", "portability")

GIVE_LESS: Final = frozenset(
    {
        Kind.completed_access,  # Art. 15(1)(f) asks for the complaint right in any case
        Kind.partial,
        Kind.refused,
        Kind.erasure_deferred,
        Kind.no_data,
        Kind.days_missing,
        Kind.cannot_identify,
        Kind.restriction_lifting,
        Kind.portability,
    }
)
"""Letters with the complaint right and the judicial remedy in them (GDPR Art. 12(4), 77, 79)."""

RIGHTS_OF: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.completed_access: frozenset({"access"}),
    Kind.completed_rectification: frozenset({"rectification"}),
    Kind.completed_erasure: frozenset({"erasure"}),
    Kind.completed_restriction: frozenset({"restriction"}),
    Kind.completed_objection: frozenset({"objection"}),
    Kind.erasure_deferred: frozenset({"erasure", "objection"}),
    Kind.erasure_resumed: frozenset({"erasure", "objection"}),
    Kind.partial: frozenset({"access", "rectification", "erasure", "restriction", "objection"}),
    Kind.restriction_lifting: frozenset({"restriction", "objection", "rectification"}),
    Kind.portability: frozenset({"portability"}),
    Kind.recipient_notice: frozenset({"rectification", "erasure", "restriction", "objection"}),
}
"""Which rights a letter can answer; one that is not here answers each."""

WHOLE: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.completed_access: ("copied", "none"),
    Kind.completed_rectification: ("corrected",),
    Kind.completed_erasure: ("erased",),
    Kind.completed_restriction: ("restricted",),
    Kind.completed_objection: ("erased",),
    Kind.erasure_resumed: ("erased",),
}
"""The outcomes that recordings have in a letter that gives all that was asked; else the letter is ``partial``."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Sender:
    """The controller that answers, and how it is reached."""

    name: str
    address: str
    phone: str
    email: str


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Addressee:
    """Who gets the letter, for one print: it is never stored."""

    name: str
    address: tuple[str, ...] = ()
    """A line each."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Search:
    """What was looked for: a number or a line, as people write it, and the first and the last day."""

    what: str
    from_day: date
    to_day: date
    controller: str | None = None
    """The company's name, if the officer looked at one only; else it was all of them."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Recording:
    """One recording; in tables it has its place in the list as number."""

    started_at: datetime | None
    """Aware; told in Helsinki's time. None: it came without a usable one."""
    duration_s: int | None
    """None: not known."""
    line: str
    """As people write it."""
    controller: str
    """The company's name."""
    outcome: str | None = None
    """``copied``, ``erased``, ``deferred``, ``restricted``, ``corrected``, ``refused`` or ``none``: there is no sound to copy."""
    deletes: date | Literal["after_request", "legal_ground"] | None = None
    """The day on which it goes; after the request; or it is kept by a legal ground, whatever that is."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Opening:
    """That somebody listened to the recording with this number, when, and for what (C-579/21): a purpose's code."""

    recording: int
    at: datetime
    purpose: str


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Recipient:
    """To whom data went: a ``vendor``, another ``processor``, a ``group_company`` or an ``authority``, and on which day.

    An authority is here only if it may be told. In letters on erasure, rectification and restriction, ``told`` says whether
    it was told (GDPR Art. 19).
    """

    name: str
    kind: str
    day: date | None = None
    told: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Redaction:
    """What the copy of the recording with this number leaves out: a range, or the other channel, and why.

    ``reason`` is ``other_person``, ``not_yours`` or ``secret``, or words of the officer in the letter's language.
    """

    recording: int
    reason: str
    from_ms: int | None = None
    to_ms: int | None = None
    """None: only the person's own channel is on the copy."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Held:
    """What else there is on the person: ``request``, ``disclosure``, ``objection`` or ``vendor_metadata``."""

    kind: str
    reference: str | None = None
    """A ticket's; other kinds need none."""
    until: date | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Correction:
    """What was put right on the recording with this number: ``number``, ``time``, ``line`` or ``statement`` (attached)."""

    recording: int
    what: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Facts:
    """Everything that a letter may tell. What is None is not known; an empty list says that there is none.

    Codes have their words in ``words/<language>.toml``; one without words there is an error.
    """

    controller: Sender
    ticket: str
    right: str
    received_on: date
    dated: date
    """The letter's own day."""

    due_on: date | None = None
    extended_to: date | None = None
    extension_reason: str | None = None
    """``complexity`` or ``number_of_requests``."""
    answer_by: date | None = None
    """Until when an answer of the person is waited for."""
    ways: tuple[str, ...] | None = None
    """How identity can be proven: ``callback``, ``strong``, ``other``."""
    asked: tuple[str, ...] | None = None
    """What the person is asked: ``numbers``, ``period``, ``calls``, ``which``, ``what_is_wrong``, ``situation``, or words."""
    searched: tuple[Search, ...] | None = None
    recordings: tuple[Recording, ...] | None = None
    missing_days: tuple[date, ...] | None = None
    """Of the period that was searched, the days that have not come in yet."""
    lost_days: tuple[date, ...] = ()
    """Of that period, the days that a person declared lost."""
    grounds: tuple[str, ...] | None = None
    """Why something is refused: codes of ``words``."""
    reasons: tuple[str, ...] = ()
    """The officer's own words, in the letter's language, a paragraph each."""
    # of access
    openings: tuple[Opening, ...] | None = None
    vendor_openings_unseen: bool = True
    """Nobody here sees who listens in the vendor's own portal, unless its access log is imported."""
    recipients: tuple[Recipient, ...] | None = None
    redactions: tuple[Redaction, ...] | None = None
    also_held: tuple[Held, ...] | None = None
    retention_months: int = 6
    package_until: date | None = None
    """How long the package can be had from us."""
    # of what is done
    corrections: tuple[Correction, ...] | None = None
    vendor_open: bool | None = None
    """The vendor has not yet confirmed that its copy is gone."""
    backups_until: date | None = None
    """By when the oldest backup that knows it is gone, too."""
    suppressed_until: date | None = None
    """Until when calls from the number are not kept; then it is asked whose it is."""
    review_on: date | None = None
    lifts_on: date | None = None
    lift_reason: str | None = None
    """``accurate``, ``corrected``, ``decided``, ``not_needed`` or ``asked``."""
    disclosed_on: date | None = None
    disclosure: str | None = None
    """The reference by which the recipient knows what it was given."""
