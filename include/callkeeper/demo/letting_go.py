"""The demonstration's second half: two days half a year old come in under a moved clock, and are let go of.

Everything is done as people do it: through Airflow's DAGs, and by the command line in the name of an account. The
database's clock is moved back for each act, and is right again after it; what was played before is only shown.
"""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

from callkeeper import db, decisions, deletions
from callkeeper.clock import HELSINKI, add_months
from callkeeper.deletions import Night
from callkeeper.demo.api import Airflow
from callkeeper.demo.auditor import prove
from callkeeper.demo.drop import HELD_CALLER, VENDOR, archive
from callkeeper.demo.stage import PATIENCE_SECONDS, Stage, console
from callkeeper.embedded.secrets import write_private
from callkeeper.jobs import approving, explaining, holding, reporting
from callkeeper.jobs.approving import Subject

IMPORT, DELETE, HOLD, RECONCILE = "import_recordings", "delete_expired", "legal_hold", "reconcile"
REHEARSAL, NIGHT = "demo__rehearsal", "demo__night"
NIGHT_AT = time(0, 30)


def last_night(now: datetime) -> date:
    """The day of the last night of deletions that is over."""
    return (now.astimezone(HELSINKI) - timedelta(hours=1)).date()


def old_days(now: datetime) -> list[date]:
    """Two days whose calls were past their term when that night began."""
    last = add_months(last_night(now) - timedelta(days=1), -6)
    return [last - timedelta(days=1), last]


def let_go(stage: Stage, days: Sequence[date]) -> Path:
    """Plays what has not been played, and shows it; returns the file of the night's report. ``days``: the old ones."""
    today = last_night(datetime.now(HELSINKI))
    yesterday = today - timedelta(days=1)
    console.rule("[bold]half a year later: letting go")
    with stage.airflow("data") as airflow:
        for dag in (DELETE, HOLD, RECONCILE):
            airflow.until_parsed(dag)
        _answer(stage)
        _bring_in(stage, airflow, days)
        archive(stage.home / "vendors" / VENDOR, days[-1])
        _rehearse(stage, airflow, _at(yesterday, NIGHT_AT), since=days[-1] + timedelta(days=1))
        _go_live(stage, _at(yesterday, time(14, 0)))
        _hold(stage, _at(yesterday, time(23, 50)))
        night = _last(stage, airflow, _at(today, NIGHT_AT))
        _compare(stage, airflow)
    report = _show(stage, night)
    prove(stage)
    return report


def _at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, HELSINKI)


def _answer(stage: Stage) -> None:
    """A call that was delivered months after its day is past its term on arrival: no night takes it without a person's yes."""
    with stage.app.connect() as conn:
        waiting = approving.propose(conn, Subject.surplus).n
    if waiting:
        stage.title(None, "A call came in that its vendor dates months back: whether that is right, a person says")
        stage.callkeeper("approve", "surplus", "--yes", str(waiting), account="approver")


def _bring_in(stage: Stage, airflow: Airflow, days: Sequence[date]) -> None:
    at = _at(days[-1] + timedelta(days=1), time(2, 15))
    stage.title(at, "Half a year ago two days' calls come in: the database's clock is moved back")
    runs = {day: f"demo__{day}" for day in days}
    if not all(airflow.ended_well(IMPORT, run_id) for run_id in runs.values()):
        with stage.at(at):
            for day, run_id in runs.items():
                stage.run(airflow, IMPORT, run_id, day=day.isoformat(), vendor=VENDOR)
    for run_id in runs.values():
        stage.say(stage.imported(run_id, "success"))
    stage.say(
        "The vendor keeps a recording for 30 days, says its contract. It has them still, one of them in an archive."
    )


def _rehearse(stage: Stage, airflow: Airflow, at: datetime, *, since: date) -> None:
    stage.title(at, "A first night is a rehearsal: everything but the effect")
    with stage.app.connect() as conn:
        last = db.queries().last_rehearsal(conn)
    if last is None or not since < last.day <= at.date():
        with stage.at(at):
            # The night that Airflow makes up for when it is switched on, or one by hand.
            run_id = airflow.switch_on(DELETE) or REHEARSAL
            stage.run(airflow, DELETE, run_id)
    else:
        run_id = last.run_key
    _tell_night(stage, run_id)


