"""A container's health check: exits with 0 if its program has given a sign of life lately, else with a sentence and 1.

Airflow's own check of a program's heartbeat (``airflow jobs check``) takes seconds of a small machine's time, each time,
for each container. This asks the same row, and imports nothing that is slow: not callkeeper's settings either.
"""

from __future__ import annotations

import socket
import sys
import urllib.request
from urllib.parse import quote

from callkeeper.containers.places import AIRFLOW_PORT, PLACES, REDIS_PORT, SECRETS

SILENT_SECONDS = 90
"""Three of Airflow's own limits (30 s): a machine with two cores may be slow, and restarting makes it no faster."""
JOBS = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
_BEAT = """
    select extract(epoch from now() - max(latest_heartbeat)) from job
    where job_type = %s and hostname = %s and state = 'running'
"""


def _api_server() -> str | None:
    # Anything but 200 is an OSError.
    with urllib.request.urlopen(f"http://127.0.0.1:{AIRFLOW_PORT}/api/v2/version", timeout=10):
        return None


def _job(kind: str) -> str | None:
    import psycopg

    password = (SECRETS / "airflow_db_password").read_text(encoding="utf-8")
    with psycopg.connect(
        host=PLACES.db_host,
        port=PLACES.db_port,
        dbname="airflow",
        user="airflow",
        password=password,
        connect_timeout=10,
    ) as conn:
        row = conn.execute(_BEAT, (kind, socket.gethostname())).fetchone()
    if row is None or row[0] is None:
        return f"Airflow's database knows of no running {kind} of this container."
    return None if row[0] < SILENT_SECONDS else f"The {kind} has been silent for {row[0]:.0f} seconds."


def _worker() -> str | None:
    from celery import Celery

    password = quote((SECRETS / "redis_password").read_text(encoding="utf-8"), safe="")
    app = Celery(broker=f"redis://:{password}@redis:{REDIS_PORT}/0")
    me = f"celery@{socket.gethostname()}"
    return None if app.control.inspect(destination=[me], timeout=10).ping() else f"{me} does not answer."


def trouble(program: str) -> str | None:
    """What is wrong with the program of that name; None where nothing is."""
    try:
        if program in JOBS:
            return _job(JOBS[program])
        return {"api-server": _api_server, "worker": _worker}[program]()
    except Exception as wrong:  # noqa: BLE001  # what an error of a library says may hold a password
        return f"It could not be asked ({type(wrong).__name__})."


if __name__ == "__main__":
    sys.exit(trouble(sys.argv[1]))
