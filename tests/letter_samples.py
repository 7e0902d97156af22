"""One made-up case a letter, and more where its words depend on the case; ``python tests/letter_samples.py`` writes the golden files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from callkeeper import letters
from callkeeper.letters import (
    Addressee,
    Correction,
    Facts,
    Held,
    Kind,
    Opening,
    Recipient,
    Recording,
    Redaction,
    Search,
    Sender,
)

GOLDEN = Path(__file__).parent / "golden" / "letters"

PUNAVAARA = Sender(
    name="Punavaara Oy",
    address="c/o PHM Group Services Oy, Takomotie 1-3, 00380 Helsinki",
    phone="010 270 8001",
    email="tietosuoja@phmgroup.com",
)
AINO = Addressee(name="Aino Esimerkki", address=("Mallikatu 5 B 12", "00100 Helsinki"))
BASE = Facts(
    controller=PUNAVAARA,
    ticket="DSR-2026-0007",
    right="access",
    received_on=date(2026, 11, 6),
    dated=date(2026, 11, 27),
)
REASONS = {
    "fi": "Tallenteella puhuu kaksi henkilöä, ja kumpikin on kertonut siinä terveydestään.",
    "sv": "På inspelningen talar två personer, och båda berättar om sin hälsa.",
    "en": "Two people speak on the recording, and both talk about their health.",
}


def recordings(*outcomes: str | None) -> tuple[Recording, ...]:
    shared = {"line": "020 700 1234", "controller": "Punavaara Oy"}
    made = (
        Recording(
            started_at=datetime(2026, 6, 3, 11, 5, tzinfo=UTC), duration_s=192, deletes=date(2026, 12, 4), **shared
        ),
        Recording(
            started_at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
            duration_s=3605,
            line="010 270 8001",
            controller="PHM Group Services Oy",
            deletes="legal_ground",
        ),
        Recording(started_at=datetime(2026, 5, 7, 6, 0, tzinfo=UTC), duration_s=48, deletes="after_request", **shared),
    )
    return tuple(dataclasses.replace(r, outcome=o) for r, o in zip(made, outcomes, strict=False))


SEARCHED = (
    Search(what="040 123 4501", from_day=date(2026, 5, 6), to_day=date(2026, 11, 6)),
    Search(what="020 700 1234", from_day=date(2026, 8, 14), to_day=date(2026, 8, 14), controller="Punavaara Oy"),
)
RECIPIENTS = (
    Recipient(name="Linna Puhepalvelut Oy", kind="vendor"),
    Recipient(name="Konesali Oy", kind="processor"),
    Recipient(name="PHM Group Services Oy", kind="group_company", day=date(2026, 7, 1)),
)
TOLD = (
    Recipient(name="PHM Group Services Oy", kind="group_company", day=date(2026, 7, 1), told=True),
    Recipient(name="Vanha Yhtiö Oy", kind="group_company", day=date(2026, 7, 2), told=False),
)
ARTICLE_15 = {
    "searched": SEARCHED,
    "missing_days": (),
    "recipients": RECIPIENTS,
    "redactions": (
        Redaction(recording=1, from_ms=65_000, to_ms=80_500, reason="other_person"),
        Redaction(recording=2, reason="not_yours"),
    ),
    "openings": (
        Opening(recording=1, at=datetime(2026, 6, 5, 7, 12, tzinfo=UTC), purpose="quality"),
        Opening(recording=1, at=datetime(2026, 11, 20, 13, 0, tzinfo=UTC), purpose="subject_request"),
        Opening(recording=2, at=datetime(2026, 11, 1, 8, 0, tzinfo=UTC), purpose="authority"),
    ),
    "also_held": (
        Held(kind="request", reference="DSR-2026-0003", until=date(2029, 4, 2)),
        Held(kind="disclosure"),
        Held(kind="objection", until=date(2028, 11, 27)),
        Held(kind="vendor_metadata"),
    ),
    "package_until": date(2026, 12, 27),
}
ERASED = {"missing_days": (), "vendor_open": False, "backups_until": date(2026, 12, 27), "recipients": ()}
RESUMED = {name: fact for name, fact in ERASED.items() if name != "missing_days"}
CORRECTIONS = (
    Correction(recording=1, what="time", before="3.6.2026 14.05", after="3.6.2026 15.05"),
    Correction(recording=1, what="statement"),
)
ONE = recordings("copied")

CASES: dict[str, tuple[Kind, dict]] = {
    **{f"receipt_{right}": (Kind.receipt, {"right": right, "due_on": date(2026, 12, 7)}) for right in letters.RIGHTS},
    "identity": (Kind.identity, {"ways": ("callback", "strong", "other"), "answer_by": date(2026, 12, 6)}),
    "clarification": (
        Kind.clarification,
        {
            "asked": ("numbers", "period", "calls", "which", "what_is_wrong", "situation"),
            "answer_by": date(2026, 12, 6),
        },
    ),
    "extension_complexity": (
        Kind.extension,
        {"due_on": date(2026, 12, 7), "extended_to": date(2027, 2, 8), "extension_reason": "complexity"},
    ),
    "extension_number": (
        Kind.extension,
        {"due_on": date(2026, 12, 7), "extended_to": date(2027, 2, 8), "extension_reason": "number_of_requests"},
    ),
    "completed_access": (
        Kind.completed_access,
        ARTICLE_15 | {"recordings": recordings("copied", "copied", "copied")},
    ),
    "completed_access_one": (
        Kind.completed_access,
        ARTICLE_15
        | {
            "recordings": ONE,
            "redactions": (),
            "openings": (),
            "also_held": (),
            "vendor_openings_unseen": False,
            "missing_days": (date(2026, 11, 2), date(2026, 11, 3), date(2026, 11, 5)),
            "lost_days": (date(2026, 8, 1),),
        },
    ),
    "completed_access_no_sound": (
        Kind.completed_access,
        ARTICLE_15 | {"recordings": recordings("copied", "none", "copied")},
    ),
    "completed_access_no_recordings": (
        Kind.completed_access,
        ARTICLE_15 | {"recordings": (), "redactions": (), "openings": ()},
    ),
    "completed_rectification": (
        Kind.completed_rectification,
        {
            "right": "rectification",
            "missing_days": (),
            "recordings": recordings("corrected"),
            "corrections": CORRECTIONS,
            "recipients": TOLD,
        },
    ),
    "completed_erasure": (
        Kind.completed_erasure,
        ERASED
        | {"right": "erasure", "missing_days": (), "recordings": recordings("erased", "erased"), "recipients": TOLD},
    ),
    "completed_erasure_vendor_open": (
        Kind.completed_erasure,
        ERASED
        | {
            "right": "erasure",
            "recordings": recordings("erased"),
            "vendor_open": True,
            "missing_days": (date(2026, 11, 5),),
            "lost_days": (date(2026, 8, 1),),
        },
    ),
    "completed_restriction": (
        Kind.completed_restriction,
        {
            "right": "restriction",
            "missing_days": (),
            "recordings": recordings("restricted"),
            "review_on": date(2027, 2, 27),
            "recipients": (),
        },
    ),
    "completed_objection": (
        Kind.completed_objection,
        ERASED
        | {
            "right": "objection",
            "missing_days": (),
            "recordings": recordings("erased"),
            "suppressed_until": date(2028, 11, 27),
        },
    ),
    "completed_objection_no_recordings": (
        Kind.completed_objection,
        {
            "right": "objection",
            "missing_days": (),
            "recordings": (),
            "suppressed_until": date(2028, 11, 27),
            "recipients": (),
        },
    ),
    "partial_access": (
        Kind.partial,
        ARTICLE_15 | {"recordings": recordings("copied", "refused"), "grounds": ("others_rights",), "reasons": ("…",)},
    ),
    "partial_erasure": (
        Kind.partial,
        ERASED
        | {
            "right": "erasure",
            "missing_days": (),
            "recordings": recordings("erased", "refused"),
            "grounds": ("legal_claims",),
        },
    ),
    "partial_restriction": (
        Kind.partial,
        {
            "right": "restriction",
            "missing_days": (),
            "recordings": recordings("restricted", "refused"),
            "grounds": ("manifestly_unfounded",),
            "recipients": (),
        },
    ),
    "refused_all_grounds": (Kind.refused, {"grounds": letters.GROUNDS, "reasons": ("…",)}),
    "refused_objection": (Kind.refused, {"right": "objection", "grounds": ("compelling_grounds",)}),
    "erasure_deferred": (
        Kind.erasure_deferred,
        {"right": "erasure", "missing_days": (), "recordings": recordings("deferred")},
    ),
    "erasure_deferred_rest_erased": (
        Kind.erasure_deferred,
        {
            "right": "erasure",
            "missing_days": (),
            "recordings": recordings("erased", "deferred"),
            "vendor_open": True,
            "backups_until": date(2026, 12, 27),
        },
    ),
    "erasure_resumed": (Kind.erasure_resumed, RESUMED | {"right": "erasure", "recordings": recordings("erased")}),
    "no_data": (Kind.no_data, {"searched": SEARCHED, "missing_days": ()}),
    "no_data_lost_days": (
        Kind.no_data,
        {"searched": SEARCHED, "missing_days": (), "lost_days": (date(2026, 8, 1), date(2026, 8, 2))},
    ),
    "days_missing": (
        Kind.days_missing,
        {
            "searched": SEARCHED,
            "missing_days": (date(2026, 11, 5), date(2026, 11, 3), date(2026, 11, 2)),
            "lost_days": (date(2026, 8, 1),),
        },
    ),
    "cannot_identify": (Kind.cannot_identify, {"reasons": ("…",)}),
    **{
        f"restriction_lifting_{reason}": (
            Kind.restriction_lifting,
            {
                "right": "objection" if reason == "decided" else "restriction",
                "recordings": recordings(None),
                "lifts_on": date(2026, 12, 14),
                "lift_reason": reason,
            },
        )
        for reason in ("accurate", "corrected", "decided", "not_needed", "asked")
    },
    "portability": (Kind.portability, {"right": "portability"}),
    **{
        f"recipient_notice_{right}": (
            Kind.recipient_notice,
            {
                "right": right,
                "recordings": recordings(None),
                "disclosed_on": date(2026, 7, 1),
                "disclosure": "LUO-2026-0004",
                "corrections": CORRECTIONS,
            },
        )
        for right in ("rectification", "erasure", "restriction")
    },
}


def case(name: str, language: str) -> tuple[Kind, Facts]:
    """The case's letter and facts; where an officer's reasons are told, they are in the language."""
    kind, facts = CASES[name]
    if "reasons" in facts:
        facts = facts | {"reasons": (REASONS[language],)}
    return kind, dataclasses.replace(BASE, **facts)


def everything() -> Iterator[tuple[str, str, Path]]:
    for language in letters.LANGUAGES:
        for name in CASES:
            yield language, name, GOLDEN / language / f"{name}.txt"


if __name__ == "__main__":
    for language, name, path in everything():
        kind, facts = case(name, language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(letters.render(kind, language, facts, AINO).text, encoding="utf-8")
