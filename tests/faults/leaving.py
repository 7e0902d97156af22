"""A night of deletions with each kind of recording in it, and what it leaves behind: to be the same, whatever happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid5

from callkeeper.jobs import quarantining
from callkeeper.trail.append import append
from callkeeper.trail.events import DeletionPlanned
from deliver import PHM, Call, tone
from installation import ACTOR, DAY, Installation, at

NIGHT = datetime(2027, 5, 24, 21, 30, tzinfo=UTC)
"""00:30 on 25 May in Helsinki: what began on 24 November may go."""
LONG_AGO = DAY - timedelta(days=200)
HELD, FREED = "+358501234502", "+358501234503"
CALLER = "+358401234501"
"""Whose all the other calls are."""
DUE = ("plain", "other", "versions", "upload", "freed", "rejected", "refused", "orphan")
"""What a night deletes of it; ``held`` stays, and so does ``young``; ``surplus`` waits for a person's yes."""
ORPHAN = uuid5(UUID(int=0), "orphan")
# What may come again when a step is run again; everything else comes once.
REPEATED = ("deletion.vendor_asked",)


class Others(Protocol):
    """What others than callkeeper do: the vendor, and whoever writes into the store."""

    def deliver(self, calls: Iterable[Call], day: date = DAY) -> None: ...

    def add_version(self, key: str) -> str: ...

    def hide(self, key: str) -> None: ...

    def begin_upload(self, key: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Known:
    """Which call each recording is of, and its key: nothing tells it any more once it is gone."""

    names: dict[UUID, str] = field(default_factory=dict)
    keys: dict[UUID, str] = field(default_factory=dict)

    def learn(self, office: Installation, calls: Iterable[str]) -> None:
        identities = {office.app.keyring.tombstone("linna", name): name for name in calls}
        for table in ("recording", "quarantine", "staging", "deletion"):
            for row in office.rows(f"select recording, identity, object_key from {table} where object_key is not null"):
                self.keys[row.recording] = row.object_key
                if row.identity and (name := identities.get(bytes(row.identity))):
                    self.names[row.recording] = name


def prepare(office: Installation, others: Others) -> Known:
    """Half a year ago all of it was imported; tonight deletion is live, and the last forecast is an evening old."""
    office.change_settings(deletion_chunk_rows=3, deletion_claim_rows=3, deletion_slice_rows=100)
    office.go_live()
    office.block(pseudonyms=(office.pseudonym(HELD),))
    freed = office.block(pseudonyms=(office.pseudonym(FREED),))
    others.deliver(
        [
            Call(id="plain", start=at(8), audio=tone(1, 500)),
            Call(id="other", start=at(9), line=PHM, audio=tone(1, 501)),
            Call(id="versions", start=at(10), audio=tone(1, 502)),
            Call(id="upload", start=at(11), audio=tone(1, 503)),
            Call(id="held", start=at(12), caller=HELD, audio=tone(1, 504)),
            Call(id="freed", start=at(13), caller=FREED, audio=tone(1, 505)),
            Call(id="rejected", start=at(14), ms=9000, audio=tone(1, 506)),
            Call(id="surplus", start=at(16), audio=tone(1, 508)),
            Call(id="young", start=at(1, day=DAY + timedelta(1)), audio=tone(1, 509)),
        ]
    )
    office.run("import")
    others.deliver([Call(id="refused", start=at(15, day=LONG_AGO), audio=tone(1, 507))], LONG_AGO)
    office.run("import of a day that was missing", LONG_AGO)
    with office.connect() as conn:
        quarantining.reject(
            conn, recording=office.value("select recording from quarantine"), account="officer", actor=ACTOR
        )
    known = Known()
    known.learn(
        office, ("plain", "other", "versions", "upload", "held", "freed", "rejected", "refused", "surplus", "young")
    )
    key = {name: known.keys[recording] for recording, name in known.names.items()}
    others.add_version(key["versions"])
    others.hide(key["versions"])
    others.begin_upload(key["upload"])
    _orphan(office, others, known)
    office.sql.execute("update blocker set ended_at = callkeeper_now() where blocker = %s", (freed,))
    office.set_clock(NIGHT - timedelta(days=1))
    office.forecast()
    office.sql.execute(
        "update recording set term_since = callkeeper_now() + interval '1 hour' where object_key = %s",
        (key["surplus"],),
    )
    office.set_clock(NIGHT)
    return known


def _orphan(office: Installation, others: Others, known: Known) -> None:
    """An object without a call, whose deletion a person has said yes to: no vendor has it."""
    key = f"rec/2027-05-25/{ORPHAN}"
    version = others.add_version(key)
    decision = office.decide("orphans")
    office.sql.execute(
        "insert into deletion (recording, vendor, trigger, object_key, version_id, waits, decision) "
        "values (%s, '-', 'orphan', %s, %s, 'approval', %s)",
        (ORPHAN, key, version, decision),
    )
    with office.connect() as conn:
        append(
            conn,
            ACTOR,
            [
                DeletionPlanned(
                    recording=ORPHAN,
                    controller=None,
                    vendor="-",
                    trigger="orphan",
                    reason="orphan",
                    state_before="unknown",
                )
            ],
        )
        conn.commit()
    known.names[ORPHAN], known.keys[ORPHAN] = "orphan", key


def end_state(office: Installation, known: Known, vendor_has: Iterable[str]) -> dict[str, Any]:
    """Catalogue, journal, suppression, store, vendor and trail, without what differs from run to run.

    A vendor that is asked again says that it has deleted already; and of what an earlier try removed, the next counts
    only what the catalogue knew.
    """
    journal = {}
    for row in office.rows("select * from deletion"):
        answer = "deleted" if row.vendor_answer == "already_gone" else row.vendor_answer
        personal = ("identity", "sealed_ref", "line", "pseudonym", "started_at", "object_key", "version_id")
        journal[known.names[row.recording]] = {
            **{k: getattr(row, k) for k in ("state", "trigger", "waits", "catalogued", "trouble", "vendor_confirmed")},
            "vendor_answer": answer,
            "removed": None if row.versions_removed is None else row.versions_removed > 0,
            "personal": [name for name in personal if getattr(row, name) is not None],
        }
    marks = {office.app.keyring.tombstone("linna", name): name for name in known.names.values()}
    names = {key: known.names[recording] for recording, key in known.keys.items() if recording in known.names}
    return {
        "catalogue": {known.names[r.recording]: r.legal_hold for r in office.rows("select * from recording")},
        "journal": journal,
        "suppression": sorted(marks[bytes(r.mark)] for r in office.rows("select mark from suppression")),
        "store": Counter(names[v.key] for v in office.app.store.versions("rec/") if v.key in names),
        "uploads": [key for key, _ in office.app.destroyer.uploads("rec/") if key in names],
        "vendor": sorted(vendor_has),
        "events": story(office, known),
    }


def story(office: Installation, known: Known) -> dict[str, list[str]]:
    """The events of each recording's way out in their order, those that may be repeated once."""
    told: dict[str, list[str]] = {}
    for event in office.events():
        if name := known.names.get(UUID(event.get("recording", str(UUID(int=0))))):
            actions = told.setdefault(name, [])
            if event["action"].startswith("deletion.") and (
                event["action"] not in REPEATED or event["action"] not in actions
            ):
                actions.append(event["action"])
    return told
