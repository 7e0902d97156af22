"""``callkeeper disclosure``: what is given to an authority or a company of the group, by two people, against a receipt."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TextIO
from uuid import UUID

import click

from callkeeper import controllers, disclosures, wiring
from callkeeper.clock import HELSINKI
from callkeeper.commands.outfile import new_file
from callkeeper.commands.signin import signed_in
from callkeeper.disclosures import Channel
from callkeeper.errors import NotAllowed
from callkeeper.jobs import disclosing

AS = click.option("--as", "account", help="Your Airflow account.")
DISCLOSURE = click.argument("disclosure", metavar="DISCLOSURE")
FACTS = ("authority", "statute", "reference")


@click.group("disclosure")
def group() -> None:
    """Give recordings to an authority, or to a company of the group: draft it, have it approved, hand it over."""


@group.command()
@click.option("--to", "company", help="The company of the group that is given them; without it, an authority.")
@click.option(
    "--purpose",
    type=click.Choice(disclosures.PURPOSES["group_company"]),
    help="For what a company is given them: the notice's purposes.",
)
@click.option(
    "--facts",
    type=click.File(encoding="utf-8"),
    help="A file (-: standard input) with lines `authority: …`, `statute: …`, `reference: …`; else you are asked. Kept sealed, but for the statute.",
)
@click.option(
    "--recording", "recordings", type=click.UUID, multiple=True, help="A recording; may be said more than once."
)
@click.option("--case", help="A hold (H-…) or a request (DSR-…), whose recordings are meant.")
@click.option("--untold", is_flag=True, help="The law forbids for now to tell the person: only officers see it.")
@AS
def draft(
    company: str | None,
    purpose: disclosures.Purpose | None,
    facts: TextIO | None,
    recordings: tuple[UUID, ...],
    case: str | None,
    untold: bool,
    account: str | None,
) -> None:
    """Writes down what is to be given to whom, and prints its number. Nothing is given by that, and nothing held."""
    if (company is None) != (purpose is None):
        raise click.UsageError("A company is given recordings for a purpose: --to and --purpose go together.")
    if company and (facts or untold):
        raise click.UsageError("--facts and --untold are about an authority.")
    app, who = signed_in(account)
    said = _facts(facts) if company is None else {}
    with app.connect() as conn:
        disclosure = disclosing.draft(
            conn,
            app.keyring,
            recipient_kind="group_company" if company else "authority",
            recipient=company or said["authority"],
            purpose=purpose or "authority",
            statute=said.get("statute"),
            reference=said.get("reference"),
            recordings=recordings,
            case=case,
            untold=untold,
            years=app.config.terms.deletion_evidence_years,
            account=who,
            actor=app.actor(conn, account=who),
        )
        found = disclosing.show(conn, disclosure, officer=True)
    click.secho(disclosure, bold=True)
    _tell(found)
    click.echo(disclosing.HOLDS_NOTHING)
    click.echo(
        f"To ask for it: callkeeper disclosure ask {disclosure}" + ("" if untold else " (or disclose in Airflow).")
    )


def _facts(file: TextIO | None) -> dict[str, str]:
    """The authority, the law and the reference: arguments would stand in the list of processes and in a shell's history."""
    if file is None:
        return {name: click.prompt(name.capitalize()) for name in FACTS}
    written: dict[str, str] = {}
    for place, line in enumerate(file, start=1):
        name, _, value = (part.strip() for part in line.partition(":"))
        if name and (name not in FACTS or written.get(name, value) != value):
            raise NotAllowed(
                f"Line {place} of the facts is none that is known.",
                mend=f"Each is one of {', '.join(FACTS)}, a colon, its text.",
            )
        if name:
            written[name] = value
    if missing := [name for name in FACTS if not written.get(name)]:
        raise NotAllowed(f"The facts lack: {', '.join(missing)}.")
    return written


@group.command()
@DISCLOSURE
@click.option(
    "--clear", is_flag=True, help="The authority and its reference, too. That somebody looked goes into the trail."
)
@AS
def show(disclosure: str, clear: bool, account: str | None) -> None:
    """One disclosure: its state, by whom, how many recordings; an officer reads the sealed facts with --clear."""
    app, who, officer = _reader(account)
    if clear and not officer:
        raise NotAllowed("The sealed facts are for the privacy officer and her deputies.")
    with app.connect() as conn:
        found = disclosing.show(conn, disclosure, officer=officer)
        facts = disclosing.look(conn, app.keyring, disclosure, app.actor(conn, account=who)) if clear else None
        about = disclosing.recordings(conn, disclosure) if officer else []
    click.secho(found.disclosure, bold=True)
    _tell(found)
    for name, value in (asdict(facts) if facts else {}).items():
        click.echo(f"{name:14} {value}")
    for recording in about:
        click.echo(f"recording      {recording}")


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@AS
def list_(as_json: bool, account: str | None) -> None:
    """The register, the newest first. Drafts, and what the law forbids to tell, are for officers."""
    app, _, officer = _reader(account)
    with app.connect() as conn:
        found = disclosing.register(conn, officer=officer)
    if as_json:
        shown = [{k: v for k, v in asdict(d).items() if k != "scope" and (officer or k != "untold")} for d in found]
        click.echo(json.dumps(shown, default=str))
        return
    if not found:
        click.echo("There is no disclosure.")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("disclosure", "to", "purpose", "state", "recordings", "asked by", "approved by", "handed over"):
        table.add_column(heading, no_wrap=True)
    for d in found:
        day = d.handed_over_at and d.handed_over_at.astimezone(HELSINKI).date()
        facts = (
            d.disclosure,
            d.company or "authority",
            d.purpose,
            d.state,
            d.recordings,
            d.asked_by,
            d.approved_by,
            day,
        )
        table.add_row(*("-" if fact is None else str(fact).replace("_", " ") for fact in facts))
    console = Console()
    Console(width=max(console.width, 110)).print(table)


