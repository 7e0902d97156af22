"""``callkeeper reports``: what each night's deletions came to, on the terminal and in files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from callkeeper import db, settings, wiring
from callkeeper.errors import NotFound

DAY = click.DateTime(["%Y-%m-%d"])
TO = click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)


@click.group("reports", invoke_without_command=True)
@click.option("--nights", default=14, show_default=True, help="How many of the last nights.")
@click.pass_context
def group(context: click.Context, nights: int) -> None:
    """What each night's deletions came to; without more, the last nights."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from callkeeper.jobs import reporting

    app = wiring.build(settings.load())
    with app.connect() as conn:
        told = [row for row in db.queries().nights_told(conn, limit=nights) if row.summary]
    if not told:
        click.echo("No night has a report yet.")
        return
    Console().print(reporting.table([reporting.read(row.summary) for row in reversed(told)]))


@group.command()
@click.argument("day", type=DAY, required=False)
def show(day: datetime | None) -> None:
    """A night's report (the last one's, where no DAY is named), with the reasons."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from callkeeper.jobs import reporting
    from callkeeper.jobs.pages import time_in_words

    app = wiring.build(settings.load())
    with app.connect() as conn:
        report = reporting.read(_find(conn, day).summary)
    console = Console(highlight=False)
    console.print(reporting.table([report]))
    if report.reasons:
        why = Table("controller", "outcome", "why", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        why.add_column("recordings", justify="right")
        for w in report.reasons:
            words = reporting.in_words(w.outcome, w.reason)
            why.add_row(w.controller, w.outcome.replace("_", " "), words, str(w.n))
        console.print(why)
    proof = report.proof
    if proof.recordings:
        console.print(
            f"{proof.recordings} recordings proven gone from the store, {proof.versions_removed} versions removed; "
            f"absence read from {time_in_words(proof.first_checked_at)} to {time_in_words(proof.last_checked_at)}"
        )
    for o in report.overdue:
        since = time_in_words(o.oldest_due_at)
        console.print(f"overdue by 48 hours: [red]{o.controller} {o.n}, the oldest since {since}[/]")
    for days, due, blocked in reporting.horizons(report):
        console.print(f"within {days} days: {due} due, {blocked} of them blocked today")
    console.print(f"callkeeper {report.code}, configuration {report.config_version}; kept until {report.keep_until}")


@group.command()
@click.argument("day", type=DAY)
@click.option("--format", "kind", type=click.Choice(["html", "json", "pdf"]), default="html", show_default=True)
@TO
def get(day: datetime, kind: str, target: Path) -> None:
    """Writes a night's report into a file: as it stands in the store (html, json), or set anew (pdf)."""
    from callkeeper.jobs import reporting
    from callkeeper.jobs.pages import day_in_words

    app = wiring.build(settings.load())
    with app.connect() as conn:
        row = _find(conn, day)
    if kind == "pdf":
        night = reporting.read(row.summary)
        content = reporting.as_pdf(
            f"Deletion report, night of {day_in_words(night.day)}", reporting.of_one_night(night)
        )
    else:
        content = reporting.fetch(app.store, row.files, kind)
    target.write_bytes(content)
    click.echo(f"{target}: {len(content)} bytes")


@group.command()
@click.argument("month", type=click.DateTime(["%Y-%m"]))
@TO
def month(month: datetime, target: Path) -> None:
    """Sums a MONTH's nights (2026-11) per controller, as a PDF."""
    from callkeeper.jobs import reporting

    app = wiring.build(settings.load())
    with app.connect() as conn:
        summed = reporting.month(conn, month.date())
    content = reporting.as_pdf(f"Deletion report, {month:%B %Y}", summed)
    target.write_bytes(content)
    click.echo(f"{target}: {len(summed.nights)} nights, {len(content)} bytes")


def _find(conn: db.Connection, day: datetime | None) -> db.Row:
    row = db.queries().night_of_day(conn, day=day.date() if day else None)
    if row is None:
        which = f"of {day:%Y-%m-%d} " if day else ""
        raise NotFound(f"No night {which}has a report.", mend="`callkeeper reports` lists the nights.")
    return row
