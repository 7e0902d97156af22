"""``callkeeper prove``: the notice's promises, asked of live data; looking changes nothing and writes nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callkeeper import __version__, settings, wiring

if TYPE_CHECKING:
    from callkeeper.jobs.proving import Proof

_COLOURS = {"kept": "green", "broken": "red", "unknown": "red", "not_yet": None}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--html", "target", type=click.Path(dir_okay=False, path_type=Path), help="Writes the page into this file as well."
)
@click.option("--quotes", is_flag=True, help="Each promise in the notice's own words, with its control.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="That morning's answers, as they stand in the store.")
def prove(as_json: bool, target: Path | None, quotes: bool, day: datetime | None) -> None:
    """Asks every promise of the notice of live data: kept, broken, could not be checked, or not yet applicable.

    Exit 1 if a promise is broken or could not be checked. The DAG prove_notice does the same each morning, and keeps
    the answers: --day shows a morning's, once the trail has been asked whether they are those.
    """
    from callkeeper.jobs import proving

    app = wiring.build(settings.load())
    if day is None:
        proof = proving.prove(app, app.notice, code=__version__)
    else:
        with app.connect() as conn:
            proof = proving.recall(conn, app.store, day.date())
    if target is not None:
        target.write_bytes(proving.as_html(proof))
    if as_json:
        click.echo(proving.as_json(proof), nl=False)
    else:
        _tell(proof, quotes=quotes)
    if proof.red:
        raise SystemExit(1)


def _tell(proof: Proof, *, quotes: bool) -> None:
    from callkeeper.jobs.pages import day_in_words, time_in_words
    from callkeeper.jobs.proving import IN_WORDS

    for proven in proof.answers:
        promise, answer = proven.promise, proven.answer
        verdict = click.style(f"{IN_WORDS[answer.verdict]:20}", fg=_COLOURS[answer.verdict], bold=answer.red)
        click.echo(f"{verdict} {promise.title}: {answer.figure}")
        if quotes:
            for quote in promise.quotes:
                click.echo(f"{'':21}{click.style('”' + ' '.join(quote.split()) + '”', dim=True)}")
            click.echo(f"{'':21}{promise.control}")
        if answer.red or quotes:
            click.echo(f"{'':21}{answer.says}")
        if answer.mend:
            click.echo(f"{'':21}{click.style(answer.mend, dim=True)}")
    click.echo(f"\nThe notice of {day_in_words(proof.notice)}, asked {time_in_words(proof.at)}: {proof.sums}.")
