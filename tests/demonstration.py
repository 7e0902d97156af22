"""The product as its users have it: the command line, on a stack of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def callkeeper(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in ``home``, with nothing of whoever runs the tests."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CALLKEEPER_", "AIRFLOW"))}
    env |= {"CALLKEEPER_HOME": str(home), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "callkeeper.cli", *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=PROJECT,
        timeout=900,
        check=False,
    )


def numbers_of_callers(home: Path) -> set[bytes]:
    """Every number of a caller that the vendors delivered, as the digits that all its spellings share."""
    found: set[bytes] = set()
    for file in (home / "vendors").rglob("*"):
        texts = [file.name]
        if file.suffix in (".json", ".csv"):
            texts.append(file.read_text(errors="replace"))
        for text in texts:
            found |= {
                m.group(1).encode() for m in re.finditer(r"(?:\+?358|00358|\b0)(4[045]\d{7}|50\d{7})(?!\d)", text)
            }
    return found
