"""Disclosures: drafted, asked for, approved by a second person, made into a package, handed over against a receipt.

To an authority by law or its demand, to a company of the group for one of the notice's purposes; to nobody else. A draft holds
nothing: what is past its term goes meanwhile, unless a hold keeps it. What the law forbids to tell shows to the officer and her
deputies only, and no event tells it from any other (docs/adr/0231).
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args
from uuid import UUID, uuid4

from stream_zip import ZIP_AUTO, stream_zip

from callkeeper import db, decisions, disclosures, package, retention
from callkeeper.clock import HELSINKI, helsinki_day
from callkeeper.controllers import OFFICERS, SECONDERS
from callkeeper.crashpoints import reach
from callkeeper.disclosures import Channel, DisclosureId, Facts, Purpose, RecipientKind, State
from callkeeper.errors import NotAllowed, NotFound, StoreConflict
from callkeeper.jobs import explaining, listening, pages
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.package import Package, Part
from callkeeper.pseudonyms import Keyring
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import (
    Actor,
    DisclosureDrafted,
    DisclosureForgotten,
    DisclosureHandedOver,
    DisclosureMade,
    DisclosureMayBeTold,
    DisclosureMoved,
    DisclosureSeen,
    Event,
    RecordingDisclosed,
    RecordingOpened,
)

if TYPE_CHECKING:
    from callkeeper.wiring import App

Action = Literal["ask", "approve", "make", "hand_over", "withdraw"]
ACTIONS: tuple[Action, ...] = get_args(Action)

HOLDS_NOTHING = (
    "It holds nothing: a recording whose term ends meanwhile goes all the same. To keep it, draft and place a hold "
    "(`callkeeper hold draft`)."
)
CHUNK = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Disclosure:
    """A disclosure as the register shows it: the authority's name and its reference are sealed. ``company``: the group company's name.

    ``kept_until``: the last day on which its package can be had, while there is one.
    """

    disclosure: DisclosureId
    recipient_kind: RecipientKind
    company: str | None
    purpose: Purpose
    statute: str | None
    untold: bool
    state: State
    recordings: int
    drafted_by: str
    drafted_at: datetime
    asked_by: str | None
    approved_by: str | None
    handed_over_at: datetime | None
    channel: str | None
    kept_until: date | None
    scope: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """That a recording was handed over: what answers GDPR Art. 15(1)(c) and 19. ``recipient``: a name, or None once it is forgotten.

    ``company``: the id of the group company.
    """

    recording: UUID
    disclosure: DisclosureId
    recipient_kind: RecipientKind
    recipient: str | None = field(repr=False)
    company: str | None
    purpose: Purpose
    statute: str | None
    handed_over_at: datetime
    untold: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of an action, in words that tell neither recipient nor person. ``waits``: for a second person."""

    disclosure: str
    text: str
    recordings: int
    waits: bool = False

    def counts(self) -> dict[str, int]:
        return {"recordings": self.recordings, "waits": int(self.waits)}


# --- drafting ---------------------------------------------------------------------------------------------------------


