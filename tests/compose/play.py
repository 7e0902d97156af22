"""Run in a container of the stack: the demonstration's day, and one request to its end. `play.py day`, `play.py request`.

What is done is the demonstration's own code; only where Airflow and its accounts are is another.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import httpx

from callkeeper import controllers, settings, wiring
from callkeeper.clock import HELSINKI
from callkeeper.containers.places import SECRETS
from callkeeper.containers.secrets import Given
from callkeeper.demo import play, requests
from callkeeper.demo.auditor import prove
from callkeeper.demo.letting_go import let_go
from callkeeper.demo.stage import Stage, console
from callkeeper.embedded import airflow
from callkeeper.embedded.stack import Login
from callkeeper.errors import SetupFailed
from callkeeper.jobs import fulfilling, leading
from callkeeper.tickets import SCOPE_CHARACTERS, Right

ANSWERS = {
    "decide": ("Approve", {"scope": ""}),
    "second": ("Approve", {"scope": ""}),
    "release": ("Release", {}),
    "deliver": ("Delivered", {"channel": "letter"}),
}
"""To each question of subject_request: what is said, with what; the scope is what is seen by then."""


@dataclass(frozen=True)
class Composed:
    """Airflow in its containers, as far as the demonstration asks for it."""

    url: str
    logins: list[Login]


def stage() -> Stage:
    opened = settings.load()
    secrets = Given(SECRETS)
    logins = [
        Login(account=a.name, password=secrets.get(f"airflow_{a.name}_password"), title=a.title)
        for a in airflow.ACCOUNTS
    ]
    composed = Composed(opened.airflow_url, logins)
    return Stage(home=opened.home, stack=composed, app=wiring.build(opened))  # type: ignore[arg-type]  # all that is asked of it


def days(found: Stage) -> list[date]:
    """The days with a delivery that the nightly import is to take up."""
    first = found.app.settings.import_first_day
    assert first is not None
    last = (datetime.now(HELSINKI) - timedelta(hours=2, minutes=20)).date() - timedelta(days=1)
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def day(found: Stage) -> None:
    found.set_clock(0)
    with found.app.connect() as conn:
        controllers.apply(conn, found.app.config, found.app.actor(conn, account="demo"))
    wanted = days(found)
    drop = found.home / "vendors" / "linna"
    old = sorted(
        d for path in drop.glob("????-??-??") if (d := date.fromisoformat(path.name)) < wanted[0] - timedelta(days=60)
    )
    with found.airflow("admin") as admin:
        play._follow(admin, found, wanted, made=wanted)
    play._show(found.app)
    let_go(found, old)


def request(found: Stage) -> None:
    """Who rang most asks for a copy: from the officer's question to the delivered package, by people's answers over REST."""
    requests.ask(found, days(found))
    ticket = requests._opened(found)[Right.access]
    run = leading.next_run(ticket, 0)
    for _ in range(6):
        with found.app.connect() as conn:
            stands, shown = leading.where(conn, ticket), fulfilling.show(conn, ticket)
        if shown.state == "closed":
            break
        run = stands.run or stands.next_run
        question = _asked(found, run)
        chosen, said = ANSWERS[question]
        if "scope" in said:
            with found.app.connect() as conn:
                said = {"scope": fulfilling.seen(conn, ticket).scope.hex()[:SCOPE_CHARACTERS]}
        who = "approver" if question == "second" else "officer"
        found.say(f"{run}: {question}? {who} says {chosen}")
        _answer(found, who, run, question, chosen, said)
        _ends(found, run)
    with found.app.connect() as conn:
        shown = fulfilling.show(conn, ticket)
    if (shown.state, shown.outcome) != ("closed", "fulfilled"):
        raise SetupFailed(f"{ticket} is {shown.state}, its outcome {shown.outcome}.")
    found.say(f"{ticket}: {shown.state}, {shown.outcome}")
    prove(found)


def _asked(found: Stage, run: str) -> str:
    end = time.monotonic() + 240
    with found.airflow("officer") as officer:
        while time.monotonic() < end:
            tasks = (officer.get(f"/dags/{requests.DAG}/dagRuns/{run}/taskInstances") or {"task_instances": []})[
                "task_instances"
            ]
            waiting = [t["task_id"] for t in tasks if t["state"] == "awaiting_input"]
            if waiting:
                # An answer within about a second meets a process that has not ended yet.
                time.sleep(2)
                return str(waiting[0])
            if failed := [t["task_id"] for t in tasks if t["state"] == "failed"]:
                raise SetupFailed(f"{run}: {failed} failed")
            time.sleep(0.5)
    raise SetupFailed(f"{run} asks nothing.")


def _answer(found: Stage, who: str, run: str, question: str, chosen: str, said: dict[str, str]) -> None:
    with found.airflow(who) as person:
        http: httpx.Client = person.http
        path = f"/api/v2/dags/{requests.DAG}/dagRuns/{run}/taskInstances/{question}/-1/hitlDetails"
        every = dict.fromkeys(http.get(path).raise_for_status().json()["params"])
        http.patch(path, json={"chosen_options": [chosen], "params_input": every | said}).raise_for_status()


def _ends(found: Stage, run: str) -> None:
    with found.airflow("officer") as officer:
        state = officer.wait(requests.DAG, run, seconds=240)
    if state != "success":
        raise SetupFailed(f"{run}: {state}")


if __name__ == "__main__":
    began = time.monotonic()
    {"day": day, "request": request}[sys.argv[1]](stage())
    console.print(f"{sys.argv[1]}: {time.monotonic() - began:.0f} s")
