"""What an installation consists of, whatever runs it: this machine's programs (``stack``), or containers (``callkeeper.containers``)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

from callkeeper import __version__, db, roles
from callkeeper.clock import HELSINKI
from callkeeper.embedded import airflow
from callkeeper.embedded.secrets import Secrets, write_private
from callkeeper.embedded.store import ANCHOR, RECORDINGS, REGION, credentials
from callkeeper.errors import SetupFailed
from callkeeper.pseudonyms import Keyring, register
from callkeeper.settings import Settings
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, KeyRotated

FIRST_DAY = "CALLKEEPER_IMPORT_FIRST_DAY"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the installation's programs find each other and their files."""

    home: Path
    db_host: str
    db_port: int
    store_endpoint: str
    smtp_host: str
    smtp_port: int
    airflow_url: str

    def settings(self) -> dict[str, str]:
        """The settings that say so."""
        return {
            "CALLKEEPER_KEYS_DIR": str(self.home / "keys"),
            "CALLKEEPER_TRAIL_KEYS_DIR": str(self.home / "trail-keys"),
            "CALLKEEPER_WITNESS_DIR": str(self.home / "witness"),
            "CALLKEEPER_DB_HOST": self.db_host,
            "CALLKEEPER_DB_PORT": str(self.db_port),
            "CALLKEEPER_STORE_ENDPOINT": self.store_endpoint,
            "CALLKEEPER_STORE_REGION": REGION,
            "CALLKEEPER_STORE_BUCKET": RECORDINGS,
            "CALLKEEPER_ANCHOR_BUCKET": ANCHOR,
            "CALLKEEPER_SMTP_HOST": self.smtp_host,
            "CALLKEEPER_SMTP_PORT": str(self.smtp_port),
            "CALLKEEPER_AIRFLOW_URL": self.airflow_url,
        }


def write_settings(file: Path, ours: Mapping[str, str], *, once: Mapping[str, str] | None = None) -> None:
    """Writes ``callkeeper.env``: ``ours`` anew, ``once`` where it is not there yet. Lines that a person added stay."""
    # Chosen once: from here on no day is left out, whatever happens to a night.
    once = {FIRST_DAY: str(datetime.now(HELSINKI).date() - timedelta(days=1)), **(once or {})}
    old = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    theirs = [line for line in old if line.partition("=")[0] not in ours]
    there = {line.partition("=")[0] for line in theirs}
    chosen = {name: value for name, value in once.items() if name not in there}
    lines = [*theirs, *(f"{name}='{value}'" for name, value in {**chosen, **ours}.items())]
    if lines != old:
        write_private(file, "\n".join(lines) + "\n")


def make_passwords(secrets: Secrets) -> None:
    """The database roles' passwords, the store identities' keys and the tasks' own account, under the names that the settings read."""
    secrets.put("callkeeper_airflow_password", secrets.get(f"airflow_{airflow.NOTES_ACCOUNT}_password"))
    for role in db.ROLES:
        secrets.get(f"callkeeper_db_{role}_password")
    for identity, setting in (
        ("importer", "store"),
        ("destroyer", "store_destroyer"),
        ("holder", "store_holder"),
        ("sealer", "anchor"),
    ):
        access_key, secret_key = credentials(secrets, identity)
        secrets.put(f"callkeeper_{setting}_access_key", access_key)
        secrets.put(f"callkeeper_{setting}_secret_key", secret_key)


def make_databases(
    superuser: psycopg.Connection[object], settings: Settings, secrets: Secrets, *, account: str
) -> None:
    """Roles, databases and the newest schema, the keys registered; at the newest already, it changes nothing."""
    passwords = {role: secrets.get(f"callkeeper_db_{role}_password") for role in db.ROLES}
    db.ensure_roles(superuser, passwords, settings.db_name)
    _ensure_airflow_database(superuser, secrets.get("airflow_db_password"))
    db.migrate(settings)
    with db.connect(settings) as conn:
        keys = register(conn, Keyring.load(settings.keys_dir))
        made = [KeyRotated(key_id=key.key_id, purpose=key.purpose, change="created") for key in keys]
        append(conn, Actor(account=account, rule=__version__), made)
        conn.commit()


def prepare_airflow(
    superuser: psycopg.Connection[object],
    secrets: Secrets,
    environment: Mapping[str, str],
    *,
    output: IO[bytes],
    folder: Path,
) -> bool:
    """Migrates Airflow's database and makes its roles and accounts, if this version has not done so; says whether it had to.

    Raises SetupFailed; what Airflow said is in ``output``.
    """
    version = f"prepared by {metadata.version('apache-airflow')}, {metadata.version('apache-airflow-providers-fab')}, {_accounts_version()}"
    if _comment(superuser) == version:
        return False
    accounts = [
        (a.name, a.role, a.title, f"{a.name}@localhost", secrets.get(f"airflow_{a.name}_password"))
        for a in airflow.ACCOUNTS
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "callkeeper.embedded.airflow_accounts"],
        env={**os.environ, **environment},
        input=json.dumps({"migrate": True, "accounts": accounts}).encode(),
        stdout=output,
        stderr=output,
        check=False,
        cwd=folder,
    )
    if done.returncode != 0:
        raise SetupFailed("Airflow's database could not be prepared.")
    # In the database itself, so that it can't be said of another one.
    superuser.execute(
        sql.SQL("comment on database {} is {}").format(sql.Identifier(airflow.DATABASE), sql.Literal(version))
    )
    return True


def _ensure_airflow_database(superuser: psycopg.Connection[object], password: str) -> None:
    role, database = sql.Identifier(airflow.ROLE), sql.Identifier(airflow.DATABASE)
    exists = superuser.execute("select 1 from pg_roles where rolname = %s", (airflow.ROLE,)).fetchone()
    verb = sql.SQL("alter" if exists else "create")
    superuser.execute(
        sql.SQL("{} role {} login nosuperuser nocreatedb nocreaterole password {}").format(
            verb, role, sql.Literal(password)
        )
    )
    if not superuser.execute("select 1 from pg_database where datname = %s", (airflow.DATABASE,)).fetchone():
        superuser.execute(
            sql.SQL("create database {} owner {} encoding 'UTF8' template template0").format(database, role)
        )
        superuser.execute(sql.SQL("revoke all on database {} from public").format(database))


def _comment(superuser: psycopg.Connection[object]) -> str | None:
    row = superuser.execute(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (airflow.DATABASE,)
    ).fetchone()
    return row[0] if isinstance(row, tuple) else None


def _accounts_version() -> str:
    """Changes when the roles or accounts do."""
    return hashlib.sha256(repr((airflow.ACCOUNTS, sorted(roles.PERMISSIONS.items()))).encode()).hexdigest()[:12]