def draft(
    conn: db.Connection,
    keyring: Keyring,
    *,
    recipient_kind: RecipientKind,
    recipient: str,
    purpose: Purpose,
    statute: str | None = None,
    reference: str | None = None,
    recordings: Iterable[UUID] = (),
    case: str | None = None,
    untold: bool = False,
    years: int,
    account: str,
    actor: Actor,
) -> DisclosureId:
    """Writes down what is to be given to whom, and gives its number; commits. Nothing is given, and nothing held, by it.

    ``recipient``: an authority's name, which is sealed with its reference; or a company's id. ``case``: a hold's number, or a
    request's, whose recordings are meant. ``years``: after so many its facts are erased, also where nobody ends it. Raises NotAllowed where the notice or the law does not allow it.
    """
    disclosures.check_purpose(recipient_kind, purpose)
    facts = None
    if recipient_kind == "authority":
        facts = Facts(authority=recipient.strip(), reference=(reference or "").strip())
        if not (facts.authority and facts.reference and statute):
            raise NotAllowed("An authority needs its name, the law, and the reference of its demand.")
        statute = disclosures.check_statute(statute)
    elif statute or reference or untold:
        raise NotAllowed(
            "A company of the group is given recordings for a purpose of the notice: it has neither law nor reference, and is told."
        )
    q = db.queries()
    named = list(dict.fromkeys([*recordings, *_of_case(conn, case)]))
    found = _disclosable(conn, named, recipient_kind, purpose, recipient)
    q.number_disclosure(conn)
    drafted = q.next_disclosure(conn)
    disclosure = disclosures.reference(drafted.today.year, drafted.n)
    sealed = None
    if facts:
        sealed = keyring.sealer("reference").seal(json.dumps(asdict(facts)).encode(), disclosure.encode())
    company = None if facts else recipient
    scope = _scope(named, recipient_kind, company, purpose, statute, sealed, untold)
    q.draft_disclosure(
        conn, disclosure=disclosure, recipient_kind=recipient_kind, recipient=company, purpose=purpose, statute=statute,
        sealed_facts=sealed, untold=untold, scope=scope, account=account, years=years,
    )  # fmt: skip
    q.add_disclosure_recording(
        conn, disclosure=disclosure, recordings=named, controllers=[found[recording] for recording in named]
    )
    told = DisclosureDrafted(
        disclosure=disclosure, purpose=purpose, recordings=len(named), counts=dict(sorted(Counter(found.values()).items())),
        scope=scope.hex(),
    )  # fmt: skip
    append(conn, actor, [told])
    conn.commit()
    return disclosure


def _of_case(conn: db.Connection, case: str | None) -> list[UUID]:
    if case is None:
        return []
    found = [row.recording for row in db.queries().recordings_of_case(conn, case_ref=case)]
    if not found:
        raise NotFound(
            "This names no recording.", mend="A hold covers them once it is placed; a request, once it is previewed."
        )
    return found


def _disclosable(
    conn: db.Connection, recordings: Sequence[UUID], kind: RecipientKind, purpose: str, recipient: str | None
) -> dict[UUID, str]:
    """Whose each recording is, if it may be opened for that purpose now. Raises NotAllowed, and says of how many it may not.

    An authority is given what an officer may open for it: what is past its term and held, too. A company of the group is
    given what a listener may open, and never what is its own.
    """
    if not recordings:
        raise NotAllowed("A disclosure needs its recordings.", mend="Name them, a hold or a request.")
    who = listening.Who(officer=True) if kind == "authority" else listening.Who(listener=True)
    rows = list(db.queries().disclosable(conn, recordings=list(recordings)))
    closed = own = 0
    for row in rows:
        clock = explaining.clock_of(row, row.retention_months)
        outcome = retention.resolve(explaining.situation(row, row.kinds, clock))
        closed += listening.may_open(outcome, purpose, who) is not None
        own += row.controller == recipient
    shut = {
        "are not in the catalogue (gone, in quarantine, or never there)": len(recordings) - len(rows),
        "are closed to this use (their term is over, or a request or a legal ground closes them)": closed,
        "are the recipient's own": own,
    }
    if any(shut.values()):
        said = ", ".join(f"{n} {what}" for what, n in shut.items() if n)
        raise NotAllowed(
            f"Of {len(recordings)} recordings {said}.",
            mend="Draft it without them. What an authority needs is kept by a hold, which also opens it to the officer.",
        )
    return {row.recording: row.controller for row in rows}


def _scope(
    recordings: Iterable[UUID],
    kind: RecipientKind,
    company: str | None,
    purpose: Purpose,
    statute: str | None,
    sealed: bytes | None,
    untold: bool,
) -> bytes:
    """The hash of what two people say yes to: exactly these recordings, to this recipient, for this."""
    to = [kind, company, purpose, statute, sha256(sealed).hexdigest() if sealed else None, untold]
    return decisions.scope_of([*recordings, json.dumps(to)])


