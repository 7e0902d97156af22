"""The notify edge: telling people, without telling anybody's number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """An e-mail of ours: counts, codes, dates and links to runbooks only."""

    subject: str
    text: str
    html: str | None = None


class Notifier(Protocol):
    def send(self, message: Message, *, to: str = "") -> None:
        """Sends to these addresses (several with commas), or to the data team. Raises MailUnavailable."""
        ...
