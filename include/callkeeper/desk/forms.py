"""A form that only its own session can send, and that does its thing once however often it is sent."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from callkeeper import db, wiring
from callkeeper.errors import CallkeeperError, NotAllowed

LASTS_SECONDS = 12 * 3600
"""A page left open over night is loaded again before it is sent."""
_NONCE, _MAC = 16, 32


class FormStale(NotAllowed):
    """The form is not this session's, or too old; nothing was done."""


class SentBefore(NotAllowed):
    """The form was sent before, and nobody knows whether what it was for was done."""


@dataclass(frozen=True, slots=True)
class Forms:
    """Writes and reads the one hidden field of each form: its random number, its time, and a MAC over these, session and path."""

    secret: bytes

    def write(self, session: bytes, path: str) -> str:
        """The field's value, for a form that is sent to that path in that session."""
        body = secrets.token_bytes(_NONCE) + struct.pack(">d", time.time())
        return base64.urlsafe_b64encode(body + self._mac(session, path, body)).decode()

    def read(self, session: bytes, path: str, field: str) -> bytes:
        """The form's own number (16 bytes). Raises FormStale."""
        try:
            raw = base64.urlsafe_b64decode(field.encode())
        except (binascii.Error, ValueError):
            raw = b""
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if len(body) != _NONCE + 8 or not hmac.compare_digest(mac, self._mac(session, path, body)):
            raise FormStale("This form is not from this session.", mend="Load the page again, and send it from there.")
        if not 0 <= time.time() - struct.unpack(">d", body[_NONCE:])[0] <= LASTS_SECONDS:
            raise FormStale(
                "This form has been open for too long.", mend="Load the page again, and send it from there."
            )
        return body[:_NONCE]

    def _mac(self, session: bytes, path: str, body: bytes) -> bytes:
        parts = (b"callkeeper desk form", session, path.encode(), body)
        return hmac.digest(self.secret, b"".join(sha256(part).digest() for part in parts), "sha256")


def once(app: wiring.App, form: bytes, account: str, do: Callable[[], str]) -> str:
    """Does it, unless this form has done it already; where the browser goes then, both times.

    Sent twice at once, the second waits for the first. Refused, nothing was done, and the form may be sent again.
    Raises SentBefore if the first sending was cut off in its middle.
    """
    q = db.queries()
    with app.connect() as conn:
        # Held by the connection, not by a transaction: what is done has transactions of its own.
        q.lock_form(conn, form=form)
        known = q.find_form(conn, form=form)
        conn.commit()
        if known:
            if known.leads_to is None:
                raise SentBefore(
                    "This form was sent before, and was cut off.",
                    mend="Look whether it was done; if not, load the page again and send it from there.",
                )
            return str(known.leads_to)
        q.note_form(conn, form=form, account=account)
        conn.commit()
        try:
            leads_to = do()
        except CallkeeperError:
            q.forget_form(conn, form=form)
            conn.commit()
            raise
        q.form_leads_to(conn, form=form, leads_to=leads_to)
        conn.commit()
        return leads_to
