"""How Airflow is set up in the embedded stack: its environment, its four programs, its accounts."""

from __future__ import annotations

import base64
import json
import os
import secrets as random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from callkeeper.embedded.secrets import Secrets
from callkeeper.settings import PROJECT, Settings

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "airflow-api-server": ("api-server",),
    # The servers of task logs would listen on every address; on one machine the api-server reads the files.
    "airflow-scheduler": ("scheduler", "--skip-serve-logs"),
    "airflow-dag-processor": ("dag-processor",),
    "airflow-triggerer": ("triggerer", "--skip-serve-logs"),
}

DATABASE = "airflow"
ROLE = "airflow"
NOTES_ACCOUNT = "callkeeper"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account in Airflow; its password is the secret ``airflow_<name>_password``."""

    name: str
    role: str
    title: str


ACCOUNTS = (
    Account(name="admin", role="Admin", title="runs Airflow itself"),
    Account(name="data", role="callkeeper_data_team", title="data team"),
    Account(name="officer", role="callkeeper_officer", title="privacy officer"),
    Account(name="deputy", role="callkeeper_officer", title="her deputy"),
    Account(name="approver", role="callkeeper_approver", title="second person"),
    Account(name="listener", role="callkeeper_listener", title="listens to recordings"),
    Account(name="auditor", role="callkeeper_auditor", title="reads only"),
    Account(name=NOTES_ACCOUNT, role="callkeeper_notes", title="puts the balance on its run"),
)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(random.token_bytes(32)).decode()


def _long_key() -> str:
    return random.token_urlsafe(64)


KEYS: Mapping[str, Callable[[], str]] = {
    "airflow_fernet_key": _fernet_key,
    "airflow_secret_key": _long_key,
    "airflow_jwt_secret": _long_key,
}
"""Airflow's keys: the secret's name, and how it is made."""


def environment(settings: Settings, secrets: Secrets, *, airflow_port: int) -> dict[str, str]:
    """Airflow's variables, secrets among them: for its processes only, never for a file or a log."""
    home = settings.home / "airflow"
    url = settings.airflow_url.rstrip("/")
    password = quote(secrets.get("airflow_db_password"), safe="")
    database = f"{ROLE}:{password}@{settings.db_host}:{settings.db_port}/{DATABASE}"

    def store(access_key: SecretStr, secret_key: SecretStr) -> dict[str, object]:
        return {
            "conn_type": "aws",
            "login": access_key.get_secret_value(),
            "password": secret_key.get_secret_value(),
            "extra": {"endpoint_url": settings.store_endpoint, "region_name": settings.store_region},
        }

    def catalogue(role: str, password: SecretStr) -> dict[str, object]:
        return {
            "conn_type": "postgres",
            "host": settings.db_host,
            "port": settings.db_port,
            "schema": settings.db_name,
            "login": f"callkeeper_{role}",
            "password": password.get_secret_value(),
        }

    connections: dict[str, dict[str, object]] = {
        "callkeeper_db": catalogue("app", settings.db_app_password),
        "callkeeper_db_sealer": catalogue("sealer", settings.db_sealer_password),
        "callkeeper_db_ageing": catalogue("ageing", settings.db_ageing_password),
        "callkeeper_anchor": store(settings.anchor_access_key, settings.anchor_secret_key),
        "callkeeper_store": store(settings.store_access_key, settings.store_secret_key),
        "callkeeper_store_destroyer": store(settings.store_destroyer_access_key, settings.store_destroyer_secret_key),
        "callkeeper_store_holder": store(settings.store_holder_access_key, settings.store_holder_secret_key),
        "callkeeper_smtp": {
            "conn_type": "smtp",
            "host": settings.smtp_host,
            "port": settings.smtp_port,
            "login": settings.smtp_user,
            "password": settings.smtp_password.get_secret_value(),
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": settings.mail_from},
        },
        "callkeeper_airflow": {
            "conn_type": "http",
            "host": url,
            "login": NOTES_ACCOUNT,
            "password": secrets.get(f"airflow_{NOTES_ACCOUNT}_password"),
        },
    }
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": secrets.get("airflow_fernet_key", KEYS["airflow_fernet_key"]),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{database}",
        # A run's parameters stay out of Airflow's own log table, refused ones too: somebody may type a number there. So do an answer's.
        "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "conf,params_input",
        "AIRFLOW__API__BASE_URL": settings.airflow_link,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.get("airflow_secret_key", KEYS["airflow_secret_key"]),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.get("airflow_jwt_secret", KEYS["airflow_jwt_secret"]),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "GX_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(PROJECT / "include"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in connections.items()},
    }


def command(program: str) -> list[str]:
    """The command of one of PROGRAMS."""
    return [sys.executable, "-m", "airflow", *PROGRAMS[program]]
