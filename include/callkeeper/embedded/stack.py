"""The embedded stack as a whole: up, down, status. Everything it keeps is in one folder, its home (``var/``)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from callkeeper import settings as settings_module
from callkeeper.embedded import airflow, installation
from callkeeper.embedded.ports import is_free, kept_ports
from callkeeper.embedded.postgres import Postgres
from callkeeper.embedded.secrets import Secrets, private_folder
from callkeeper.embedded.server import Server
from callkeeper.embedded.store import BUCKETS, SeaweedFS
from callkeeper.embedded.store import PORTS as STORE_PORTS
from callkeeper.embedded.supervision import Program, Supervisor
from callkeeper.errors import SetupFailed
from callkeeper.pseudonyms import Keyring
from callkeeper.settings import Settings
from callkeeper.trail.notes import SealKeys

Say = Callable[[str], None]

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
        installation.make_passwords(self.secrets)
        places = installation.Places(
            home=self.home,
            db_host="127.0.0.1",
            db_port=self.ports["postgres"],
            store_endpoint=self.store.endpoint,
            smtp_host="127.0.0.1",
            smtp_port=self.ports["mail"],
            airflow_url=self.url,
        )
        installation.write_settings(self.home / "callkeeper.env", places.settings())

    def make_databases(self) -> None:
        """Roles, databases and the newest schema; at the newest already, it changes nothing."""
        with self.postgres.connect() as superuser:
            installation.make_databases(superuser, self.settings, self.secrets, account="callkeeper up")

    def prepare_airflow(self) -> bool:
        """Migrates Airflow's database and makes its accounts, if this version has not done so; says whether it had to."""
        private_folder(self.home / "airflow")
        log = self.data / "airflow-accounts.log"
        try:
            with self.postgres.connect() as superuser, log.open("ab") as output:
                return installation.prepare_airflow(
                    superuser, self.secrets, self.airflow_environment(), output=output, folder=self.data
                )
        except SetupFailed as wrong:
            raise SetupFailed(wrong.what, mend=f"See {log}.") from None

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
