"""The copy for the person who asked (GDPR Art. 15(3)): audio, metadata and the letter, sealed under a passphrase, in parts.

Each part is a file that opens itself in a browser, and a zip of the same. A maker that is killed leaves an unfinished package,
which the next try ends; its parts stand in its row before they stand in the store, so the one destroyer finds them. The
original is only ever read, and what it is read as must be what was imported.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import UUID, uuid4

from callkeeper import db, decisions, letters, package
from callkeeper.clock import HELSINKI
from callkeeper.controllers import OFFICERS
from callkeeper.crashpoints import reach
from callkeeper.errors import CallkeeperError, NotAllowed, NotAudio, NotFound, StoreConflict
from callkeeper.jobs import answering, fulfilling
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.package import KINDS, Package, Part, sealing
from callkeeper.pseudonyms import Keyring
from callkeeper.tickets import Mute, Right, State, mutes_of
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, PackageBegun, PackageMade, PackageTaken, PassphraseSeen

if TYPE_CHECKING:
    from callkeeper.wiring import App

PART_BYTES = 100_000_000
"""No file that opens itself is larger: mail gateways and browsers carry it."""
ROOM_BYTES = 72_000_000
"""So much content goes into a part: as base64, with its seals, index and page, it stays below PART_BYTES."""
SPOOL_BYTES = 8 << 20
"""Audio that has to be decoded stays in memory up to this size; above, in an unnamed temporary file."""


HEAD_BYTES = 4096
HEADS_AT_ONCE = 8
AHEAD = 3
"""So many recordings are read before their turn, each in memory: a store begins slowly and goes on fast."""


_TAKEN_BACK = "This package was taken back while it was made."


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _File:
    """One file of sound on the copy: a recording, or a piece of one that is too long for a part."""

    recording: UUID
    name: str
    content_type: str
    at_most: int
    as_it_is: bool = False
    """It is the original's own bytes."""
    piece: str = ""
    from_ms: int = 0
    to_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Call:
    """A recording as the letter numbers it, and where its sound is."""

    n: int
    row: db.Row
    source: db.Row | None
    mutes: tuple[Mute, ...]
    channel: int | None
    number: str | None
    deletes: date | str | None

    @property
    def cut(self) -> bool:
        return bool(self.mutes) or self.channel is not None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Contents:
    """What goes into a package: its calls, its documents (name, type, bytes), and which files of sound are in which part."""

    ticket: str
    language: str
    company: letters.Sender
    made_on: date
    calls: tuple[_Call, ...]
    documents: tuple[tuple[str, str, bytes], ...]
    parts: tuple[tuple[_File, ...], ...]


# --- making it --------------------------------------------------------------------------------------------------------


def make(conn: db.Connection, app: App, ticket: str, actor: Actor) -> Package:
    """Makes the package of an access that is agreed on, and moves the ticket to carried out; commits.

    Asks for the decisions' rows itself, before and after (architecture, rule 13). Run again, it gives the package that is there,
    or ends what a killed try left and begins anew. Raises NotAllowed, ScopeChanged; StoreConflict if audio is not what was
    imported; the store's errors.
    """
    with _alone(conn, ticket):
        row = fulfilling.for_change(conn, ticket)
        if row.access_right != Right.access:
            conn.rollback()
            raise NotAllowed(f"{ticket} asks for {row.access_right}: a package answers an access.")
        found = _packages(conn, ticket)
        if row.state == State.carried_out and found and found[0].whole and not found[0].over:
            conn.rollback()
            return found[0]
        agreed = fulfilling.agreed(conn, app.keyring, row)
        package.to_go(conn, [p.package for p in found if not p.over], "unfinished", actor)
        made, passphrase = _begin(conn, app, ticket, actor)
        contents = _contents(conn, app, ticket, actor)
        parts = _write(conn, app, contents, made, passphrase)
        return _finish(
            conn, app, made, sorted(parts, key=lambda p: (p.kind, p.n)), agreed.preview.scope, contents, actor
        )


