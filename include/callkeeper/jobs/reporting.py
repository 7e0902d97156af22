"""A night's report: what became of what was due, with its evidence. Figures, codes and recordings' UUIDs only.

What it says is kept in the catalogue's database first, so that a store that is down takes nothing with it; then it is
written to the store, as JSON (the evidence), as HTML (for people), and once a month as a PDF.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import TypeAdapter

from callkeeper import db, deletions
from callkeeper.clock import HELSINKI, add_months, day_bounds_utc, helsinki_day
from callkeeper.deletions import TERMS, Night
from callkeeper.errors import CallkeeperError, NotFound, StoreConflict
from callkeeper.jobs import deleting
from callkeeper.jobs.pages import TEMPLATES, day_in_words, render
from callkeeper.media import Store
from callkeeper.retention import OVERDUE_AFTER, RESTRICTIONS, BlockerKind
from callkeeper.trail.events import Actor
from callkeeper.troubles import trouble

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = "callkeeper.deletion_report/1"
PLACES = ("store.versions", "store.unfinished_uploads")
"""Where a night looks that nothing is left, by one complete listing of each."""
KINDS = {"json": "application/json", "html": "text/html; charset=utf-8"}

# What everybody may read: of a hold never more than that there is a legal ground (requirements, section 2).
BLOCKED = {
    "legal_ground": "legal ground",
    "open_request": "open request for access",
    "restriction": "restriction, asked or in force",
    "quarantine": "in quarantine, undecided",
    "ended": "not blocked any more: decided again in the next night",
}
WAITING = {
    "rehearsal": "rehearsal: nothing goes before the privacy officer's yes",
    "surplus": "more than the forecast had foreseen: a person's yes",
    "unlawful": "of a line that is not designated: a person's yes",
    "approval": "a person's yes",
    "slice": "more than one night deletes: the next night's turn",
}


def in_words(outcome: str, reason: str) -> str:
    """A reason as people read it; what blocks and is not known is a legal ground, like every hold."""
    if outcome == "blocked":
        return BLOCKED.get(reason, "legal ground")
    return WAITING.get(reason) or trouble(reason).means.rstrip(".")


# --- the records ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """One controller's night: due, less what was withdrawn, is the sum of the other terms."""

    controller: str
    due: int
    withdrawn: int
    done: int
    blocked: int
    waiting: int
    open_at_vendor: int
    failed: int

    @property
    def difference(self) -> int:
        terms: int = sum(getattr(self, term) for term in TERMS)
        return self.due - self.withdrawn - terms


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """How many of one outcome for one reason, a code."""

    controller: str
    outcome: str
    reason: str
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What was proven to be gone from the store in the night: nothing was left where it was looked, from when to when."""

    recordings: int
    versions_removed: int
    first_checked_at: datetime | None
    last_checked_at: datetime | None
    places: tuple[str, ...] = PLACES


@dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    """What will be due within so many days, and how much of it something blocks today."""

    horizon_days: int
    controller: str
    due: int
    blocked: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Overdue:
    """What should have gone 48 hours ago, is here, and is not blocked."""

    controller: str
    n: int
    oldest_due_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLine:
    """What is gone here and open at a vendor, for one reason, and since when."""

    vendor: str
    reason: str
    n: int
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Awaiting:
    """What waits for a person's yes, and since when: a surplus over the forecast, or an approval."""

    waits: str
    n: int
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """The evidence of one recording (requirements, section 5)."""

    recording: UUID
    controller: str
    vendor: str
    trigger: str
    due_at: datetime
    catalogued: bool
    versions_removed: int | None
    absence_checked_at: datetime
    vendor_answer: str
    vendor_confirmed: bool | None
    done_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that a night's report says, but for the receipts. ``code`` and the configuration are those in force then.

    ``cut_off``: days of earlier nights that this one had to close. ``keep_until``: the evidence's own term.
    """

    schema: str = SCHEMA
    night: int
    run: str
    day: date
    mode: str
    started_at: datetime
    planned_at: datetime
    ended_at: datetime
    balanced: bool
    code: str
    config_version: int | None
    config_digest: str | None
    keep_until: date
    controllers: tuple[Counts, ...]
    reasons: tuple[Why, ...]
    proof: Proof
    forecast: tuple[Ahead, ...]
    overdue: tuple[Overdue, ...]
    open_lines: tuple[OpenLine, ...]
    awaiting: tuple[Awaiting, ...]
    hold_alarms: int
    cut_off: tuple[date, ...]

    @property
    def live(self) -> bool:
        return self.mode == "live"

    def total(self, term: str) -> int:
        return sum(getattr(c, term) for c in self.controllers)

    def why(self, outcome: str) -> list[tuple[str, int]]:
        """An outcome's reasons in words over all controllers, the most frequent first."""
        found: Counter[str] = Counter()
        for w in self.reasons:
            if w.outcome == outcome:
                found[in_words(outcome, w.reason)] += w.n
        return found.most_common()

    def ahead(self, horizon_days: int) -> tuple[int, int]:
        """Due and blocked within so many days, over all controllers."""
        rows = [a for a in self.forecast if a.horizon_days == horizon_days]
        return sum(a.due for a in rows), sum(a.blocked for a in rows)


