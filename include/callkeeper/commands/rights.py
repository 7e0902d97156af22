"""What is done about a request, right by right: ``callkeeper ticket carry-out``, ``redact``, ``correct``, ``lifting`` and the rest.

No number and no free text stands on the command line: they are typed unseen, or read from a file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

import click

from callkeeper import controllers, tickets
from callkeeper.commands import scope
from callkeeper.commands.letter import AS, TICKET
from callkeeper.commands.signin import signed_in
from callkeeper.jobs import carrying_out, fulfilling
from callkeeper.tickets import Call, Correctable, LiftReason, Mute, MuteReason

CALLS = click.option(
    "--call",
    "calls",
    type=(str, scope.Moment(), scope.Moment(last=True)),
    multiple=True,
    metavar="LINE FROM TO",
    help="Calls to a line of ours in a time, for a withheld number or a member of staff; may be said more than once.",
)
RECORDING = click.argument("recording", type=click.UUID)
DAY = click.DateTime(["%Y-%m-%d"])


@click.command("carry-out")
@TICKET
@AS
def carry_out(ticket: str, account: str | None) -> None:
    """Does exactly what was agreed on: makes the copy, has the next night erase, restricts, or puts right."""
    app, who = signed_in(account)
    with app.connect() as conn:
        n = carrying_out.carry_out(conn, app, ticket, app.actor(conn, account=who))
        right = fulfilling.show(conn, ticket).right
    said = {
        "access": "copied: callkeeper ticket release",
        "erasure": "to go, by the next night",
        "objection": "to go, by the next night; calls from its numbers are not kept any more",
        "restriction": "restricted, until that is lifted",
        "rectification": "put right",
    }[right]
    click.echo(f"{ticket}: {_n(n)} {said}.")


@click.command()
@TICKET
@AS
def release(ticket: str, account: str | None) -> None:
    """Lets the package, or the letter, go, exactly as it is now."""
    app, who = signed_in(account)
    with app.connect() as conn:
        fulfilling.release(conn, ticket, account=who, actor=app.actor(conn, account=who))
    click.echo(f"{ticket} is released. Once it is handed over: callkeeper ticket delivered {ticket}")


@click.command("take-back")
@TICKET
@AS
def take_back(ticket: str, account: str | None) -> None:
    """Takes a copy back that was not handed over: its package goes, and no earlier yes counts any more."""
    app, who = signed_in(account)
    with app.connect() as conn:
        carrying_out.take_back(conn, ticket, who, app.actor(conn, account=who))
    click.echo(f"{ticket} lies before you again. What there is: callkeeper ticket preview {ticket}")


@click.command()
@TICKET
@AS
def reject(ticket: str, account: str | None) -> None:
    """Says no as the second person: the officer looks anew."""
    app, who = signed_in(account, controllers.SECONDERS)
    with app.connect() as conn:
        fulfilling.not_seconded(conn, ticket, account=who, actor=app.actor(conn, account=who))
    click.echo(f"{ticket} lies before the officer again.")


@click.command()
@TICKET
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Else you are asked.")
@AS
def reasons(ticket: str, file: Path | None, account: str | None) -> None:
    """Seals your reasons, in the letter's language, for a refusal or for what an answer leaves out."""
    app, who = signed_in(account)
    text = file.read_text(encoding="utf-8") if file else click.prompt("Reasons (kept sealed)")
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        fulfilling.note_reasons(conn, app.keyring, ticket, text, account=who, actor=actor)
    click.echo(f"{ticket}: noted, sealed.")


@click.command()
@TICKET
@click.option("--number", "ask_number", is_flag=True, help="Ask for a number, unseen.")
@click.option(
    "--numbers", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file, one number a line."
)
@CALLS
@AS
def add(
    ticket: str,
    ask_number: bool,
    numbers: Path | None,
    calls: tuple[tuple[str, datetime, datetime], ...],
    account: str | None,
) -> None:
    """Searches for more, as the person has made clear, and freezes it. Whose a new number is has to be proven."""
    app, who = signed_in(account)
    more = list(scope.numbers(ask_number, numbers))
    with app.connect() as conn:
        times = [Call(line=scope.line(conn, line), from_at=from_at, to_at=to_at) for line, from_at, to_at in calls]
        fulfilling.add_numbers(conn, app.keyring, ticket, more, times, who, app.actor(conn, account=who))
        found = fulfilling.show(conn, ticket)
    click.echo(f"{ticket}: {_n(found.frozen)} frozen. Identity: {found.identity}.")


