"""The demonstration's end: what an auditor takes home, verified as she would, and the notice as a program."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from rich.text import Text

from callkeeper.demo.stage import Stage, console
from callkeeper.errors import SetupFailed
from callkeeper.trail import verify

VERDICT = "audit-verdict.txt"


def prove(stage: Stage) -> Path:
    """Exports the trail, verifies it as a stranger, and asks the notice; returns the folder. Again, it does it anew."""
    stage.title(
        None, "An auditor who believes nothing: the trail in a folder, and a verifier that knows nothing of callkeeper"
    )
    stage.callkeeper("seal")
    bundle = stage.home / "audit"
    shutil.rmtree(bundle, ignore_errors=True)
    stage.callkeeper("audit", "export", str(bundle))
    key = stage.callkeeper("audit", "key")
    _verify(stage, bundle, key.split()[0])
    stage.title(None, "The notice to callers as a program: is each of its promises kept?")
    page = stage.home / "reports" / "notice.html"
    page.parent.mkdir(exist_ok=True)
    # A promise that is broken is an answer, and no failure of the demonstration.
    stage.callkeeper("prove", "--html", str(page), may_fail=True)
    return bundle


def _verify(stage: Stage, bundle: Path, key: str) -> None:
    console.print(f"    [bold]$ python verify.py {bundle} --key {key}[/]", soft_wrap=True)
    done = subprocess.run(
        [sys.executable, "-I", verify.__file__, str(bundle), "--key", key], capture_output=True, text=True, check=False
    )
    (stage.home / VERDICT).write_text(done.stdout + done.stderr)
    for line in done.stdout.strip("\n").splitlines():
        console.print(Text(f"      {line}".rstrip()), soft_wrap=True)
    if done.returncode:
        raise SetupFailed(
            f"The trail does not verify: {done.stderr.strip()}", mend="This must not be: please report it."
        )
