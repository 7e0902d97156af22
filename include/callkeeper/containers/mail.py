"""The mail catcher as a container's program: nothing that is sent to it leaves the machine."""

from __future__ import annotations

from pathlib import Path

from callkeeper.containers.places import MAIL_PORT
from callkeeper.embedded import mailcatcher

if __name__ == "__main__":
    mailcatcher.run(Path("/var/mail/caught"), MAIL_PORT, host="0.0.0.0")  # noqa: S104  # in its container