@contextmanager
def _alone(conn: db.Connection, ticket: str) -> Iterator[None]:
    """One maker of a ticket's package at a time; whoever dies lets go with its connection. Raises NotAllowed, NotFound."""
    fulfilling.show(conn, ticket)
    q = db.queries()
    if not q.one_package_at_a_time(conn, ticket=ticket):
        conn.rollback()
        raise NotAllowed(f"The package of {ticket} is being made already.", mend="Wait for it.")
    conn.commit()
    try:
        yield
    finally:
        if not conn.closed:
            conn.rollback()
            q.let_package_go(conn, ticket=ticket)
            conn.commit()


def _begin(conn: db.Connection, app: App, ticket: str, actor: Actor) -> tuple[Package, str]:
    """A new package's row, its passphrase sealed to the public key; commits."""
    which, passphrase = uuid4(), package.passphrase()
    sealed = app.keyring.sealer("reference").seal(passphrase.encode(), which.bytes)
    row = db.queries().begin_package(
        conn, package=which, ticket=ticket, sealed_passphrase=sealed, days=app.config.terms.packages_days
    )
    append(conn, actor, [PackageBegun(ticket=ticket, package=which, expires_on=row.expires_on.isoformat())])
    at = db.now(conn)
    conn.commit()
    reach("package.begun")
    return Package(package=which, ticket=ticket, parts=(), made_at=at, expires_on=row.expires_on), passphrase


def _finish(
    conn: db.Connection, app: App, made: Package, parts: Sequence[Part], scope: bytes, contents: _Contents, actor: Actor
) -> Package:
    """The package is whole: ticket, outcomes and events in one transaction, the yeses asked for again; commits."""
    q, ticket = db.queries(), contents.ticket
    row = fulfilling.for_change(conn, ticket)
    if fulfilling.agreed(conn, app.keyring, row).preview.scope != scope:
        raise ScopeChanged
    if not q.package_whole(conn, package=made.package, parts=package.written(parts)):
        raise NotAllowed(_TAKEN_BACK, mend="Make it again.")
    copied = [c.row.recording for c in contents.calls if c.source is not None]
    q.note_copied(conn, ticket=ticket, recordings=copied)
    whole = replace(made, parts=tuple(parts), made_at=db.now(conn))
    append(
        conn,
        actor,
        [
            PackageMade(
                ticket=ticket, package=made.package, parts=len(parts), recordings=len(copied), scope=scope_of(whole).hex()
            )
        ],
    )  # fmt: skip
    fulfilling.move(conn, row, State.carried_out, actor)
    reach("package.before_whole")
    conn.commit()
    reach("package.whole")
    return whole


def scope_of(whole: Package) -> bytes:
    """The hash of a package's parts, each by its own: 32 bytes."""
    return hashlib.sha256(b"".join(p.sha256 or b"" for p in whole.parts)).digest()


# --- what goes into it ------------------------------------------------------------------------------------------------


def _contents(conn: db.Connection, app: App, ticket: str, actor: Actor) -> _Contents:
    """The letter, the metadata, and where each call's sound goes; commits that the letter was written."""
    answer = answering.write_answer(conn, app, ticket, actor=actor)
    letter, facts = answer.letter, answer.facts
    sources = {s.recording: s for s in db.queries().package_sources(conn, ticket=ticket)}
    numbers = _numbers(conn, app.keyring, ticket)
    conn.rollback()
    calls = tuple(
        _heard(app, _call(n, row, sources.get(row.recording), numbers, told.deletes))
        for n, (row, told) in enumerate(zip(answer.rows, facts.recordings or (), strict=True), 1)
    )
    with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
        heads = list(pool.map(lambda call: _head(app, call), calls))
    files = [f for call, head in zip(calls, heads, strict=True) for f in _files(call, head)]
    documents = [
        ("letter.pdf", "application/pdf", letter.pdf),
        ("letter.txt", "text/plain; charset=utf-8", letter.text.encode()),
    ]
    named: dict[UUID, list[str]] = {}
    for f in files:
        named.setdefault(f.recording, []).append(f.name)
    listed = [_listed(call, facts, named.get(call.row.recording, [])) for call in calls]
    documents += [
        ("metadata.json", "application/json", _json(ticket, facts, listed)),
        ("metadata.csv", "text/csv; charset=utf-8", _csv(listed)),
    ]
    return _Contents(
        ticket=ticket, language=answer.language, company=facts.controller, made_on=facts.dated, calls=calls,
        documents=tuple(documents), parts=_divided(files, sum(len(body) for _, _, body in documents)),
    )  # fmt: skip


