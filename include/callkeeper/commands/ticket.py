"""``callkeeper ticket``: a person's request is taken in, listed, shown, ended. Numbers come from a prompt or a file only."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from uuid import UUID

import click

from callkeeper import controllers, decisions, tickets
from callkeeper.clock import HELSINKI
from callkeeper.commands import letter as letter_
from callkeeper.commands import package as package_
from callkeeper.commands import rights, scope
from callkeeper.commands.signin import signed_in
from callkeeper.jobs import fulfilling
from callkeeper.tickets import (
    Asked,
    Call,
    Channel,
    ClosedAs,
    ErasureGround,
    Evidence,
    Exclusion,
    ExtensionReason,
    Ground,
    Language,
    Question,
    Right,
)  # fmt: skip
from callkeeper.trail.events import canonical, utc

AS = click.option("--as", "account", help="Your Airflow account.")
TICKET = click.argument("ticket", metavar="TICKET")


@click.group("ticket")
def group() -> None:
    """Take a person's request in, which freezes what it is about; see what is due; end it."""


group.add_command(letter_.letter)
group.add_command(letter_.sent)
group.add_command(package_.package)
group.add_command(package_.passphrase)
for _command in rights.COMMANDS:
    group.add_command(_command)


@group.command("open")
@click.option("--right", type=click.Choice([*Right]), required=True, help="What is asked for.")
@click.option(
    "--received", type=click.DateTime(["%Y-%m-%d"]), required=True, help="The day on which it reached the company."
)
@click.option("--channel", type=click.Choice(tickets.CHANNELS), required=True, help="By which way it came.")
@click.option(
    "--language", type=click.Choice(tickets.LANGUAGES), default="fi", show_default=True, help="That of its letters."
)
@click.option("--number", "ask_number", is_flag=True, help="Ask for a number, unseen.")
@click.option(
    "--numbers", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file, one number a line."
)
@click.option(
    "--call",
    "calls",
    type=(str, scope.Moment(), scope.Moment(last=True)),
    multiple=True,
    metavar="LINE FROM TO",
    help="Calls to a line of ours in a time, for a withheld number or a member of staff; may be said more than once.",
)
@click.option("--controller", help="Only this company's recordings; else all companies' are searched.")
@AS
def open_(
    right: str,
    received: datetime,
    channel: Channel,
    language: Language,
    ask_number: bool,
    numbers: Path | None,
    calls: tuple[tuple[str, datetime, datetime], ...],
    controller: str | None,
    account: str | None,
) -> None:
    """Takes a request in, freezes what it is about, and prints its reference and its due day.

    Who asks is never said here: no name, no address. A number is asked for unseen, or read from a file.
    """
    app, who = signed_in(account)
    # Before the database is asked anything: nobody waits for a prompt inside a transaction.
    searched = list(scope.numbers(ask_number, numbers))
    with app.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn,
            app.keyring,
            right=Right(right),
            received_on=received.date(),
            channel=channel,
            language=language,
            numbers=searched,
            times=[Call(line=scope.line(conn, line), from_at=from_at, to_at=to_at) for line, from_at, to_at in calls],
            controller=scope.company(app, conn, controller) if controller else None,
            account=who,
            actor=app.actor(conn, account=who),
        )
        found = fulfilling.show(conn, ticket)
    click.secho(ticket, bold=True)
    _tell(found)


