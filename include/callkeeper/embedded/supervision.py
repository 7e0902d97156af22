"""The stack's own supervisord: starts programs, restarts those that die, and knows which are ours."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from callkeeper.embedded.secrets import write_private
from callkeeper.errors import SetupFailed
from callkeeper.settings import PROJECT

_USER = "callkeeper"
_STOPPED = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")


@dataclass(frozen=True, kw_only=True)
class Program:
    """One supervised program. ``state`` is supervisord's word; ``since`` is None unless it runs."""

    name: str
    state: str
    pid: int | None
    since: datetime | None

    @property
    def is_running(self) -> bool:
        return self.state == "RUNNING"


class Supervisor:
    """supervisord on 127.0.0.1 with a password; its files are in ``folder``."""

    def __init__(self, folder: Path, home: Path, port: int, password: str, programs: Iterable[str]) -> None:
        self.folder = folder
        self.home = home
        self.port = port
        self.password = password
        self.names = tuple(programs)

    def is_running(self) -> bool:
        """Whether our supervisord answers: another one would refuse the password."""
        try:
            return bool(self._call("getSupervisorVersion"))
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def start(self) -> None:
        """Starts supervisord if it isn't there, after ending what a killed one has left behind."""
        if self.is_running():
            return
        self.end_orphans()
        write_private(self._config, self._configuration())
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        environment = {
            **os.environ,
            "CALLKEEPER_HOME": str(self.home),
            "PYTHONPATH": str(PROJECT / "include"),
            "PATH": path,
        }
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(self._config)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        if done.returncode != 0:
            raise SetupFailed(f"The supervisor did not start: {done.stderr.strip()}")
        self._wait(self.is_running, 20, "The supervisor did not start.")

    def programs(self) -> list[Program]:
        """The programs, in the order in which they start; all of them stopped, if there is no supervisor."""
        if not self.is_running():
            return [Program(name=name, state="STOPPED", pid=None, since=None) for name in self.names]
        found = {info["name"]: info for info in self._call("getAllProcessInfo")}
        return [
            Program(
                name=name,
                state=found[name]["statename"],
                pid=found[name]["pid"] or None,
                since=datetime.fromtimestamp(found[name]["start"], UTC) if found[name]["pid"] else None,
            )
            for name in self.names
        ]

    def run(self, names: Iterable[str]) -> list[str]:
        """Starts those that don't run, without waiting; returns their names."""
        wanted = set(names)
        idle = [program.name for program in self.programs() if program.name in wanted and program.state in _STOPPED]
        for name in idle:
            self._call("startProcess", name, False)
        return idle

    def halt(self, names: Iterable[str], *, seconds: float = 90) -> None:
        """Stops these, all at the same time, and waits until they have ended."""
        wanted = set(names)
        for program in self.programs():
            if program.name in wanted and program.state not in _STOPPED:
                with contextlib.suppress(xmlrpc.client.Fault):  # it ended by itself just now
                    self._call("stopProcess", program.name, False)
        self._wait(
            lambda: all(p.state in _STOPPED for p in self.programs() if p.name in wanted),
            seconds,
            "Some programs do not stop.",
        )

    def shut_down(self) -> None:
        """Ends supervisord, which must have nothing left to run."""
        if not self.is_running():
            self.end_orphans()
            return
        pid = int(self._call("getPID"))
        self._call("shutdown")
        self._wait(lambda: not psutil.pid_exists(pid), 90, "The supervisor does not end.")

    @property
    def _config(self) -> Path:
        return self.folder / "supervisord.conf"

    def _configuration(self) -> str:
        """No secret but the supervisor's own password, and no path: supervisord gives some characters of a path a meaning.

        It starts in our folder, with our Python first on its PATH. All autostart=false: `up` starts each program when
        what that one needs is ready.
        """
        sections = [
            "[supervisord]",
            "logfile=supervisord.log",
            "pidfile=supervisord.pid",
            "childlogdir=.",
            "umask=077",
            "minfds=1024",
            "[inet_http_server]",
            f"port=127.0.0.1:{self.port}",
            f"username={_USER}",
            f"password={self.password}",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        ]
        for name in self.names:
            group = "true" if name.startswith("airflow") else "false"
            sections += [
                f"[program:{name}]",
                f"command=python -W ignore -m callkeeper.embedded.service {name}",
                "autostart=false",
                "autorestart=true",
                "startsecs=2",
                "stopwaitsecs=60",
                f"stopsignal={'INT' if name == 'postgres' else 'TERM'}",
                f"stopasgroup={group}",
                f"killasgroup={group}",
                "redirect_stderr=true",
                f"stdout_logfile={name}.log",
                "stdout_logfile_maxbytes=20MB",
                "stdout_logfile_backups=3",
            ]
        return "\n".join(sections) + "\n"

    def _call(self, method: str, *arguments: Any) -> Any:
        # A proxy of its own each time: xmlrpc's keeps a connection that a restart of the server breaks.
        with xmlrpc.client.ServerProxy(f"http://{_USER}:{quote(self.password)}@127.0.0.1:{self.port}/RPC2") as server:
            return getattr(server.supervisor, method)(*arguments)

    def end_orphans(self) -> None:
        """Ends what ran under a supervisor that was killed, and no other program.

        supervisord leads a session of its own, which its programs stay in when it is gone, and works in our folder.
        (A variable in their environment would not do: Airflow's programs overwrite it with their title.)
        """
        pid_file = self.folder / "supervisord.pid"
        if not pid_file.exists():
            return
        session = int(pid_file.read_text())
        left = [process for process in psutil.process_iter() if _is_of(process, session, self.folder)]
        with contextlib.suppress(psutil.Error):
            left += [
                child for process in tuple(left) for child in process.children(recursive=True) if child not in left
            ]
        ours = {process.pid for process in left}
        for process in left:
            with contextlib.suppress(psutil.Error):
                # Only the uppermost: each server ends its own children in its own order.
                if process.ppid() not in ours:
                    process.terminate()
        _, stubborn = psutil.wait_procs(left, timeout=30)
        for process in stubborn:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(stubborn, timeout=10)
        pid_file.unlink()

    def _wait(self, is_so: Any, seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                raise SetupFailed(otherwise, mend=f"See the logs in {self.folder}.")
            time.sleep(0.2)


def _is_of(process: psutil.Process, session: int, folder: Path) -> bool:
    try:
        return os.getsid(process.pid) == session and Path(process.cwd()).is_relative_to(folder)
    except (psutil.Error, OSError):
        return False