# --- two people -------------------------------------------------------------------------------------------------------


def act(
    conn: db.Connection,
    app: App,
    disclosure: str,
    action: Action,
    *,
    account: str,
    duties: Set[str],
    actor: Actor,
    channel: Channel | None = None,
    openly: bool = False,
) -> Outcome:
    """Does what the account asks for, if one of its duties lets it; ``approve`` makes the package, too. Raises NotAllowed, NotFound.

    To whoever is no officer, what the law forbids to tell is not there; ``openly``, where others see what is done, to nobody.
    """
    allowed = SECONDERS if action == "approve" else OFFICERS
    if duties.isdisjoint(allowed):
        raise NotAllowed(
            "This account may not do this.", mend=f"It takes one of: {', '.join(allowed)} ([people] in force)."
        )
    _for_change(conn, disclosure, officer=not duties.isdisjoint(OFFICERS) and not openly)
    conn.rollback()
    if (action == "hand_over") != (channel is not None):
        raise NotAllowed(
            "Handing over takes how it was done, and nothing else does.",
            mend=f"One of: {', '.join(disclosures.CHANNELS)}.",
        )
    years = app.config.terms.deletion_evidence_years
    if action == "ask":
        return ask(conn, disclosure, account=account, actor=actor)
    if action == "withdraw":
        return withdraw(conn, disclosure, years=years, actor=actor)
    if action == "hand_over":
        assert channel is not None
        return hand_over(conn, disclosure, channel, years=years, account=account, actor=actor)
    if action == "approve":
        approve(conn, disclosure, account=account, actor=actor)
    return make(conn, app, disclosure, account=account, actor=actor)


def ask(conn: db.Connection, disclosure: str, *, account: str, actor: Actor) -> Outcome:
    """The first person's word for exactly what was drafted; commits. The same run of the DAG asks once."""
    row = _for_change(conn, disclosure)
    said = f"{disclosure}: asked for. It waits for a second person, and nothing has been given yet. {HOLDS_NOTHING}"
    n = _unchanged(conn, row)
    if actor.run and actor.run == row.asked_run and row.state == State.asked:
        conn.rollback()
        return Outcome(disclosure=disclosure, text=said, recordings=n, waits=True)
    before, after = State(row.state), disclosures.move(State(row.state), State.asked)
    db.queries().disclosure_asked(conn, disclosure=disclosure, account=account, run=actor.run)
    decisions.record(conn, disclosure, "disclose_ask", account, bytes(row.scope), actor)
    append(conn, actor, [DisclosureMoved(disclosure=disclosure, state_before=before, state_after=after)])
    conn.commit()
    return Outcome(disclosure=disclosure, text=said, recordings=n, waits=True)


def approve(conn: db.Connection, disclosure: str, *, account: str, actor: Actor, scope: bytes | None = None) -> None:
    """Another person's yes to exactly what was asked for; commits. Raises NotAllowed to the first one, ScopeChanged.

    Said again by the same account it changes nothing.
    """
    row = _for_change(conn, disclosure)
    if row.state in (State.approved, State.made) and row.approved_by == account:
        conn.rollback()
        return
    before, after = State(row.state), disclosures.move(State(row.state), State.approved)
    _unchanged(conn, row)
    if row.asked_by == account:
        raise NotAllowed("You asked for it: the second person is another one.")
    if scope is not None and scope != bytes(row.scope):
        raise ScopeChanged
    _yes(conn, row, "disclose_ask")
    db.queries().disclosure_approved(conn, disclosure=disclosure, account=account)
    decisions.record(conn, disclosure, "disclose_approve", account, bytes(row.scope), actor)
    append(conn, actor, [DisclosureMoved(disclosure=disclosure, state_before=before, state_after=after)])
    conn.commit()


