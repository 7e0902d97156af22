"""``callkeeper quarantine``: what failed a check, why, what would mend it, and what a person decides."""

from __future__ import annotations

import json
from uuid import UUID

import click

from callkeeper import settings, wiring
from callkeeper.controllers import OFFICERS
from callkeeper.quality import REASONS


@click.group("quarantine")
def group() -> None:
    """What failed a check: why, what mends it, and a person's decision within 14 days."""


@group.command("list")
@click.option("--reason", type=click.Choice(sorted(REASONS)), help="One reason only.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(reason: str | None, as_json: bool) -> None:
    """What waits, oldest first."""
    from callkeeper.jobs import quarantining

    app = wiring.build(settings.load())
    with app.connect() as conn:
        waiting = quarantining.waiting(conn, reason)
    if as_json:
        click.echo(json.dumps([w._asdict() for w in waiting], default=str))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not waiting:
        click.echo("Nothing waits in quarantine.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("recording", "vendor", "reason", "decide by"):
        table.add_column(heading, no_wrap=True)
    for w in waiting:
        table.add_row(str(w.recording), w.vendor, w.reason, str(w.decide_by.date()), style="red" if w.overdue else "")
    # Wide enough for an id, a terminal's width or not: it is there to be copied.
    console = Console()
    Console(width=max(console.width, 100)).print(table)
    click.echo("`callkeeper quarantine show RECORDING` says what would mend it.")


@group.command()
@click.argument("recording", type=click.UUID)
def show(recording: UUID) -> None:
    """One call: the facts, why it waits, what would mend it."""
    from callkeeper.jobs import quarantining

    app = wiring.build(settings.load())
    with app.connect() as conn:
        call = quarantining.one(conn, recording)
    why = REASONS[call.reason]
    for name, value in call._asdict().items():
        click.echo(f"{name.replace('_', ' '):14} {value if value not in (None, []) else '-'}")
    click.secho(f"\n{why.means}", bold=True)
    click.echo(why.mend)
    click.echo("\nOnce it is mended:    callkeeper quarantine reevaluate " + str(recording))
    if why.releasable:
        click.echo("To let it pass:       callkeeper quarantine release " + str(recording))
    click.echo("To have it deleted:   callkeeper quarantine reject " + str(recording))


@group.command()
@click.argument("recordings", type=click.UUID, nargs=-1)
@click.option("--reason", type=click.Choice(sorted(REASONS)), help="All that wait for this reason.")
@click.option("--as", "account", help="Your Airflow account.")
def reevaluate(recordings: tuple[UUID, ...], reason: str | None, account: str | None) -> None:
    """Sends calls back to be looked at again by the next run: after the register, or the vendor, was mended."""
    from callkeeper.jobs import quarantining

    if not recordings and not reason:
        raise click.UsageError("Name recordings, or a --reason.")
    from callkeeper.commands.signin import sign_in

    app = wiring.build(settings.load())
    who = sign_in(app, account, ("data_team", *OFFICERS))
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        n = quarantining.reevaluate(conn, recordings=recordings, reason=reason, actor=actor)
    click.echo(f"{n} calls will be looked at again by the next import.")


@group.command()
@click.argument("recording", type=click.UUID)
@click.option("--as", "account", help="Your Airflow account.")
def release(recording: UUID, account: str | None) -> None:
    """Lets a call pass the check that stopped it. For the privacy officer and her deputies."""
    from callkeeper.commands.signin import sign_in
    from callkeeper.jobs import quarantining

    app = wiring.build(settings.load())
    who = sign_in(app, account, OFFICERS)
    with app.connect() as conn:
        quarantining.release(conn, recording=recording, account=who, actor=app.actor(conn, account=who))
    click.echo("Released: the next import puts it in the catalogue.")


@group.command()
@click.argument("recording", type=click.UUID)
@click.option("--as", "account", help="Your Airflow account.")
def reject(recording: UUID, account: str | None) -> None:
    """Marks a call for deletion, here and at the vendor. For the privacy officer and her deputies."""
    from callkeeper.commands.signin import sign_in
    from callkeeper.jobs import quarantining

    app = wiring.build(settings.load())
    who = sign_in(app, account, OFFICERS)
    with app.connect() as conn:
        quarantining.reject(conn, recording=recording, account=who, actor=app.actor(conn, account=who))
    click.echo("Marked for deletion: it is in the journal now.")
