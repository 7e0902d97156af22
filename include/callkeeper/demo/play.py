"""The demonstration: a vendor's ten days and a real PBX's calls, imported through Airflow, followed in the terminal."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

from callkeeper import controllers, db, deliveries, settings, wiring
from callkeeper.clock import HELSINKI
from callkeeper.demo import requests
from callkeeper.demo.api import ENDED, Airflow
from callkeeper.demo.asterisk import make_asterisk
from callkeeper.demo.drop import deliver_later, make_drop, make_old_days
from callkeeper.demo.letting_go import let_go, old_days
from callkeeper.demo.stage import Stage, console
from callkeeper.embedded import stack as embedded
from callkeeper.embedded.installation import FIRST_DAY
from callkeeper.embedded.secrets import write_private
from callkeeper.errors import NotAllowed, SetupFailed
from callkeeper.jobs.balancing import table

DAG = "import_recordings"
DEMO = "CALLKEEPER_DEMO"
SEED = 20261124
PATIENCE_SECONDS = 900


def play(home: Path, *, days: int) -> None:
    """Runs the demonstration; a second time it shows what is there, and imports what is new.

    Raises NotAllowed where calls were imported without it: it moves the clock, and has nights delete.
    """
    began = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    console.rule("[bold]callkeeper: a demonstration")
    _claim(home)
    wanted = _days(home, days)
    old = _make_vendors(home, wanted)
    stack = embedded.up(home, say=console.print)
    stage = Stage(home=home, stack=stack, app=wiring.build(settings.load(home=home)))
    stage.set_clock(0)  # a demonstration that was killed may have left it moved
    with stage.app.connect() as conn:
        changes = controllers.apply(conn, stage.app.config, stage.app.actor(conn, account="demo"))
    console.print(
        f"  configuration: {changes.count('added')} entries applied" if changes else "  configuration: in force already"
    )
    with stage.airflow("admin") as airflow:
        _follow(airflow, stage, wanted, made=wanted[:days])
    _show(stage.app)
    report = let_go(stage, old)
    requests.ask(stage, wanted)
    console.print(f"\n[bold]Airflow:[/] {stack.url}/dags")
    for login in stack.logins:
        console.print(f"  {login.account:<9} {login.password}  ({login.title})")
    console.print(f"Mails (each morning's, each night's): {home / 'mail'}")
    console.print(f"The night's report: {report}")
    console.print(
        "Next: [bold].venv/bin/callkeeper status[/], [bold].venv/bin/callkeeper reports[/], "
        "[bold].venv/bin/callkeeper quarantine list[/], [bold]make down[/]"
    )
    console.print(f"Done in {time.monotonic() - began:.0f} s.")


def _claim(home: Path) -> None:
    """Marks an installation as a demonstration's. Raises NotAllowed for one that has imported calls of its own."""
    if settings.load(home=home).demo:
        return
    if (home / "stack" / "postgres").exists():
        stack = embedded.up(home, with_airflow=False, say=console.print)
        with wiring.build(stack.settings).connect() as conn:
            if list(db.queries().latest_runs(conn, limit=1)):
                raise NotAllowed(
                    f"Calls were imported into {home} already, and the demonstration deletes calls under a moved clock.",
                    mend="Give it a folder of its own: CALLKEEPER_HOME=/some/folder make demo.",
                )
    _set(home, DEMO, "true")


def _set(home: Path, name: str, value: str) -> None:
    """Writes a setting of this installation."""
    env = home / "callkeeper.env"
    kept = [line for line in env.read_text().splitlines() if not line.startswith(f"{name}=")] if env.exists() else []
    write_private(env, "\n".join([*kept, f"{name}='{value}'"]) + "\n")


