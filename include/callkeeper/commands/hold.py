"""``callkeeper hold`` and ``callkeeper holds``: what is held beyond its term, on whose word, and until which review."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TextIO
from uuid import UUID

import click

from callkeeper import settings, wiring
from callkeeper.blockers import Predicate
from callkeeper.clock import HELSINKI
from callkeeper.commands import scope
from callkeeper.errors import NotAllowed
from callkeeper.jobs import holding

AS = click.option("--as", "account", help="Your Airflow account.")


DAY = click.DateTime(["%Y-%m-%d"])


@click.group("hold")
def group() -> None:
    """Draft a case, place it at once, have it ratified; extend, narrow or release it by two people."""


@group.command()
@click.option(
    "--kind", type=click.Choice(holding.KINDS), help="Why; if it is neither said nor in --facts, you are asked."
)
@click.option(
    "--facts",
    type=click.File(encoding="utf-8"),
    help="A file (-: standard input) with lines `authority: …`, `reference: …`, `ground: …`; else you are asked. Kept sealed.",
)
@click.option("--case", "case_ref", help="A placed case that is to be narrowed to what is named here.")
@click.option("--number", "ask_number", is_flag=True, help="Ask for a number, unseen.")
@click.option(
    "--numbers", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file, one number a line."
)
@click.option(
    "--recording", "recordings", type=click.UUID, multiple=True, help="A recording; may be said more than once."
)
@click.option("--line", help="A service number of ours.")
@click.option("--controller", help="A company.")
@click.option("--from", "from_at", type=scope.Moment(), help="The first day, or time, of Helsinki.")
@click.option(
    "--to", "to_at", type=scope.Moment(last=True), help="The last day (included), or the time at which it ends."
)
@click.option("--wide", is_flag=True, help="More than a tenth of a company's recordings is meant.")
@AS
def draft(
    kind: holding.Kind | None,
    facts: TextIO | None,
    case_ref: str | None,
    ask_number: bool,
    numbers: Path | None,
    recordings: tuple[UUID, ...],
    line: str | None,
    controller: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
    wide: bool,
    account: str | None,
) -> None:
    """Writes a case down, says what it would hold, and prints its number. It holds nothing until it is placed."""
    from callkeeper.commands.signin import sign_in

    if case_ref and (kind or facts):
        raise click.UsageError("Why a placed case holds stays as it is: --case takes neither --kind nor --facts.")
    app = wiring.build(settings.load())
    who = sign_in(app, account, holding.PLACERS)
    with app.connect() as conn:
        predicate = Predicate(
            recordings=recordings or None,
            pseudonyms=holding.of_numbers(app.keyring, scope.numbers(ask_number, numbers)),
            line=scope.line(conn, line) if line else None,
            controller=scope.company(app, conn, controller) if controller else None,
            from_at=from_at,
            to_at=to_at,
        )
        actor = app.actor(conn, account=who)
        if case_ref:
            before, after = holding.draft_narrower(
                conn, app.keyring, case_ref=case_ref, by=predicate, account=who, actor=actor
            )
            click.echo(f"It covers {before.recordings} recordings now, and {after.recordings} once it is narrowed:")
            _tell(after)
            click.echo(f"To ask for it, and then to confirm it: callkeeper hold narrow {case_ref}")
            return
        conn.rollback()
        kind, why = _facts(kind, facts)
        case_ref, found = holding.draft(
            conn,
            app.keyring,
            kind=kind,
            facts=why,
            predicate=predicate,
            account=who,
            actor=actor,
            wide=wide,
        )
    click.secho(case_ref, bold=True)
    _tell(found)
    click.echo(f"It holds nothing yet: callkeeper hold place {case_ref} (or legal_hold in Airflow).")


def _tell(found: holding.Preview) -> None:
    if not found.counts:
        click.echo("It covers no recording now; it waits for calls still to come.")
    for controller, (n, of) in found.counts.items():
        share = f" of {of} ({100 * n / of:.1f} %)" if of else ""
        click.echo(f"  {controller:24} {n}{share}")


def _facts(kind: holding.Kind | None, file: TextIO | None) -> tuple[holding.Kind, holding.Facts]:
    """Kind, authority, reference and ground: arguments would stand in the list of processes and in a shell's history."""
    written: dict[str, str] = {"kind": kind} if kind else {}
    names = ("kind", "authority", "reference", "ground")
    for place, line in enumerate(file or (), start=1):
        name, _, value = (part.strip() for part in line.partition(":"))
        if not name:
            continue
        if name not in names or written.get(name, value) != value:
            raise NotAllowed(
                f"Line {place} of the facts is none that is known.",
                mend=f"Each is one of {', '.join(names)}, a colon, its text.",
            )
        written[name] = value
    said = written.pop("kind", None) or click.prompt("Kind", type=click.Choice(holding.KINDS))
    found = next((known for known in holding.KINDS if known == said), None)
    if found is None:
        raise NotAllowed("The facts' kind is none that is known.", mend=f"Known: {', '.join(holding.KINDS)}.")
    if file is None:
        written = {name: click.prompt(name.capitalize(), default="", show_default=False) for name in names[1:]}
    return found, holding.Facts(**written)


