"""``callkeeper status``: the last imports' and deletions' balance, unfinished days, quarantine."""

from __future__ import annotations

import json
from collections import Counter

import click

from callkeeper import settings, wiring
from callkeeper.jobs.balancing import table


@click.command()
@click.option("--runs", default=1, show_default=True, help="How many of the last runs.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(runs: int, as_json: bool) -> None:
    """The last imports' and deletions' balance, unfinished days, quarantine."""
    from callkeeper import db, deliveries
    from callkeeper.jobs import reporting
    from callkeeper.jobs.balancing import Waiting

    app = wiring.build(settings.load())
    with app.connect() as conn:
        rows = list(db.queries().latest_runs(conn, limit=runs))
        results = [deliveries.read_balance(conn, r.run, r.run_key, r.day) for r in reversed(rows)]
        days = deliveries.unfinished(conn)
        waiting = [Waiting(**row._asdict()) for row in db.queries().quarantine_summary(conn)]
        nights = list(db.queries().nights_told(conn, limit=runs))
    if as_json:
        ended = {r.run_key: r for r in rows}
        body = {
            "runs": [
                {
                    "run": r.run_key,
                    "day": r.day,
                    "ended": ended[r.run_key].ended_at,
                    "balanced": ended[r.run_key].balanced,
                }
                | json.loads(deliveries.as_json(r))
                for r in results
            ],
            "unfinished": [{"vendor": d.vendor, "day": d.day, "state": d.state, "trouble": d.trouble} for d in days],
            "quarantine": [
                {"vendor": w.vendor, "controller": w.controller, "reason": w.reason, "n": w.n, "overdue": w.overdue}
                for w in waiting
            ],
            "nights": [
                {
                    "run": n.run_key,
                    "day": n.day,
                    "mode": n.mode,
                    "ended": n.ended_at,
                    "balanced": n.balanced,
                    "controllers": n.summary["controllers"] if n.summary else [],
                }
                for n in nights
            ],
        }
        click.echo(json.dumps(body, default=str, indent=1))
        return
    from rich.console import Console

    console = Console()
    if results:
        console.print(table(results))
    else:
        console.print("Nothing has been imported yet.")
    if waiting:
        sums = Counter[str]()
        for w in waiting:
            sums[w.reason] += w.n
        overdue = sum(w.overdue for w in waiting)
        late = f", [red]{overdue} beyond their term[/]" if overdue else ""
        console.print("in quarantine: " + ", ".join(f"{n} {reason}" for reason, n in sums.most_common()) + late)
    for span in deliveries.spans(days):
        console.print(f"unfinished: [red]{span}[/]" if span.trouble else f"unfinished: {span}")
    told = [reporting.read(n.summary) for n in reversed(nights) if n.summary]
    if told:
        console.print(reporting.table(told))
    for n in nights:
        if n.ended_at is None:
            console.print(
                f"deletion: [red]the night of {n.day} began at {n.started_at:%Y-%m-%d %H:%M} UTC and has not ended[/]"
            )
    if not nights:
        console.print("No night of deletions yet: is the DAG delete_expired paused?")
