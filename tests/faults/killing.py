"""The named steps at which a process may be killed, and the processes: programs of tests/ that run on the real servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

import callkeeper
from installation import Installation

ROOT = Path(callkeeper.__file__).parent
TESTS = Path(__file__).resolve().parents[1]


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


def start(office: Installation, program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A program of tests/ as a process of its own, its settings from the environment."""
    own = {
        f"CALLKEEPER_{name.upper()}": str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for name, value in office.app.settings
        if value is not None
    }
    return subprocess.Popen(
        [sys.executable, str(TESTS / program), *arguments],
        env={**os.environ, **own, "PYTHONPATH": f"{ROOT.parent}:{TESTS}", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_at(office: Installation, step: str, program: str, *arguments: str) -> tuple[int, str]:
    """How the program ended that is to die at the step, and what it said."""
    with start(office, program, *arguments, CALLKEEPER_CRASH_AT=step) as process:
        _, said = process.communicate(timeout=60)
        return process.returncode, said
