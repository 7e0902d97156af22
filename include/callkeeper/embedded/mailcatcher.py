"""Takes every mail that is sent to it, and keeps each as one .eml file; nothing leaves the machine."""

from __future__ import annotations

import itertools
import signal
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from callkeeper.embedded.secrets import private_folder, write_private


class _Keeper:
    """aiosmtpd's handler: named by time of arrival, so that a listing is in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self.numbers = itertools.count(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{next(self.numbers):04}.eml"
        content = envelope.original_content or b""
        write_private(self.folder / name, content.decode("utf-8", "surrogateescape"), errors="surrogateescape")
        return "250 kept"


def catcher(folder: Path, port: int, host: str = "127.0.0.1") -> Controller:
    """The catcher, to be started and stopped."""
    return Controller(_Keeper(folder), hostname=host, port=port)


def run(folder: Path, port: int, host: str = "127.0.0.1") -> None:
    """Catches mails until it is told to end."""
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the catcher's thread starts, so that only the waiting below gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    keeper = catcher(folder, port, host)
    keeper.start()
    signal.sigwait(signals)
    keeper.stop()
