"""``callkeeper status``: the last imports' balance, unfinished days, quarantine."""

from __future__ import annotations

import json

import click

from callkeeper import settings, wiring
from callkeeper.deliveries import TERMS, RunBalance


def balance_table(results: list[RunBalance]) -> object:
    """A rich table, one line a run, vendor and controller; terms that are nowhere other than zero have no column."""
    from rich import box
    from rich.table import Table

    terms = [str(t) for t in TERMS if any(r.total(t) for r in results)]
    off = any(not r.balanced for r in results)
    table = Table("day", "vendor", "controller", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for term in ("found", *terms, *(["difference"] if off else [])):
        table.add_column(term, justify="right")
    shown = None
    for result in results:
        for b in result.balances:
            row = [str(b.counts.get(t, 0) or "·") for t in ("found", *terms)]
            day = str(result.day) if result.day != shown else ""
            shown = result.day
            table.add_row(day, b.vendor, b.controller, *row, *([f"{b.difference:+d}"] if off else []), style="red" if b.difference else "")
    equation = f"found = {' + '.join(TERMS)}"
    table.caption = f"{equation}: [red]it does not add up[/]" if off else f"{equation}: it adds up"
    return table


@click.command()
@click.option("--runs", default=1, show_default=True, help="How many of the last runs.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(runs: int, as_json: bool) -> None:
    """The last imports' balance, unfinished days, quarantine."""
    from callkeeper import db, deliveries
    from callkeeper.jobs.balancing import Waiting

    app = wiring.build(settings.load())
    with app.connect() as conn:
        rows = list(db.queries().latest_runs(conn, limit=runs))
        results = [deliveries.read_balance(conn, r.run, r.run_key, r.day) for r in reversed(rows)]
        days = deliveries.unfinished(conn)
        waiting = [Waiting(**row._asdict()) for row in db.queries().quarantine_summary(conn)]
    if as_json:
        ended = {r.run_key: r for r in rows}
        body = {
            "runs": [
                {"run": r.run_key, "day": r.day, "ended": ended[r.run_key].ended_at, "balanced": ended[r.run_key].balanced}
                | json.loads(deliveries.as_json(r))
                for r in results
            ],
            "unfinished": [{"vendor": d.vendor, "day": d.day, "state": d.state, "trouble": d.trouble} for d in days],
            "quarantine": [{"vendor": w.vendor, "controller": w.controller, "reason": w.reason, "n": w.n, "overdue": w.overdue} for w in waiting],
        }
        click.echo(json.dumps(body, default=str, indent=1))
        return
    from rich.console import Console

    console = Console()
    if not results:
        console.print("Nothing has been imported yet.")
        return
    console.print(balance_table(results))
    for w in waiting:
        console.print(f"quarantine: {w.n} × {w.reason} ({w.vendor}, {w.controller})" + (f", [red]{w.overdue} beyond term[/]" if w.overdue else ""))
    for d in days:
        console.print(f"unfinished: {d.vendor}, {d.day}: {d.state}" + (f", [red]{d.trouble}[/]" if d.trouble else ""))
