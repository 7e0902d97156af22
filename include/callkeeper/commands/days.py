"""``callkeeper days``: vendors' days that are not finished, and those that a person gives up."""

from __future__ import annotations

from datetime import datetime

import click

from callkeeper import settings, wiring

REASONS = ("vendor_window_passed", "vendor_lost_it", "vendor_closed", "nothing_recorded")


@click.group("days")
def group() -> None:
    """Vendors' days that are not finished: every run takes them up again."""


@group.command("list")
def list_() -> None:
    """The unfinished days."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from callkeeper import deliveries

    app = wiring.build(settings.load())
    with app.connect() as conn:
        days = deliveries.unfinished(conn)
    if not days:
        click.echo("No day is unfinished.")
        return
    table = Table("vendor", "day", "state", "looked at", "trouble", box=box.SIMPLE_HEAD)
    for d in days:
        table.add_row(
            d.vendor,
            str(d.day),
            d.state,
            d.checked_at.strftime("%Y-%m-%d %H:%M UTC") if d.checked_at else "never",
            d.trouble or "",
        )
    Console().print(table)


@group.command()
@click.argument("vendor")
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why it will not come any more.")
@click.option("--as", "account", help="Your Airflow account.")
def lost(vendor: str, day: datetime, reason: str, account: str | None) -> None:
    """Declares what is missing of a day lost. For the privacy officer and her deputies."""
    from callkeeper import deliveries
    from callkeeper.commands.signin import sign_in

    app = wiring.build(settings.load())
    who = sign_in(app, account, ("privacy_officers", "deputies"))
    with app.connect() as conn:
        deliveries.declare_lost(
            conn, vendor=vendor, day=day.date(), account=who, reason=reason, actor=app.actor(conn, account=who)
        )
    click.echo(f"{vendor}, {day.date()}: declared lost. What was imported of it stays.")
