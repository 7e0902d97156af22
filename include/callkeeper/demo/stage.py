"""What the demonstration is played on: the stack, its accounts, its clock, and the terminal."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from callkeeper import db, deliveries, wiring
from callkeeper.demo.api import Airflow, signed_in
from callkeeper.embedded.stack import Stack
from callkeeper.errors import SetupFailed

PATIENCE_SECONDS = 600
console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The stack in ``home``, and its app."""

    home: Path
    stack: Stack
    app: wiring.App

    # --- who acts

    def password(self, account: str) -> str:
        return next(login.password for login in self.stack.logins if login.account == account)

    def airflow(self, account: str) -> contextlib.AbstractContextManager[Airflow]:
        return signed_in(self.stack.url, account, self.password(account))

    def run(self, airflow: Airflow, dag: str, run_id: str, **conf: str) -> str:
        """Has a run of the DAG end well, and returns its note. Raises SetupFailed if it fails."""
        airflow.start(dag, run_id, conf)
        with console.status(f"{dag}, {run_id}"):
            try:
                state = airflow.wait(dag, run_id, seconds=PATIENCE_SECONDS)
            except KeyboardInterrupt:
                self.say("One moment: the run ends first, then the clock is set right.")
                airflow.wait(dag, run_id, seconds=PATIENCE_SECONDS)
                raise
        if state != "success":
            raise SetupFailed(
                f"The run {run_id} of {dag} has failed.", mend="Its log in Airflow says why; then run this again."
            )
        return str(airflow.run(dag, run_id)["note"] or "")

    def callkeeper(self, *words: str, account: str | None = None, typed: str = "", may_fail: bool = False) -> str:
        """Runs a command of callkeeper's, and shows it as it is typed, with what it says.

        Raises SetupFailed if it fails, unless it may.
        """
        command = [*words, *(("--as", account) if account else ())]
        shown = " ".join(f'"{word}"' if " " in word else word for word in command)
        console.print(f"    [bold]$ callkeeper {shown}[/]", soft_wrap=True)
        env = {**os.environ, "CALLKEEPER_HOME": str(self.home), "COLUMNS": str(max(console.width - 6, 74))}
        if account:
            env["CALLKEEPER_PASSWORD"] = self.password(account)
        done = subprocess.run(
            [sys.executable, "-m", "callkeeper.cli", *command],
            input=typed,
            capture_output=True,
            text=True,
            env=env,
            check=False,
        )
        if done.returncode and not may_fail:
            raise SetupFailed(f"`callkeeper {words[0]}` failed: {done.stderr.strip()}", mend="Then run this again.")
        for line in done.stdout.strip("\n").splitlines():
            console.print(Text(f"      {line}".rstrip()), soft_wrap=True)
        return done.stdout

    # --- when

    def set_clock(self, seconds: int) -> None:
        """Moves the database's clock, as its owner; 0 is the real time."""
        with self.app.connect("owner") as owner:
            db.move_clock(owner, seconds)
            owner.commit()

    @contextlib.contextmanager
    def at(self, then: datetime) -> Iterator[None]:
        """The database's clock is moved to that time, and is right again in the end."""
        try:
            self.set_clock(round((then - datetime.now(UTC)).total_seconds()))
            yield
        finally:
            self.set_clock(0)

    # --- what is told

    def title(self, at: datetime | None, what: str) -> None:
        when = f"[cyan]{at:%Y-%m-%d %H:%M}[/]  " if at else ""
        console.print(f"\n{when}[bold]{what}[/]")

    def say(self, what: str) -> None:
        console.print(f"    {what}")

    def imported(self, run_id: str, state: str) -> str:
        """What an import's run came to, in one line."""
        with self.app.connect() as conn:
            run = db.queries().find_run(conn, run_key=run_id)
            if run is None:
                return f"[red]{run_id}: {state}, and it never passed its preflight"
            result = deliveries.read_balance(conn, run.run, run_id, run.day)
        terms = ", ".join(f"{n} {term}" for term in deliveries.TERMS if (n := result.total(term)))
        good = state == "success" and result.balanced
        return (
            f"{run.day}  [{'green' if good else 'red'}]{state}[/]  {result.total('found')} found: {terms or 'nothing'}"
        )
