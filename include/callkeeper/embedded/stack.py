"""The embedded stack as a whole: up, down, status. Everything it keeps is in one folder, its home (``var/``)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from importlib import metadata
from pathlib import Path

import psycopg
from psycopg import sql

from callkeeper import __version__, db, roles
from callkeeper import settings as settings_module
from callkeeper.clock import HELSINKI
from callkeeper.embedded import airflow
from callkeeper.embedded.ports import is_free, kept_ports
from callkeeper.embedded.postgres import Postgres
from callkeeper.embedded.secrets import Secrets, private_folder, write_private
from callkeeper.embedded.server import Server
from callkeeper.embedded.store import ANCHOR, BUCKETS, RECORDINGS, REGION, SeaweedFS
from callkeeper.embedded.store import PORTS as STORE_PORTS
from callkeeper.embedded.supervision import Program, Supervisor
from callkeeper.errors import SetupFailed
from callkeeper.pseudonyms import Keyring, register
from callkeeper.settings import Settings
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, KeyRotated
from callkeeper.trail.notes import SealKeys

Say = Callable[[str], None]

FIRST_DAY = "CALLKEEPER_IMPORT_FIRST_DAY"
BASIS = ("postgres", "store", "mail")
PROGRAMS = (*BASIS, *airflow.PROGRAMS)
_PORT_NAMES = ("postgres", "mail", "airflow-api-server", "supervisor", *(f"store_{name}" for name in STORE_PORTS))
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, kw_only=True)
class Login:
    """An account in Airflow, for people."""

    account: str
    password: str
    title: str


class Stack:
    """The stack in ``home``; making one starts nothing, but chooses its ports."""

    def __init__(self, home: Path) -> None:
        self.home = private_folder(Path(home).resolve())
        self.data = private_folder(self.home / "stack")
        self.secrets = Secrets(self.home / "secrets")

    @cached_property
    def ports(self) -> Mapping[str, int]:
        return kept_ports(self.data / "ports.json", _PORT_NAMES)

    @cached_property
    def postgres(self) -> Postgres:
        return Postgres(self.data / "postgres", self.ports["postgres"], password=self.secrets.get("postgres_password"))

    @cached_property
    def store(self) -> SeaweedFS:
        ports = {name: self.ports[f"store_{name}"] for name in STORE_PORTS}
        return SeaweedFS(self.data / "store", ports, secrets=self.secrets)

    @property
    def servers(self) -> Mapping[str, Server]:
        return {"postgres": self.postgres, "store": self.store}

    @cached_property
    def supervisor(self) -> Supervisor:
        return Supervisor(
            self.data, self.home, self.ports["supervisor"], self.secrets.get("supervisor_password"), PROGRAMS
        )

    @property
    def url(self) -> str:
        """Airflow's address."""
        return f"http://127.0.0.1:{self.ports['airflow-api-server']}"

    @property
    def settings(self) -> Settings:
        """callkeeper's settings, as the files in home say (``configure`` writes them)."""
        return settings_module.load(home=self.home)

    @property
    def logins(self) -> list[Login]:
        """Airflow's accounts for people."""
        return [
            Login(
                account=account.name, password=self.secrets.get(f"airflow_{account.name}_password"), title=account.title
            )
            for account in airflow.ACCOUNTS
            if account.name != airflow.NOTES_ACCOUNT
        ]

    def airflow_environment(self) -> dict[str, str]:
        """The variables of Airflow's programs, secrets among them."""
        mine = airflow.environment(self.settings, self.secrets, airflow_port=self.ports["airflow-api-server"])
        local = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
        return {**mine, "CALLKEEPER_HOME": str(self.home), "NO_PROXY": local, "no_proxy": local}

    def configure(self) -> None:
        """Writes ``callkeeper.env`` and the secrets that the settings read. Lines that a person added stay."""
        for role in db.ROLES:
            self.secrets.get(f"callkeeper_db_{role}_password")
        for identity, setting in (("importer", ""), ("destroyer", "destroyer_"), ("holder", "holder_")):
            access_key, secret_key = self.store.credentials(identity)
            self.secrets.put(f"callkeeper_store_{setting}access_key", access_key)
            self.secrets.put(f"callkeeper_store_{setting}secret_key", secret_key)
        access_key, secret_key = self.store.credentials("sealer")
        self.secrets.put("callkeeper_anchor_access_key", access_key)
        self.secrets.put("callkeeper_anchor_secret_key", secret_key)
        ours = {
            "CALLKEEPER_KEYS_DIR": str(self.home / "keys"),
            "CALLKEEPER_TRAIL_KEYS_DIR": str(self.home / "trail-keys"),
            "CALLKEEPER_WITNESS_DIR": str(self.home / "witness"),
            "CALLKEEPER_DB_HOST": "127.0.0.1",
            "CALLKEEPER_DB_PORT": str(self.ports["postgres"]),
            "CALLKEEPER_STORE_ENDPOINT": self.store.endpoint,
            "CALLKEEPER_STORE_REGION": REGION,
            "CALLKEEPER_STORE_BUCKET": RECORDINGS,
            "CALLKEEPER_ANCHOR_BUCKET": ANCHOR,
            "CALLKEEPER_SMTP_HOST": "127.0.0.1",
            "CALLKEEPER_SMTP_PORT": str(self.ports["mail"]),
            "CALLKEEPER_AIRFLOW_URL": self.url,
        }
        file = self.home / "callkeeper.env"
        old = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        theirs = [line for line in old if line.partition("=")[0] not in ours]
        if not any(line.startswith(FIRST_DAY) for line in theirs):
            # Chosen once: from here on no day is left out, whatever happens to a night.
            theirs.append(f"{FIRST_DAY}='{datetime.now(HELSINKI).date() - timedelta(days=1)}'")
        lines = [*theirs, *(f"{name}='{value}'" for name, value in ours.items())]
        if lines != old:
            write_private(file, "\n".join(lines) + "\n")

    def make_databases(self) -> None:
        """Roles, databases and the newest schema; at the newest already, it changes nothing."""
        passwords = {role: self.secrets.get(f"callkeeper_db_{role}_password") for role in db.ROLES}
        settings = self.settings
        with self.postgres.connect() as superuser:
            db.ensure_roles(superuser, passwords, settings.db_name)
            _ensure_airflow_database(superuser, self.secrets.get("airflow_db_password"))
        db.migrate(settings)
        with db.connect(settings) as conn:
            keys = register(conn, Keyring.load(settings.keys_dir))
            made = [KeyRotated(key_id=key.key_id, purpose=key.purpose, change="created") for key in keys]
            append(conn, Actor(account="callkeeper up", rule=__version__), made)
            conn.commit()

    def prepare_airflow(self) -> bool:
        """Migrates Airflow's database and makes its accounts, if this version has not done so; says whether it had to."""
        version = f"prepared by {metadata.version('apache-airflow')}, {metadata.version('apache-airflow-providers-fab')}, {_accounts_version()}"
        with self.postgres.connect() as superuser:
            if _comment(superuser) == version:
                return False
        private_folder(self.home / "airflow")
        own = self.secrets.get(f"airflow_{airflow.NOTES_ACCOUNT}_password")
        self.secrets.put("callkeeper_airflow_password", own)
        accounts = [
            (a.name, a.role, a.title, f"{a.name}@localhost", self.secrets.get(f"airflow_{a.name}_password"))
            for a in airflow.ACCOUNTS
        ]
        log = self.data / "airflow-accounts.log"
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "callkeeper.embedded.airflow_accounts"],
                env={**os.environ, **self.airflow_environment()},
                input=json.dumps({"migrate": True, "accounts": accounts}).encode(),
                stdout=output,
                stderr=output,
                check=False,
                cwd=self.data,
            )
        if done.returncode != 0:
            raise SetupFailed("Airflow's database could not be prepared.", mend=f"See {log}.")
        with self.postgres.connect() as superuser:
            # In the database itself, so that it can't be said of another one.
            superuser.execute(
                sql.SQL("comment on database {} is {}").format(sql.Identifier(airflow.DATABASE), sql.Literal(version))
            )
        return True

    def health(self) -> dict[str, str]:
        """What Airflow says of its components; empty while it doesn't answer."""
        try:
            with _NO_PROXY.open(f"{self.url}/api/v2/monitor/health", timeout=5) as answer:
                found = json.load(answer)
        except (OSError, ValueError):
            return {}
        return {
            name: str((found.get(name) or {}).get("status"))
            for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")
        }

    def is_healthy(self) -> bool:
        """Whether all four of Airflow's programs run and say that they are well."""
        running = {program.name for program in self.supervisor.programs() if program.is_running}
        return running >= set(airflow.PROGRAMS) and set(self.health().values()) == {"healthy"}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time, and no file of theirs is for others; the lock goes with the process."""
        before = os.umask(0o077)
        try:
            with (self.data / "lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise SetupFailed(
                        "Another `callkeeper up` or `down` is at work on this stack.", mend="Wait until it is done."
                    ) from None
                yield
        finally:
            os.umask(before)


def up(home: Path, *, with_airflow: bool = True, say: Say = print) -> Stack:
    """Brings the stack up and waits until it is well; on a stack that is up already, it changes nothing.

    Raises SetupFailed, in words, when something is missing on this machine.
    """
    began = time.monotonic()

    def report(what: str) -> None:
        say(f"  {time.monotonic() - began:5.1f} s  {what}")

    stack = Stack(home)
    with stack.locked():
        stack.configure()
        settings = stack.settings
        Keyring.create(settings.keys_dir)
        SealKeys.create(settings.trail_keys_dir, settings.trail_name)
        _refuse_taken_ports(stack)
        stack.supervisor.start()
        idle = {program.name for program in stack.supervisor.programs() if not program.is_running}
        for name in ("postgres", "store"):
            if name in idle:
                stack.servers[name].prepare()
        private_folder(stack.home / "mail")
        stack.supervisor.run(BASIS)
        stack.postgres.wait_ready()
        report("Postgres 18 is ready")
        stack.make_databases()
        report("databases and roles are there, the schema is the newest")
        stack.store.wait_ready()
        if "store" in idle:
            for bucket in BUCKETS:
                stack.store.make_bucket(bucket)
            stack.store.write_through()
        report("the object store is ready: versions, Object Lock, encryption, fsync")
        if with_airflow:
            if stack.prepare_airflow():
                report("Airflow's database is migrated, its roles and accounts are made")
            if stack.supervisor.run(airflow.PROGRAMS):
                report("Airflow's four programs are starting")
            _wait_healthy(stack)
            report("Airflow is healthy")
    return stack


def down(home: Path, *, say: Say = print) -> None:
    """Stops what ``up`` started, and nothing else; data, ports and passwords stay."""
    stack = Stack(home)
    with stack.locked():
        if stack.supervisor.is_running():
            say("  stopping Airflow, mail and the object store")
            # Postgres last: the others write to it until they end.
            stack.supervisor.halt(set(PROGRAMS) - {"postgres"})
            say("  stopping Postgres")
            stack.supervisor.halt({"postgres"})
        stack.supervisor.shut_down()
        stack.store.forget_sockets()
        say("  stopped")


def status(home: Path) -> list[Program]:
    """The stack's programs and their states."""
    return Stack(home).supervisor.programs()


