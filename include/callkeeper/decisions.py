"""A person's yes, as a row: the effect asks for the row, never for the colour of a task (architecture, rule 13)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from callkeeper import controllers, db
from callkeeper.errors import NotAllowed
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, Decided


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Who said yes to what, when, and the hash of the scope that was seen (SHA-256)."""

    decision: int
    subject: str
    action: str
    account: str
    scope: bytes
    decided_at: datetime

    @property
    def code(self) -> str:
        """Its ground or reason, where there is one: ``unlawful`` of ``dsr_approve:unlawful``; else empty."""
        return self.action.partition(":")[2]


def scope_of(ids: Iterable[UUID | str]) -> bytes:
    """The hash of what a person saw: SHA-256 over the ids, one a line, in their order as text. 32 bytes."""
    return sha256("\n".join(sorted(map(str, ids))).encode()).digest()


def require(conn: db.Connection, account: str, duties: Collection[str]) -> None:
    """Whoever asks, a command, a page or a task: what is decided is one's word who has one of these duties in force.

    In the caller's transaction, which it ends if it raises NotAllowed.
    """
    if controllers.duties_in_force(conn, account).isdisjoint(duties):
        conn.rollback()
        raise NotAllowed(
            "This account may not say this yes, or this no.",
            mend=f"It takes one of: {', '.join(duties)} ([people] in force).",
        )


def record(conn: db.Connection, subject: str, action: str, account: str, scope: bytes, actor: Actor) -> int:
    """Writes the decision and its event in the caller's transaction, does not commit, and returns the row's number."""
    decision: int = db.queries().record_decision(conn, subject=subject, action=action, account=account, scope=scope)
    append(conn, actor, [Decided(decision=decision, subject=subject, decided=action, scope=scope.hex())])
    return decision


def find(conn: db.Connection, subject: str, action: str) -> Decision | None:
    """The last decision on the subject, if there is one; its own action has the code, too, where there is one (``dsr_approve:unlawful``)."""
    row = db.queries().find_decision(conn, subject=subject, action=action)
    return Decision(**row._asdict() | {"scope": bytes(row.scope)}) if row else None