def _call(n: int, row: db.Row, source: db.Row | None, numbers: Mapping[int, str], deletes: date | str | None) -> _Call:
    return _Call(
        n=n, row=row, source=source if row.sound and not row.refused else None, channel=row.channel, deletes=deletes,
        mutes=mutes_of(row.mutes), number=numbers.get(source.subject) if source is not None else None,
    )  # fmt: skip


def _heard(app: App, call: _Call) -> _Call:
    """With what its sound is, where the journal alone knows of the call. Raises CallkeeperError if the file does not say."""
    from callkeeper.media.probe import probe

    s = call.source
    if s is None or s.codec is not None:
        return call
    with (
        cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)) as spool,
        app.store.open(s.object_key, s.version_id) as body,
    ):
        shutil.copyfileobj(body, spool)
        size_bytes = spool.tell()
        try:
            heard = probe(spool, claimed_codec=None, content_type=None)
        except NotAudio:
            raise CallkeeperError(
                "A call is on its way out, and nobody knows any more in what form its sound is.",
                mend="Leave it out, or give it by hand.",
            ) from None
    source = s._replace(
        size_bytes=size_bytes, codec=heard.codec, audio_ms=heard.duration_ms, sample_rate_hz=heard.sample_rate_hz,
        channels=heard.channels,
    )  # fmt: skip
    return replace(call, source=source)


def _numbers(conn: db.Connection, keyring: Keyring, ticket: str) -> dict[int, str]:
    """The person's own numbers, by their place in the ticket. Another's, who was on a call found by its time, is not theirs to get."""
    return {
        s.n: keyring.unseal("number", s.sealed_number, ticket.encode()).decode()
        for s in db.queries().ticket_subjects(conn, ticket=ticket)
        if s.sealed_number is not None
    }


def _head(app: App, call: _Call) -> bytes:
    """The first bytes of a call's audio, by which its format is known."""
    if call.source is None:
        return b""
    with app.store.open(call.source.object_key, call.source.version_id, first=0, last=HEAD_BYTES - 1) as body:
        return body.read()