def withdraw(conn: db.Connection, disclosure: str, *, years: int, actor: Actor) -> Outcome:
    """It comes to nothing, and its package goes by the next night; commits. Raises NotAllowed once it was handed over."""
    q, row = db.queries(), _for_change(conn, disclosure)
    before, after = State(row.state), disclosures.move(State(row.state), State.withdrawn)
    q.disclosure_withdrawn(conn, disclosure=disclosure, years=years)
    package.to_go(conn, [p.package for p, _ in _packages(conn, disclosure)], "withdrawn", actor)
    append(conn, actor, [DisclosureMoved(disclosure=disclosure, state_before=before, state_after=after)])
    conn.commit()
    return Outcome(disclosure=disclosure, text=f"{disclosure} is withdrawn. Nothing was handed over.", recordings=0)


def _for_change(conn: db.Connection, disclosure: str, *, officer: bool = True) -> db.Row:
    """The disclosure, for nobody else to change until the transaction ends. Raises NotFound."""
    # It may be a number, typed into the wrong field: it is not said again.
    row = None
    if disclosures.REFERENCE.fullmatch(disclosure):
        row = db.queries().disclosure_for_change(conn, disclosure=disclosure)
    if row is None or (row.untold and not officer):
        conn.rollback()
        raise NotFound("There is no such disclosure.", mend="`callkeeper disclosure list` lists them.")
    return row


def _unchanged(conn: db.Connection, row: db.Row) -> int:
    """How many recordings it is about, all of them there, and as two people see them. Raises NotAllowed, ScopeChanged."""
    named = [r.recording for r in db.queries().disclosure_recordings(conn, disclosure=row.disclosure)]
    _disclosable(conn, named, row.recipient_kind, row.purpose, row.recipient)
    sealed = bytes(row.sealed_facts) if row.sealed_facts else None
    scope = _scope(named, row.recipient_kind, row.recipient, row.purpose, row.statute, sealed, row.untold)
    if scope != bytes(row.scope):
        raise ScopeChanged
    return len(named)


def _yes(conn: db.Connection, row: db.Row, action: str) -> decisions.Decision:
    """The last yes of that kind to exactly this, as a row of ours (architecture, rule 13). Raises NotAllowed."""
    found = decisions.find(conn, row.disclosure, action)
    if found is None or found.scope != bytes(row.scope):
        raise NotAllowed(f"Nobody has said {action} to what {row.disclosure} is about.", mend="Draft it again.")
    return found


def _agreed(conn: db.Connection, row: db.Row) -> decisions.Decision:
    """The second person's yes, where two have said it to exactly this and all of it may be given now: what each effect asks for.

    The caller has the blockers' lock, taken before ``row`` was read. Raises NotAllowed, ScopeChanged.
    """
    first, other = _yes(conn, row, "disclose_ask"), _yes(conn, row, "disclose_approve")
    if first.account == other.account:
        raise NotAllowed("Both yeses are one person's.")
    _unchanged(conn, row)
    return other


# --- the package ------------------------------------------------------------------------------------------------------


