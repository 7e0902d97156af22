"""``callkeeper restore-check``: an older state of the database was restored; what was deleted since must not rise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from callkeeper import settings, wiring

if TYPE_CHECKING:
    from callkeeper.jobs.tombstones import RestoreResult

APPLIERS = ("data_team", "privacy_officers", "deputies")


@click.command()
@click.option("--apply", is_flag=True, help="Set the marks, and plan what has risen to go.")
@click.option("--as", "account", help="Your Airflow account; only with --apply.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def restore_check(apply: bool, account: str | None, as_json: bool) -> None:
    """Compares a restored database with the store and the tombstones there, before anybody may use it again.

    Exit 0 when nothing has risen, or it was planned to go; else 1.
    """
    from callkeeper.jobs import tombstones

    app = wiring.build(settings.load())
    who = None
    if apply:
        from callkeeper.commands.signin import sign_in

        who = sign_in(app, account, APPLIERS)
    with app.connect() as conn:
        found = tombstones.restore_check(conn, app.store, app.actor(conn, account=who), apply=apply)
    if as_json:
        click.echo(json.dumps(asdict(found), default=str))
    else:
        for sentence in _words(found, apply=apply):
            click.echo(sentence)
    if found.undone and not apply:
        raise SystemExit(1)


def _words(found: RestoreResult, *, apply: bool) -> Iterator[str]:
    since = f"since {found.since}" if found.since else "of all time"
    yield f"{found.tombstones} tombstones {since} were read."
    if not found.undone:
        yield "Nothing has risen: this database knows of every deletion."
    yield (
        "Calls that were imported after the backup have lost their rows: their audio shows as objects that no row explains. Import "
        "their days again while the vendor has them, before you say yes to `callkeeper approve orphans`, or keep them with --keep."
    )
    if found.marks:
        yield f"{found.marks} marks are missing in the suppression: the vendors could bring these calls back."
    if found.recordings:
        yield (
            f"{found.recordings} recordings are in the catalogue again though they were to go; "
            f"{found.without_audio} of what has risen has no audio in the store any more."
        )
    if found.quarantined:
        yield f"{found.quarantined} calls are in quarantine again though they were to go."
    if found.staged:
        yield f"{found.staged} staged calls bear a mark: the next import plans them to go."
    if found.under_way:
        yield f"{found.under_way} of what has risen is in the journal already, and goes with the next nights."
    if found.lost:
        yield f"{found.lost} rows have no audio in the store, and no tombstone says why: tell the privacy officer."
    if found.undone and apply:
        yield f"The marks stand again, and {found.planned} were planned to go: trigger delete_expired before access is opened."
    elif found.undone:
        yield "`callkeeper restore-check --apply` sets the marks and plans the rest to go."
    if not found.live:
        yield "The yes to going live is not in this database: nights rehearse until `callkeeper approve go-live`."
    if found.undone:
        yield (
            "Holds placed since the backup are not in the register: place them again first. What they cover in the store "
            "stays there, for its legal holds are the store's own."
        )