@group.command()
@click.argument("case_ref", metavar="CASE")
@AS
def show(case_ref: str, account: str | None) -> None:
    """One case. An officer who signs in (--as) reads its kind, authority and ground too."""
    app, officer = _look(account)
    with app.connect() as conn:
        case, facts, named, late = holding.show(conn, case_ref, app.keyring if officer else None)
    said = asdict(case) | (asdict(facts) if facts else {})
    said |= {
        "named": f"{len(named.recordings or ())} recordings, {'a number' if named.pseudonyms else 'no number'}",
        "line": named.line,
        "controller": named.controller,
        "from": named.from_at and named.from_at.astimezone(HELSINKI),
        "to": named.to_at and named.to_at.astimezone(HELSINKI),
    }
    for name, value in said.items():
        click.echo(f"{name.replace('_', ' '):14} {value if value not in (None, (), '') else '-'}")
    for recording in late:
        click.echo(f"too late for   {recording}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@AS
def register(as_json: bool, account: str | None) -> None:
    """The register of holds. An officer who signs in (--as) sees their kinds; to others each is a legal ground."""
    app, officer = _look(account)
    with app.connect() as conn:
        cases = holding.register(conn, officer=officer)
    if as_json:
        click.echo(json.dumps([asdict(c) for c in cases], default=str))
        return
    if not cases:
        click.echo("There is no case.")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("case", "ground", "state", "recordings", "too late", "placed by", "ratified by", "review"):
        table.add_column(heading, no_wrap=True)
    for c in cases:
        facts = (c.case_ref, c.ground, c.state, c.recordings, c.too_late or "", c.placed_by, c.ratified_by, c.review_on)
        table.add_row(*("-" if fact is None else str(fact) for fact in facts))
    console = Console()
    Console(width=max(console.width, 110)).print(table)
    for c in cases:
        for missing in c.not_imported:
            click.secho(f"{c.case_ref}: days of its window are not imported yet: {missing}.", fg="yellow")
        for waiting in c.waiting:
            click.secho(f"{c.case_ref}: {waiting}, waits for a second person.", fg="yellow")


def _look(account: str | None) -> tuple[wiring.App, bool]:
    """The app, and whether an officer looks: nobody need sign in to see what all may see."""
    from callkeeper.commands.signin import sign_in

    app = wiring.build(settings.load())
    if account is None:
        return app, False
    sign_in(app, account, holding.PLACERS)
    return app, True


def _act(
    action: holding.Action, case_ref: str, account: str | None, review_on: datetime | None, ends_on: datetime | None
) -> None:
    from callkeeper import controllers
    from callkeeper.commands.signin import sign_in

    app = wiring.build(settings.load())
    who = sign_in(app, account, holding.PLACERS if action == "place" else holding.SECONDERS)
    with app.connect() as conn:
        done = holding.act(
            conn,
            case_ref,
            action,
            account=who,
            duties=controllers.duties(conn, app.config, who),
            actor=app.actor(conn, account=who),
            holder=app.holder,
            review_on=review_on.date() if review_on else None,
            ends_on=ends_on.date() if ends_on else None,
        )
        if action == "place" and app.settings.smtp_host:
            holding.tell_placed(conn, app.notifier, to=app.settings.mail_privacy)
    click.echo(done.text)


_REVIEW = click.option("--review-on", type=DAY, help="The day by which somebody looks at it again.")
_END = click.option("--ends-on", type=DAY, help="The day on which its ground ends, if that is known.")


@group.command()
@click.argument("case_ref", metavar="CASE")
@_REVIEW
@_END
@AS
def place(case_ref: str, review_on: datetime | None, ends_on: datetime | None, account: str | None) -> None:
    """Places a drafted case: it holds from this moment, on your word alone; a second person ratifies it within 3 days."""
    _act("place", case_ref, account, review_on, ends_on)


@group.command()
@click.argument("case_ref", metavar="CASE")
@AS
def ratify(case_ref: str, account: str | None) -> None:
    """Stands behind a hold that somebody else has placed."""
    _act("ratify", case_ref, account, None, None)


@group.command()
@click.argument("case_ref", metavar="CASE")
@_REVIEW
@_END
@AS
def extend(case_ref: str, review_on: datetime | None, ends_on: datetime | None, account: str | None) -> None:
    """Asks for a later review or end; or confirms what somebody else has asked for."""
    _act("extend", case_ref, account, review_on, ends_on)


@group.command()
@click.argument("case_ref", metavar="CASE")
@AS
def narrow(case_ref: str, account: str | None) -> None:
    """Asks that a case hold less, as drafted with `hold draft --case`; or confirms what somebody else has asked for."""
    _act("narrow", case_ref, account, None, None)


@group.command()
@click.argument("case_ref", metavar="CASE")
@AS
def release(case_ref: str, account: str | None) -> None:
    """Asks that a case hold nothing any more; or confirms it. Nothing is deleted by that: the next night decides."""
    _act("release", case_ref, account, None, None)
