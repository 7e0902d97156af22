"""``callkeeper keys``: which keys there are, a new one, a copy of all to keep elsewhere, and the way back from it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import click

from callkeeper import db, pseudonyms, settings, wiring
from callkeeper.errors import NotAllowed
from callkeeper.pseudonyms import EscrowRefused, Key, Keyring, Purpose
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, KeyRotated

OPERATORS = ("data_team",)


@click.group("keys")
def group() -> None:
    """The keys of pseudonyms and sealed values: list, rotate, escrow, restore."""


@group.command("list")
def list_() -> None:
    """Every key: its purpose, whether it is in use, whether its private half is here, when it was escrowed."""
    from rich.console import Console
    from rich.table import Table

    app = wiring.build(settings.load())
    keyring = app.keyring
    with app.connect() as conn:
        rows = {row.key_id: row for row in db.queries().registered_keys(conn)}
    in_use = {key.purpose: key.key_id for key in keyring.keys if not key.retired_at}
    table = Table("key", "purpose", "state", "private half", "created", "escrowed")
    for key in keyring.keys:
        row = rows.pop(key.key_id, None)
        state = "retired" if key.retired_at else "in use" if in_use[key.purpose] == key.key_id else "live"
        half = "-" if key.purpose not in pseudonyms.SEALED else "here" if keyring.has_private(key) else "not here"
        escrowed = f"{row.escrowed_at:%Y-%m-%d}" if row and row.escrowed_at else "[red]never[/]"
        table.add_row(key.key_id, key.purpose, state, half, f"{key.created_at:%Y-%m-%d}", escrowed)
    for row in rows.values():
        table.add_row(row.key_id, row.purpose, "[red]missing[/]", "-", f"{row.created_at:%Y-%m-%d}", "-")
    Console().print(table)


@group.command()
@click.argument("purpose", type=click.Choice([p for p in pseudonyms.PURPOSES if p != "tombstone"]))
@click.option("--as", "account", help="Your Airflow account.")
def rotate(purpose: Purpose, account: str | None) -> None:
    """Puts a new key in use; older ones stay, to find and to read what is there. Escrow the keys afterwards."""
    from callkeeper.commands.signin import sign_in

    app = wiring.build(settings.load())
    who = sign_in(app, account, OPERATORS)
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        db.lock_blockers(conn, exclusive=True)
        if purpose == "pseudonym" and db.queries().numbers_awaited(conn):
            raise NotAllowed(
                "A hold, freeze or objection waits for calls of a number, and would not know them under a new key.",
                mend="Rotate when none does.",
            )
        _register(conn, actor, app.keyring, "created")
        _register(conn, actor, app.keyring.rotate(purpose), "rotated")
        conn.commit()
    click.echo(f"A new {purpose} key is in use. Escrow the keys again: callkeeper keys escrow FILE")


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "account", help="Your Airflow account.")
def escrow(file: Path, account: str | None) -> None:
    """Writes every key to FILE (a new one, mode 0600) under a passphrase, and records it."""
    from callkeeper.commands.signin import sign_in

    app = wiring.build(settings.load())
    who = sign_in(app, account, OPERATORS)
    sealed = app.keyring.escrow(click.prompt("Passphrase", hide_input=True, confirmation_prompt=True))
    with app.connect() as conn:
        actor = app.actor(conn, account=who)
        _register(conn, actor, app.keyring, "created")
        pseudonyms.record_escrow(conn, app.keyring)
        append(conn, actor, _events(app.keyring.keys, "escrowed"))
        _write_new(file, sealed)
        conn.commit()
    click.echo("Written and recorded. Keep the file and its passphrase apart, and both away from this machine.")


@group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Brings the keys of an escrow back, into a keys folder with nothing in it."""
    folder = settings.load().keys_dir
    keyring = pseudonyms.restore_escrow(folder, file.read_bytes(), click.prompt("Passphrase", hide_input=True))
    click.echo(f"{len(keyring.keys)} keys are back.")


def _register(conn: db.Connection, actor: Actor, keyring: Keyring, change: Literal["created", "rotated"]) -> None:
    append(conn, actor, _events(pseudonyms.register(conn, keyring), change))


def _events(keys: Iterable[Key], change: Literal["created", "rotated", "escrowed"]) -> list[KeyRotated]:
    return [KeyRotated(key_id=key.key_id, purpose=key.purpose, change=change) for key in keys]


def _write_new(file: Path, content: bytes) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise EscrowRefused("That file exists already.", mend="Name a new one: an escrow overwrites nothing.") from None
    except OSError as wrong:
        raise EscrowRefused(f"The file cannot be written: {os.strerror(wrong.errno or 0)}.") from None
