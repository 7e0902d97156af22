"""Run in a container: becomes one of Airflow's programs. Secrets go from their files to the program, through no other file.

``python -m callkeeper.containers.service scheduler``, or any other words for the command ``airflow``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from callkeeper import settings
from callkeeper.containers.environment import environment
from callkeeper.containers.places import SECRETS
from callkeeper.containers.secrets import Given
from callkeeper.embedded import airflow
from callkeeper.errors import CallkeeperError

WORKER = ("celery", "worker", "--skip-serve-logs", "--pid", "/run/airflow/worker.pid")
"""Its pid file is in memory: after a kill, a new worker finds none that is in its way."""
PROGRAMS = {name.removeprefix("airflow-"): words for name, words in airflow.PROGRAMS.items()} | {"worker": WORKER}


def command(words: Sequence[str]) -> list[str]:
    """The words of one of PROGRAMS, or those for ``airflow`` itself."""
    return ["airflow", *(PROGRAMS[words[0]] if len(words) == 1 and words[0] in PROGRAMS else words)]


def main() -> None:
    """Becomes the program, by exec."""
    try:
        mine = environment(settings.load(), Given(SECRETS), profiles=os.environ.get("COMPOSE_PROFILES", ""))
    except CallkeeperError as wrong:
        sys.exit(str(wrong))
    words = command(sys.argv[1:])
    os.execvpe(words[0], words, {**os.environ, **mine})  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main()
