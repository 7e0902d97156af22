"""How an event refers to a person: by a salted hash that nobody can resolve once the ticket's salt is erased.

Events stay for years, and their leaves for ever; the link to a person must not. So an event has HMAC-SHA-256 of whatever names the
subject, under 32 random bytes of the ticket's own. With the salt, the officer finds one person's events again; without it the hash
is noise, even to who tries every telephone number there is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from callkeeper import db
from callkeeper.errors import CallkeeperError


class SubjectForgotten(CallkeeperError):
    """The ticket's salt is erased: nobody is referred to under it any more."""


def refer(conn: db.Connection, ticket: str, subject: str) -> str:
    """The reference (64 hex digits) to the subject under this ticket: the same each time. Does not commit.

    ``subject`` is one spelling for one person (E.164, a UUID). Raises SubjectForgotten.
    """
    ask = db.queries()
    ask.add_subject_salt(conn, ticket=ticket, salt=secrets.token_bytes(32))
    salt = ask.subject_salt(conn, ticket=ticket)
    if salt is None:
        raise SubjectForgotten(
            "This ticket's subject has been forgotten.", mend="A new request has a ticket of its own."
        )
    return hmac.new(bytes(salt), subject.encode(), hashlib.sha256).hexdigest()


def forget(conn: db.Connection, ticket: str) -> bool:
    """Erases the ticket's salt, for ever; says whether there was one. Does not commit.

    Backups have it until they are past their own term (``backups_days``).
    """
    return bool(db.queries().erase_subject_salt(conn, ticket=ticket))
