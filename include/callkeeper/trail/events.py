"""The events, one frozen class each; what they hold is codes, ids and counts only (requirements, §5).

A body is written as canonical bytes (``canonical``): JSON with sorted ASCII keys, no floats, integers below 2^53. It can be
read for ever (``read``): what an event holds changes only with a new version of it, and the class of the old one stays. No
event tells a preservation order from another hold: both have the same events, with the same fields and the same words.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from callkeeper.errors import CallkeeperError

EventClass = Literal["import", "deletion", "blocker", "ticket", "opening", "disclosure", "config", "run", "trail"]

_LARGEST = 2**53


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who did it: a person's account, or a task of a DAG's run.

    ``rule`` is the version of the code, ``config`` the number of the applied configuration.
    """

    account: str | None = None
    dag: str | None = None
    run: str | None = None
    task: str | None = None
    attempt: int | None = None
    rule: str | None = None
    config: int | None = None

    def facts(self) -> dict[str, str | int]:
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What every event has; its own facts are the fields of its class."""

    event_class: ClassVar[EventClass]
    action: ClassVar[str]
    version: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingKept(Event):
    """A call passed its checks: its audio stands in the store and its row in the catalogue."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "recording.kept"
    recording: UUID
    controller: str
    vendor: str
    delivery: int
    blocked: bool
    state_before: str = "staged"
    state_after: str = "live"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingCorrected(Event):
    """The vendor delivered other metadata for a recording that is in the catalogue; its audio is the same."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "recording.corrected"
    recording: UUID
    controller: str
    vendor: str
    delivery: int
    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingQuarantined(Event):
    """A call failed a check, and waits for a person."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "recording.quarantined"
    recording: UUID
    controller: str | None
    vendor: str
    reason: str
    state_before: str = "staged"
    state_after: str = "quarantined"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantineLeft(Event):
    """A quarantined call goes back into staging: mended and looked at again, or released by a person."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "quarantine.left"
    recording: UUID
    controller: str | None
    vendor: str
    reason: str
    how: Literal["mended", "released", "redelivered"]
    state_before: str = "quarantined"
    state_after: str = "staged"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionPlanned(Event):
    """A recording should go, at the vendor or in the store; nothing has been deleted yet."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.planned"
    recording: UUID
    controller: str | None
    vendor: str
    trigger: str
    reason: str
    state_before: str
    state_after: str = "planned"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionArmed(Event):
    """Nothing blocks it: its tombstone stands, and it will be sent. Asked again just before it is."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.armed"
    recording: UUID
    controller: str | None
    trigger: str
    state_before: str
    state_after: str = "armed"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionBlocked(Event):
    """Something blocks it; what, is not told: a preservation order looks like any hold."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.blocked"
    recording: UUID
    controller: str | None
    trigger: str
    state_before: str
    state_after: str = "blocked"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionWithdrawn(Event):
    """Its ground fell away before anything was sent: its term ends later than was thought, or a person took it back."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.withdrawn"
    recording: UUID
    controller: str | None
    trigger: str
    reason: str
    state_before: str
    state_after: str = "withdrawn"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionSending(Event):
    """The intent: from here on the store may have been told to delete it."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.sending"
    recording: UUID
    controller: str | None
    trigger: str
    state_before: str = "armed"
    state_after: str = "sending"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreProvenEmpty(Event):
    """No version and no unfinished upload of it is left in the store, by reading again; its row, number and key are scrubbed."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.store_gone"
    recording: UUID
    controller: str | None
    trigger: str
    versions_removed: int
    catalogued: bool
    state_before: str = "sending"
    state_after: str = "store_gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorAsked(Event):
    """The intent: the vendor is about to be asked to delete its copy, once more perhaps."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.vendor_asked"
    recording: UUID
    controller: str | None
    vendor: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorAnswered(Event):
    """What the vendor said, and what looking again showed (nothing, where it cannot be looked at)."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.vendor_answered"
    recording: UUID
    controller: str | None
    vendor: str
    answer: str
    confirmed: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionDone(Event):
    """The end of a recording: gone in the store and at the vendor. There is exactly one, and nothing after it."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.done"
    recording: UUID
    controller: str | None
    vendor: str
    trigger: str
    due_at: str
    versions_removed: int
    vendor_answer: str
    vendor_confirmed: bool | None
    state_before: str = "store_gone"
    state_after: str = "done"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionStopped(Event):
    """It cannot go on without a person; ``trouble`` is a code."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.needs_human"
    recording: UUID
    controller: str | None
    trigger: str
    trouble: str
    state_before: str
    state_after: str = "needs_human"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionRetried(Event):
    """A person mended what stood in its way, and sends it on again."""

    event_class: ClassVar[EventClass] = "deletion"
    action: ClassVar[str] = "deletion.retried"
    recording: UUID
    controller: str | None
    trigger: str
    state_before: str = "needs_human"
    state_after: str = "planned"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStarted(Event):
    """Airflow began a run: seen by the listener, the second witness. ``code`` is the digest of the code that runs."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "run.started"
    run_type: str
    code: str
    triggered_by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEnded(Event):
    """Airflow ended a run, or somebody set its state by hand: seen by the listener."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "run.ended"
    state: str
    by_hand: bool
    triggered_by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskStarted(Event):
    """A task is about to begin, in its own process: seen by the listener. ``map_index`` is its lane, where it has several."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "task.started"
    code: str
    map_index: int | None = None
    triggered_by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskEnded(Event):
    """A task ended (``failed`` may be tried again), or somebody set its state by hand: seen by the listener."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "task.ended"
    state: str
    by_hand: bool
    map_index: int | None = None
    triggered_by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NightPlanned(Event):
    """A night's deletions were counted, before the first of them."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "night.planned"
    night: int
    mode: Literal["rehearsal", "live"]
    due: Mapping[str, int]
    surplus: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NightBalanced(Event):
    """The balance of one controller's deletions in one night (architecture, rule 11)."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "night.balanced"
    night: int
    mode: Literal["rehearsal", "live"]
    controller: str
    counts: Mapping[str, int]
    balanced: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided(Event):
    """A person's yes (architecture, rule 13); ``scope`` is the hash of what was seen."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "decision.made"
    decision: int
    subject: str
    decided: str
    scope: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TombstonesWritten(Event):
    """What is about to be deleted was told to the store, for the day on which an older database is restored."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "tombstones.written"
    night: int
    tombstones: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesExpired(Event):
    """What callkeeper had written into the store went, its term being over: versions of reports, or of tombstones."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "files.expired"
    kind: Literal["reports", "tombstones"]
    before: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MarksExpired(Event):
    """Marks of deleted recordings went: neither a backup nor a vendor could bring one back that import would not refuse."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "marks.expired"
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreChecked(Event):
    """A restored database was told what must not rise: marks that it lacked, deletions planned again, audio lost."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "restore.checked"
    tombstones: int
    marks: int
    planned: int
    lost: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled(Event):
    """Catalogue, store and vendors were compared; ``counts`` are the findings, and the balance of all that was ever imported."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "reconciliation.ended"
    reconciliation: int
    counts: Mapping[str, int]
    balanced: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeProven(Event):
    """The notice's promises were asked of live data; ``digest`` is the SHA-256 of the answers that stand in the store."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "notice.proven"
    notice: str
    counts: Mapping[str, int]
    broken: tuple[str, ...]
    unknown: tuple[str, ...]
    digest: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlinesTold(Event):
    """The privacy officer and her deputies were told what falls due: how many matters, how many of them late; none, none was sent."""

    event_class: ClassVar[EventClass] = "run"
    action: ClassVar[str] = "deadlines.told"
    matters: int
    late: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DayListed(Event):
    """A vendor's day was listed and staged."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "day.listed"
    vendor: str
    day: str
    delivery: int
    found: int
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DayClosed(Event):
    """A vendor's day is complete, or a person declared what is missing of it lost."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "day.closed"
    vendor: str
    day: str
    state: Literal["complete", "lost"]
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportChecked(Event):
    """The preflight of an import: who may be imported from, who may not, and why."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "import.checked"
    day: str
    vendors: tuple[str, ...]
    refused: tuple[str, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportBalanced(Event):
    """The balance of one controller's calls from one vendor in one run (architecture, rule 11)."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "import.balanced"
    vendor: str
    controller: str
    counts: Mapping[str, int]
    balanced: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerPlaced(Event):
    """Something blocks deletion from now on. Its kind is not told: a preservation order looks like any hold."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.placed"
    blocker: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerDrafted(Event):
    """A hold's predicate was written down; it blocks nothing yet."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.drafted"
    blocker: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerEffective(Event):
    """A legal hold stands in the store on every version that it covers, and no deletion that could touch one is under way."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.effective"
    blocker: UUID
    recordings: int
    too_late: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerTooLate(Event):
    """A blocker covers the recording, and could not save it: its deletion had been sent."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.too_late"
    blocker: UUID
    recording: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerRatified(Event):
    """A second person stands behind what one person had placed."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.ratified"
    blocker: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerKept(Event):
    """The vendor corrected the recording out of what the blocker names: it covers it still, until people narrow or end it."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.kept"
    blocker: UUID
    recording: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerChangeAsked(Event):
    """One person asked for a change that takes two; nothing has changed yet."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.change_asked"
    blocker: UUID
    change: Literal["extend", "narrow", "release"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerExtended(Event):
    """Two people gave it a later review, or a later end."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.extended"
    blocker: UUID
    review_on: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerEnded(Event):
    """It blocks no longer: two people released it, or put a narrower one in its place. Nothing is deleted by that."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.ended"
    blocker: UUID
    why: Literal["narrowed", "released"]
    followed_by: UUID | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockerLapsed(Event):
    """What a person's request had frozen is free again, since the request is over; its own clock goes on. Never a hold's end."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "blocker.lapsed"
    blocker: UUID
    ticket: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LegalHoldPlaced(Event):
    """A legal hold stands on the recording's version in the store: nobody can delete it there."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "legal_hold.placed"
    recording: UUID
    controller: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LegalHoldLifted(Event):
    """No blocker covers the recording any more, and the store keeps it no longer from being deleted."""

    event_class: ClassVar[EventClass] = "blocker"
    action: ClassVar[str] = "legal_hold.lifted"
    recording: UUID
    controller: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketOpened(Event):
    """A person's request was taken in; what it freezes is frozen in the same transaction.

    ``subjects``: what is searched, as hashes under the ticket's own salt (docs/adr/0188).
    """

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.opened"
    ticket: str
    right: str
    channel: str
    received_on: str
    due_on: str
    controller: str | None
    subjects: tuple[str, ...]
    blockers: tuple[UUID, ...]
    linked_to: str | None
    state_after: str = "open"


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketMoved(Event):
    """A ticket went on; ``reason`` is a code."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.moved"
    ticket: str
    state_before: str
    state_after: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketWidened(Event):
    """The person made clear that more is meant: it is searched too, and frozen in the same transaction.

    ``subjects``: what is new, as hashes under the ticket's own salt (docs/adr/0188).
    """

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.widened"
    ticket: str
    subjects: tuple[str, ...]
    blockers: tuple[UUID, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketNoted(Event):
    """Free text was sealed in a ticket: an officer's reasons, a person's statement. What it says is nowhere else."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.noted"
    ticket: str
    noted: Literal["reasons", "correction"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketRestricted(Event):
    """Recordings are restricted on a person's request (GDPR Art. 18): that stands when the ticket has ended, until it is lifted.

    Said again, somebody has looked again: it stands on, and no end that was announced before counts.
    """

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.restricted"
    ticket: str
    blocker: UUID
    recordings: int
    review_on: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RestrictionLifting(Event):
    """A restriction is to end on that day; the person is told before (GDPR Art. 18(3)). Only then it may lapse."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.lifting_announced"
    ticket: str
    blocker: UUID
    lifts_on: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CallerSuppressed(Event):
    """Calls from a number are not kept until that day, or no longer are suppressed (None), since an objection was upheld.

    ``marks``: under how many keys the number is known again; the number is nowhere.
    """

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.caller_suppressed"
    ticket: str
    marks: int
    review_on: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingRectified(Event):
    """What was wrong of a recording's row was put right on its person's request (GDPR Art. 16); its audio is the same."""

    event_class: ClassVar[EventClass] = "import"
    action: ClassVar[str] = "recording.rectified"
    recording: UUID
    controller: str
    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketIdentityProven(Event):
    """An officer says how the person proved who they are; from when to when a number is theirs stands in the ticket."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.identity_proven"
    ticket: str
    identity: Literal["callback", "strong", "other"]
    state_before: str
    state_after: str = "open"


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketExtended(Event):
    """A request takes longer than a month, for a reason that the law knows; said by its first due day."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.extended"
    ticket: str
    reason: str
    extended_to: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketPreviewed(Event):
    """What was found lies before the officer; ``scope`` is the hash of exactly these recordings, ``counts`` are by company."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.previewed"
    ticket: str
    recordings: int
    counts: Mapping[str, int]
    scope: str
    state_before: str
    state_after: str = "previewed"


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketResumed(Event):
    """What was deferred when a ticket ended has gone since, and the person was told so, for the second time."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.resumed"
    ticket: str
    channel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketForgotten(Event):
    """A ticket's term is over: what was personal of it is erased, and nobody can say any more whom its events were about."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.forgotten"
    ticket: str
    erase_on: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TicketSeen(Event):
    """Somebody looked at a ticket's personal data: the numbers that are searched, the sealed notes."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "ticket.seen"
    ticket: str
    purpose: Literal["subject_request"] = "subject_request"


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterWritten(Event):
    """A ticket's letter was printed; to whom it was addressed is in no event and no row. A notice to a recipient names the disclosure."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "letter.written"
    ticket: str
    kind: str
    language: str
    disclosure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterSent(Event):
    """A letter that is not the answer was sent: a receipt, a question, an extension, a notice, which names the disclosure."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "letter.sent"
    ticket: str
    kind: str
    channel: str
    disclosure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingOpened(Event):
    """Somebody opened a recording's audio, for a purpose; a request or a disclosure that it was for is named."""

    event_class: ClassVar[EventClass] = "opening"
    action: ClassVar[str] = "recording.opened"
    recording: UUID
    controller: str | None
    purpose: str
    ticket: str | None = None
    disclosure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageBegun(Event):
    """A copy for the person who asked is being made; what an earlier try left goes."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "package.begun"
    ticket: str
    package: UUID
    expires_on: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageMade(Event):
    """The copy stands in the store, sealed under its passphrase: so many parts, so many recordings, and the parts' hash."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "package.made"
    ticket: str
    package: UUID
    parts: int
    recordings: int
    scope: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageEnded(Event):
    """The copy can no longer be had: its term is over, it was taken back, or it was never finished. The next night deletes it."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "package.ended"
    ticket: str | None
    package: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageTaken(Event):
    """Somebody fetched a part of the copy, to hand it over."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "package.taken"
    ticket: str
    package: UUID
    part: int
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PassphraseSeen(Event):
    """Somebody was shown the copy's passphrase, to hand it over by another way."""

    event_class: ClassVar[EventClass] = "ticket"
    action: ClassVar[str] = "passphrase.seen"
    ticket: str
    package: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureDrafted(Event):
    """What is to be given to somebody was written down; nothing is given yet, and nothing is held by it.

    ``scope`` is the hash of exactly these recordings and this recipient; ``counts`` are by company. No event of a disclosure
    tells to whom: what the law forbids to tell looks like any other.
    """

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "disclosure.drafted"
    disclosure: str
    purpose: str
    recordings: int
    counts: Mapping[str, int]
    scope: str
    state_after: str = "drafted"


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureMoved(Event):
    """A disclosure went on: asked for, approved by a second person, or withdrawn."""

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "disclosure.moved"
    disclosure: str
    state_before: str
    state_after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureMade(Event):
    """The package of a disclosure stands in the store, encrypted: a copy of each recording, with checksums and a receipt."""

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "disclosure.made"
    disclosure: str
    package: UUID
    recordings: int
    expires_on: str
    state_before: str
    state_after: str = "made"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingDisclosed(Event):
    """A copy of a recording was handed over with a disclosure."""

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "recording.disclosed"
    recording: UUID
    controller: str
    disclosure: str
    purpose: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureHandedOver(Event):
    """The package of a disclosure was handed over, against a receipt."""

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "disclosure.handed_over"
    disclosure: str
    channel: str
    recordings: int
    state_before: str
    state_after: str = "handed_over"


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureMayBeTold(Event):
    """The law no longer forbids to tell of a disclosure; before this, no event says that it did."""

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "disclosure.may_be_told"
    disclosure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureSeen(Event):
    """Somebody looked at what is sealed of a disclosure, its passphrase, or took out its package."""

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "disclosure.seen"
    disclosure: str
    what: Literal["facts", "passphrase", "package"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DisclosureForgotten(Event):
    """A disclosure's term is over: who the recipient was, and its reference, are erased."""

    event_class: ClassVar[EventClass] = "disclosure"
    action: ClassVar[str] = "disclosure.forgotten"
    disclosure: str
    erase_on: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigApplied(Event):
    """The configuration was brought into the tables."""

    event_class: ClassVar[EventClass] = "config"
    action: ClassVar[str] = "config.applied"
    config_version: int
    digest: str
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRotated(Event):
    """A new key is in use for a purpose, or an escrow was recorded."""

    event_class: ClassVar[EventClass] = "config"
    action: ClassVar[str] = "key.changed"
    key_id: str
    purpose: str
    change: Literal["created", "rotated", "retired", "escrowed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat(Event):
    """The sealer's hourly sign of life, so that silence shows."""

    event_class: ClassVar[EventClass] = "trail"
    action: ClassVar[str] = "trail.heartbeat"


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochOpened(Event):
    """A new tree begins; this is its leaf 0.

    The ``carried`` leaves after it are events that were written before it and never sealed: their transaction ids may be those of
    another cluster, so they stand in the order of (xid, id) among themselves, and no horizon counts for them. What the tree before
    it came to in this database, and in the anchor, is said where there was one; roots in base64. ``lost``: of how many leaves, of
    all epochs, only the hash is known since a restore; the digest is SHA-256 over a line ``epoch seq`` each, ascending.
    """

    event_class: ClassVar[EventClass] = "trail"
    action: ClassVar[str] = "epoch.opened"
    epoch: int
    reason: Literal["first", "restored_backup", "moved_database", "other"]
    carried: int
    previous_epoch: int | None = None
    previous_size: int | None = None
    previous_root: str | None = None
    anchored_size: int | None = None
    anchored_root: str | None = None
    lost: int | None = None
    lost_digest: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SealKeyAdded(Event):
    """A key signs checkpoints from the next one on; whoever knows the key that signs this may trust it."""

    event_class: ClassVar[EventClass] = "trail"
    action: ClassVar[str] = "seal_key.added"
    verifier_key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SealKeyRetired(Event):
    """A key signs no checkpoint after the one that this is first under."""

    event_class: ClassVar[EventClass] = "trail"
    action: ClassVar[str] = "seal_key.retired"
    verifier_key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockWentBack(Event):
    """The database's real clock was behind the last checkpoint's time, by so many whole seconds; that time is kept until it has caught up."""

    event_class: ClassVar[EventClass] = "trail"
    action: ClassVar[str] = "clock.went_back"
    seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BodiesExpired(Event):
    """The bodies of a class's month are past their term, and dropped; their leaves stay.

    ``digest`` is the SHA-256, in hex, over the lines ``<epoch> <seq>`` of those leaves, ascending, each with a newline.
    """

    event_class: ClassVar[EventClass] = "trail"
    action: ClassVar[str] = "bodies.expired"
    event_class_: str
    month: str
    count: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WitnessMissed(Event):
    """So many starts and ends of runs and tasks did the listener see, and was not sure that they were written."""

    event_class: ClassVar[EventClass] = "trail"
    action: ClassVar[str] = "witness.missed"
    count: int


def utc(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds, one spelling for one instant."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) >= _LARGEST:
            raise ValueError("an event's integers stay below 2^53")
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    raise TypeError(f"an event cannot hold a {type(value).__name__}")


KINDS: Mapping[tuple[str, int], type[Event]] = {
    (kind.action, kind.version): kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}
"""Every version of every event that was ever written. None is taken away: its bodies are read for ever."""

_encode = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def canonical(event: Event, actor: Mapping[str, str | int], at: str) -> bytes:
    """The exact bytes of an event: what is stored, hashed and signed. None is left out."""
    body: dict[str, Any] = {"action": event.action, "actor": actor, "at": at, "v": event.version}
    for field in fields(event):
        value = getattr(event, field.name)
        if value is not None:
            body[field.name.rstrip("_")] = _plain(value)
    return _encode(body).encode("ascii")


class EventUnreadable(CallkeeperError):
    """The bytes are no event that this version of callkeeper knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """An event as it was read: what happened, who did it, when (callkeeper_now() of its transaction)."""

    event: Event
    actor: Actor
    at: datetime


@cache
def _shape(kind: type) -> tuple[tuple[str, str, Any, bool], ...]:
    """(key in the body, field, type, may it be missing) of each field."""
    hints = get_type_hints(kind)
    return tuple(
        (f.name.rstrip("_"), f.name, hints[f.name], type(None) in get_args(hints[f.name])) for f in fields(kind)
    )


def _revived(hint: Any, value: Any) -> Any:
    """The value as the type that wrote it; raises ValueError where no value of that type is written so."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (one for one in inner if one is not type(None))
        return _revived(hint, value)
    if origin is Literal:
        if isinstance(value, str) and value in inner:
            return value
    elif origin is tuple and isinstance(value, list):
        return tuple(_revived(inner[0], one) for one in value)
    elif origin is Mapping and isinstance(value, dict):
        return {key: _revived(inner[1], one) for key, one in value.items()}
    elif hint is UUID and isinstance(value, str):
        return UUID(value)
    elif type(value) is hint:
        return value
    raise ValueError


def _made(kind: type, facts: Mapping[str, Any]) -> Any:
    known = _shape(kind)
    needed = {key for key, _, _, optional in known if not optional}
    if not needed <= facts.keys() <= {key for key, *_ in known}:
        raise ValueError
    return kind(**{name: _revived(hint, facts[key]) if key in facts else None for key, name, hint, _ in known})


def read(body: bytes) -> Recorded:
    """The event that ``canonical`` wrote as these bytes, in whatever version. Raises EventUnreadable.

    Only exact bytes are read: what would be written otherwise was not written by callkeeper.
    """
    try:
        facts = json.loads(body)
        action, version, at = facts.pop("action"), facts.pop("v"), facts.pop("at")
        kind, actor = KINDS[action, version], _made(Actor, facts.pop("actor"))
        found = Recorded(event=_made(kind, facts), actor=actor, at=datetime.fromisoformat(at))
        if canonical(found.event, actor.facts(), utc(found.at)) != body:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise EventUnreadable(
            "An event of the trail cannot be read.",
            mend="Was it written by a newer version of callkeeper? Else `callkeeper-verify` says whether it was changed.",
        ) from None
    return found