def make(conn: db.Connection, app: App, disclosure: str, *, account: str, actor: Actor) -> Outcome:
    """Writes the package of what two people said yes to; commits. Made already, and still there, it is left as it is.

    Each opening is an event that commits before a byte is read. A make that is killed leaves a package row without parts, which
    goes like an expired one. Raises NotAllowed, NotFound, ScopeChanged, StoreConflict (a copy that is not what import kept).
    """
    q = db.queries()
    # A restriction that is placed at this moment is seen, or comes after (architecture, rule 3).
    db.lock_blockers(conn, exclusive=False)
    row = _for_change(conn, disclosure)
    if row.state == State.made and _standing(conn, disclosure):
        conn.rollback()
        return _made(conn, disclosure)
    before = State(row.state)
    disclosures.move(before, State.made)
    other = _agreed(conn, row)
    rows = list(q.disclosure_recordings(conn, disclosure=disclosure))
    left = [p.package for p, _ in _packages(conn, disclosure)]
    package.to_go(conn, left, "unfinished" if before is State.approved else "expired", actor)
    copy, secret = uuid4(), package.passphrase()
    expires_on = helsinki_day(db.now(conn)) + timedelta(days=app.config.terms.packages_days)
    part = Part(n=1, kind="zip", part=uuid4(), key=f"pkg/{expires_on}/{copy}/1.zip")
    sealed = app.keyring.sealer("reference").seal(secret.encode(), str(copy).encode())
    q.begin_disclosure_package(
        conn,
        package=copy,
        disclosure=disclosure,
        sealed_passphrase=sealed,
        expires_on=expires_on,
        parts=package.written([part]),
    )
    opened = [r.recording for r in rows]
    q.note_disclosure_openings(conn, recordings=opened, account=account, purpose=row.purpose, disclosure=disclosure)
    alike: dict[Event, list[UUID]] = {}
    for r in rows:
        event = RecordingOpened(recording=ANY, controller=r.controller, purpose=row.purpose, disclosure=disclosure)
        alike.setdefault(event, []).append(r.recording)
    append(conn, actor, (), alike=alike)
    conn.commit()
    reach("disclosure.begun")
    now = db.now(conn)
    conn.rollback()
    copies, whole = _write(app, row, rows, part, secret, now)
    reach("disclosure.written")
    row = _for_change(conn, disclosure)
    if State(row.state) is not before or bytes(row.scope) != other.scope:
        # Withdrawn meanwhile, or made by somebody else: this one goes by the next night.
        package.to_go(conn, [copy], "unfinished", actor)
        conn.commit()
        raise NotAllowed(f"{disclosure} has changed while its package was made.", mend="Look at it again.")
    q.package_whole(conn, package=copy, parts=package.written([whole]))
    q.note_disclosed_copies(
        conn,
        disclosure=disclosure,
        recordings=[c.recording for c in copies],
        sums=[c.sha256 for c in copies],
        sizes=[c.bytes for c in copies],
    )
    q.disclosure_made(conn, disclosure=disclosure)
    made = DisclosureMade(
        disclosure=disclosure,
        package=copy,
        recordings=len(copies),
        expires_on=expires_on.isoformat(),
        state_before=before,
    )
    append(conn, actor, [made])
    conn.commit()
    return _made(conn, disclosure)


def _made(conn: db.Connection, disclosure: str) -> Outcome:
    found = show(conn, disclosure, officer=True)
    text = (
        f"{disclosure} is made: {found.recordings} recordings, encrypted, and kept until {found.kept_until:%d.%m.%Y}. "
        f"`callkeeper disclosure package {disclosure}` takes it out, `passphrase` tells what opens it: hand them over apart."
    )
    return Outcome(disclosure=disclosure, text=text, recordings=found.recordings)


@dataclass(kw_only=True, slots=True)
class _Copy:
    """A copy as it was written: its name in the package, its checksum and size."""

    recording: UUID
    name: str = ""
    sha256: bytes = b""
    bytes: int = 0


def _write(
    app: App, row: db.Row, rows: Sequence[db.Row], part: Part, secret: str, now: datetime
) -> tuple[list[_Copy], Part]:
    """Streams the recordings into an encrypted zip, and that into the store; what each copy and the one part came to.

    On disk is what is encrypted only. Of any length, it takes the memory of a chunk.
    """
    copies: list[_Copy] = []
    facts = (
        Facts(**json.loads(app.keyring.unseal("reference", row.sealed_facts, row.disclosure.encode())))
        if row.sealed_facts
        else None
    )
    digest, size = sha256(), 0
    with tempfile.TemporaryFile() as file:
        for chunk in stream_zip(_members(app, row, rows, facts, copies, now), password=secret):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.seek(0)
        stored = app.store.put(part.key, file, sha256=digest.digest(), size_bytes=size, content_type="application/zip")
    return copies, replace(part, version=stored.version_id, sha256=digest.digest(), size_bytes=size)


