"""Airflow's variables in a container: the embedded stack's, but for where things are and who runs the tasks."""

from __future__ import annotations

from urllib.parse import quote

from callkeeper.containers.places import AIRFLOW, AIRFLOW_PORT, LOGS, PLACES, REDIS_PORT
from callkeeper.embedded import airflow
from callkeeper.embedded.secrets import Secrets
from callkeeper.errors import SetupFailed
from callkeeper.settings import Settings

PROFILES = ("celery", "local")
TASKS_AT_ONCE = 4
"""On one worker: as many as two cores and 2 GiB carry."""


def executor(profiles: str) -> str:
    """Who runs the tasks, by the profiles that .env names. Raises SetupFailed unless it is one of the two."""
    named = [profile.strip() for profile in profiles.split(",") if profile.strip() in PROFILES]
    if len(named) != 1:
        raise SetupFailed(
            f"COMPOSE_PROFILES names {' and '.join(named) if named else 'neither celery nor local'}.",
            mend="Write one of the two into .env: COMPOSE_PROFILES=celery,mail or COMPOSE_PROFILES=local,mail "
            "(`--profile` on the command line does not reach the programs).",
        )
    return "LocalExecutor" if named == ["local"] else "CeleryExecutor"


def environment(settings: Settings, secrets: Secrets, *, profiles: str) -> dict[str, str]:
    """Airflow's variables, secrets among them: for its processes only, never for a file or a log."""
    embedded = airflow.environment(settings, secrets, airflow_port=AIRFLOW_PORT)
    return embedded | differing(secrets, settings, profiles=profiles)


def differing(secrets: Secrets, settings: Settings, *, profiles: str) -> dict[str, str]:
    """What is otherwise than in the embedded stack, and why it must be."""
    runs = executor(profiles)
    variables = {
        "AIRFLOW_HOME": str(AIRFLOW),
        # One folder for all of Airflow's containers: none of them has to serve its logs to the others.
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(LOGS),
        # In its container; what the host shows of it is docker-compose.yaml's.
        "AIRFLOW__API__HOST": "0.0.0.0",  # noqa: S104
        "AIRFLOW__CORE__EXECUTOR": runs,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{PLACES.airflow_url}/execution/",
        # The name under which a program's heartbeat is found again (healthy.py).
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    }
    if runs == "CeleryExecutor":
        password = quote(secrets.get("airflow_db_password"), safe="")
        variables |= {
            "AIRFLOW__CELERY__BROKER_URL": f"redis://:{quote(secrets.get('redis_password'), safe='')}@redis:{REDIS_PORT}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": (
                f"db+postgresql://{airflow.ROLE}:{password}@{settings.db_host}:{settings.db_port}/{airflow.DATABASE}"
            ),
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(TASKS_AT_ONCE),
        }
    return variables
