"""The service ``airflow-init``: both databases, roles, buckets, Airflow's accounts; then the doctor. It fails in words, and is safe to run again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from callkeeper import settings as settings_module
from callkeeper.containers.environment import environment, executor
from callkeeper.containers.places import HOME, PLACES, REDIS_PORT, SECRETS
from callkeeper.containers.secrets import Given
from callkeeper.embedded import installation, store
from callkeeper.errors import CallkeeperError, SetupFailed
from callkeeper.settings import Settings

STOPS = frozenset(("database", "schema", "rights", "clock", "keys", "secrets", "store", "identities", "anchor"))
"""Where something to mend keeps everything from starting. The rest may be mended while nights run: deletions wait neither for
a mail relay nor for a contract."""
LATER = frozenset(("airflow",))
"""Airflow starts after this."""


def main() -> None:
    """Prepares what the other services need, and says each step."""
    began = time.monotonic()

    def say(what: str) -> None:
        sys.stdout.write(f"  {time.monotonic() - began:5.1f} s  {what}\n")
        sys.stdout.flush()

    try:
        _prepare(say)
    except CallkeeperError as wrong:
        sys.exit(f"\nNothing was started: {wrong}")


def _prepare(say: Any) -> None:
    profiles = os.environ.get("COMPOSE_PROFILES", "")
    secrets, settings = Given(SECRETS), _settings()
    if executor(profiles) == "CeleryExecutor":
        _require_redis()
    with _superuser(secrets.get("postgres_password")) as superuser:
        installation.make_databases(superuser, settings, secrets, account="callkeeper init")
        say("databases and roles are there, the schema is the newest")
        admin = store.client(settings.store_endpoint, *store.credentials(secrets, "admin"))
        for bucket in store.BUCKETS:
            store.make_bucket(admin, bucket)
        say("the store's buckets are there: versions, Object Lock, encryption")
        variables = environment(settings, secrets, profiles=profiles)
        with tempfile.TemporaryFile() as output:
            try:
                made = installation.prepare_airflow(superuser, secrets, variables, output=output, folder=HOME)
            except SetupFailed as wrong:
                output.seek(0)
                sys.stderr.write(output.read().decode(errors="replace")[-4000:])
                raise SetupFailed(wrong.what, mend="What Airflow said is above.") from None
    say("Airflow's database is migrated, its roles and accounts are made" if made else "Airflow's database is ready")
    faults = sum(_tell(check) for check in _doctor())
    if faults:
        raise SetupFailed(
            f"{faults} things have to be mended first: the lines above that begin with STOP.",
            mend="Then `docker compose up -d` again.",
        )
    say("ready")


def _settings() -> Settings:
    if not (HOME / "callkeeper.env").exists():
        raise SetupFailed("There is no callkeeper.env in the home folder.", mend="Run `make secrets` on the host.")
    return settings_module.load()


def _require_redis() -> None:
    try:
        socket.create_connection(("redis", REDIS_PORT), timeout=10).close()
    except OSError:
        raise SetupFailed(
            "COMPOSE_PROFILES says celery, and no Redis answers.",
            mend="Write the profiles into .env; `--profile` on the command line does not reach the programs.",
        ) from None


def _superuser(password: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(
            host=PLACES.db_host,
            port=PLACES.db_port,
            user="postgres",
            dbname="postgres",
            password=password,
            autocommit=True,
            connect_timeout=10,
            row_factory=namedtuple_row,
        )
    except psycopg.OperationalError as wrong:
        if "password authentication failed" in str(wrong):
            raise SetupFailed(
                "Postgres refuses the secret postgres_password.",
                mend="The database was made with another one: bring that secret's file back.",
            ) from None
        raise SetupFailed("Postgres does not answer.", mend="See `docker compose logs postgres`.") from None


def _doctor() -> Iterator[Mapping[str, str]]:
    """What `callkeeper doctor` finds, but for what starts after this."""
    done = subprocess.run(
        [sys.executable, "-m", "callkeeper.cli", "doctor", "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        found: list[dict[str, str]] = json.loads(done.stdout)
    except ValueError:
        raise SetupFailed("`callkeeper doctor` could not look.", mend="What it said is above.") from None
    return (check for check in found if check["area"] not in LATER)


def _tell(check: Mapping[str, str]) -> bool:
    """Says what was found; whether it stops everything."""
    stops = check["verdict"] == "fail" and check["area"] in STOPS
    sys.stdout.write(f"           {'STOP' if stops else check['verdict']:4}  {check['area']:13}  {check['what']}\n")
    if check["mend"]:
        sys.stdout.write(f"{'':32}{check['mend']}\n")
    return stops


if __name__ == "__main__":
    main()
