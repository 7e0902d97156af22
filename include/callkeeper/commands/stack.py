"""``callkeeper up``, ``down`` and ``stack``: the embedded stack."""

from __future__ import annotations

from pathlib import Path

import click

from callkeeper import settings


def _home() -> Path:
    return settings.load().home


@click.command()
def up() -> None:
    """Start Postgres, the object store and Airflow on this machine, and wait until they are well."""
    from callkeeper.embedded import stack as embedded

    home = _home()
    click.echo(f"Starting callkeeper in {home}")
    running = embedded.up(home, say=click.echo)
    click.echo(f"\nAirflow: {running.url}\n")
    for login in running.logins:
        click.echo(f"  {login.account:<9} {login.password}  ({login.title})")
    click.echo(f"\nMails are caught in {running.home / 'mail'}. Stop everything with: make down")


@click.command()
def down() -> None:
    """Stop what `up` started; data, ports and passwords stay."""
    from callkeeper.embedded import stack as embedded

    embedded.down(_home(), say=click.echo)


@click.command()
def stack() -> None:
    """Say what of the embedded stack is running; exits with 1 unless all of it is."""
    from callkeeper.embedded import stack as embedded

    programs = embedded.status(_home())
    for program in programs:
        since = f"pid {program.pid}, since {program.since:%Y-%m-%d %H:%M:%S} UTC" if program.since else ""
        click.echo(f"  {program.name:<22} {program.state.lower():<9} {since}")
    if not all(program.is_running for program in programs):
        raise SystemExit(1)