def _members(
    app: App, row: db.Row, rows: Sequence[db.Row], facts: Facts | None, copies: list[_Copy], now: datetime
) -> Iterator[tuple[str, datetime, int, Any, Iterable[bytes]]]:
    at, mode = now.astimezone(HELSINKI).replace(tzinfo=None), 0o600
    for n, r in enumerate(rows, start=1):
        with app.store.open(r.object_key, r.version_id) as audio:
            head = audio.read(CHUNK)
            copy = _Copy(recording=r.recording, name=f"audio/{n:04d}_{r.recording}.{_suffix(head)}")
            copies.append(copy)
            yield copy.name, at, mode, ZIP_AUTO(r.size_bytes), _through(audio, head, copy, bytes(r.stored_sha256))
    table = [_described(app, row, r, copy) for r, copy in zip(rows, copies, strict=True)]
    about: dict[str, Any] = {
        "disclosure": row.disclosure,
        "purpose": row.purpose,
        "statute": row.statute,
        "made_at": now.astimezone(UTC).isoformat(),
    }
    texts = {
        "metadata.json": json.dumps(about | {"recordings": table}, ensure_ascii=False, indent=1) + "\n",
        "metadata.csv": _csv(table),
    }
    texts["SHA256SUMS"] = "".join(f"{c.sha256.hex()}  {c.name}\n" for c in copies) + "".join(
        f"{sha256(text.encode()).hexdigest()}  {name}\n" for name, text in texts.items()
    )
    texts["receipt.txt"] = _receipt(app, row, copies, facts, now)
    for name, text in texts.items():
        body = text.encode()
        yield name, at, mode, ZIP_AUTO(len(body)), (body,)


def _through(audio: BinaryIO, head: bytes, copy: _Copy, kept: bytes) -> Iterator[bytes]:
    """The audio as import kept it, byte by byte. Raises StoreConflict if it is not."""
    digest, chunk = sha256(), head
    while chunk:
        digest.update(chunk)
        copy.bytes += len(chunk)
        yield chunk
        chunk = audio.read(CHUNK)
    copy.sha256 = digest.digest()
    if copy.sha256 != kept:
        raise StoreConflict(
            "A recording in the store is not what import kept: nothing was made of it.",
            mend="`callkeeper doctor`; DAG reconcile.",
        )