def _days(home: Path, count: int) -> list[date]:
    """The days whose nightly run is due by now, the oldest first; the first one stays what it once was."""
    last = (datetime.now(HELSINKI) - timedelta(hours=2, minutes=20)).date() - timedelta(days=1)
    first = settings.load(home=home).import_first_day
    played = (home / "vendors" / "linna").exists()
    if first is None or first > last or not played:  # `make up` chose yesterday
        first = last - timedelta(days=count - 1)
        _set(home, FIRST_DAY, str(first))
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _make_vendors(home: Path, days: list[date]) -> list[date]:
    """Makes what the vendors deliver, unless it is there; returns the two old days."""
    drop, pbx = home / "vendors" / "linna", home / "vendors" / "vaihde"
    if not drop.exists():
        console.print(
            f"Making the calls of {len(days)} days, {days[0]} to {days[-1]}, and of two days half a year ago: "
            "a vendor's drop, and a PBX's recordings"
        )
        # Whole or not at all: it may be interrupted.
        making = drop.with_name("making")
        shutil.rmtree(making, ignore_errors=True)
        make_drop(making, days, seed=SEED)
        make_old_days(making, old_days(datetime.now(HELSINKI)), seed=SEED)
        os.replace(making, drop)
    if not (pbx / "cdr-csv" / "Master.csv").exists():
        around = [days[0] + timedelta(days=n) for n in range(-1, len(days) + 1)]
        make_asterisk(pbx, days[-2] if len(days) > 1 else days[-1], quiet=around)
    return sorted(day for path in drop.glob("????-??-??") if (day := date.fromisoformat(path.name)) < days[0])


def _follow(airflow: Airflow, stage: Stage, days: list[date], *, made: list[date]) -> None:
    """Sets the DAG going, and tells of each day as it ends; what is pending is delivered by the vendor on the way.

    ``made`` are the days that the vendor's drop was made for.
    """
    _until_parsed(airflow, days[0])
    airflow.unpause(DAG)
    console.print(f"\nAirflow's nightly runs of {DAG}, one a day, catching up:")
    told: set[str] = set()
    delivered = False
    end = time.monotonic() + PATIENCE_SECONDS
    with console.status("waiting for the first run") as line:
        while len(told) < len(days):
            for run in airflow.scheduled(DAG):
                run_id = run["dag_run_id"]
                if run["state"] in ENDED and run_id not in told:
                    told.add(run_id)
                    end = time.monotonic() + PATIENCE_SECONDS
                    console.print(f"  {len(told):>2} of {len(days)}  {stage.imported(run_id, run['state'])}")
                    if not delivered and len(told) >= len(days) // 2:
                        delivered = deliver_later(stage.home / "vendors" / "linna", made, seed=SEED)
                        console.print(
                            "          the vendor delivers what was still being processed, late calls and corrections"
                        )
                elif run["state"] == "running":
                    line.update(
                        f"run {len(told) + 1} of {len(days)}: {airflow.running(DAG, run_id) or 'between two tasks'}"
                    )
            if time.monotonic() > end:
                raise SetupFailed(
                    f"No run has ended for {PATIENCE_SECONDS // 60} minutes.",
                    mend=f"See the DAG in Airflow, and the logs in {stage.home / 'stack'}.",
                )
            time.sleep(1)


def _until_parsed(airflow: Airflow, first: date) -> None:
    """Waits until Airflow knows the DAG with its first day."""
    end = time.monotonic() + 240
    while datetime.fromisoformat(airflow.until_parsed(DAG)["start_date"]).astimezone(HELSINKI).date() != first:
        if time.monotonic() > end:
            raise SetupFailed(
                "Airflow does not know the DAG's first day after 4 minutes.",
                mend="See the dag-processor's log, `callkeeper stack`.",
            )
        time.sleep(1)


def _show(app: wiring.App) -> None:
    with app.connect() as conn:
        runs = list(db.queries().latest_runs(conn, limit=1))
        last = [deliveries.read_balance(conn, r.run, r.run_key, r.day) for r in runs]
        live = list(db.queries().live_recordings(conn))
        waiting = Counter[str]()
        for row in db.queries().quarantine_summary(conn):
            waiting[row.reason] += row.n
        spans = deliveries.spans(deliveries.unfinished(conn))
    console.print("\nThe last night:", table(last))
    console.print("In the catalogue: " + ", ".join(f"{r.n} of {r.vendor} for {r.controller}" for r in live))
    if waiting:
        console.print("In quarantine: " + ", ".join(f"{n} {reason}" for reason, n in waiting.most_common()))
    for span in spans:
        console.print(f"Unfinished: {span}")
    if spans:
        console.print(
            "(A day that the vendor never delivered is part of the demonstration: the morning's mail is an ALARM.)"
        )
