"""``callkeeper watchdog``: for cron or monitoring, outside Airflow: did last night happen?"""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from callkeeper import settings, wiring


@click.command()
def watchdog() -> None:
    """Exit 0 when an import and a night of deletions ended in balance lately; else 1, in words (2: it cannot be told)."""
    from callkeeper import db
    from callkeeper.errors import CallkeeperError

    app, q = wiring.build(settings.load()), db.queries()
    hours = app.settings.watchdog_hours
    try:
        with app.connect() as conn:
            now = db.now(conn)
            imports, nights = list(q.latest_runs(conn, limit=1)), list(q.nights_told(conn, limit=1))
            imported, deleted, due_since = q.last_balanced(conn), q.last_balanced_night(conn), q.due_since(conn)
    except CallkeeperError as wrong:
        click.secho(f"Cannot tell whether last night happened: {wrong}", fg="red", err=True)
        raise SystemExit(2) from None
    late = now - timedelta(hours=hours)
    missing = []
    if imported is None or imported < late:
        missing.append(_missing("import", imported, hours, imports[0] if imports else None))
    # Before the first night nothing is missing, until something has been due for as long.
    if (deleted or due_since or now) < late:
        missing.append(_missing("night of deletions", deleted, hours, nights[0] if nights else None))
    if missing:
        click.secho(
            f"Last night did not happen. {' '.join(missing)} Look whether Airflow's scheduler runs.", fg="red", err=True
        )
        raise SystemExit(1)
    click.echo(f"The last balanced import ended at {imported:%Y-%m-%d %H:%M} UTC.")
    if deleted:
        click.echo(f"The last balanced night of deletions ended at {deleted:%Y-%m-%d %H:%M} UTC.")
    else:
        click.echo("No night of deletions has ended in balance yet, and nothing has been due for long.")


def _missing(what: str, last: datetime | None, hours: int, newest: object) -> str:
    """What is missing, and what is known of the newest run."""
    said = f"No {what} has ended in balance yet."
    if last is not None:
        said = f"The last balanced {what} ended at {last:%Y-%m-%d %H:%M} UTC, more than {hours} hours ago."
    day, began, ended, balanced = (
        getattr(newest, name, None) for name in ("day", "started_at", "ended_at", "balanced")
    )
    if newest is not None and ended is None:
        return f"{said} A run of {day} began at {began:%Y-%m-%d %H:%M} UTC and has not ended."
    if newest is not None and not balanced:
        return f"{said} The run of {day} did not balance."
    return said
