"""The demonstration's last part: one caller asks for a copy and for erasure, and both requests are brought to the officer's decision.

Everything is done as people do it: by the command line in the officer's name, and through Airflow. What was opened before is only shown.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from callkeeper import db
from callkeeper.clock import HELSINKI
from callkeeper.demo.api import ENDED, Airflow
from callkeeper.demo.drop import VENDOR
from callkeeper.demo.stage import PATIENCE_SECONDS, Stage, console
from callkeeper.embedded.secrets import write_private
from callkeeper.errors import CallkeeperError, SetupFailed
from callkeeper.jobs import fulfilling, leading
from callkeeper.phone import E164
from callkeeper.tickets import Right
from callkeeper.wiring import App

DAG = "subject_request"
OFFICER = "officer"
ASKED = (Right.access, Right.erasure)
WORDS: Mapping[Right, str] = {Right.access: "a copy", Right.erasure: "erasure"}
OPENED = "demo-requests.json"
"""Which tickets are the demonstration's: opened once, then only shown."""


def ask(stage: Stage, days: Sequence[date]) -> None:
    """Opens what has not been opened, leads it to the officer's question, and says where to click. ``days``: those with calls."""
    console.rule("[bold]a caller writes: what do you have of me, and erase it")
    opened = _opened(stage)
    asking = None
    with stage.airflow(OFFICER) as airflow:
        airflow.until_parsed(DAG)
        for right in ASKED:
            if right not in opened:
                asking = asking or _who_rang_most(stage, days)
                if asking is None:
                    stage.say("Nobody's recording is here: there is nothing to ask for.")
                    return
                opened[right] = _open(stage, right, asking, days)
                write_private(stage.home / OPENED, json.dumps(opened) + "\n")
            _begin(stage, airflow, right, opened[right])
        for right, ticket in opened.items():
            _show(stage, airflow, right, ticket)
    stage.say("")
    stage.say(
        f"Sign in as [bold]{OFFICER}[/]: look at each request on the privacy desk, {stage.stack.url}/callkeeper/, and decide. The second yes is "
        "the [bold]approver[/]'s."
    )
    stage.say("The copy comes first: what is to be erased stays until it is delivered, and goes in the night after.")


def _opened(stage: Stage) -> dict[Right, str]:
    """The demonstration's tickets, as an earlier call noted them."""
    noted = stage.home / OPENED
    return {Right(right): ticket for right, ticket in json.loads(noted.read_text()).items()} if noted.exists() else {}


def _who_rang_most(stage: Stage, days: Sequence[date]) -> E164 | None:
    """Who has the most recordings in the catalogue; the vendor's numbers are made up."""
    found = callers(stage.app, days)
    return max(found, key=lambda number: (found[number], number), default=None)


def callers(app: App, days: Sequence[date]) -> Counter[E164]:
    """Who rang on these days, by the vendor's word, and how many recordings the catalogue has of each; who has none is left out."""
    vendor, found = app.vendor(VENDOR), Counter[E164]()
    rang: set[E164] = set()
    for day in days:
        with contextlib.suppress(CallkeeperError):  # a day that the vendor has not delivered
            rang |= {call.other_party.e164 for call in vendor.list_day(day, HELSINKI) if call.other_party.e164}
    q = db.queries()
    everything = {"line": None, "controller": None, "from_at": None, "to_at": None}
    with app.connect() as conn:
        for number in rang:
            hashes = list(app.keyring.pseudonyms(number).values())
            found[number] = sum(1 for _ in q.find_matched(conn, pseudonyms=hashes, **everything))
    return +found


def _open(stage: Stage, right: Right, number: E164, days: Sequence[date]) -> str:
    stage.title(None, f"A request for {WORDS[right]} came in; the officer calls the number back")
    today = datetime.now(HELSINKI).date().isoformat()
    printed = stage.callkeeper(
        "ticket", "open", "--right", right, "--received", today, "--channel", "web", "--language", "fi", "--numbers", "/dev/stdin",
        account=OFFICER, typed=number,
    )  # fmt: skip
    ticket = printed.split()[0]
    stage.callkeeper(
        "ticket", "identity", ticket, "--evidence", "callback", "--from", days[0].isoformat(), "--to", today, account=OFFICER
    )  # fmt: skip
    return ticket


def _begin(stage: Stage, airflow: Airflow, right: Right, ticket: str) -> None:
    """Triggers the ticket's first run, unless one has been there."""
    with stage.app.connect() as conn:
        stands = leading.where(conn, ticket)
    if stands.run is None and stands.next_run == leading.next_run(ticket, 0):
        airflow.start(DAG, stands.next_run, {"ticket": ticket, "right": right, "action": "advance"})


def _show(stage: Stage, airflow: Airflow, right: Right, ticket: str) -> None:
    """Where a ticket stands, once its run asks somebody, or has ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    with console.status(f"{DAG}, {ticket}"):
        while True:
            with stage.app.connect() as conn:
                found, stands = fulfilling.show(conn, ticket), leading.where(conn, ticket)
            run = stands.run or leading.next_run(ticket, 0)
            if stands.question or airflow.state(DAG, run) in ENDED:
                break
            if time.monotonic() > end:
                raise SetupFailed(
                    f"The run {run} of {DAG} asks nobody.", mend="See it in Airflow, then run this again."
                )
            time.sleep(0.5)
    stage.title(None, f"{ticket}, {WORDS[right]}: {found.state.replace('_', ' ')}")
    if stands.question:
        stage.say(f"The run {stands.run} asks: [bold]{stands.question}[/]")
        link = f"{stage.stack.url}/dags/{DAG}/runs/{stands.run}/tasks/{stands.question}/required_actions"
        console.print(f"    {link}", soft_wrap=True)
    else:
        stage.say(f"No run waits for anybody. On with it: trigger {DAG} for {ticket}, action advance.")