def _go_live(stage: Stage, at: datetime) -> None:
    stage.title(at, "The privacy officer has seen the rehearsal, and says yes")
    with stage.app.connect() as conn:
        given = decisions.find(conn, Subject.go_live, "approve")
        if given:
            stage.say(f"decision {given.decision}, by {given.account}")
            return
        due = approving.propose(conn, Subject.go_live).n
    with stage.at(at):
        stage.callkeeper("approve", "go-live", "--yes", str(due), account="officer")


def _hold(stage: Stage, at: datetime) -> None:
    stage.title(at, "The police ask for a caller's recordings, and the night begins in 40 minutes")
    with stage.app.connect() as conn:
        cases = holding.register(conn, officer=False)
    if cases and cases[-1].ratified_by:
        stage.say(f"{cases[-1].case_ref}, placed by {cases[-1].placed_by}, ratified by {cases[-1].ratified_by}")
        return
    with stage.at(at):
        if cases:
            case_ref = cases[-1].case_ref
        else:
            facts = stage.home / "the-police-ask.txt"
            write_private(facts, "authority: Helsingin poliisilaitos\nreference: 5500/R/1234/26\n")
            drafted = stage.callkeeper(
                "hold", "draft", "--kind", "investigation", "--facts", str(facts), "--numbers", "/dev/stdin",
                account="officer", typed=HELD_CALLER,
            )  # fmt: skip
            facts.unlink()
            case_ref = drafted.split()[0]
        with stage.airflow("officer") as officer:
            officer.unpause(HOLD)
            stage.say(f"[bold]{HOLD}[/], triggered in Airflow by the officer: case {case_ref}, action place")
            stage.say(f"  {stage.run(officer, HOLD, f'demo__{case_ref}', case=case_ref, action='place')}")
        stage.callkeeper("hold", "ratify", case_ref, account="approver")


def _last(stage: Stage, airflow: Airflow, at: datetime) -> Night:
    stage.title(at, "The night: what is past its term goes, unless something blocks it")
    if not airflow.ended_well(DELETE, NIGHT):
        with stage.at(at):
            stage.run(airflow, DELETE, NIGHT)
    return _tell_night(stage, NIGHT)


def _compare(stage: Stage, airflow: Airflow) -> None:
    stage.title(None, "The morning: catalogue, store and vendors side by side")
    run_id = airflow.switch_on(RECONCILE)
    if run_id:
        with console.status(RECONCILE):
            airflow.wait(RECONCILE, run_id, seconds=PATIENCE_SECONDS)
    for run in airflow.scheduled(RECONCILE)[-1:]:
        for line in (run["note"] or run["state"]).replace("**", "").split("\n"):
            if line:
                stage.say(line)


def _tell_night(stage: Stage, run_id: str) -> Night:
    with stage.app.connect() as conn:
        night = deletions.find_night(conn, run_id)
        balance = deletions.read_balance(conn, night)
    terms = ", ".join(f"{n} {t.replace('_', ' ')}" for t in ("withdrawn", *deletions.TERMS) if (n := balance.total(t)))
    stage.say(f"{night.day}  [green]{night.mode}[/]  {balance.total('due')} due: {terms or 'nothing'}")
    return night


def _show(stage: Stage, night: Night) -> Path:
    stage.title(None, "What is left of it, for whoever asks")
    day = night.day.isoformat()
    with stage.app.connect() as conn:
        held = [row.recording for row in explaining.open_deletions(conn, "blocked")]
        gone = [r["recording"] for r in json.loads(reporting.evidence(conn, night.night))["receipts"]]
    stage.callkeeper("reports", "show", day)
    stage.callkeeper("holds", account="officer")
    for recording in held[:1] + gone[:1]:
        stage.callkeeper("explain", str(recording))
    stage.callkeeper("deletions", "list")
    report = stage.home / "reports" / f"deletion-{day}.html"
    report.parent.mkdir(exist_ok=True)
    stage.callkeeper("reports", "get", day, "--to", str(report))
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(report.as_uri())
    return report