@group.command("list")
@click.option("--all", "closed", is_flag=True, help="Those that are over, too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@AS
def list_(closed: bool, as_json: bool, account: str | None) -> None:
    """The tickets, the most urgent first."""
    app, _ = signed_in(account, fulfilling.READERS)
    with app.connect() as conn:
        found = fulfilling.register(conn, closed=closed)
    if as_json:
        click.echo(json.dumps([asdict(t) for t in found], default=str))
        return
    if not found:
        click.echo("There is no ticket." if closed else "There is no open ticket.")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("ticket", "right", "state", "received", "due", "days left", "identity", "frozen", "by"):
        table.add_column(heading, no_wrap=True)
    for t in found:
        left = "-" if t.days_left is None else f"[red]{t.days_left}[/]" if t.days_left < 0 else str(t.days_left)
        facts = (
            t.ticket,
            t.right,
            t.outcome or t.state,
            t.received_on,
            t.answer_by,
            left,
            t.identity,
            t.frozen,
        )
        table.add_row(*map(str, facts), t.account)
    console = Console()
    Console(width=max(console.width, 110)).print(table)


@group.command()
@TICKET
@click.option(
    "--clear", is_flag=True, help="The numbers that are searched, too. That somebody looked goes into the trail."
)
@AS
def show(ticket: str, clear: bool, account: str | None) -> None:
    """One ticket: its clocks, what is frozen, what can no longer be told, and what became of it so far."""
    app, who = signed_in(account, controllers.OFFICERS if clear else fulfilling.READERS)
    with app.connect() as conn:
        found = fulfilling.show(conn, ticket)
        searched = fulfilling.look(conn, ticket, app.keyring, app.actor(conn, account=who)) if clear else []
        steps = fulfilling.timeline(conn, ticket)
    click.secho(found.ticket, bold=True)
    _tell(found)
    for one in searched:
        if one.call:
            from_at, to_at = (moment.astimezone(HELSINKI) for moment in (one.call.from_at, one.call.to_at))
            click.echo(
                f"searched       {one.call.line or one.call.controller}, {from_at:%Y-%m-%d %H:%M} to {to_at:%Y-%m-%d %H:%M}"
            )
        else:
            click.echo(f"searched       {one.number}")
    for step in steps:
        body = json.loads(canonical(step.event, {}, utc(step.at)))
        said = " ".join(filter(None, (body["action"].partition(".")[2], body.get("state_after"), body.get("reason"))))
        click.echo(f"{step.at.astimezone(HELSINKI):%Y-%m-%d %H:%M}  {step.who:16} {said}")


@group.command()
@TICKET
@click.option("--evidence", type=click.Choice(tickets.EVIDENCES), required=True, help="How they proved who they are.")
@click.option(
    "--from", "from_at", type=scope.Moment(), required=True, help="The first day on which the number was theirs."
)
@click.option("--to", "to_at", type=scope.Moment(last=True), required=True, help="The last one (included).")
@AS
def identity(ticket: str, evidence: Evidence, from_at: datetime, to_at: datetime, account: str | None) -> None:
    """Notes how the person proved who they are, and from when to when the number is proven theirs: the search keeps to it.

    A callback proves today's holder only; numbers change hands.
    """
    app, who = signed_in(account)
    note = click.prompt("What it was (kept sealed)", default="", show_default=False) if evidence == "other" else ""
    with app.connect() as conn:
        fulfilling.prove_identity(
            conn,
            app.keyring,
            ticket,
            evidence=evidence,
            from_at=from_at,
            to_at=to_at,
            note=note,
            account=who,
            actor=app.actor(conn, account=who),
        )
    click.echo(f"{ticket}: identity proven. What there is: callkeeper ticket preview {ticket}")


@group.command()
@TICKET
@click.argument("question", type=click.Choice(tickets.QUESTIONS))
@click.option("--about", type=click.Choice(tickets.ASKED), multiple=True, help="What is not clear; more than once.")
@AS
def ask(ticket: str, question: Question, about: tuple[Asked, ...], account: str | None) -> None:
    """Notes that the person was asked who they are, or what they mean. The due day stays."""
    app, who = signed_in(account)
    with app.connect() as conn:
        fulfilling.ask(conn, ticket, question, app.actor(conn, account=who), about=about)
    click.echo(f"{ticket} waits for the person's answer; its due day stays.")


@group.command()
@TICKET
@AS
def answered(ticket: str, account: str | None) -> None:
    """Notes that the person has answered what was asked."""
    app, who = signed_in(account)
    with app.connect() as conn:
        fulfilling.answered(conn, ticket, app.actor(conn, account=who))
    click.echo(f"{ticket} is open again.")


@group.command()
@TICKET
@click.option(
    "--reason", type=click.Choice(tickets.EXTENSION_REASONS), required=True, help="What the law lets be a reason."
)
@AS
def extend(ticket: str, reason: ExtensionReason, account: str | None) -> None:
    """Makes a ticket due three months from receipt. The person is told of it, with the reason, by the first due day."""
    app, who = signed_in(account)
    with app.connect() as conn:
        due = fulfilling.show(conn, ticket).due_on
        until = fulfilling.extend(conn, ticket, reason, app.actor(conn, account=who))
    click.echo(f"{ticket} is due on {until}. Tell the person by {due}, with the reason.")


@group.command()
@TICKET
@AS
def preview(ticket: str, account: str | None) -> None:
    """Searches every company's recordings in the proven period, and shows what an answer would be about."""
    app, who = signed_in(account)
    with app.connect() as conn:
        seen = fulfilling.preview(conn, app.keyring, ticket, app.actor(conn, account=who))
    for f in seen.found:
        when = f"{f.started_at.astimezone(HELSINKI):%Y-%m-%d %H:%M}" if f.started_at else "-"
        said = "  ".join(
            (str(f.recording), when, f"{f.duration or 0:5} s", f.line or "-", f.direction or "-", f.controller, f.place)
        )
        out = f" (left out: {f.reason.replace('_', ' ') if f.reason else '-'})" if f.state == "excluded" else ""
        if f.mutes or f.audio_channel is not None:
            out += " (its copy leaves something out)"
        if f.corrects:
            out += f" (to be put right: {', '.join(f.corrects)})"
        click.echo(said + out + (" (another request is about it too)" if f.open_elsewhere else ""))
    click.secho(f"{ticket}: {_counted(seen)}. Scope {seen.scope.hex()[: tickets.SCOPE_CHARACTERS]}.", bold=True)
    for missing in seen.not_imported:
        click.secho(
            f"Days that are not imported yet: {missing}. Until they are, nobody can say that there is nothing.",
            fg="yellow",
        )


@group.command()
@TICKET
@click.argument("recordings", type=click.UUID, nargs=-1, required=True)
@click.option("--reason", type=click.Choice(tickets.EXCLUSIONS), required=True, help="Why they are left out.")
@AS
def exclude(ticket: str, recordings: tuple[UUID, ...], reason: Exclusion, account: str | None) -> None:
    """Leaves recordings out of an answer; what is left is a scope of its own."""
    app, who = signed_in(account)
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        left = fulfilling.leave_out(conn, app.keyring, ticket, dict.fromkeys(recordings, reason), actor)
    click.echo(f"{ticket}: {_counted(left)}. Scope {left.scope.hex()[: tickets.SCOPE_CHARACTERS]}.")


@group.command()
@TICKET
@click.option("--scope", "seen", required=True, help="The scope that the preview printed: your yes is to exactly this.")
@click.option(
    "--ground",
    type=click.Choice(tickets.ERASURE_GROUNDS),
    help="For an erasure: why it is due, GDPR Art. 17(1)(a) to (f).",
)
@AS
def approve(ticket: str, seen: str, ground: ErasureGround | None, account: str | None) -> None:
    """Says yes to what you saw, to an erasure with its ground. That takes a second person's, and so does audio on weak evidence."""
    app, who = signed_in(account)
    with app.connect() as conn:
        whole = fulfilling.seen(conn, ticket).scope
        said = whole if len(seen) >= tickets.SCOPE_CHARACTERS and whole.hex().startswith(seen.lower()) else b""
        actor = app.actor(conn, account=who)
        waits = fulfilling.approve(conn, app.keyring, ticket, scope=said, ground=ground, account=who, actor=actor)
    click.echo(
        f"{ticket} is approved"
        + (f", and waits for a second person: callkeeper ticket second {ticket}" if waits else ".")
    )


@group.command()
@TICKET
@AS
def second(ticket: str, account: str | None) -> None:
    """Says yes as the second person, once you have seen what it is about."""
    app, who = signed_in(account, controllers.SECONDERS)
    with app.connect() as conn:
        about, found = fulfilling.show(conn, ticket), fulfilling.seen(conn, ticket)
        first = decisions.find(conn, ticket, "dsr_approve")
        ground = f", because: {first.code.replace('_', ' ')}" if first is not None and first.code else ""
        click.confirm(f"{about.right} of {_counted(found)}, identity {about.identity}{ground}: yes?", abort=True)
        fulfilling.second(conn, ticket, scope=found.scope, account=who, actor=app.actor(conn, account=who))
    click.echo(f"{ticket} has its second yes." + f" To carry it out: callkeeper ticket carry-out {ticket}")


@group.command()
@TICKET
@click.option("--ground", type=click.Choice(tickets.GROUNDS), required=True, help="What the law lets be a ground.")
@AS
def refuse(ticket: str, ground: Ground, account: str | None) -> None:
    """Says no, on a listed ground; you are asked for the reasons, which are kept sealed. None: those that were noted."""
    app, who = signed_in(account)
    reasons = click.prompt("Reasons (kept sealed)", default="", show_default=False) or None
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        fulfilling.refuse(conn, app.keyring, ticket, ground, reasons=reasons, account=who, actor=actor)
    click.echo(f"{ticket} is refused. Once its letter is handed over: callkeeper ticket delivered {ticket}")


@group.command()
@TICKET
@click.option("--channel", type=click.Choice(tickets.CHANNELS), required=True, help="How the answer was handed over.")
@AS
def delivered(ticket: str, channel: Channel, account: str | None) -> None:
    """Notes that the answer was handed over, which ends the ticket. To which address is never stored."""
    app, who = signed_in(account)
    years = app.config.terms.tickets_years
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        outcome = fulfilling.record_delivery(
            conn, ticket, channel, years=years, account=who, actor=actor, keyring=app.keyring
        )
    click.echo(f"{ticket} is closed: {outcome}.")


def _counted(seen: fulfilling.Preview) -> str:
    return ", ".join(f"{n} of {controller}" for controller, n in seen.counts.items()) or "no recording"


@group.command()
@TICKET
@click.option("--outcome", type=click.Choice(tickets.CLOSED_AS), required=True, help="Why it is over.")
@AS
def close(ticket: str, outcome: ClosedAs, account: str | None) -> None:
    """Ends a ticket on your word, and what it froze with it. Nothing is deleted by that: each recording's own clock goes on."""
    app, who = signed_in(account)
    with app.connect() as conn:
        free = fulfilling.close(
            conn, ticket, outcome, years=app.config.terms.tickets_years, actor=app.actor(conn, account=who)
        )
    click.echo(f"{ticket} is closed" + (", and freezes nothing any more." if free else "."))


def _tell(t: fulfilling.Ticket) -> None:
    late = t.days_left is not None and t.days_left < 0
    due = t.answer_by
    days = "" if t.days_left is None else f", {-t.days_left} days ago" if late else f", {t.days_left} days left"
    said = {
        "right": t.right,
        "state": (t.outcome and f"closed, {t.outcome.replace('_', ' ')}") or t.state.replace("_", " "),
        "received": f"{t.received_on} ({t.channel}), opened {t.opened_at.astimezone(HELSINKI):%Y-%m-%d %H:%M} by {t.account}",
        "due": f"{due}{days}",
        "identity": t.identity,
        "companies": t.controller or "all",
        "searched for": ", ".join(filter(None, (_n(t.numbers, "number"), _n(t.times, "time of calls")))),
        "frozen": _n(t.frozen, "recording") or "no recording now; what still comes in is frozen too"
        if t.freezes
        else "nothing",
        "linked to": t.linked_to,
    }
    for name, value in said.items():
        click.secho(f"{name:14} {value or '-'}", fg="red" if late and name == "due" else None)
    if t.gone_before:
        click.echo(
            f"Between its receipt and its intake {_n(t.gone_before, 'recording')} of all callers went, their term being over: "
            "whose they were nobody can say any more."
        )
    for recording in t.too_late:
        click.echo(f"too late for   {recording}: its deletion had been sent.")
    for missing in t.not_imported:
        click.secho(f"Days that are not imported yet: {missing}.", fg="yellow")


def _n(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}" if n else ""
