"""``callkeeper watchdog``: for cron or monitoring, outside Airflow: did last night happen?"""

from __future__ import annotations

import click

from callkeeper import settings, wiring


@click.command()
def watchdog() -> None:
    """Exit 0 when an import ended in balance lately; else 1, and say what is missing (2: it cannot be told)."""
    from datetime import timedelta

    from callkeeper import db
    from callkeeper.errors import CallkeeperError

    app = wiring.build(settings.load())
    try:
        with app.connect() as conn:
            last, now = db.queries().last_balanced(conn), db.now(conn)
            runs = list(db.queries().latest_runs(conn, limit=1))
    except CallkeeperError as wrong:
        click.secho(f"Cannot tell whether last night happened: {wrong}", fg="red", err=True)
        raise SystemExit(2) from None
    hours = app.settings.watchdog_hours
    if last is not None and now - last <= timedelta(hours=hours):
        click.echo(f"The last balanced import ended at {last:%Y-%m-%d %H:%M} UTC.")
        return
    when = f"The last balanced import ended at {last:%Y-%m-%d %H:%M} UTC, more than {hours} hours ago."
    if last is None:
        when = "No import has ended in balance yet."
    why = ""
    if runs and runs[0].ended_at is None:
        why = f" A run of {runs[0].day} began at {runs[0].started_at:%Y-%m-%d %H:%M} UTC and has not ended."
    elif runs and not runs[0].balanced:
        why = f" The run of {runs[0].day} did not balance."
    click.secho(
        f"Last night did not happen. {when}{why} Look whether Airflow's scheduler runs.",
        fg="red",
        err=True,
    )
    raise SystemExit(1)
