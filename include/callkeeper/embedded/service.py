"""Run by the supervisor: becomes one program of the stack. Secrets go from their files to the program, through no other file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from callkeeper.embedded import airflow, mailcatcher
from callkeeper.embedded.stack import Stack


def main() -> None:
    """``python -m callkeeper.embedded.service PROGRAM``, with the stack's home in CALLKEEPER_HOME."""
    program = sys.argv[1]
    stack = Stack(Path(os.environ["CALLKEEPER_HOME"]))
    if program == "mail":
        mailcatcher.run(stack.home / "mail", stack.ports["mail"])
        return
    if program in airflow.PROGRAMS:
        command, environment = airflow.command(program), stack.airflow_environment()
    else:
        server = stack.servers[program]
        command, environment = [*server.wrapper(), *server.command()], dict(server.environment())
    os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main()
