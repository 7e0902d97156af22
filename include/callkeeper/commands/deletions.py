"""``callkeeper deletions``: the ways out that are not over, why not, and what a person does about them."""

from __future__ import annotations

import json
from uuid import UUID

import click

from callkeeper import settings, wiring
from callkeeper.controllers import OFFICERS
from callkeeper.troubles import trouble

SETTLED = ("vendor_confirmed_in_writing", "vendor_term_passed", "vendor_closed", "never_at_vendor")
STATES = ("planned", "armed", "sending", "store_gone", "blocked", "needs_human")


@click.group("deletions")
def group() -> None:
    """The ways out that are not over: in trouble, open at the vendor, or waiting for a person."""


@group.command("list")
@click.option("--state", type=click.Choice(STATES), help="All of one state, in trouble or not.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(state: str | None, as_json: bool) -> None:
    """What is open at the vendor, in trouble, or needs a person; how many of each state there are."""
    from callkeeper.jobs import explaining

    app = wiring.build(settings.load())
    with app.connect() as conn:
        counts = explaining.unfinished(conn)
        rows = explaining.open_deletions(conn, state)
    if as_json:
        click.echo(json.dumps({"counts": counts, "open": [r._asdict() for r in rows]}, default=str))
        return
    if not counts:
        click.echo("No deletion is unfinished.")
        return
    click.echo(", ".join(f"{n} {explaining.STATES[name]}" for name, n in counts.items()))
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("recording", "vendor", "controller", "state", "trouble", "since"):
        table.add_column(heading, no_wrap=True)
    for r in rows:
        table.add_row(str(r.recording), r.vendor, r.controller, r.state, r.trouble or "", f"{r.since:%Y-%m-%d}")
    # Wide enough for an id, a terminal's width or not: it is there to be copied.
    Console(width=max(Console().width, 120)).print(table)
    for code in sorted({r.trouble for r in rows if r.trouble}):
        click.secho(code, bold=True)
        click.echo(f"    {trouble(code).means}\n    {trouble(code).mend}")


@group.command()
@click.argument("recording", type=click.UUID)
@click.option("--as", "account", help="Your Airflow account.")
def retry(recording: UUID, account: str | None) -> None:
    """Sends one on that waits for a person: what stood in its way is mended. For the data team, too."""
    from callkeeper.commands.signin import sign_in
    from callkeeper.jobs import deleting

    app = wiring.build(settings.load())
    who = sign_in(app, account, ("data_team", *OFFICERS))
    with app.connect() as conn:
        deleting.retry(conn, recording, app.actor(conn, account=who))
    click.echo("The next night goes on with it.")


@group.command()
@click.argument("recording", type=click.UUID, required=False)
@click.option("--vendor", help="Everything that is open at this vendor, whether it is still configured or not.")
@click.option(
    "--reason", type=click.Choice(SETTLED), required=True, help="How you know that the vendor's copy is gone."
)
@click.option("--as", "account", help="Your Airflow account.")
@click.option("--yes", type=int, metavar="N", help="With --vendor, don't ask: N is the number that you have seen.")
def settle(recording: UUID | None, vendor: str | None, reason: str, account: str | None, yes: int | None) -> None:
    """Ends open lines by a person's word that the vendor's copy is gone. For the privacy officer and her deputies."""
    from callkeeper.commands.signin import sign_in
    from callkeeper.jobs import approving

    if (recording is None) == (vendor is None):
        raise click.UsageError("Say a recording, or --vendor for everything that is open there.")
    app = wiring.build(settings.load())
    if vendor is None:
        assert recording is not None
        who = sign_in(app, account, OFFICERS)
        with app.connect() as conn:
            approving.settle(conn, recording, reason, who, app.actor(conn, account=who))
    else:
        with app.connect() as conn:
            seen = approving.open_at(conn, vendor)
        click.secho(f"{vendor}: {seen.n} open", bold=True)
        for figure in seen.figures:
            click.echo(f"    {figure.controller:16} {figure.what:28} {figure.n:>9}")
        if not seen.n:
            return
        if yes is None:
            click.confirm(f"Are the vendor's copies of all {seen.n} gone?", abort=True)
        elif yes != seen.n:
            raise approving.ScopeChanged
        who = sign_in(app, account, OFFICERS)
        with app.connect() as conn:
            approving.settle_all(conn, seen, reason, who, app.actor(conn, account=who))
    click.echo("Settled: the vendor's reference is gone here too, and your word stands in the journal.")
