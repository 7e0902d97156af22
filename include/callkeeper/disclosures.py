"""What is given to an authority or a company of the group: its reference, its purposes, its lawful way. All pure; what is stored
is in queries/disclosures.sql.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NewType, get_args

from callkeeper.errors import NotAllowed

DisclosureId = NewType("DisclosureId", str)
"""``DIS-2026-0007``: its year is the Helsinki day's on which it was drafted."""
REFERENCE = re.compile(r"DIS-\d{4}-\d{4,}", re.ASCII)

RecipientKind = Literal["authority", "group_company"]
RECIPIENT_KINDS: tuple[RecipientKind, ...] = get_args(RecipientKind)
Purpose = Literal["authority", "customer_care", "quality", "verification", "training"]
PURPOSES: Mapping[RecipientKind, tuple[Purpose, ...]] = {
    "authority": ("authority",),
    "group_company": ("customer_care", "quality", "verification", "training"),
}
"""To an authority by law or its demand; to a company of the group for one of the notice's own purposes."""
Channel = Literal["in_person", "courier", "secure_transfer"]
"""How a package is handed over, against a receipt; to which address is never stored."""
CHANNELS: tuple[Channel, ...] = get_args(Channel)

_STATUTE = re.compile(
    r"[^\W\d_]+(?:[ -][^\W\d_]+){0,8} \d{1,3}[a-z]?(?::\d{1,3}[a-z]?(?:\.\d{1,2})?)?(?: ?§)?(?: ?\(\d{1,4}/\d{4}\))?"
)
"""A law by name, with chapter and section: "Pakkokeinolaki 8:23", "Poliisilaki 4:3", "Verotusmenettelylaki 19 §". No number of a case, no
telephone number fits in: those are its reference, which is sealed."""


class State(StrEnum):
    """Where a disclosure is on its way."""

    drafted = "drafted"
    asked = "asked"
    """One person wants it."""
    approved = "approved"
    """Another person has said yes, too."""
    made = "made"
    """Its package stands in the store."""
    handed_over = "handed_over"
    withdrawn = "withdrawn"
    """It came to nothing."""


S = State
LAWFUL: Mapping[State, frozenset[State]] = {
    S.drafted: frozenset({S.asked, S.withdrawn}),
    S.asked: frozenset({S.approved, S.withdrawn}),
    S.approved: frozenset({S.made, S.withdrawn}),
    # Its package may have expired before it was handed over, and is made anew.
    S.made: frozenset({S.made, S.handed_over, S.withdrawn}),
    S.handed_over: frozenset(),
    S.withdrawn: frozenset(),
}
"""From each state to which. What was handed over cannot be taken back."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Facts:
    """What is sealed of a disclosure to an authority, bound to it: who it is, and the reference of its demand."""

    authority: str = ""
    reference: str = ""


def reference(year: int, n: int) -> DisclosureId:
    """The year's n-th disclosure."""
    return DisclosureId(f"DIS-{year}-{n:04d}")


def move(before: State, after: State) -> State:
    """``after``, if it may follow ``before``. Raises NotAllowed."""
    if after not in LAWFUL[before]:
        raise NotAllowed(f"A disclosure that is {before.replace('_', ' ')} cannot become {after.replace('_', ' ')}.")
    return after


def check_purpose(kind: RecipientKind, purpose: Purpose) -> None:
    """Raises NotAllowed for a purpose that the notice does not give this kind of recipient."""
    if purpose not in PURPOSES[kind]:
        whose = (
            "An authority is given recordings" if kind == "authority" else "A company of the group is given recordings"
        )
        raise NotAllowed(f"{whose} for: {', '.join(PURPOSES[kind])}.", mend="The notice promises no other purpose.")


def check_statute(statute: str) -> str:
    """The law by which an authority may have it. Raises NotAllowed for anything else, which is not said again."""
    said = " ".join(statute.split())
    if not _STATUTE.fullmatch(said):
        raise NotAllowed(
            "This is no law with its section.",
            mend='As in "Pakkokeinolaki 8:23" or "Verotusmenettelylaki 19 §". A case number is the reference, which is sealed.',
        )
    return said