def _act(disclosure: str, action: disclosing.Action, account: str | None, channel: Channel | None = None) -> None:
    app, who = signed_in(account, controllers.SECONDERS if action == "approve" else controllers.OFFICERS)
    with app.connect() as conn:
        duties = controllers.duties(conn, app.config, who)
        if action == "approve":
            found = disclosing.show(conn, disclosure, officer=not duties.isdisjoint(controllers.OFFICERS))
            _tell(found)
            conn.rollback()
            click.confirm("Yes?", abort=True)
        done = disclosing.act(
            conn,
            app,
            disclosure,
            action,
            account=who,
            duties=duties,
            actor=app.actor(conn, account=who),
            channel=channel,
        )
    click.echo(done.text)


@group.command()
@DISCLOSURE
@AS
def ask(disclosure: str, account: str | None) -> None:
    """Asks for what was drafted: the first of two people."""
    _act(disclosure, "ask", account)


@group.command()
@DISCLOSURE
@AS
def approve(disclosure: str, account: str | None) -> None:
    """Says yes as the second person, once you have seen what it is; then its package is made."""
    _act(disclosure, "approve", account)


@group.command()
@DISCLOSURE
@AS
def make(disclosure: str, account: str | None) -> None:
    """Makes a package that failed or has expired again; what two people said stands."""
    _act(disclosure, "make", account)


@group.command("handed-over")
@DISCLOSURE
@click.option("--channel", type=click.Choice(disclosures.CHANNELS), required=True, help="How it was handed over.")
@AS
def handed_over(disclosure: str, channel: Channel, account: str | None) -> None:
    """Notes that the recipient has the package, against a signed receipt."""
    _act(disclosure, "hand_over", account, channel)


@group.command()
@DISCLOSURE
@AS
def withdraw(disclosure: str, account: str | None) -> None:
    """Ends one that comes to nothing; its package goes by the next night."""
    _act(disclosure, "withdraw", account)


@group.command("may-be-told")
@DISCLOSURE
@AS
def may_be_told(disclosure: str, account: str | None) -> None:
    """The law no longer forbids to tell of it: from now on letters do."""
    app, who = signed_in(account)
    with app.connect() as conn:
        disclosing.may_be_told(conn, disclosure, app.actor(conn, account=who))
    click.echo(f"{disclosure} may be told from now on.")


@group.command()
@DISCLOSURE
@click.option(
    "--out",
    type=click.Path(dir_okay=False, exists=False, path_type=Path),
    required=True,
    help="A file that is not there yet.",
)
@AS
def package(disclosure: str, out: Path, account: str | None) -> None:
    """Takes the package out, encrypted as it is. That you did goes into the trail."""
    app, who = signed_in(account)
    with (
        app.connect() as conn,
        # First: that somebody took it out is an event, and nobody has where this refuses.
        new_file(out) as file,
        disclosing.open_package(conn, app, disclosure, app.actor(conn, account=who)) as body,
    ):
        shutil.copyfileobj(body, file, 1 << 20)
    click.echo(f"{out}. What opens it, by another way: callkeeper disclosure passphrase {disclosure}")


@group.command()
@DISCLOSURE
@AS
def passphrase(disclosure: str, account: str | None) -> None:
    """What opens the package. That you read it goes into the trail; it goes to the recipient apart."""
    app, who = signed_in(account)
    with app.connect() as conn:
        click.echo(disclosing.passphrase(conn, app.keyring, disclosure, app.actor(conn, account=who)))


def _reader(account: str | None) -> tuple[wiring.App, str, bool]:
    """The app, who signed in, and whether it is an officer."""
    app, who = signed_in(account, controllers.SECONDERS)
    with app.connect() as conn:
        return app, who, not controllers.duties(conn, app.config, who).isdisjoint(controllers.OFFICERS)


def _tell(d: disclosing.Disclosure) -> None:
    said = {
        "to": d.company or "an authority",
        "purpose": d.purpose.replace("_", " "),
        "statute": d.statute,
        "recordings": d.recordings,
        "state": d.state.replace("_", " "),
        "drafted by": d.drafted_by,
        "asked by": d.asked_by,
        "approved by": d.approved_by,
        "package until": d.kept_until,
        "handed over": d.handed_over_at
        and f"{d.handed_over_at.astimezone(HELSINKI):%Y-%m-%d %H:%M}, {(d.channel or '').replace('_', ' ')}",
    }
    for name, value in said.items():
        click.echo(f"{name:14} {'-' if value is None else value}")
    if d.untold:
        click.secho("The law forbids for now to tell the person.", fg="yellow")