_REPORT = TypeAdapter(Report)
_RECEIPTS = TypeAdapter(list[Receipt])


# --- what a night's report says ---------------------------------------------------------------------------------------


def close_earlier(conn: db.Connection, night: Night, actor: Actor) -> list[date]:
    """Balances earlier nights whose run was cut off, before this one changes what they counted; commits. Their days."""
    cut_off = [Night(**row._asdict()) for row in db.queries().nights_cut_off(conn, night=night.night)]
    conn.rollback()
    for earlier in cut_off:
        deleting.balance(conn, earlier, actor)
    return [earlier.day for earlier in cut_off]


def tell(conn: db.Connection, night: Night, *, hold_alarms: int, keep_years: int) -> Report:
    """Gathers what a balanced night's report says, and keeps it; commits. The same a second time changes nothing."""
    q = db.queries()
    row = q.report_night(conn, night=night.night)
    window = {"started_at": row.started_at, "next_at": row.next_at}
    balance = deletions.read_balance(conn, night)
    requests, restrictions = [str(BlockerKind.access_freeze)], [str(kind) for kind in RESTRICTIONS]
    reasons = [
        Why(controller=c, outcome=outcome, reason=reason, n=n)
        for (c, outcome, reason), n in balance.counts.items()
        if reason and outcome != "blocked"
    ]
    reasons += [
        Why(outcome="blocked", **r._asdict())
        for r in q.report_blocked(conn, planned_at=row.planned_at, requests=requests, restrictions=restrictions)
    ]
    report = Report(
        night=row.night,
        run=row.run_key,
        day=row.day,
        mode=row.mode,
        started_at=row.started_at,
        planned_at=row.planned_at,
        ended_at=row.ended_at,
        balanced=row.balanced,
        code=row.code,
        config_version=row.config_version,
        config_digest=row.config_digest,
        keep_until=add_months(row.day, 12 * keep_years),
        controllers=tuple(
            Counts(controller=c, **{term: balance.total(term, c) for term in ("due", "withdrawn", *TERMS)})
            for c in balance.controllers
        ),
        reasons=tuple(sorted(reasons, key=lambda w: (w.controller, w.outcome, w.reason))),
        proof=Proof(**q.report_proof(conn, night=row.night, **window)._asdict()),
        forecast=tuple(Ahead(**r._asdict()) for r in q.report_forecast(conn, **window)),
        overdue=tuple(Overdue(**r._asdict()) for r in q.report_overdue(conn, by=row.ended_at - OVERDUE_AFTER)),
        open_lines=tuple(OpenLine(**r._asdict()) for r in q.report_open_lines(conn)),
        awaiting=tuple(Awaiting(**r._asdict()) for r in q.report_awaiting(conn)),
        hold_alarms=hold_alarms,
        cut_off=tuple(r.day for r in q.nights_ended_late(conn, night=row.night, started_at=row.started_at)),
    )
    q.night_told(conn, night=row.night, summary=_canonical(_REPORT.dump_python(report, mode="json")))
    conn.commit()
    return report


