"""``callkeeper ticket package`` and ``passphrase``: the copy for the person who asked, and what opens it, each by its own way."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from callkeeper.commands.outfile import new_file
from callkeeper.commands.signin import signed_in
from callkeeper.jobs import packaging

AS = click.option("--as", "account", help="Your Airflow account.")
TICKET = click.argument("ticket", metavar="TICKET")


@click.command("package")
@TICKET
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="The folder to write its parts into; made if it is not there.",
)  # fmt: skip
@AS
def package(ticket: str, out: Path, account: str | None) -> None:
    """Writes a ticket's package into a folder; makes it first, if the access is agreed on and it is not made yet.

    Each part twice: a file that opens itself in a browser, and a zip. Whoever has one of them and the passphrase can read it.
    """
    app, who = signed_in(account)
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        whole = packaging.show(conn, ticket) or packaging.make(conn, app, ticket, actor)
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        for n, part in enumerate(whole.parts, 1):
            file = out / f"{ticket}_{part.n}.{part.kind}"
            with (
                packaging.open_part(conn, app, ticket, n, account=who, actor=actor) as body,
                new_file(file, instead=True) as copy,
            ):
                shutil.copyfileobj(body, copy, 1 << 20)
            click.echo(f"{file} ({part.size_bytes} bytes)")
    click.echo(f"It goes on {whole.expires_on}. By another way: callkeeper ticket passphrase {ticket}")


@click.command("passphrase")
@TICKET
@AS
def passphrase(ticket: str, account: str | None) -> None:
    """Tells what opens a ticket's package: it goes to the person by another way. That you saw it goes into the trail."""
    app, who = signed_in(account)
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        click.echo(packaging.passphrase(conn, app.keyring, ticket, account=who, actor=actor))
