"""``callkeeper seal``: sign the trail now, see where that stands, begin a new epoch after a restore, change the keys."""

from __future__ import annotations

import click

from callkeeper import __version__, db, settings, wiring
from callkeeper.commands.signin import sign_in
from callkeeper.jobs import sealing
from callkeeper.trail.events import Actor
from callkeeper.trail.seal import REASONS, Reason

OPERATORS = ("data_team",)


@click.group("seal", invoke_without_command=True)
@click.pass_context
def group(ctx: click.Context) -> None:
    """Signs what can be signed of the trail, and puts it in the anchor; the DAG seal_audit does so every hour."""
    if ctx.invoked_subcommand:
        return
    app = wiring.build(settings.load())
    with app.connect("sealer") as conn:
        done = sealing.run(conn, app.seal_keys, app.anchor, app.sealing_rules(), _sealer())
    click.echo(
        f"Sealed: {done.events} events more, epoch {done.epoch} is at size {done.size}. {done.anchored} checkpoints put in the anchor."
    )
    if done.waiting:
        click.echo(f"{done.waiting} events wait, the oldest for {done.lag_seconds} s, for {done.who}.")


@group.command()
def status() -> None:
    """The epoch, its last checkpoint, what is not sealed or not anchored, and the keys' verifiers for the auditor."""
    app = wiring.build(settings.load())
    with app.connect("sealer") as conn:
        q = db.queries()
        found, last = q.sealing_status(conn), q.sealing_last(conn)
        held = list(q.sealing_blockers(conn, horizon=q.sealing_moment(conn).horizon)) if found.unsealed else []
    if last is None:
        click.echo("Nothing has been sealed yet: is the DAG seal_audit paused?")
    else:
        click.echo(
            f"epoch {last.epoch}, size {last.size}, sealed {last.at:%Y-%m-%d %H:%M} UTC, {found.checkpoints} checkpoints in all"
        )
    click.echo(
        f"{found.unsealed} events not sealed, {found.unanchored} checkpoints not in the anchor, {found.lost} leaves of lost events"
    )
    for row in held:
        click.echo(f"the horizon is held by {sealing.Blocker(**row._asdict())}")
    keys = app.seal_keys
    for key in keys.live:
        click.echo(f"signs    {key.verifier.key_hash.hex()}  {key.verifier}")
    for key in keys.pending:
        click.echo(f"pending  {key.verifier.key_hash.hex()}  {key.verifier}")
    for retired in keys.retired:
        click.echo(f"retired  {retired.key_hash.hex()}  {retired}")


@group.command("new-epoch")
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why the tree cannot go on.")
@click.option("--as", "account", help="Your Airflow account.")
def new_epoch(reason: Reason, account: str | None) -> None:
    """Begins a new tree, after a backup was restored or the database moved; what the anchor knows comes back first.

    With `other` it goes on even where database and anchor are no longer one history, or the keys are lost: the new epoch says so.
    """
    app = wiring.build(settings.load())
    who = sign_in(app, account, OPERATORS)
    with app.connect("sealer") as conn:
        opened = sealing.new_epoch(conn, app.seal_keys, app.anchor, reason, Actor(account=who, rule=__version__))
    click.echo(
        f"Epoch {opened.epoch} is open. {opened.adopted} leaves came back from the anchor, {opened.carried} events that were never "
        "sealed are in it. Tell the auditor."
    )


@group.command("rotate-key")
@click.option("--as", "account", help="Your Airflow account.")
def rotate_key(account: str | None) -> None:
    """A new key signs beside the old one, once that has signed its adding. Then give the auditor its verifier."""
    app = wiring.build(settings.load())
    who = Actor(account=sign_in(app, account, OPERATORS), rule=__version__)
    with app.connect("sealer") as conn:
        key = sealing.add_key(conn, app.seal_keys, app.anchor, app.sealing_rules(), who)
    click.echo(
        f"{key.verifier}\nsigns from now on, beside the others. When the auditor has it: callkeeper seal retire-key OLD"
    )


@group.command("retire-key")
@click.argument("key_hash")
@click.option("--as", "account", help="Your Airflow account.")
def retire_key(key_hash: str, account: str | None) -> None:
    """The key with this hash signs that it is retired, and no more: its private half is deleted."""
    app = wiring.build(settings.load())
    who = Actor(account=sign_in(app, account, OPERATORS), rule=__version__)
    with app.connect("sealer") as conn:
        key = sealing.retire_key(conn, app.seal_keys, app.anchor, app.sealing_rules(), who, key_hash)
    click.echo(f"{key.verifier}\nsigns no more.")


def _sealer() -> Actor:
    return Actor(account="callkeeper seal", rule=__version__)