# --- in the store -----------------------------------------------------------------------------------------------------


def write(conn: db.Connection, store: Store) -> int:
    """Writes every night's report that is not in the store yet, and notes where it stands; commits, one by one.

    Raises StoreUnavailable or StoreRefused; what is not written is written by the next night. A report whose night was
    counted again later is another object: the first one stays what it was.
    """
    waiting = list(db.queries().nights_unwritten(conn))
    conn.rollback()
    for row in waiting:
        report, body = read_night(conn, row.night), evidence(conn, row.night)
        conn.rollback()
        files = put_pair(store, f"reports/deletion/{report.day}/{row.night}", {"json": body, "html": as_html(report)})
        db.queries().night_written(conn, night=row.night, revision=row.revision, files=json.dumps(files))
        conn.commit()
    return len(waiting)


def write_what_waits(conn: db.Connection, store: Store, today: date) -> str:
    """Every report that is not in the store yet, and last month's PDF; returns why not, in words, where the store fails."""
    try:
        write(conn, store)
        write_month(conn, store, today)
    except CallkeeperError as wrong:
        conn.rollback()
        return str(wrong)
    return ""


def put_pair(store: Store, name: str, contents: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """Puts the kinds of one report under one name: under the next one, where another report has it. Key, version, SHA-256 of each.

    That is an earlier one of the same night, or one of before an older state of the database was restored.
    """
    for attempt in count(1):
        tried = name if attempt == 1 else f"{name}-{attempt}"
        with suppress(StoreConflict):
            return {kind: _put(store, f"{tried}.{kind}", content, KINDS[kind]) for kind, content in contents.items()}
    raise AssertionError("there is always a next number")


def _put(store: Store, key: str, content: bytes, content_type: str) -> dict[str, str]:
    digest = hashlib.sha256(content)
    stored = store.put(
        key, io.BytesIO(content), sha256=digest.digest(), size_bytes=len(content), content_type=content_type
    )
    return {"key": stored.key, "version_id": stored.version_id, "sha256": digest.hexdigest()}


def fetch(store: Store, files: Mapping[str, Mapping[str, str]] | None, kind: str) -> bytes:
    """A report as it stands in the store, ``json`` or ``html``. Raises NotFound, or StoreConflict if it is not what was written."""
    if not files:
        raise NotFound("This report is not in the store yet.", mend="The next night writes it; `reports show` has it.")
    with store.open(files[kind]["key"], files[kind]["version_id"]) as body:
        content = body.read()
    if hashlib.sha256(content).hexdigest() != files[kind]["sha256"]:
        raise StoreConflict("The report in the store is not the one that was written.", mend="Look who changed it.")
    return content


def read(summary: object) -> Report:
    """A report as the database keeps it."""
    return _REPORT.validate_python(summary)


def read_night(conn: db.Connection, night: int) -> Report:
    """The report of a night that has one."""
    return read(db.queries().report_night(conn, night=night).summary)


# --- as JSON and HTML -------------------------------------------------------------------------------------------------


def evidence(conn: db.Connection, night: int) -> bytes:
    """The report with its receipts as canonical JSON: sorted ASCII keys, no spaces, no floats, a line's end (docs/deletion-report.md)."""
    q = db.queries()
    summary = q.report_night(conn, night=night).summary
    receipts = q.report_receipts(conn, night=night)
    settled = q.report_settled(conn, night=night, ended_at=read(summary).ended_at)
    return f"{_canonical({**summary, 'receipts': _receipts(receipts), 'settled': _receipts(settled)})}\n".encode()


def _receipts(rows: Iterable[db.Row]) -> Any:
    return _RECEIPTS.dump_python([Receipt(**row._asdict()) for row in rows], mode="json")


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)