_MAGIC = (
    (b"RIFF", "wav"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
)


def _suffix(head: bytes) -> str:
    return next((suffix for magic, suffix in _MAGIC if head.startswith(magic)), "bin")


def _described(app: App, row: db.Row, r: db.Row, copy: _Copy) -> dict[str, Any]:
    """The notice's metadata of a recording. The number goes to an authority only: a company finds the call by line and time."""
    number = None
    if row.recipient_kind == "authority" and r.sealed_number:
        number = app.keyring.unseal("number", r.sealed_number, bytes(r.identity)).decode()
    return {
        "recording": str(r.recording),
        "file": copy.name,
        "sha256": copy.sha256.hex(),
        "bytes": copy.bytes,
        "controller": r.controller,
        "started_at": r.started_at.astimezone(UTC).isoformat(),
        "started_at_helsinki": r.started_at.astimezone(HELSINKI).isoformat(),
        "duration_ms": r.duration_ms,
        "line": r.line,
        "direction": r.direction,
        "number": number,
        "number_state": r.caller_state,
    }


def _csv(table: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, table[0].keys(), lineterminator="\r\n")
    writer.writeheader()
    # A telephone number begins with +, which a spreadsheet would take for a formula.
    writer.writerows(
        {k: f"'{v}" if isinstance(v, str) and v[:1] in "=+-@" else v for k, v in line.items()} for line in table
    )
    return text.getvalue()


def _receipt(app: App, row: db.Row, copies: Sequence[_Copy], facts: Facts | None, now: datetime) -> str:
    companies = {c.id: c for c in app.config.controllers}
    recipient = (
        facts.authority if facts else companies[row.recipient].name if row.recipient in companies else row.recipient
    )
    return pages.render(
        "disclosure_receipt.txt",
        disclosure=row.disclosure,
        recipient=recipient,
        reference=facts.reference if facts else None,
        statute=row.statute,
        purpose=row.purpose,
        day=f"{now.astimezone(HELSINKI):%d.%m.%Y}",
        copies=copies,
    )


# --- handing over -----------------------------------------------------------------------------------------------------


def hand_over(
    conn: db.Connection, disclosure: str, channel: Channel, *, years: int, account: str, actor: Actor
) -> Outcome:
    """Notes that the recipient has the package, against a receipt; commits.

    Raises NotAllowed while there is none, and where a request or a legal ground has closed a recording since it was made; ScopeChanged.
    """
    q = db.queries()
    # As at ``make``: what closes a recording at this moment is seen, or comes after.
    db.lock_blockers(conn, exclusive=False)
    row = _for_change(conn, disclosure)
    before, after = State(row.state), disclosures.move(State(row.state), State.handed_over)
    if _standing(conn, disclosure) is None:
        raise NotAllowed(f"The package of {disclosure} has expired.", mend="Make it again.")
    _agreed(conn, row)
    q.disclosure_handed_over(conn, disclosure=disclosure, account=account, channel=channel, years=years)
    alike: dict[Event, list[UUID]] = {}
    for r in list(q.disclosure_recordings(conn, disclosure=disclosure)):
        event = RecordingDisclosed(recording=ANY, controller=r.controller, disclosure=disclosure, purpose=row.purpose)
        alike.setdefault(event, []).append(r.recording)
    n = sum(map(len, alike.values()))
    told = DisclosureHandedOver(
        disclosure=disclosure, channel=channel, recordings=n, state_before=before, state_after=after
    )
    append(conn, actor, [told], alike=alike)
    conn.commit()
    return Outcome(disclosure=disclosure, text=f"{disclosure} is handed over: {n} recordings.", recordings=n)


def may_be_told(conn: db.Connection, disclosure: str, actor: Actor) -> None:
    """The law no longer forbids to tell of it: from now on letters do, and the register shows it; commits."""
    row = _for_change(conn, disclosure)
    if not row.untold or row.state != State.handed_over:
        raise NotAllowed(f"{disclosure} is none that was handed over and may not be told.")
    db.queries().disclosure_told(conn, disclosure=disclosure)
    append(conn, actor, [DisclosureMayBeTold(disclosure=disclosure)])
    conn.commit()


def open_package(conn: db.Connection, app: App, disclosure: str, actor: Actor) -> BinaryIO:
    """The package, encrypted; who takes it out is an event, which commits before a byte is read. Raises NotFound."""
    (part,) = _found(conn, disclosure)[0].parts
    append(conn, actor, [DisclosureSeen(disclosure=disclosure, what="package")])
    conn.commit()
    assert part.version is not None
    return app.store.open(part.key, part.version)


def passphrase(conn: db.Connection, keyring: Keyring, disclosure: str, actor: Actor) -> str:
    """What opens the package; who reads it is an event. It goes to the recipient by another way. Raises NotFound."""
    found, sealed = _found(conn, disclosure)
    append(conn, actor, [DisclosureSeen(disclosure=disclosure, what="passphrase")])
    conn.commit()
    return keyring.unseal("reference", sealed, str(found.package).encode()).decode()


def _packages(conn: db.Connection, disclosure: str) -> list[tuple[Package, bytes]]:
    """Its packages that are not on their way out, each with its sealed passphrase; the newest first."""
    rows = db.queries().packages_of_disclosure(conn, disclosure=disclosure)
    return [(package.from_row(row), bytes(row.sealed_passphrase)) for row in rows]


def _standing(conn: db.Connection, disclosure: str) -> tuple[Package, bytes] | None:
    """The package that can be had."""
    return next(((p, sealed) for p, sealed in _packages(conn, disclosure) if p.whole and not p.over), None)


def _found(conn: db.Connection, disclosure: str) -> tuple[Package, bytes]:
    show(conn, disclosure, officer=True)
    if found := _standing(conn, disclosure):
        return found
    raise NotFound(
        f"There is no package of {disclosure}.", mend="It was not made yet, or has expired: make it (again)."
    )


# --- looking ----------------------------------------------------------------------------------------------------------


def register(conn: db.Connection, *, officer: bool) -> list[Disclosure]:
    """The disclosures, the newest first. To whoever is no officer neither drafts, nor what the law forbids to tell."""
    found = [_disclosure(row) for row in db.queries().disclosure_register(conn, disclosure=None, officer=officer)]
    conn.rollback()
    return found


def show(conn: db.Connection, disclosure: str, *, officer: bool) -> Disclosure:
    """One disclosure, without what is sealed. Raises NotFound."""
    rows: list[db.Row] = []
    if disclosures.REFERENCE.fullmatch(disclosure):
        rows = list(db.queries().disclosure_register(conn, disclosure=disclosure, officer=officer))
    conn.rollback()
    if not rows:
        raise NotFound("There is no such disclosure.", mend="`callkeeper disclosure list` lists them.")
    return _disclosure(rows[0])


def look(conn: db.Connection, keyring: Keyring, disclosure: str, actor: Actor) -> Facts | None:
    """The authority and its reference, in clear; the look is an event. None where there are none, or none any more."""
    show(conn, disclosure, officer=True)
    row = db.queries().disclosure_for_change(conn, disclosure=disclosure)
    append(conn, actor, [DisclosureSeen(disclosure=disclosure, what="facts")])
    conn.commit()
    return _facts(keyring, disclosure, row.sealed_facts)


def recordings(conn: db.Connection, disclosure: str) -> list[UUID]:
    """What it is about."""
    found = [row.recording for row in db.queries().disclosure_recordings(conn, disclosure=disclosure)]
    conn.rollback()
    return found


def of_recordings(
    conn: db.Connection, recordings: Iterable[UUID], *, officer: bool, keyring: Keyring | None = None
) -> list[Given]:
    """What of these was handed over, to whom: the oldest first. It answers GDPR Art. 15(1)(c) and 19.

    ``officer``: with what the law forbids to tell, which no letter may have. With ``keyring`` authorities have their names; it
    needs the private half. Does not end the caller's transaction.
    """
    return [
        Given(
            recording=row.recording,
            disclosure=DisclosureId(row.disclosure),
            recipient_kind=row.recipient_kind,
            recipient=row.company or (_named(keyring, row) if keyring else None),
            company=row.recipient,
            purpose=row.purpose,
            statute=row.statute,
            handed_over_at=row.handed_over_at,
            untold=row.untold,
        )
        for row in db.queries().disclosures_of(conn, recordings=list(recordings), officer=officer)
    ]


def _named(keyring: Keyring, row: db.Row) -> str | None:
    facts = _facts(keyring, row.disclosure, row.sealed_facts)
    return facts.authority if facts else None


def _facts(keyring: Keyring, disclosure: str, sealed: bytes | None) -> Facts | None:
    return Facts(**json.loads(keyring.unseal("reference", sealed, disclosure.encode()))) if sealed else None


def forget_past_term(conn: db.Connection, actor: Actor) -> int:
    """Erases who the recipient was, and its reference, of disclosures past their term; commits, and says how many there were."""
    over = list(db.queries().forget_disclosures(conn))
    append(
        conn, actor, [DisclosureForgotten(disclosure=row.disclosure, erase_on=row.erase_on.isoformat()) for row in over]
    )
    conn.commit()
    return len(over)


def _disclosure(row: db.Row) -> Disclosure:
    return Disclosure(
        disclosure=DisclosureId(row.disclosure),
        recipient_kind=row.recipient_kind,
        company=row.company,
        purpose=row.purpose,
        statute=row.statute,
        untold=row.untold,
        state=State(row.state),
        recordings=row.recordings,
        drafted_by=row.drafted_by,
        drafted_at=row.drafted_at,
        asked_by=row.asked_by,
        approved_by=row.approved_by,
        handed_over_at=row.handed_over_at,
        channel=row.channel,
        kept_until=row.kept_until,
        scope=bytes(row.scope),
    )
