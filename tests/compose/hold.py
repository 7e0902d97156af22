"""For who mends the tests: ``python tests/compose/hold.py FOLDER`` brings an engine of our own with its stand-ins, and holds it until Ctrl-C or SIGTERM.

What it prints is for another shell. There the stack stays up in the folder CALLKEEPER_TEST_STACK from one pytest to the next, so
that one test can be run again: ``pytest -s tests/compose -k request``. Before the end, the last test: ``-k down``; then the folder may go.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

from engine import engine
from stand_ins import make
from test_compose import images

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGINT, lambda *_: sys.exit())
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with engine(folder) as found:
        make(found, images())
        for name, value in (found.env | {"CALLKEEPER_TEST_STACK": str(folder / "stack")}).items():
            if os.environ.get(name) != value:
                print(f"export {name}={shlex.quote(value)}", flush=True)
        signal.pause()
