"""The service ``airflow-housekeeping``: once a day, outside of tasks, Airflow's own database and task logs lose what is past its term.

Tables are named, so that a new release of Airflow brings no surprise; nothing is copied into archive tables, which would keep
what was to go. callkeeper's own database has its own ageing (the DAG age_trail).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from pathlib import Path

from callkeeper import settings as settings_module
from callkeeper.clock import HELSINKI
from callkeeper.containers.places import LOGS
from callkeeper.errors import CallkeeperError

AT = clock(4, 40)
"""Helsinki. Between age_trail (04:20) and reconcile (05:00); never between 03:00 and 04:00, which some days lack or have twice."""
TABLES = (
    "asset_event",
    "callback",
    "celery_taskmeta",
    "celery_tasksetmeta",
    "dag_run",
    "dag_version",
    "deadline",
    "import_error",
    "job",
    "log",
    "revoked_token",
    "session",
    "task_instance",
    "task_instance_history",
    "task_reschedule",
    "trigger",
    "xcom",
)
_EXPIRED_AT_ONCE = ("revoked_token", "session")
"""They have an end of their own: what is past it serves nobody."""


def commands(now: datetime, keep_days: int) -> list[list[str]]:
    """The words for ``airflow`` that clean its database."""

    def clean(tables: Sequence[str], before: datetime) -> list[str]:
        until = before.astimezone(UTC).isoformat(timespec="seconds")
        words = ["db", "clean", "--clean-before-timestamp", until, "--tables", ",".join(tables)]
        return [*words, "--skip-archive", "--yes"]

    kept = [table for table in TABLES if table not in _EXPIRED_AT_ONCE]
    return [clean(kept, now - timedelta(days=keep_days)), clean(_EXPIRED_AT_ONCE, now - timedelta(days=1))]


def age_logs(folder: Path, *, older_than: datetime) -> int:
    """Deletes the log files that were last written before, and folders that are empty then; returns how many files."""
    gone, limit = 0, older_than.timestamp()
    found: dict[Path, float] = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.lstat().st_mtime
    # A folder comes after what is in it. One that a running task makes something in is not empty any more, and stays.
    for path in sorted((path for path, written in found.items() if written < limit), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
                gone += 1
    return gone


def next_at(now: datetime) -> datetime:
    """When it is AT the next time."""
    here = now.astimezone(HELSINKI)
    today = datetime.combine(here.date(), AT, HELSINKI)
    return today if here < today else datetime.combine(here.date() + timedelta(days=1), AT, HELSINKI)


def keep_house(now: datetime) -> bool:
    """One day's work, told line by line; whether all of it went well."""
    settings = settings_module.load()
    well = True
    for words in commands(now, settings.airflow_keep_days):
        done = subprocess.run([sys.executable, "-m", "callkeeper.containers.service", *words], check=False)
        well = well and done.returncode == 0
    gone = age_logs(LOGS, older_than=now - timedelta(days=settings.airflow_log_days))
    _say(f"{gone} log files were older than {settings.airflow_log_days} days and went")
    return well


def _say(what: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {what}\n")
    sys.stdout.flush()


def main() -> None:
    """Waits for the hour, day by day; ``--now``: does it once, and exits with 1 unless all went well."""
    try:
        if "--now" in sys.argv[1:]:
            sys.exit(0 if keep_house(datetime.now(UTC)) else 1)
        while True:
            then = next_at(datetime.now(UTC))
            _say(f"the next time at {then:%Y-%m-%d %H:%M} Helsinki")
            # By the wall clock, which may be set meanwhile.
            while (left := (then - datetime.now(UTC)).total_seconds()) > 0:
                time.sleep(min(left, 60))
            if not keep_house(datetime.now(UTC)):
                _say(
                    "Airflow's database could not be cleaned: why is above. It is tried again tomorrow, or now: see docs/runbooks/compose.md"
                )
    except CallkeeperError as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