def _files(call: _Call, head: bytes) -> Iterator[_File]:
    """The files of a call's sound: one, or several where it is too long for a part."""
    from callkeeper.media import copying

    s = call.source
    if s is None:
        return
    content_type, ending, as_it_is = copying.played_as(head, s.codec)
    at_most = copying.bytes_at_most(
        size_bytes=s.size_bytes, codec=s.codec if as_it_is else "", audio_ms=s.audio_ms, rate_hz=s.sample_rate_hz,
        channels=1 if call.channel is not None else s.channels, cut=call.cut,
    )  # fmt: skip
    # A zip shows the names in it to whoever has it: so they tell no time.
    stem = f"audio/{call.n:03d}"
    if at_most <= ROOM_BYTES:
        as_it_is &= not call.cut
        if not as_it_is:
            content_type, ending = copying.WAV
        yield _File(
            recording=s.recording,
            name=f"{stem}.{ending}",
            content_type=content_type,
            at_most=at_most,
            as_it_is=as_it_is,
        )
        return
    content_type, ending = copying.WAV
    second = s.sample_rate_hz * (1 if call.channel is not None else s.channels) * 2
    length = (ROOM_BYTES - 44) // second * 1000
    pieces = -(-s.audio_ms // length)
    for i in range(pieces):
        yield _File(
            recording=s.recording, name=f"{stem}_{i + 1}.{ending}", content_type=content_type, at_most=44 + length // 1000 * second,
            piece=f"{i + 1}/{pieces}", from_ms=i * length, to_ms=(i + 1) * length if i + 1 < pieces else None,
        )  # fmt: skip


def _divided(files: Sequence[_File], documents_bytes: int) -> tuple[tuple[_File, ...], ...]:
    """Which files go into which part, in their order: the documents into the first; there is one part at least."""
    parts: list[list[_File]] = [[]]
    left = ROOM_BYTES - documents_bytes
    for f in files:
        if f.at_most > left:
            parts.append([])
            left = ROOM_BYTES
        parts[-1].append(f)
        left -= f.at_most
    return tuple(map(tuple, parts))


def _listed(call: _Call, facts: letters.Facts, files: Sequence[str]) -> dict[str, Any]:
    """A call's metadata: the same in JSON and CSV."""
    row = call.row
    return {
        "n": call.n,
        "recording": str(row.recording),
        "company": row.company,
        "started_at": row.started_at.astimezone(HELSINKI).isoformat() if row.started_at else None,
        "duration_s": None if row.duration_ms is None else round(row.duration_ms / 1000),
        "direction": call.source.direction if call.source else None,
        "line": f"tel:{row.line}" if row.line else None,
        # A URI: a spreadsheet would take +358... for a sum.
        "number": f"tel:{call.number}" if call.number else None,
        "deleted_on": call.deletes.isoformat() if isinstance(call.deletes, date) else call.deletes,
        "files": list(files),
        "own_channel_only": call.channel is not None,
        "muted": [{"from_ms": m.from_ms, "to_ms": m.to_ms, "reason": m.reason} for m in call.mutes],
        "opened": [
            {"at": o.at.astimezone(HELSINKI).isoformat(timespec="seconds"), "purpose": o.purpose}
            for o in facts.openings or ()
            if o.recording == call.n
        ],
    }


def _json(ticket: str, facts: letters.Facts, listed: Sequence[Mapping[str, Any]]) -> bytes:
    about = {
        "request": ticket,
        "received_on": facts.received_on.isoformat(),
        "made_on": facts.dated.isoformat(),
        "controller": facts.controller.name,
        "recordings": listed,
    }
    return json.dumps(about, ensure_ascii=False, indent=1).encode()


def _csv(listed: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    names = [name for name in (listed[0] if listed else {"n": 1}) if name not in ("muted", "opened")]
    writer = csv.DictWriter(text, [*names, "muted", "opened"])
    writer.writeheader()
    for call in listed:
        flat = {
            "files": " ".join(call["files"]),
            "muted": " ".join(f"{m['from_ms']}-{m['to_ms']}:{m['reason']}" for m in call["muted"]),
            "opened": " ".join(f"{o['at']}:{o['purpose']}" for o in call["opened"]),
        }
        writer.writerow({**call, **flat})
    return text.getvalue().encode("utf-8-sig")


def _index(contents: _Contents, part: int, *, sealed: bool) -> str:
    """The list of everything, as HTML: in the file that opens itself, or of the zip."""
    said, words = sealing.words(contents.language)["index"], letters.words_of(contents.language)
    documents = (
        [
            {"name": name, "title": said[name.replace(".txt", "_text").replace(".", "_")]}
            for name, _, _ in contents.documents
        ]
        if part == 1
        else []
    )
    where: dict[UUID, list[dict[str, Any]]] = {}
    for n, files in enumerate(contents.parts, 1):
        for f in files:
            where.setdefault(f.recording, []).append({"name": f.name, "part": n, "piece": f.piece})
    language = cast(letters.Language, contents.language)
    calls = [
        {
            "n": c.n,
            "time": letters.time_in_words(c.row.started_at, language)
            if c.row.started_at
            else words["labels"]["no_time"],
            "duration": letters.duration_in_words(round(c.row.duration_ms / 1000))
            if c.row.duration_ms is not None
            else "-",
            "line": letters.spoken(c.row.line) if c.row.line else "-",
            "direction": c.source.direction if c.source and c.source.direction in said else None,
            "company": c.row.company or "-",
            "deletes": letters.day_in_words(c.deletes, language)
            if isinstance(c.deletes, date)
            else words["deletes"].get(c.deletes, "-"),
            "files": where.get(c.row.recording, []),
            "redactions": _redactions(c, said, words),
        }
        for c in contents.calls
    ]
    html: str = sealing.environment().get_template("index.html").render(
        w=said, l=words["labels"], ticket=contents.ticket, company=contents.company, part=part, parts=len(contents.parts),
        made=letters.day_in_words(contents.made_on, language), documents=documents, calls=calls, sealed=sealed,
    )  # fmt: skip
    return html


def _redactions(call: _Call, said: Mapping[str, str], words: Mapping[str, Any]) -> list[str]:
    found = [said["channel"]] if call.channel is not None else []
    return found + [
        said["muted"].format(
            from_=letters.position_in_words(m.from_ms),
            to=letters.position_in_words(m.to_ms),
            reason=words["mute_reasons"][m.reason],
        )
        for m in call.mutes
    ]


# --- writing it -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class _Writer:
    """Writes one part twice at once: into the file that opens itself, and into the zip; each recording is read once."""

    app: App
    contents: _Contents
    n: int
    page: sealing.SelfOpening
    calls: Mapping[UUID, _Call] = field(init=False)
    at: datetime

    def __post_init__(self) -> None:
        self.calls = {c.row.recording: c for c in self.contents.calls}

    def members(self) -> Iterator[tuple[str, datetime, int, Any, Iterable[bytes]]]:
        """The zip's members, each of which goes into the page, too, as it is read."""
        from stream_zip import ZIP_32

        def member(name: str, chunks: Iterable[bytes]) -> tuple[str, datetime, int, Any, Iterable[bytes]]:
            return name, self.at, 0o600, ZIP_32, chunks

        yield member("index.html", [self._standing().encode()])
        if self.n == 1:
            for name, content_type, body in self.contents.documents:
                yield member(name, self._through(name, content_type, [body]))
        with ThreadPoolExecutor(AHEAD) as pool:
            for f, original in self._originals(pool):
                yield member(f.name, self._through(f.name, f.content_type, self._sound(f, original)))

    def _through(self, name: str, content_type: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        self.page.add(name, content_type)
        for chunk in chunks:
            self.page.write(chunk)
            yield chunk

    def _originals(self, pool: ThreadPoolExecutor) -> Iterator[tuple[_File, Future[BinaryIO] | None]]:
        """The part's files, each with its recording: read before its turn, or None where that would take too much memory."""
        files, coming = self.contents.parts[self.n - 1], dict[str, Future[BinaryIO]]()
        for i in range(len(files) + AHEAD):
            if i < len(files) and self._source(files[i]).size_bytes <= SPOOL_BYTES:
                coming[files[i].name] = pool.submit(self._read, files[i])
            if i >= AHEAD:
                yield files[i - AHEAD], coming.pop(files[i - AHEAD].name, None)

    def _source(self, f: _File) -> db.Row:
        source = self.calls[f.recording].source
        assert source is not None
        return source

    def _read(self, f: _File) -> BinaryIO:
        with self._open(f) as body:
            return io.BytesIO(body.read())

    def _open(self, f: _File) -> BinaryIO:
        s = self._source(f)
        return self.app.store.open(s.object_key, s.version_id)

    def _sound(self, f: _File, read: Future[BinaryIO] | None) -> Iterator[bytes]:
        from callkeeper.media import copying

        call, s = self.calls[f.recording], self._source(f)
        with read.result() if read else self._open(f) as body:
            original = _as_imported(body, s)
            if f.as_it_is:
                yield from original
                return
            with (
                cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)) as spool,
                cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)) as copy,
            ):
                for chunk in original:
                    spool.write(chunk)
                copying.decode(
                    spool, s.codec, copy, mutes=call.mutes, channel=call.channel, from_ms=f.from_ms, to_ms=f.to_ms
                )
                copy.seek(0)
                while chunk := copy.read(sealing.CHUNK_BYTES):
                    yield chunk

    def _standing(self) -> str:
        """The zip's index, as a page that needs no script."""
        title = sealing.words(self.contents.language)["page"]["title"]
        index = _index(self.contents, self.n, sealed=False)
        return (
            f'<!doctype html>\n<html lang="{self.contents.language}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{sealing.style()}</style>\n</head>\n<body><main>\n{index}</main></body>\n</html>\n"
        )


