"""``callkeeper demo``: everything started, ten days of calls imported, half-year-old ones let go, two requests before the officer."""

from __future__ import annotations

import click

from callkeeper import settings


@click.command()
@click.option("--days", default=10, show_default=True, help="How many days of calls.")
def demo(days: int) -> None:
    """Start everything, import ten days of a made-up vendor and a real PBX's calls, let half-year-old ones go, and
    bring a caller's two requests to the officer's decision.

    It moves the database's clock, and has nights delete: not for an installation with calls of its own.
    """
    from callkeeper.demo import play

    play.play(settings.load().home, days=days)
