"""The named steps at which a process may be killed, and processes that run a job on the real servers and die at one."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import callkeeper
from callkeeper import crashpoints, wiring
from callkeeper.jobs import deleting
from callkeeper.settings import Settings
from callkeeper.trail import seal
from installation import Installation

ROOT = Path(callkeeper.__file__).parent
# Importing everything takes longer than a night: a server does it once, and each process is forked from there.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "run_import", "run_night", "callkeeper.media.s3", "callkeeper.vendors.drop"])


def steps(*rooms: str) -> list[str]:
    """The steps that the code names, of these rooms (``send`` has ``send.deleted``), in the code's order."""
    named = [
        step
        for path in sorted(ROOT.rglob("*.py"))
        if path.name != "crashpoints.py"
        for step in re.findall(r"\breach\(([^)]*)\)", path.read_text())
    ]
    assert all(re.fullmatch(r'"[a-z]+\.[a-z_]+"', step) for step in named), "a step's name is a word of the code"
    return [step.strip('"') for step in named if step.strip('"').split(".")[0] in rooms]


def killed_at(office: Installation, step: str, job: Callable[..., object], *arguments: object) -> bool:
    """Whether the job, in a process of its own, died at the step; killed there, as by SIGKILL."""
    process = _FORKS.Process(target=_die_at, args=(step, office.app.settings, job, arguments))
    process.start()
    process.join(60)
    return process.exitcode == -signal.SIGKILL


def stopping_at(office: Installation, step: str, job: Callable[..., object], *arguments: object) -> BaseProcess:
    """The job in a process of its own, which is stopped when it first comes to the step, as when a machine sleeps."""
    process = _FORKS.Process(target=_stop_at, args=(step, office.app.settings, job, arguments))
    process.start()
    return process


def state(process: BaseProcess) -> str:
    """What the system says of it; T: stopped."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def _die_at(step: str, settings: Settings, job: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    crashpoints._ASKED = step
    job(wiring.build(settings), *arguments)


def _stop_at(step: str, settings: Settings, job: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    left = [step]

    def reach(name: str) -> None:
        if name in left:
            left.remove(name)
            os.kill(os.getpid(), signal.SIGSTOP)

    for module in (deleting, seal):
        module.reach = reach
    job(wiring.build(settings), *arguments)
