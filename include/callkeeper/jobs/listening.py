"""Listening to a recording: who may, for what; that somebody does is a row and an event before a byte is read.

A player asks for ranges: those of one listening come under one token, for ten minutes, and each asks again whether the
recording may still be opened. Nothing here tells why one is closed: that would tell a preservation order from another hold.
"""

from __future__ import annotations

import base64
import hmac
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import UUID

from callkeeper import controllers, db, retention
from callkeeper.controllers import OFFICERS
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import explaining
from callkeeper.retention import Outcome, StaffUse, SubjectCopy
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, RecordingOpened

if TYPE_CHECKING:
    from callkeeper.wiring import App

PURPOSES = ("customer_care", "quality", "verification", "training")
"""The notice's four, for a controller's listeners."""
LAWFUL_PURPOSES = ("subject_request", "legal_claim", "authority", "security")
"""The law's, for the privacy officer and her deputies (requirements, section 1)."""
RESTRICTED_PURPOSES = ("legal_claim", "authority")
"""What of them GDPR Art. 18(2) leaves while a recording is restricted; a request of the person's own has her word."""
TOKEN_LASTS = timedelta(minutes=10)
"""By this machine's clock, not the one that tests move: it is a lease."""
CHUNK_BYTES = 256 << 10
SPOOL_BYTES = 8 << 20


class Refusal(StrEnum):
    """Why somebody may not listen."""

    purpose_unknown = "There is no such purpose."
    no_listener = "This purpose is the listeners' of the recording's company, and you are none of them."
    no_officer = "This purpose is the privacy officer's and her deputies'."
    no_request = "Listening for a request needs the request, and one that is open and about this recording."
    closed = "The recording is closed to this use for now, or for good."


@dataclass(frozen=True, kw_only=True, slots=True)
class Who:
    """What somebody may be: a listener of the recording's company, an officer. Officers are the roles that holds name."""

    listener: bool = False
    officer: bool = False


def may_open(outcome: Outcome, purpose: str, who: Who, *, asked_for: bool = False) -> Refusal | None:
    """Whether a recording with this outcome may be opened (requirements, sections 1 and 2); None: yes.

    ``asked_for``: an open request is about it.
    """
    if purpose in PURPOSES:
        if not who.listener:
            return Refusal.no_listener
        return None if outcome.staff is StaffUse.listener else Refusal.closed
    if purpose not in LAWFUL_PURPOSES:
        return Refusal.purpose_unknown
    if not who.officer:
        return Refusal.no_officer
    if purpose == "subject_request":
        if not asked_for:
            return Refusal.no_request
        gone = outcome.copy in (SubjectCopy.nothing, SubjectCopy.no_data)
        return Refusal.closed if gone else None
    match outcome.staff:
        case StaffUse.listener | StaffUse.hold_roles:
            return None
        case StaffUse.officer:
            return None if purpose in RESTRICTED_PURPOSES else Refusal.closed
        case StaffUse.nobody:
            return Refusal.closed


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """One listening: ``token`` lets further ranges of it through. ``size_bytes`` and ``content_type`` are of what is played."""

    recording: UUID
    purpose: str
    token: str
    size_bytes: int
    content_type: str
    _key: str
    _version: str
    _decode: str | None
    """The codec, where the browser cannot play the recording as it is."""

    def __repr__(self) -> str:
        return f"Listening({self.recording})"


def open_audio(
    conn: db.Connection,
    app: App,
    recording: UUID,
    *,
    account: str,
    purpose: str,
    ticket: str | None = None,
    actor: Actor,
) -> Listening:
    """Opens a recording for somebody and a purpose; its row and its event are committed before a byte is read.

    Asked under the blockers' lock: a restriction that is placed at the same moment is seen, or comes after. Raises
    NotAllowed in words, NotFound.
    """
    db.lock_blockers(conn, exclusive=False)
    row = _allowed(conn, recording, account=account, purpose=purpose, ticket=ticket)
    db.queries().record_opening(conn, recording=recording, account=account, purpose=purpose, ticket=ticket)
    opened = RecordingOpened(recording=recording, controller=row.controller, purpose=purpose, ticket=ticket)
    append(conn, actor if actor.account else replace(actor, account=account), [opened])
    conn.commit()
    found = _described(app, row, purpose)
    facts = {
        "account": account,
        "decoded": found._decode is not None,
        "purpose": purpose,
        "recording": str(recording),
        "size": found.size_bytes,
        "ticket": ticket,
        "type": found.content_type,
        "until": int((datetime.now(UTC) + TOKEN_LASTS).timestamp()),
    }
    return replace(found, token=_token(app, facts))


