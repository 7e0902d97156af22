"""``callkeeper demo``: everything started, ten days of calls imported, half-year-old ones let go, and what came of it shown."""

from __future__ import annotations

import click

from callkeeper import settings


@click.command()
@click.option("--days", default=10, show_default=True, help="How many days of calls.")
def demo(days: int) -> None:
    """Start everything, import ten days of a made-up vendor and a real PBX's calls, and let half-year-old ones go.

    It moves the database's clock, and has nights delete: not for an installation with calls of its own.
    """
    from callkeeper.demo import play

    play.play(settings.load().home, days=days)