def as_html(report: Report) -> bytes:
    """The report as one page that needs nothing else: no network, no script; it prints."""
    most = max((c.due for c in report.controllers), default=0)
    return render(
        "deletion_report.html",
        report=report,
        terms=TERMS,
        in_words=in_words,
        scale=max(most, 1),
        horizons=horizons(report),
    ).encode()


def horizons(report: Report) -> list[tuple[int, int, int]]:
    """The forecast over all controllers: days, due, blocked."""
    days = sorted({a.horizon_days for a in report.forecast})
    return [(d, *report.ahead(d)) for d in days]


# --- the month --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class MonthOf:
    """One controller's month: what went in it, and what was still open when its last night ended."""

    controller: str
    done: int
    withdrawn: int
    settled: int
    blocked: int
    waiting: int
    open_at_vendor: int
    failed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Month:
    """A month's nights, summed per controller. ``missing``: days on which no night happened, or none that ended."""

    first: date
    nights: tuple[Report, ...]
    controllers: tuple[MonthOf, ...]
    missing: tuple[date, ...]

    @property
    def checked(self) -> tuple[datetime | None, datetime | None]:
        """When absence was read for the first and for the last time."""
        first = [n.proof.first_checked_at for n in self.nights if n.proof.first_checked_at]
        last = [n.proof.last_checked_at for n in self.nights if n.proof.last_checked_at]
        return min(first, default=None), max(last, default=None)


def month(conn: db.Connection, first: date) -> Month:
    """The month that begins on that day. Raises NotFound if no night of it has a report."""
    q = db.queries()
    after = add_months(first, 1)
    (first_at, _), (after_at, _) = day_bounds_utc(first), day_bounds_utc(after)
    nights = [read(r.summary) for r in q.nights_of_month(conn, first=first, after=after) if r.summary]
    settled = {r.controller: r.n for r in q.settled_of_month(conn, first_at=first_at, after_at=after_at)}
    began, today = q.first_night_day(conn), helsinki_day(db.now(conn))
    conn.rollback()
    if not nights:
        raise NotFound(f"No night of {first:%Y-%m} has a report.", mend="`callkeeper reports` lists the nights.")
    done, withdrawn = Counter[str](), Counter[str]()
    for counts in (c for n in nights for c in n.controllers):
        done[counts.controller] += counts.done
        withdrawn[counts.controller] += counts.withdrawn
    last = {c.controller: c for c in nights[-1].controllers}
    happened = {n.day for n in nights}
    days = [max(first, began) + timedelta(days=n) for n in range((min(after, today) - max(first, began)).days)]
    return Month(
        first=first,
        nights=tuple(nights),
        controllers=tuple(
            MonthOf(
                controller=c,
                done=done[c],
                withdrawn=withdrawn[c],
                settled=settled.get(c, 0),
                blocked=last[c].blocked if c in last else 0,
                waiting=last[c].waiting if c in last else 0,
                open_at_vendor=last[c].open_at_vendor if c in last else 0,
                failed=last[c].failed if c in last else 0,
            )
            for c in sorted({*done, *settled})
        ),
        missing=tuple(day for day in days if day not in happened),
    )


def write_month(conn: db.Connection, store: Store, today: date) -> str | None:
    """The month before, as a PDF in the store, by the first night that finds none there; its key, or None."""
    first = add_months(today.replace(day=1), -1)
    key = f"reports/deletion/{first:%Y-%m}.pdf"
    if store.head(key) is not None:
        return None
    try:
        summed = month(conn, first)
    except NotFound:
        return None
    _put(store, key, as_pdf(f"Deletion report, {first:%B %Y}", summed), "application/pdf")
    return key