def _as_imported(body: BinaryIO, source: db.Row) -> Iterator[bytes]:
    """The original's bytes, as import knew them. Raises StoreConflict at their end, if they are others."""
    digest = hashlib.sha256()
    while chunk := body.read(sealing.CHUNK_BYTES):
        digest.update(chunk)
        yield chunk
    if source.sha256 is not None and digest.digest() != bytes(source.sha256):
        raise StoreConflict(
            "The audio of a recording is not what was imported.", mend="`reconcile` says which; tell the data team."
        )


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Written:
    """A part on disk, twice, sealed; ``files`` lets go of both."""

    both: tuple[tuple[Part, sealing.Hashed], ...]
    files: ExitStack


def _write(conn: db.Connection, app: App, contents: _Contents, made: Package, passphrase: str) -> list[Part]:
    """Writes all parts; while one goes into the store, the next is written on disk, and the key of the one after it is made."""
    parts: list[Part] = []
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as smith:
        under_way: Future[list[Part]] | None = None
        coming = smith.submit(sealing.new_key, passphrase)
        for n in range(1, len(contents.parts) + 1):
            key = coming.result()
            if n < len(contents.parts):
                coming = smith.submit(sealing.new_key, passphrase)
            written = _write_part(app, contents, made, passphrase, key, n)
            with ExitStack() as unless_put:
                unless_put.push(written.files)
                # Before they are there: so they are found whenever this process dies.
                noted = package.written(part for part, _ in written.both)
                if not db.queries().note_parts(conn, package=made.package, parts=noted):
                    # A maker that sleeps longer than a day is taken for dead: what it wrote now, nobody would find.
                    raise NotAllowed(_TAKEN_BACK, mend="Make it again.")
                conn.commit()
                reach("package.noted")
                parts += under_way.result() if under_way else []
                under_way = pool.submit(_put, app, written)
                unless_put.pop_all()
        parts += under_way.result() if under_way else []
    return parts


