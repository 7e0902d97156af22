"""``callkeeper ticket letter`` and ``sent``: a ticket's letters, printed into files, and noted as sent. A name comes from a prompt or a file only."""

from __future__ import annotations

from pathlib import Path

import click

from callkeeper import tickets
from callkeeper.commands.outfile import new_file
from callkeeper.commands.signin import signed_in
from callkeeper.errors import NotAllowed
from callkeeper.jobs import answering
from callkeeper.letters import Addressee, Kind
from callkeeper.tickets import Channel

AS = click.option("--as", "account", help="Your Airflow account.")
TICKET = click.argument("ticket", metavar="TICKET")
KIND = click.Choice([*Kind])
DISCLOSURE = click.option("--disclosure", metavar="DIS", help="Which recipient's, of a notice to one.")
ADDRESS_LINES = 6


@click.command()
@TICKET
@click.argument("kind", type=KIND, required=False)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The PDF to write; the same as plain text goes beside it.",
)  # fmt: skip
@click.option("--address", "ask", is_flag=True, help="Ask for name and address, for this print alone.")
@click.option(
    "--address-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same from a file: the name, then a line of the address each.",
)  # fmt: skip
@DISCLOSURE
@AS
def letter(
    ticket: str,
    kind: str | None,
    out: Path,
    ask: bool,
    address_file: Path | None,
    disclosure: str | None,
    account: str | None,
) -> None:
    """Prints the letter that a ticket asks for now, or the KIND that is named, as PDF and text.

    Name and address are on the paper only: they are asked for, or read from a file, and stored nowhere.
    """
    app, who = signed_in(account)
    addressee = _addressee(ask, address_file)
    with app.connect() as conn:
        chosen = Kind(kind or _only(answering.due(conn, ticket), "the KIND"))
        if chosen is Kind.recipient_notice and disclosure is None:
            disclosure = _only(answering.notices_due(conn, ticket), "--disclosure")
        actor = app.actor(conn, account=who)
        made = answering.write(conn, app, ticket, chosen, actor=actor, addressee=addressee, disclosure=disclosure)
    text = out.with_suffix(".txt")
    with new_file(out) as pdf:
        pdf.write(made.pdf)
    with new_file(text) as plain:
        plain.write(made.text.encode())
    click.echo(f"{made.title}: {out}, {text}")


@click.command()
@TICKET
@click.argument("kind", type=KIND)
@click.option("--channel", type=click.Choice(tickets.CHANNELS), required=True, help="By which way it went.")
@DISCLOSURE
@click.option("--impossible", is_flag=True, help="A recipient could not be told (GDPR Art. 19).")
@AS
def sent(
    ticket: str, kind: str, channel: Channel, disclosure: str | None, impossible: bool, account: str | None
) -> None:
    """Notes that a letter on the way was sent: a receipt, a question, an extension, a notice. To which address is never stored."""
    app, who = signed_in(account)
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        answering.sent(
            conn, ticket, kind, channel, disclosure=disclosure, impossible=impossible, account=who, actor=actor
        )
        left = answering.due(conn, ticket)
    click.echo(f"{ticket}: {kind} was sent." + (f" It still asks for: {', '.join(left)}." if left else ""))


def _only(due: tuple[str, ...], what: str) -> str:
    if len(due) != 1:
        said = f"It asks for {', '.join(due)}." if due else "It asks for no letter now."
        raise NotAllowed(said, mend=f"Name {what}.")
    return due[0]


def _addressee(ask: bool, file: Path | None) -> Addressee | None:
    """Who the letter goes to; asked for before the database is, so that nobody waits for a prompt inside a transaction."""
    if file is not None:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    elif ask:
        lines = [click.prompt("Name")]
        while len(lines) < ADDRESS_LINES and (
            more := click.prompt("Address (empty: that is all)", default="", show_default=False)
        ):
            lines.append(more)
    else:
        return None
    if not lines:
        raise NotAllowed("The file names nobody.", mend="The name, then a line of the address each.")
    return Addressee(name=lines[0], address=tuple(lines[1:]))
