"""Catalogue, store and vendors side by side, and the balance of all that was ever imported (architecture, rule 11).

Nothing is deleted here: what no row explains is put into the journal, on second sight, to wait for a person's yes. Each part
may be run again, and notes what it found in the place of what it had found before. Findings are counts; which recordings
they are about is said in the log, by their UUIDs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from callkeeper import db
from callkeeper.clock import HELSINKI, helsinki_day
from callkeeper.errors import ConfigurationError, DeliveryUnreadable, NotFound, VendorUnavailable, WrongCredentials
from callkeeper.media import Destroyer, Holder, Store
from callkeeper.notify import Message
from callkeeper.pseudonyms import Keyring
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import Actor, DeletionPlanned, Event, Reconciled
from callkeeper.vendors import MediaStatus, Vendor

log = logging.getLogger(__name__)

KNOWN_PREFIXES = ("doctor/", "reports/", "tombstones/")
"""What callkeeper itself keeps beside the recordings; whatever else is in the bucket is explained by a row, or is a finding."""
COPY_ROWS = 10_000
"""Listed rows a transaction: one that lasts as long as the listing would hold back the trail's sealer."""
SECOND_SIGHT = timedelta(hours=12)
"""A stray that was seen so long ago, by an earlier run then, goes into the journal."""
KEEP_DAYS = 30
"""So long an object that no row explains stays by a person's word; then it is seen, planned and asked about again."""
UPLOAD_AGE = timedelta(days=1)
"""An upload that is unfinished for so long is nobody's: callkeeper makes none (docs/adr/0131)."""
PARTS = ("store", "sample", "keeping", "vendors", "database")
_KEY = re.compile(r"rec/\d{4}-\d{2}-\d{2}/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A finding's meaning and what mends it. ``red``: the run fails, for something was lost, changed, or has come back."""

    means: str
    mend: str
    red: bool = True


FINDINGS: Mapping[str, Finding] = {
    "missing": Finding(
        means="recordings of which the store has no audio",
        mend="Was a backup restored? `callkeeper restore-check`. Else the audio is lost: tell the privacy officer.",
    ),
    "packages_missing": Finding(
        means="parts of access packages that the store does not have",
        mend="Take the package back and make it again; find out who deletes past callkeeper.",
    ),
    "changed": Finding(
        means="recordings whose audio is not what was imported", mend="Look at the store; tell the privacy officer."
    ),
    "hidden": Finding(
        means="delete markers that hide a living recording",
        mend="Somebody deletes past callkeeper: find out who may. The store's admin removes the markers.",
    ),
    "extra": Finding(
        means="versions beside a living recording's own", mend="Somebody writes past callkeeper: find out who may."
    ),
    "unheld": Finding(
        means="recordings under a hold that the store does not keep from being deleted any more",
        mend="Somebody lifts legal holds past callkeeper: find out who may. The next night, import or `legal_hold` places them again.",
    ),
    "uploads_left": Finding(
        means="uploads unfinished for more than a day, whose parts may be audio",
        mend="Somebody writes past callkeeper: find out who may. The store's admin ends them.",
    ),
    "stray": Finding(
        means="objects that no row explains, seen for the first time",
        mend="Seen again tomorrow, they are planned to go, by a person's yes.",
        red=False,
    ),
    "orphans_planned": Finding(
        means="objects that no row explains, planned to go",
        mend="`callkeeper approve orphans`, or the same with --keep.",
        red=False,
    ),
    "orphans_kept": Finding(
        means="objects that no row explains, kept by a person's word",
        mend="Find out whose they are: after 30 days they are asked about again.",
        red=False,
    ),
    "risen": Finding(
        means="objects of recordings that were proven gone",
        mend="Was the store restored? Seen again tomorrow, they are planned to go: `callkeeper approve orphans`.",
    ),
    "foreign": Finding(means="objects that are no recordings", mend="The store's admin looks at what else is there."),
    "risen_rows": Finding(
        means="calls that are in the database again after their deletion", mend="`callkeeper restore-check --apply`."
    ),
    "deleted_here": Finding(
        means="recordings that were deleted here, and the vendor has them (again)",
        mend="The next import of that day plans them again. If it lasts, talk to the vendor.",
    ),
    "gone_there": Finding(
        means="recordings that the vendor no longer has",
        mend="Nothing to do, unless the vendor should have.",
        red=False,
    ),
    "lost": Finding(means="calls that were imported, and are nowhere here", mend="A fault of ours: report it."),
    "never_delivered": Finding(means="days that were never delivered", mend="`callkeeper status`.", red=False),
    "unfinished": Finding(means="days that are not complete", mend="`callkeeper status`.", red=False),
    "never_taken": Finding(
        means="days that no import has asked for", mend="Trigger import_recordings with the day, or for all of them."
    ),
    "left_behind": Finding(
        means="calls in staging of vendors that are no longer configured",
        mend="Put the vendor back until they are in. Else a night deletes them when their term is over.",
        red=False,
    ),
    "vendors_silent": Finding(
        means="vendors that did not answer, or cannot be read", mend="The next run asks again.", red=False
    ),
    "unlawful": Finding(
        means="recordings of lines that are not designated", mend="`callkeeper approve unlawful`.", red=False
    ),
    "not_compared": Finding(means="parts that were not compared", mend="Clear the red task, and `balance`."),
    "kept_difference": Finding(
        means="calls by which the runs' counts and the catalogue differ", mend="A fault of ours: report it."
    ),
    "ever_difference": Finding(
        means="calls by which the trail and the tables differ", mend="A fault of ours, or a row was removed: report it."
    ),
    "objects_difference": Finding(means="objects that were counted twice, or not at all", mend="Report it."),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """One vendor's calls: ever imported = live + quarantined + gone.

    ``ever`` is what the trail was told; ``counted`` what the import runs counted into the catalogue, ``from_catalogue`` the
    part of the gone that was in it.
    """

    vendor: str
    ever: int
    live: int
    quarantined: int
    gone: int
    counted: int
    from_catalogue: int
    catalogue_told: int

    @property
    def differences(self) -> dict[str, int]:
        """By how much it is off, whatever the direction: catalogue and quarantine each, so that no two errors cancel."""
        in_catalogue = self.live + self.from_catalogue
        quarantine = self.ever - self.catalogue_told - self.quarantined - (self.gone - self.from_catalogue)
        return {
            "kept_difference": abs(self.counted - in_catalogue),
            "ever_difference": abs(self.catalogue_told - in_catalogue) + abs(quarantine),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciliation:
    """What a run found. ``counts`` by code: findings, and how much was looked at."""

    reconciliation: int
    run_key: str
    counts: Mapping[str, int]
    sheets: tuple[Sheet, ...]
    mailed: bool

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(code for code in FINDINGS if self.counts.get(code))

    @property
    def balanced(self) -> bool:
        return not any(FINDINGS[code].red for code in self.findings)

    def total(self, term: str) -> int:
        return sum(getattr(sheet, term) for sheet in self.sheets)


def begin(conn: db.Connection, run_key: str) -> int:
    """The run's reconciliation, opened if it is new; commits."""
    number: int = db.queries().open_reconciliation(conn, run_key=run_key)
    conn.commit()
    return number


def _find(conn: db.Connection, run_key: str) -> db.Row:
    row = db.queries().find_reconciliation(conn, run_key=run_key)
    if row is None:
        raise ConfigurationError("This run has not begun.", mend="Clear the whole DAG run, not one of its tasks.")
    return row


def _note(conn: db.Connection, number: int, part: str, counts: Mapping[str, int]) -> Counter[str]:
    db.queries().note_part(conn, reconciliation=number, part=part, counts=json.dumps(counts, sort_keys=True))
    conn.commit()
    return +Counter(counts)


def _name(code: str, recordings: Sequence[UUID] | None) -> None:
    for recording in recordings or ():
        log.warning("%s: %s", code, recording)


# --- the store --------------------------------------------------------------------------------------------------------


def compare_store(conn: db.Connection, number: int, store: Store, actor: Actor) -> Counter[str]:
    """Compares every object with the rows: what is missing, hidden, a stray, risen; plans strays on second sight. Commits."""
    q = db.queries()
    started, objects = list_store(conn, store)
    counts = Counter({row.kind: row.n for row in q.sort_listing(conn, started_at=started, keep_days=KEEP_DAYS)})
    missing = q.count_missing(conn, started_at=started)
    q.forget_strays(conn, started_at=started)
    planned = list(q.plan_strays(conn, seen_before=started - SECOND_SIGHT))
    events: dict[Event, list[UUID]] = {}
    for row in planned:
        event = DeletionPlanned(
            recording=ANY, controller=None, vendor="-", trigger="orphan", reason=row.why, state_before="unknown"
        )
        events.setdefault(event, []).append(row.recording)
    append(conn, actor, (), alike=events)
    _name("missing", missing.some)
    _name("orphan planned", [row.recording for row in planned])
    facts = {
        "objects": objects,
        "missing": missing.n,
        "packages_missing": q.count_packages_missing(conn, started_at=started),
        "orphans_planned": len(planned),
    }
    return _note(conn, number, "store", {**counts, **facts, "objects_difference": abs(objects - sum(counts.values()))})


def list_store(conn: db.Connection, store: Store) -> tuple[datetime, int]:
    """Brings the store's listing into this connection's table ``listing``; returns when it was begun, and its length. Commits.

    A row of ours is written before its object, and leaves after it: so what is listed has a row, or had one when the
    listing was begun.
    """
    q = db.queries()
    q.make_listing(conn)
    conn.commit()
    started = db.now(conn)
    conn.rollback()
    types = ("text", "text", "bool", "uuid")
    listed = _copy(conn, q.copy_listing.sql, types, _listed(store))
    q.analyze_listing(conn)
    conn.commit()
    return started, listed


def _listed(store: Store) -> Iterator[tuple[object, ...]]:
    for version in store.versions(""):
        if not version.key.startswith(KNOWN_PREFIXES):
            named = _KEY.fullmatch(version.key)
            yield version.key, version.version_id, version.is_delete_marker, UUID(named[1]) if named else None


def _copy(conn: db.Connection, statement: str, types: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> int:
    """Copies the rows in, some thousands a transaction, so that memory and transactions stay small; returns how many."""
    n = 0
    while chunk := list(islice(rows, COPY_ROWS)):
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in chunk:
                copy.write_row(row)
        conn.commit()
        n += len(chunk)
    return n


def read_sample(conn: db.Connection, number: int, store: Store, *, sample: int) -> Counter[str]:
    """Reads and hashes the audio of the next ``sample`` recordings, after those that the last run read; commits.

    In the order of the UUIDs, and round again: each day others, and in the end all.
    """
    q = db.queries()
    after = q.last_read(conn, reconciliation=number) or UUID(int=0)
    rows = list(q.next_to_read(conn, after=after, limit=sample))
    if len(rows) < sample:
        first = list(q.next_to_read(conn, after=UUID(int=0), limit=sample - len(rows)))
        rows += [row for row in first if row.recording <= after]
    conn.rollback()
    done: Counter[str] = Counter()
    for row in rows:
        try:
            same = _digest(store, row) == (bytes(row.sha256), row.size_bytes)
        except NotFound:
            continue  # gone this very moment, or missing: the listing says so
        done["read"] += 1
        if not same:
            done["changed"] += 1
            _name("changed", [row.recording])
    if rows:
        q.note_read(conn, reconciliation=number, read_to=rows[-1].recording)
    return _note(conn, number, "sample", done)


def _digest(store: Store, row: db.Row) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    with store.open(row.object_key, row.version_id) as body:
        while chunk := body.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return digest.digest(), size


def check_keeping(
    conn: db.Connection, number: int, holder: Holder, destroyer: Destroyer, *, sample: int
) -> Counter[str]:
    """Whether legal holds still stand in the store on some of what is held, and whether it has unfinished uploads; commits.

    Those that do not stand are flagged as unknown, so that the next settling places them again. Not found: the listing says so.
    """
    q = db.queries()
    rows = list(q.held_to_ask(conn, reconciliation=number, limit=sample))
    conn.rollback()
    lifted = [row.recording for row in rows if holder.is_held(row.object_key, row.version_id) is False]
    left = sum(1 for _ in destroyer.uploads("", begun_before=datetime.now(UTC) - UPLOAD_AGE))
    q.flag_audio(conn, recordings=lifted, legal_hold=None)
    _name("unheld", lifted)
    return _note(conn, number, "keeping", {"holds_asked": len(rows), "unheld": len(lifted), "uploads_left": left})


# --- the vendors ------------------------------------------------------------------------------------------------------


def compare_vendors(
    conn: db.Connection, number: int, vendors: Iterable[Vendor], keyring: Keyring, *, relook_days: int
) -> Counter[str]:
    """Compares what the vendors list for the latest days with what is here; one that does not answer is a finding. Commits."""
    counts: Counter[str] = Counter()
    for vendor in vendors:
        try:
            counts += _compare_vendor(conn, vendor, keyring, relook_days)
        except (VendorUnavailable, DeliveryUnreadable, WrongCredentials) as wrong:
            conn.rollback()
            log.warning("%s: %s", vendor.name, wrong)
            counts["vendors_silent"] += 1
    return _note(conn, number, "vendors", counts)


def _compare_vendor(conn: db.Connection, vendor: Vendor, keyring: Keyring, relook_days: int) -> Counter[str]:
    q = db.queries()
    q.make_at_vendor(conn)
    yesterday = helsinki_day(db.now(conn)) - timedelta(days=1)
    days = [row.day for row in q.days_at_vendor(conn, vendor=vendor.name, last=yesterday, relook=relook_days)]
    conn.commit()
    listed = []
    for day in days:
        if vendor.day_status(day, HELSINKI) == "absent":
            continue
        listed.append(day)
        fingerprint = vendor.fingerprint(day, HELSINKI)
        # Only of a listing that import has taken just so can be said that a call was lost.
        known = q.known_delivery(conn, vendor=vendor.name, day=day, fingerprint=fingerprint) is not None
        conn.rollback()
        rows = (
            (day, keyring.tombstone(vendor.name, call.identity), call.status == MediaStatus.available, known)
            for call in vendor.list_day(day, HELSINKI)
        )
        _copy(conn, q.copy_at_vendor.sql, ("date", "bytea", "bool", "bool"), rows)
    q.analyze_at_vendor(conn)
    q.make_stranger(conn)
    q.find_strangers(conn, vendor=vendor.name)
    counts: Counter[str] = Counter(q.compare_vendor(conn, vendor=vendor.name, days=listed)._asdict())
    dead: dict[date, set[bytes]] = {}
    for row in q.dead_at_vendor(conn):
        dead.setdefault(row.day, set()).add(bytes(row.identity))
    conn.commit()
    counts["deleted_here"] = len(set(_still_there(vendor, keyring, dead)))
    return counts


def _still_there(vendor: Vendor, keyring: Keyring, dead: Mapping[date, set[bytes]]) -> Iterator[bytes]:
    """Of the marks, by day, those whose recording the vendor really has, or cannot say: some list what they have deleted."""
    for day, marks in dead.items():
        for call in vendor.list_day(day, HELSINKI):
            mark = keyring.tombstone(vendor.name, call.identity)
            if mark in marks and not vendor.confirm_deleted(call.ref):
                yield mark


# --- the database, and the balance ------------------------------------------------------------------------------------


def look_at_database(conn: db.Connection, number: int, first_day: date | None) -> Counter[str]:
    """Days that never came (from the first that import catches up on), what has risen from the dead, lines that are not designated; commits."""
    q = db.queries()
    yesterday = helsinki_day(db.now(conn)) - timedelta(days=1)
    counts = q.look_at_days(conn, first_day=first_day, last=yesterday)._asdict()
    risen = q.count_risen_rows(conn)
    _name("risen", risen.some)
    found = {"risen_rows": risen.n, "unlawful": q.count_unlawful(conn), "left_behind": q.count_left_behind(conn)}
    return _note(conn, number, "database", {**counts, **found})


def balance(conn: db.Connection, run_key: str, actor: Actor, *, first_day: date | None = None) -> Reconciliation:
    """Looks at the database, draws up the balance sheet, stores it with its event, and commits. The same again changes nothing."""
    number: int = _find(conn, run_key).reconciliation
    look_at_database(conn, number, first_day)
    row = _find(conn, run_key)
    sheets = tuple(_sheet(r) for r in db.queries().balance_sheet(conn))
    counts: Counter[str] = Counter()
    for part in PARTS:
        counts += Counter(row.findings.get(part, {}))
    for sheet in sheets:
        counts += Counter(sheet.differences)
    counts["not_compared"] = sum(part not in row.findings for part in PARTS)
    result = Reconciliation(
        reconciliation=number, run_key=run_key, counts=+counts, sheets=sheets, mailed=row.mailed_at is not None
    )
    terms = {term: result.total(term) for term in ("ever", "live", "quarantined", "gone")}
    stored = json.dumps({"counts": result.counts, "terms": terms}, sort_keys=True)
    if db.queries().end_reconciliation(conn, reconciliation=number, balanced=result.balanced, sheet=stored):
        told = {code: result.counts[code] for code in result.findings} | {f"sheet_{t}": n for t, n in terms.items()}
        append(conn, actor, [Reconciled(reconciliation=number, counts=told, balanced=result.balanced)])
    conn.commit()
    return result


def _sheet(row: db.Row) -> Sheet:
    facts: dict[str, Any] = {"vendor": row.vendor, "live": row.live, "quarantined": row.quarantined}
    return Sheet(
        **facts,
        ever=row.told + row.into_quarantine,
        gone=row.gone + row.out_of_quarantine,
        counted=row.counted,
        from_catalogue=row.gone,
        catalogue_told=row.told,
    )


def mark_mailed(conn: db.Connection, number: int) -> None:
    """The mail has gone out: a task that is run again does not send it twice; commits."""
    db.queries().reconciliation_mailed(conn, reconciliation=number)
    conn.commit()


def note(result: Reconciliation) -> str:
    """The findings as a note on the run: Markdown."""
    word = "balanced" if result.balanced else "needs somebody"
    return "\n".join([f"**{word}**: {_equation(result)}", "", *(f"- {line}" for line in _lines(result))])


def message(result: Reconciliation, *, link: str) -> Message:
    """The findings' mail: counts and words only. ``link`` leads to the runbook."""
    word = f"{len(result.findings)} findings" if result.balanced else "ALARM"
    looked = (
        f"Looked at: {result.counts.get('objects', 0)} objects, {result.counts.get('read', 0)} of them read and hashed, "
        f"{result.counts.get('listed', 0)} recordings at the vendors."
    )
    lines = [*(f"- {line}" for line in _lines(result)), "", _equation(result), looked, "", f"What to do: {link}", ""]
    return Message(subject=f"callkeeper reconcile: {word}", text="\n".join(lines))


def _lines(result: Reconciliation) -> list[str]:
    return [f"{result.counts[code]} {FINDINGS[code].means}. {FINDINGS[code].mend}" for code in result.findings]


def _equation(result: Reconciliation) -> str:
    live, waiting, gone = (result.total(term) for term in ("live", "quarantined", "gone"))
    return f"{result.total('ever')} ever imported; {live} live + {waiting} quarantined + {gone} gone."
