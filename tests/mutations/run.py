"""`make mutations`: takes each guard away in a copy of this tree, runs the tests that must notice, and prints a table.

    make mutations              all of them
    make mutations ONLY=lock    those whose guard has the word in it

The tests must be green in an unchanged copy first. Exit code 1: a mutation was not caught, its text is not in the tree
any more, or its tests did not run to their end. What is caught is a failed test, not an error before or after one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from table import MUTATIONS, Mutation

PROJECT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".venv", "var", ".git", "__pycache__", ".*_cache", ".hypothesis", "build", "logs")
LANES = 2
"""Copies, each with a Postgres and an object store of its own while its tests run."""
MINUTES = 10


class Copy:
    """A copy of the tree, in which one mutation at a time is made and taken back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.package = folder, folder / "include" / "callkeeper"
        shutil.copytree(PROJECT, folder, ignore=LEFT_OUT)

    def run(self, *tests: str) -> str:
        """What came of the tests: passed, caught, or what went wrong."""
        path = os.pathsep.join([str(self.folder / "include"), str(self.folder / "tests")])
        arguments = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", f"--basetemp={self.folder / 'tmp'}"]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments, *(f"tests/{test}" for test in tests)],
                cwd=self.folder, env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True, text=True, timeout=MINUTES * 60, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"NO END after {MINUTES} minutes"
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
        if done.returncode == 0:
            return "passed"
        if done.returncode == 1 and re.search(r"\d+ failed", last) and " error" not in last:
            if os.environ.get("SHOW"):
                print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("E  ", "FAILED"))))
            return "caught"
        return f"BROKEN: {last}"

    def mutate(self, mutation: Mutation) -> str:
        kept: dict[Path, str] = {}
        try:
            for file, old, new in mutation.edits:
                path = self.package / file
                text = path.read_text()
                kept.setdefault(path, text)
                path.write_text(text.replace(old, new))
            outcome = self.run(*mutation.tests)
            return "NOT CAUGHT" if outcome == "passed" else outcome
        finally:
            for path, text in kept.items():
                path.write_text(text)


def main(only: str) -> int:
    chosen = [m for m in MUTATIONS if only.lower() in m.guard.lower()]
    if not chosen:
        print(f"No guard has {only!r} in it.")
        return 1
    home = Path(tempfile.mkdtemp(prefix="callkeeper-mutations-"))
    try:
        copies = [Copy(home / f"{lane}") for lane in range(LANES)]
        free: SimpleQueue[Copy] = SimpleQueue()
        for copy in copies:
            free.put(copy)
        if lost := [m for m in chosen if m.wrong(copies[0].package)]:
            for m in lost:
                print(f"{m.guard}: the text to be changed does not stand once in {m.wrong(copies[0].package)[0]}.")
            return 1
        if (before := copies[0].run(*sorted({test for m in chosen for test in m.tests}))) != "passed":
            print(f"Without any mutation the tests must be green. They are not: {before}.")
            return 1

        def judge(mutation: Mutation) -> str:
            copy = free.get()
            try:
                return copy.mutate(mutation)
            finally:
                free.put(copy)

        with ThreadPoolExecutor(LANES) as lanes:
            missed = 0
            print(f"{'guard':55} {'taken away by':60} {'caught':7} by")
            for mutation, outcome in zip(chosen, lanes.map(judge, chosen), strict=True):
                missed += outcome != "caught"
                verdict = "yes" if outcome == "caught" else outcome
                print(f"{mutation.guard:55} {mutation.change:60} {verdict:7} {mutation.names}", flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"\n{len(chosen) - missed} of {len(chosen)} were caught.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