def _put(app: App, written: _Written) -> list[Part]:
    with written.files:
        done = []
        for part, file in written.both:
            file.file.seek(0)
            stored = app.store.put(
                part.key, file.file, sha256=file.sha256, size_bytes=file.size_bytes, content_type=part.content_type
            )
            reach("package.put")
            done.append(replace(part, version=stored.version_id, sha256=file.sha256, size_bytes=file.size_bytes))
        return done


def _write_part(app: App, contents: _Contents, made: Package, passphrase: str, key: sealing.Key, n: int) -> _Written:
    """Writes one part on disk: what is sealed, and nothing else, is there."""
    from stream_zip import stream_zip

    folder = f"pkg/{made.expires_on}/{made.package}"
    page, zipped = (Part(n=n, kind=kind, part=uuid4(), key=f"{folder}/{n}.{kind}") for kind in KINDS)
    with ExitStack() as files:
        html, archive = (sealing.Hashed(files.enter_context(tempfile.TemporaryFile())) for _ in range(2))
        sealed = sealing.SelfOpening(
            target=html, key=key, package=made.package, part=n, parts=len(contents.parts),
            language=contents.language,
        )  # fmt: skip
        sealed.begin()
        writer = _Writer(app=app, contents=contents, n=n, page=sealed, at=_local(made.made_at))
        for chunk in stream_zip(
            writer.members(), chunk_size=sealing.CHUNK_BYTES, get_compressobj=_stored, password=passphrase
        ):
            archive.write(chunk)
        sealed.finish(_index(contents, n, sealed=True))
        if max(html.size_bytes, archive.size_bytes) > PART_BYTES:
            raise CallkeeperError("A part of the package came out larger than it may be.", mend="Report it.")
        return _Written(both=((page, html), (zipped, archive)), files=files.pop_all())


