"""One import from end to end without Airflow, for tests and as a process that can be killed.

As a program: ``python tests/run_import.py RUN_KEY DAY VENDOR``, settings from the environment.
"""

from __future__ import annotations

import sys
from datetime import date

from callkeeper import settings, wiring
from callkeeper.deliveries import RunBalance
from callkeeper.jobs import balancing, fetching, importing
from callkeeper.jobs.preflight import preflight
from callkeeper.media.probe import probe


def run_import(app: wiring.App, run_key: str, day: date, vendor: str, *, first_day: date | None = None) -> RunBalance:
    """All steps of import_recordings for one vendor, in their order, on one connection."""
    with app.connect() as conn:
        actor = app.actor(conn, dag="import_recordings", run=run_key, task="all", attempt=1)
        preflight(conn, app.config, run_key=run_key, day=day, first_day=first_day, only_vendor=vendor, actor=actor)
        job = app.importing(conn, run_key, vendor, actor)
        importing.stage(conn, job)
        importing.check(conn, job)
        fetching.fetch(conn, job, app.store, probe, lane=1, claim_rows=app.settings.import_claim_rows)
        importing.keep(conn, job)
        importing.finish_days(conn, job)
        return balancing.balance(conn, run_key, actor)


if __name__ == "__main__":
    balance = run_import(wiring.build(settings.load()), sys.argv[1], date.fromisoformat(sys.argv[2]), sys.argv[3])
    print({str(b.controller): dict(b.counts) for b in balance.balances})