def of_one_night(report: Report) -> Month:
    """One night in the shape of a month, to be set on the same page."""
    names = ("controller", "done", "withdrawn", "blocked", "waiting", "open_at_vendor", "failed")
    return Month(
        first=report.day,
        nights=(report,),
        controllers=tuple(MonthOf(settled=0, **{name: getattr(c, name) for name in names}) for c in report.controllers),
        missing=(),
    )


def as_pdf(title: str, summed: Month) -> bytes:
    """A tagged PDF (PDF/UA-1), the same bytes for the same figures. Raises CallkeeperError if it cannot be set."""
    import typst

    last = summed.nights[-1]
    reasons: Counter[tuple[str, str]] = Counter()
    for w in last.reasons:
        reasons[w.outcome, in_words(w.outcome, w.reason)] += w.n
    first_checked, last_checked = summed.checked
    data = {
        "title": title,
        "controllers": [asdict(c) for c in summed.controllers],
        "nights": [_pdf_row(n) for n in summed.nights],
        "missing": [day_in_words(day) for day in summed.missing],
        "reasons": [[outcome.replace("_", " "), why, n] for (outcome, why), n in sorted(reasons.items())],
        "recordings": sum(n.proof.recordings for n in summed.nights),
        "versions": sum(n.proof.versions_removed for n in summed.nights),
        "first_checked": _minute(first_checked),
        "last_checked": _minute(last_checked),
        "overdue": sum(o.n for o in last.overdue),
        "forecast": horizons(last),
        "last_day": day_in_words(last.day),
        "codes": sorted({n.code for n in summed.nights}),
        "configurations": sorted({n.config_version for n in summed.nights if n.config_version is not None}),
        "keep_until": day_in_words(last.keep_until),
    }
    try:
        made = typst.compile(
            (TEMPLATES / "deletion_report.typ").read_bytes(),
            format="pdf",
            pdf_standards="ua-1",
            sys_inputs={"data": json.dumps(data)},
            ignore_system_fonts=True,
            timestamp=int(last.ended_at.timestamp()),
        )
    except typst.TypstError:
        raise CallkeeperError("The PDF could not be set.", mend="This is a fault of callkeeper: report it.") from None
    assert isinstance(made, bytes)
    return made


def _pdf_row(n: Report) -> dict[str, Any]:
    counts = {term: n.total(term) for term in ("due", "withdrawn", *TERMS)}
    word = "balanced" if n.balanced else "DOES NOT BALANCE"
    return {"day": f"{n.day:%Y-%m-%d}", "word": word if n.live else f"rehearsal, {word}", **counts}


def _minute(at: datetime | None) -> str:
    return f"{at.astimezone(HELSINKI):%Y-%m-%d %H:%M %Z}" if at else "never"


# --- in a terminal ----------------------------------------------------------------------------------------------------


def table(reports: Sequence[Report]) -> Table:
    """A rich table, one line a night and controller; the reasons are not in it."""
    from rich import box
    from rich.table import Table

    off = any(c.difference for r in reports for c in r.controllers)
    made = Table("night", "controller", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    terms = ("due", "withdrawn", *TERMS)
    for term in (*terms, *(["difference"] if off else [])):
        made.add_column(term.replace("_", " "), justify="right")
    for r in reports:
        shown = str(r.day) if r.live else f"{r.day} rehearsal"
        for c in r.controllers:
            cells = [str(getattr(c, term) or "·") for term in terms]
            cells += [f"{c.difference:+d}"] if off else []
            made.add_row(shown, c.controller, *cells, style="red" if c.difference else "")
            shown = ""
        if not r.controllers:
            made.add_row(shown, "nothing was due")
    word = "[red]it does not add up[/]" if off else "it adds up"
    made.caption = f"due - withdrawn = {' + '.join(TERMS).replace('_', ' ')}: {word}"
    return made