def _stored() -> Any:
    """Sound does not get smaller by packing it."""
    return zlib.compressobj(wbits=-zlib.MAX_WBITS, level=0)


def _local(at: datetime) -> datetime:
    """As zip writes times: without a zone."""
    return at.astimezone(HELSINKI).replace(tzinfo=None, microsecond=0)


# --- having it --------------------------------------------------------------------------------------------------------


def show(conn: db.Connection, ticket: str) -> Package | None:
    """The ticket's package that can be had: whole, its term not over, not taken back; None if there is none."""
    found = next((p for p in _packages(conn, ticket) if p.whole and not p.over), None)
    conn.rollback()
    return found


def parts(conn: db.Connection, ticket: str) -> tuple[Part, ...]:
    """The package's parts, the files that open themselves first. Raises NotFound in words."""
    found = _there(conn, ticket)
    conn.rollback()
    return found.parts


def open_part(conn: db.Connection, app: App, ticket: str, n: int, *, account: str, actor: Actor) -> BinaryIO:
    """The n-th of ``parts`` (from 1) as a stream; that it was fetched is an event, which commits before a byte is read.

    Raises NotFound, NotAllowed to whoever is no officer.
    """
    decisions.require(conn, account, OFFICERS)
    found = _there(conn, ticket)
    if not 1 <= n <= len(found.parts):
        raise NotFound(f"The package of {ticket} has {len(found.parts)} parts.")
    part = found.parts[n - 1]
    assert part.version is not None
    append(conn, actor, [PackageTaken(ticket=ticket, package=found.package, part=part.n, kind=part.kind)])
    conn.commit()
    return app.store.open(part.key, part.version)


def passphrase(conn: db.Connection, keyring: Keyring, ticket: str, *, account: str, actor: Actor) -> str:
    """The package's passphrase; that it was shown is an event, which commits before it is. Raises NotFound, KeyMissing,
    NotAllowed to whoever is no officer.

    It goes to the person by another way than the package.
    """
    decisions.require(conn, account, OFFICERS)
    found = _there(conn, ticket)
    sealed = db.queries().package_passphrase(conn, package=found.package)
    said = keyring.unseal("reference", sealed, found.package.bytes).decode()
    who = actor if actor.account else replace(actor, account=account)
    append(conn, who, [PassphraseSeen(ticket=ticket, package=found.package)])
    conn.commit()
    return said


def withdraw(conn: db.Connection, ticket: str, actor: Actor) -> int:
    """Takes the ticket's packages back, in the caller's transaction: the next night deletes them; how many parts that are."""
    return package.to_go(conn, [p.package for p in _packages(conn, ticket)], "withdrawn", actor)


def _packages(conn: db.Connection, ticket: str) -> list[Package]:
    return [package.from_row(row) for row in db.queries().packages_of(conn, ticket=ticket)]


def _there(conn: db.Connection, ticket: str) -> Package:
    found = _packages(conn, ticket)
    for one in found:
        if one.whole and not one.over:
            return one
    conn.rollback()
    if any(one.whole for one in found):
        raise NotFound(f"The package of {ticket} is over: its term ended, or it was taken back.")
    raise NotFound(f"{ticket} has no package.", mend="It is made once the access is agreed on.")
