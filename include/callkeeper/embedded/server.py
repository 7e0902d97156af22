"""What the embedded servers have in common: a command that runs in the foreground, and a way to tell that it is ready."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from callkeeper.errors import SetupFailed


class Server(ABC):
    """A server of the embedded stack. The supervisor runs ``command()``; a test calls ``start`` and ``stop``."""

    name: str
    stop_signal: signal.Signals = signal.SIGTERM
    start_seconds: float = 60

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Makes what has to be there before the first start; does nothing the next time."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command that runs it in the foreground."""

    def wrapper(self) -> list[str]:
        """A prefix that the command needs on this machine; it becomes the command, by exec."""
        return []

    def environment(self) -> Mapping[str, str]:
        """Variables that it needs beside those of this process."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it takes requests now."""

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.name}.log")

    def start(self) -> None:
        """Starts it as a child that dies with this process, and waits until it is ready."""
        self.prepare()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper(), *_dies_with_parent(), *self.command()],
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder.parent,
                start_new_session=True,
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Waits until it is ready. Raises SetupFailed with the place of its log."""
        end = time.monotonic() + self.start_seconds
        while not self.is_ready():
            ended = self.process is not None and self.process.poll() is not None
            if ended or time.monotonic() > end:
                raise SetupFailed(f"{self.name} did not start.", mend=f"See {self.log}.")
            time.sleep(0.1)

    def stop(self, *, kill: bool = False) -> None:
        """Stops what ``start`` started; ``kill``: at once, for throw-away data and for tests of a crash."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL if kill else self.stop_signal)
        self.process.wait(timeout=60)
        self.process = None


def _dies_with_parent() -> list[str]:
    """Also when this process is killed, where the machine can do that (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
