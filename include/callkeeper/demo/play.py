"""The demonstration: a vendor's ten days and a real PBX's calls, imported through Airflow, followed in the terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from callkeeper import controllers, db, deliveries, settings, wiring
from callkeeper.clock import HELSINKI
from callkeeper.demo.asterisk import make_asterisk
from callkeeper.demo.drop import deliver_later, make_drop
from callkeeper.embedded import stack as embedded
from callkeeper.embedded.stack import FIRST_DAY
from callkeeper.errors import SetupFailed
from callkeeper.jobs.balancing import table

DAG = "import_recordings"
SEED = 20261124
PATIENCE_SECONDS = 900
console = Console(highlight=False)


def play(home: Path, *, days: int) -> None:
    """Runs the demonstration; a second time it shows what is there, and imports what is new."""
    began = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    wanted = _days(home, days)
    console.rule("[bold]callkeeper: a demonstration")
    console.print(
        f"Making the calls of {len(wanted)} days, {wanted[0]} to {wanted[-1]}: a vendor's drop, and a PBX's recordings"
    )
    _make_vendors(home, wanted)
    stack = embedded.up(home, say=lambda line: console.print(line))
    app = wiring.build(settings.load(home=home))
    with app.connect() as conn:
        changes = controllers.apply(conn, app.config, app.actor(conn, account="demo"))
    console.print(
        f"  configuration: {changes.count('added')} entries applied" if changes else "  configuration: in force already"
    )
    admin = next(login for login in stack.logins if login.account == "admin")
    with _signed_in(stack.url, admin.account, admin.password) as airflow:
        _follow(airflow, app, home, wanted)
    _show(app)
    console.print(f"\n[bold]Airflow:[/] {stack.url}/dags/{DAG}")
    for login in stack.logins:
        console.print(f"  {login.account:<9} {login.password}  ({login.title})")
    console.print(f"Mails (the morning's balance): {home / 'mail'}")
    console.print(
        "Next: [bold].venv/bin/callkeeper status[/], [bold].venv/bin/callkeeper quarantine list[/], [bold]make down[/]"
    )
    console.print(f"Done in {time.monotonic() - began:.0f} s.")


def _days(home: Path, count: int) -> list[date]:
    """The days whose nightly run is due by now, the oldest first; the first one stays what it once was."""
    last = (datetime.now(HELSINKI) - timedelta(hours=2, minutes=20)).date() - timedelta(days=1)
    first = settings.load(home=home).import_first_day
    played = (home / "vendors" / "linna").exists()
    if first is None or first > last or not played:  # `make up` chose yesterday
        first = last - timedelta(days=count - 1)
        env = home / "callkeeper.env"
        kept = [line for line in env.read_text().splitlines() if not line.startswith(FIRST_DAY)] if env.exists() else []
        env.touch(mode=0o600, exist_ok=True)
        env.write_text("\n".join([*kept, f"{FIRST_DAY}='{first}'"]) + "\n")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _make_vendors(home: Path, days: list[date]) -> None:
    drop, pbx = home / "vendors" / "linna", home / "vendors" / "vaihde"
    if not drop.exists():
        console.print(
            f"Making the calls of {len(days)} days, {days[0]} to {days[-1]}: a vendor's drop, and a PBX's recordings"
        )
        make_drop(drop, days, seed=SEED)
    if not pbx.exists():
        around = [days[0] + timedelta(days=n) for n in range(-1, len(days) + 1)]
        make_asterisk(pbx, days[-2] if len(days) > 1 else days[-1], quiet=around)


class _Airflow:
    """Airflow's API, as one signed-in account."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(f"/api/v2{path}", params=params)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def unpause(self, dag: str) -> None:
        self.http.patch(f"/api/v2/dags/{dag}", json={"is_paused": False}).raise_for_status()


class _signed_in:  # noqa: N801  # reads as a verb where it is used
    def __init__(self, url: str, account: str, password: str) -> None:
        self.url, self.account, self.password = url, account, password

    def __enter__(self) -> _Airflow:
        # Nothing between this machine and itself: a proxy of the environment is not asked.
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        answer = self.http.post("/auth/token", json={"username": self.account, "password": self.password})
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return _Airflow(self.http)

    def __exit__(self, *_: object) -> None:
        self.http.close()


def _follow(airflow: _Airflow, app: wiring.App, home: Path, days: list[date]) -> None:
    """Sets the DAG going, and tells of each day as it ends; what is pending is delivered by the vendor on the way."""
    _until_parsed(airflow, days[0])
    airflow.unpause(DAG)
    console.print(f"\nAirflow's nightly runs of {DAG}, one a day, catching up:")
    told: set[str] = set()
    delivered = False
    end = time.monotonic() + PATIENCE_SECONDS
    with console.status("waiting for the first run") as line:
        while len(told) < len(days):
            for run in _runs(airflow):
                run_id = run["dag_run_id"]
                if run["state"] in ("success", "failed") and run_id not in told:
                    told.add(run_id)
                    end = time.monotonic() + PATIENCE_SECONDS
                    console.print(f"  {len(told):>2} of {len(days)}  {_sentence(app, run_id, run['state'])}")
                    if not delivered and len(told) >= len(days) // 2:
                        delivered = deliver_later(home / "vendors" / "linna", days, seed=SEED)
                        console.print(
                            "          the vendor delivers what was still being processed, late calls and corrections"
                        )
                elif run["state"] == "running":
                    line.update(f"run {len(told) + 1} of {len(days)}: {_at(airflow, run_id)}")
            if time.monotonic() > end:
                raise SetupFailed(
                    f"No run has ended for {PATIENCE_SECONDS // 60} minutes.",
                    mend=f"See the DAG in Airflow, and the logs in {home / 'stack'}.",
                )
            time.sleep(1)


def _until_parsed(airflow: _Airflow, first: date) -> None:
    """Waits until Airflow knows the DAG with its first day."""
    end = time.monotonic() + 240
    while True:
        found = airflow.get(f"/dags/{DAG}/details")
        if (
            found
            and found.get("start_date")
            and datetime.fromisoformat(found["start_date"]).astimezone(HELSINKI).date() == first
        ):
            return
        if time.monotonic() > end:
            raise SetupFailed(
                "Airflow does not know the DAG after 4 minutes.",
                mend="See the dag-processor's log, `callkeeper stack`.",
            )
        time.sleep(1)


def _runs(airflow: _Airflow) -> Iterator[dict[str, Any]]:
    found = airflow.get(f"/dags/{DAG}/dagRuns", limit=100, order_by="run_after", run_type="scheduled")
    yield from found["dag_runs"]


def _at(airflow: _Airflow, run_id: str) -> str:
    """Which tasks run now, with the vendor's name where they have one."""
    found = airflow.get(f"/dags/{DAG}/dagRuns/{run_id}/taskInstances", limit=100)
    running = [t for t in found["task_instances"] if t["state"] == "running"]
    return (
        ", ".join(f"{t['task_id']} {t.get('rendered_map_index') or ''}".strip() for t in running) or "between two tasks"
    )


def _sentence(app: wiring.App, run_id: str, state: str) -> str:
    with app.connect() as conn:
        run = db.queries().find_run(conn, run_key=run_id)
        if run is None:
            return f"[red]{run_id}: {state}, and it never passed its preflight"
        result = deliveries.read_balance(conn, run.run, run_id, run.day)
    terms = ", ".join(f"{n} {term}" for term in deliveries.TERMS if (n := result.total(term)))
    good = state == "success" and result.balanced
    return f"{run.day}  [{'green' if good else 'red'}]{state}[/]  {result.total('found')} found: {terms or 'nothing'}"


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
