"""``callkeeper audit``: what an auditor takes home."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from callkeeper import __version__, settings, wiring

DAY = click.DateTime(["%Y-%m-%d"])


@click.group("audit")
def group() -> None:
    """What an auditor takes home: the trail as a folder that verifies offline, a sample of it in words, the key."""


@group.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--from", "first", type=DAY, help="The first Helsinki day whose events' bodies are wanted; default: all.")
@click.option("--to", "last", type=DAY, help="The last one. The leaves' hashes and the checkpoints are always whole.")
def export(folder: Path, first: datetime | None, last: datetime | None) -> None:
    """Writes the trail into a new FOLDER, for `callkeeper-verify` on a computer of the auditor's own."""
    from callkeeper.jobs import auditing

    app = wiring.build(settings.load())
    with app.connect("auditor") as conn:
        done = auditing.export(
            conn, folder, first=first.date() if first else None, last=last.date() if last else None, code=__version__
        )
    for e in done.epochs:
        bodies = (
            f"{e.bodies} bodies" if (e.first, e.to) == (0, e.size) else f"{e.bodies} bodies, leaves {e.first} to {e.to}"
        )
        click.echo(f"epoch {e.epoch}: size {e.size}, {bodies}, {e.expired} expired, {e.lost} lost in a restore")
        if e.missing:
            click.secho(f"epoch {e.epoch}: {e.missing} bodies are missing, and nothing says why", fg="red")
    click.echo(f"{done.unsealed} events are not sealed yet")
    click.echo(f"{folder}: to be verified with callkeeper-verify {folder} --key KEY, on another computer")


@group.command()
@click.option("--seed", required=True, help="The auditor's own words: the same draw the same.")
@click.option("-n", "n", type=click.IntRange(1, 10_000), default=25, show_default=True, help="How many items.")
@click.option(
    "--proofs",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file for callkeeper-verify: each event's proof.",
)
def sample(seed: str, n: int, proofs: Path | None) -> None:
    """Draws deleted, held and quarantined recordings, holds and runs, and tells each one's whole story."""
    from callkeeper.jobs import auditing

    app = wiring.build(settings.load())
    with app.connect("auditor") as conn:
        items = auditing.sample(conn, seed=seed, n=n)
        if proofs:
            proofs.write_text(auditing.prove(conn, items, seed=seed))
    for number, item in enumerate(items, 1):
        click.secho(f"{number}. {item.kind} {item.id}", bold=True)
        for told in item.story:
            click.echo(f"   {told.words}")
        if item.steps and item.kind == "run":
            click.echo(f"   and of single recordings: {', '.join(f'{k} {action}' for action, k in item.steps.items())}")
    click.echo(f"{len(items)} items, drawn by the seed {seed!r}" + (f"; proofs in {proofs}" if proofs else ""))


@group.command()
def key() -> None:
    """The keys that sign now, and the fingerprint of each: for the auditor, by a way that is not this system's."""
    from callkeeper.trail.verify import fingerprint

    app = wiring.build(settings.load())
    for live in app.seal_keys.live:
        click.echo(f"{live.verifier}\n  {fingerprint(str(live.verifier))}")
