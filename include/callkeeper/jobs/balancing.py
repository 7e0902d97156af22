"""The end of an import: do the counts add up, and what must the data team know this morning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from callkeeper import db
from callkeeper.clock import helsinki_day
from callkeeper.deliveries import (
    TERMS,
    Outcome,
    RunBalance,
    Span,
    UnfinishedDay,
    add_tally,
    as_json,
    read_balance,
    spans,
    unfinished,
)
from callkeeper.errors import NotFound
from callkeeper.jobs.pages import render
from callkeeper.notify import Message
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, ImportBalanced

if TYPE_CHECKING:
    from rich.table import Table

WINDOW_WARNING_DAYS = 2
"""A vendor's window is about to close: its audio goes so many days from now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Calls in quarantine for one reason."""

    vendor: str
    controller: str
    reason: str
    n: int
    overdue: int
    oldest: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Morning:
    """What the data team reads in the morning. ``alarms`` are sentences: somebody has to act."""

    balance: RunBalance
    unfinished: tuple[UnfinishedDay, ...]
    spans: tuple[Span, ...]
    quarantine: tuple[Waiting, ...]
    alarms: tuple[str, ...]
    at: datetime


def balance(conn: db.Connection, run_key: str, actor: Actor) -> RunBalance:
    """Counts what is still on its way, stores the run's balance with its events, and commits.

    The same balance a second time changes nothing. Raises NotFound if the run never passed its preflight.
    """
    q = db.queries()
    run = q.find_run(conn, run_key=run_key)
    if run is None:
        raise NotFound(
            "This run has no preflight: there is nothing to balance.", mend="Look at the preflight task's log."
        )
    q.forget_pending(conn, run=run.run)
    for row in list(q.count_staged(conn, run=run.run)):
        add_tally(conn, run.run, row.vendor, [(row.controller, Outcome.pending, "", row.n)])
    result = read_balance(conn, run.run, run.run_key, run.day)
    if q.end_run(conn, run=run.run, balanced=result.balanced, balance=as_json(result)):
        append(
            conn,
            actor,
            (
                ImportBalanced(vendor=b.vendor, controller=b.controller, counts=b.counts, balanced=b.difference == 0)
                for b in result.balances
            ),
        )
    conn.commit()
    return result


def morning(
    conn: db.Connection,
    result: RunBalance,
    *,
    windows: Mapping[str, int | None],
    findings: Sequence[str] = (),
    failures: Sequence[str] = (),
) -> Morning:
    """Gathers what the data team must know. ``windows``: how many days each vendor keeps audio, None for ever.

    ``findings`` come from the preflight, ``failures`` name the tasks that failed.
    """
    now = db.now(conn)
    days = unfinished(conn)
    waiting = tuple(Waiting(**row._asdict()) for row in db.queries().quarantine_summary(conn))
    conn.rollback()
    alarms = [f"Task failed: {f}." for f in failures]
    alarms += [
        f"{b.vendor}, {b.controller}: the run does not balance, {b.difference:+d} of {b.counts.get(Outcome.found, 0)} calls."
        for b in result.balances
        if b.difference
    ]
    alarms += findings
    alarms += _day_alarms(days, helsinki_day(now), windows)
    alarms += [
        f"{w.vendor}, {w.controller}: {w.overdue} calls have waited in quarantine beyond their term ({w.reason})."
        for w in waiting
        if w.overdue
    ]
    return Morning(balance=result, unfinished=days, spans=spans(days), quarantine=waiting, alarms=tuple(alarms), at=now)


def _day_alarms(days: Sequence[UnfinishedDay], today: date, windows: Mapping[str, int | None]) -> list[str]:
    """What somebody has to do about unfinished days: windows closing a line a day, else a line an outage."""
    closing: list[str] = []
    closed: list[UnfinishedDay] = []
    late: list[UnfinishedDay] = []
    for day in days:
        keeps = windows.get(day.vendor)
        closes = day.day + timedelta(days=keeps) if keeps is not None else None
        if closes and today > closes:
            closed.append(replace(day, state="", trouble=None))
        elif closes and today >= closes - timedelta(days=WINDOW_WARNING_DAYS):
            closing.append(
                f"{day.vendor}, {day.day}: the vendor keeps this day until {closes} only, and it is not complete."
            )
        elif day.trouble or day.day < today - timedelta(days=1):
            late.append(day)
    lost = [
        f"{span.vendor}, {span.days}: the vendor's window has closed and it is not complete: a person declares it lost."
        for span in spans(closed)
    ]
    return closing + lost + [f"{span}" if span.trouble else f"{span}." for span in spans(late)]


def table(results: Sequence[RunBalance]) -> Table:
    """A rich table, one line a run, vendor and controller; terms that are nowhere other than zero have no column."""
    from rich import box
    from rich.table import Table

    terms = [str(t) for t in TERMS if any(r.total(t) for r in results)]
    off = any(not r.balanced for r in results)
    shown_table = Table("day", "vendor", "controller", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for term in ("found", *terms, *(["difference"] if off else [])):
        shown_table.add_column(term, justify="right")
    shown = None
    for result in results:
        for b in result.balances:
            row = [str(b.counts.get(t, 0) or "·") for t in ("found", *terms)]
            day = str(result.day) if result.day != shown else ""
            shown = result.day
            shown_table.add_row(
                day,
                b.vendor,
                b.controller,
                *row,
                *([f"{b.difference:+d}"] if off else []),
                style="red" if b.difference else "",
            )
    equation = f"found = {' + '.join(TERMS)}"
    shown_table.caption = f"{equation}: [red]it does not add up[/]" if off else f"{equation}: it adds up"
    return shown_table


def note(news: Morning) -> str:
    """The morning as a note on the run: Markdown, the alarms first, the balance as a table of what is not zero."""
    terms = [str(t) for t in TERMS if news.balance.total(t)]
    rows = [
        [
            b.vendor,
            b.controller,
            *(str(b.counts.get(t, 0)) for t in (Outcome.found, *terms)),
            *([f"**{b.difference:+d}**"] if b.difference else []),
        ]
        for b in news.balance.balances
    ]
    sums = " + ".join(f"{news.balance.total(t)} {t}" for t in terms) or "0"
    word = "needs somebody" if news.alarms else "balanced"
    lines = [f"**{news.balance.day}: {word}**, {news.balance.total(Outcome.found)} found = {sums}", ""]
    if rows:
        head = ["vendor", "controller", "found", *terms]
        lines += [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows), ""]
    lines += [f"- {alarm}" for alarm in news.alarms]
    return "\n".join(lines)


def message(news: Morning, *, link: str) -> Message:
    """The morning's mail: counts, codes and days only. ``link`` leads to the runbook."""
    word = "ALARM" if news.alarms else "balanced"
    found, kept = news.balance.total(Outcome.found), news.balance.total(Outcome.kept)
    facts = {"news": news, "terms": TERMS, "link": link, "word": word}
    return Message(
        subject=f"callkeeper import {news.balance.day}: {word}, {found} found, {kept} kept",
        text=render("morning.txt", **facts),
        html=render("morning.html", **facts),
    )


def was_mailed(conn: db.Connection, run_key: str) -> bool:
    """Whether the run's mail has gone out: a task that is run again does not send it twice."""
    run = db.queries().find_run(conn, run_key=run_key)
    conn.rollback()
    return run is not None and run.mailed_at is not None


def mark_mailed(conn: db.Connection, run: int) -> None:
    """The mail has gone out; commits."""
    db.queries().mailed(conn, run=run)
    conn.commit()
