"""``callkeeper demo``: everything started, ten days of calls imported through Airflow, and what came of them shown."""

from __future__ import annotations

import click

from callkeeper import settings


@click.command()
@click.option("--days", default=10, show_default=True, help="How many days of calls.")
def demo(days: int) -> None:
    """Start everything, and import ten days of a made-up vendor and a real PBX's calls."""
    from callkeeper.demo import play

    play.play(settings.load().home, days=days)