@click.command()
@TICKET
@RECORDING
@click.option(
    "--mute",
    "mutes",
    type=(float, float, click.Choice(tickets.MUTE_REASONS)),
    multiple=True,
    metavar="FROM TO REASON",
    help=f"Seconds from the start, and why ({', '.join(tickets.MUTE_REASONS)}); may be said more than once.",
)
@click.option("--channel", type=click.IntRange(min=0), help="Only this channel is on the copy (the first is 0).")
@AS
def redact(
    ticket: str,
    recording: UUID,
    mutes: tuple[tuple[float, float, MuteReason], ...],
    channel: int | None,
    account: str | None,
) -> None:
    """Says what the copy of a recording leaves out, in place of what was said before; nothing, and it is whole."""
    app, who = signed_in(account)
    said = [Mute(from_ms=round(a * 1000), to_ms=round(b * 1000), reason=why) for a, b, why in mutes]
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        seen = fulfilling.redact(conn, app.keyring, ticket, recording, mutes=said, channel=channel, actor=actor)
    _scope(ticket, seen)


@click.command()
@TICKET
@RECORDING
@click.argument("what", type=click.Choice(tickets.CORRECTABLE))
@click.option("--time", type=scope.Moment(), help="When the call began.")
@click.option("--line", help="The line of ours that was called.")
@click.option("--drop", is_flag=True, help="It is not to be put right after all.")
@AS
def correct(
    ticket: str,
    recording: UUID,
    what: Correctable,
    time: datetime | None,
    line: str | None,
    drop: bool,
    account: str | None,
) -> None:
    """Writes down what a rectification puts right; nothing is changed yet. A number or a statement is asked for."""
    app, who = signed_in(account)
    typed: dict[Correctable, Callable[[], str]] = {
        "number": lambda: next(scope.numbers(True, None)),
        "statement": lambda: click.prompt("Statement (kept sealed)"),
    }
    value: str | datetime | None = None if drop else typed[what]() if what in typed else time
    with app.connect() as conn:
        if what == "line" and not drop:
            value = scope.line(conn, line or "")
        if value is None and not drop:
            raise click.UsageError("Say --time, or --drop.")
        actor = app.actor(conn, account=who)
        seen = fulfilling.correct(conn, app.keyring, ticket, recording, what, value, actor)
    _scope(ticket, seen)


@click.command()
@TICKET
@click.option("--on", "lifts_on", type=DAY, required=True, help="The day on which it ends: tomorrow at the earliest.")
@click.option("--reason", type=click.Choice(tickets.LIFT_REASONS), required=True, help="Why it ends.")
@AS
def lifting(ticket: str, lifts_on: datetime, reason: LiftReason, account: str | None) -> None:
    """Says on which day a restriction is to end. The person is told before; nothing ends by this alone."""
    app, who = signed_in(account)
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        carrying_out.announce_lifting(conn, ticket, lifts_on.date(), reason, account=who, actor=actor)
    click.echo(
        f"{ticket}: tell the person (callkeeper ticket letter {ticket} restriction_lifting), "
        f"and on {lifts_on:%Y-%m-%d}: callkeeper ticket lift {ticket}"
    )


@click.command()
@TICKET
@AS
def lift(ticket: str, account: str | None) -> None:
    """Ends a restriction, on the day of which the person was told. Nothing is deleted by that."""
    app, who = signed_in(account)
    with app.connect() as conn:
        n = carrying_out.lift(conn, ticket, account=who, actor=app.actor(conn, account=who))
    click.echo(f"{ticket}: {_n(n)} restricted no longer.")


@click.command()
@TICKET
@click.option("--until", type=DAY, required=True, help="The next day on which somebody looks at it.")
@AS
def restricted(ticket: str, until: datetime, account: str | None) -> None:
    """Notes that you have looked at a restriction again, and that it stands."""
    app, who = signed_in(account)
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        carrying_out.keep_restriction(conn, ticket, until.date(), account=who, actor=actor)
    click.echo(f"{ticket}: its restriction stands, to be looked at again on {until:%Y-%m-%d}.")


@click.command()
@TICKET
@click.option("--until", type=DAY, help="The next day on which somebody looks at it.")
@click.option("--end", is_flag=True, help="Calls from its numbers may be kept again: the numbers have changed hands.")
@AS
def suppressed(ticket: str, until: datetime | None, end: bool, account: str | None) -> None:
    """Notes that you have looked again whether calls from an objection's numbers are still not to be kept."""
    if (until is None) != end:
        raise click.UsageError("Say --until a day, or --end.")
    app, who = signed_in(account)
    day: date | None = until.date() if until else None
    with app.connect() as conn:
        carrying_out.review_suppression(conn, ticket, day, account=who, actor=app.actor(conn, account=who))
    click.echo(f"{ticket}: calls from its numbers are " + (f"not kept until {day}." if day else "kept again."))


COMMANDS = (
    carry_out, release, take_back, reject, reasons, add, redact, correct, lifting, lift, restricted, suppressed,
)  # fmt: skip


def _scope(ticket: str, seen: fulfilling.Preview) -> None:
    click.echo(f"{ticket}: {_n(len(seen.chosen))}. Scope {seen.scope.hex()[: tickets.SCOPE_CHARACTERS]}.")


def _n(n: int) -> str:
    return f"{n or 'no'} recording{'s' if n != 1 else ''}"