def resume(conn: db.Connection, app: App, token: str, *, recording: UUID, account: str) -> Listening:
    """The listening that a token is of, for another range of it; asks again whether it may be opened, and writes nothing.

    Raises NotAllowed where the token is another's, of another recording, changed or ten minutes old.
    """
    facts = _facts(app, token)
    if facts is None or (facts["account"], facts["recording"]) != (account, str(recording)):
        raise NotAllowed("This is no listening of yours.", mend="Open the recording again.")
    if facts["until"] < datetime.now(UTC).timestamp():
        raise NotAllowed("This listening is over.", mend="Open the recording again.")
    purpose = facts["purpose"]
    row = _allowed(conn, recording, account=account, purpose=purpose, ticket=facts["ticket"])
    conn.rollback()
    return Listening(
        recording=recording, purpose=purpose, token=token, size_bytes=facts["size"], content_type=facts["type"],
        _key=row.object_key, _version=row.version_id, _decode=(row.codec or "") if facts["decoded"] else None,
    )  # fmt: skip


def read(app: App, listening: Listening, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes from ``start`` to ``end``, both included (all: to the last); raises NotFound where they have gone."""
    last = listening.size_bytes - 1 if end is None else min(end, listening.size_bytes - 1)
    if start > last:
        return
    if listening._decode is None:
        with app.store.open(listening._key, listening._version, first=start, last=last) as body:
            yield from _chunks(body, last + 1 - start)
        return
    with _played(app, listening._key, listening._version, listening._decode) as spool:
        spool.seek(start)
        yield from _chunks(spool, last + 1 - start)


def _allowed(conn: db.Connection, recording: UUID, *, account: str, purpose: str, ticket: str | None) -> db.Row:
    """Where its audio is, if that account may open it for that purpose now. Raises NotAllowed, NotFound."""
    q = db.queries()
    row = q.explain_recording(conn, recording=recording)
    audio = q.audio_of(conn, recording=recording)
    if row.place is None or audio.object_key is None or audio.version_id is None or row.store_gone_at is not None:
        raise NotFound("There is no audio of such a recording.")
    clock = explaining.clock_of(row, controllers.months_in_force(conn))
    kinds = [b.kind for b in q.explain_blockers(conn, recording=recording)]
    outcome = retention.resolve(explaining.situation(row, kinds, clock))
    duties = controllers.duties_in_force(conn, account)
    who = Who(
        listener=audio.controller in controllers.listens_to(conn, account),
        officer=bool(duties & set(OFFICERS)),
    )
    asked_for = ticket is not None and bool(q.asks_for(conn, ticket=ticket, recording=recording))
    if refused := may_open(outcome, purpose, who, asked_for=asked_for):
        raise NotAllowed(refused.value)
    return audio


def _described(app: App, row: db.Row, purpose: str) -> Listening:
    """What will be played: the recording's own bytes, or a copy that a browser can play."""
    from callkeeper.media import copying

    with app.store.open(row.object_key, row.version_id, first=0, last=4095) as body:
        head = body.read()
    content_type, _, as_it_is = copying.played_as(head, row.codec)
    size = row.size_bytes if as_it_is else copying.decoded_bytes(head, row.codec, row.size_bytes)
    if not as_it_is and size is None:
        with _played(app, row.object_key, row.version_id, row.codec) as spool:
            size = spool.seek(0, 2)
    elif size is None:
        stored = app.store.head(row.object_key, row.version_id)
        if stored is None:
            raise NotFound("There is no audio of such a recording.")
        size = stored.size_bytes
    return Listening(
        recording=row.recording, purpose=purpose, token="", size_bytes=size, content_type=content_type,
        _key=row.object_key, _version=row.version_id, _decode=None if as_it_is else row.codec or "",
    )  # fmt: skip


@contextmanager
def _played(app: App, key: str, version: str, codec: str | None) -> Iterator[BinaryIO]:
    """The copy that a browser can play, in a spool that has no name."""
    from callkeeper.media import copying

    with cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)) as spool:
        with (
            cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)) as original,
            app.store.open(key, version) as body,
        ):
            for chunk in _chunks(body, None):
                original.write(chunk)
            copying.decode(original, codec or None, spool)
        yield spool


def _chunks(body: BinaryIO, n: int | None) -> Iterator[bytes]:
    while (n is None or n > 0) and (chunk := body.read(CHUNK_BYTES if n is None else min(CHUNK_BYTES, n))):
        n = None if n is None else n - len(chunk)
        yield chunk


def _token(app: App, facts: Mapping[str, Any]) -> str:
    body = base64.urlsafe_b64encode(json.dumps(facts, sort_keys=True).encode())
    return f"{body.decode()}.{app.keyring.sign('listening', body).hex()}"


def _facts(app: App, token: str) -> Mapping[str, Any] | None:
    body, _, mac = token.partition(".")
    if not hmac.compare_digest(mac.encode(), app.keyring.sign("listening", body.encode()).hex().encode()):
        return None
    facts: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(body))
    return facts