def _refuse_taken_ports(stack: Stack) -> None:
    if stack.supervisor.is_running():
        running = {program.name for program in stack.supervisor.programs() if program.pid}
    else:
        stack.supervisor.end_orphans()
        running = set()
    for name, port in stack.ports.items():
        owner = "store" if name.startswith("store_") else name
        if owner not in running and not (owner == "supervisor" and stack.supervisor.is_running()) and not is_free(port):
            raise SetupFailed(
                f"Port {port} on 127.0.0.1, which was chosen for {name}, is taken by another program.",
                mend=f"Stop that program, or delete {stack.data / 'ports.json'}: new ports are chosen then.",
            )


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
    import hashlib

    return hashlib.sha256(repr((airflow.ACCOUNTS, sorted(roles.PERMISSIONS.items()))).encode()).hexdigest()[:12]


def _wait_healthy(stack: Stack, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not stack.is_healthy():
        dead = [program.name for program in stack.supervisor.programs() if program.state == "FATAL"]
        if dead or time.monotonic() > end:
            what = (
                f"{', '.join(dead)} does not stay up" if dead else f"Airflow is not healthy after {seconds:.0f} seconds"
            )
            raise SetupFailed(f"{what}.", mend=f"See the logs in {stack.data}.")
        time.sleep(0.5)
