"""The audio of an import: streamed once from the vendor, hashed, read, and put in the store.

A lane claims batches until none is left. Killed anywhere and run again, it finds its own objects under their UUIDs.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast
from uuid import UUID, uuid4

from callkeeper import db
from callkeeper.crashpoints import reach
from callkeeper.errors import AudioMissing, NotAudio, StoreConflict, VendorUnavailable
from callkeeper.jobs.importing import Import, quarantine
from callkeeper.media import AudioFacts, Store, Stored
from callkeeper.quality import DURATION_TOLERANCE_MS
from callkeeper.trail.append import append
from callkeeper.trail.events import DeletionPlanned
from callkeeper.vendors import VendorRef

log = logging.getLogger(__name__)

SPOOL_BYTES = 8 << 20
"""Audio up to this size stays in memory between vendor and store; above, in an unnamed temporary file."""
LARGEST_BYTES = 2 << 30
"""Nothing that a call recording can be is larger."""
MISSES = 3
"""Runs in which listed audio may be missing before the call goes into quarantine."""
FAILURES = 5
"""Calls in a row at which a vendor that does not answer is left alone until the task is run again."""


class Prober(Protocol):
    def __call__(self, body: BinaryIO, *, claimed_codec: str | None, content_type: str | None) -> AudioFacts: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """One call's audio: in the store (``stored`` and ``facts``), or why not (``reason``), or both (quarantined with its audio)."""

    recording: UUID
    controller: str | None
    stored: Stored | None = None
    facts: AudioFacts | None = None
    reason: str | None = None


def fetch(conn: db.Connection, job: Import, store: Store, probe: Prober, *, lane: int, claim_rows: int) -> Counter[str]:
    """Fetches the audio of the checked calls, batch by batch, with the lane's other selves beside it; returns counts.

    Raises VendorUnavailable, WrongCredentials or the store's errors once the batch's finished calls are noted: the
    others stay staged, and are pending in the balance.
    """
    done: Counter[str] = Counter()
    after = UUID(int=0)
    while True:
        batch = list(
            db.queries().claim(conn, vendor=job.vendor.name, run=job.run, lane=lane, limit=claim_rows, after=after)
        )
        conn.commit()
        if not batch:
            return done
        after = max(row.recording for row in batch)
        reach("fetch.claimed")
        done += _fetch_batch(conn, job, store, probe, batch)
        log.info("%s, lane %d: %s", job.vendor.name, lane, ", ".join(f"{n} {what}" for what, n in sorted(done.items())))


def _fetch_batch(
    conn: db.Connection, job: Import, store: Store, probe: Prober, batch: Sequence[db.Row]
) -> Counter[str]:
    fetched: list[Fetched] = []
    missing: list[db.Row] = []
    failures = 0
    try:
        for row in batch:
            try:
                fetched.append(_fetch_one(conn, job, store, probe, row))
                failures = 0
            except AudioMissing:
                missing.append(row)
            except VendorUnavailable:
                failures += 1
                if failures >= FAILURES:
                    raise
    finally:
        if not conn.closed:
            _note(conn, job, fetched, missing)
    counts = Counter("quarantined" if f.reason else "fetched" for f in fetched)
    counts["not there"] += len(missing)
    counts["not answered"] += len(batch) - len(fetched) - len(missing)
    return +counts


def _note(conn: db.Connection, job: Import, fetched: Sequence[Fetched], missing: Sequence[db.Row]) -> None:
    """What became of a batch, in one transaction."""
    in_store = [(f.recording, f.stored, f.facts) for f in fetched if f.stored and f.facts]
    if in_store:
        db.queries().mark_fetched(
            conn,
            recordings=[r for r, _, _ in in_store],
            version_ids=[s.version_id for _, s, _ in in_store],
            sha256s=[s.sha256 for _, s, _ in in_store],
            sizes=[s.size_bytes for _, s, _ in in_store],
            audio_mss=[a.duration_ms for _, _, a in in_store],
            codecs=[a.codec for _, _, a in in_store],
            channelss=[a.channels for _, _, a in in_store],
            rates=[a.sample_rate_hz for _, _, a in in_store],
        )
    gone = [m for m in missing if m.misses >= MISSES]
    db.queries().mark_missed(conn, recordings=[m.recording for m in missing if m not in gone])
    wrong = [(f.recording, f.controller, f.reason) for f in fetched if f.reason]
    wrong += [(m.recording, m.controller, "audio_absent") for m in gone]
    if wrong:
        quarantine(conn, job, wrong)
    reach("fetch.before_commit")
    conn.commit()
    reach("fetch.after_commit")


def _fetch_one(conn: db.Connection, job: Import, store: Store, probe: Prober, row: db.Row) -> Fetched:
    ref = VendorRef(job.keyring.unseal("reference", row.sealed_ref, row.identity).decode())
    with cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)) as spool:
        digest, size = _copy(job.vendor.open(ref), spool)
        reach("fetch.copied")
        if row.media_sha256 is not None and digest != row.media_sha256:
            return Fetched(recording=row.recording, controller=row.controller, reason="checksum_mismatch")
        if row.media_bytes is not None and size != row.media_bytes:
            return Fetched(recording=row.recording, controller=row.controller, reason="size_mismatch")
        spool.seek(0)
        try:
            facts = probe(spool, claimed_codec=row.media_codec, content_type=row.media_type)
        except NotAudio as wrong:
            return Fetched(recording=row.recording, controller=row.controller, reason=wrong.reason)
        reason = None
        if facts.truncated:
            reason = "audio_truncated"
        elif abs(facts.duration_ms - row.duration_ms) > DURATION_TOLERANCE_MS:
            reason = "duration_mismatch"
        if reason in row.waived:
            reason = None
        # What is truncated or too long is stored all the same: the vendor may purge it before a person has decided.
        recording, stored = _put(conn, job, store, spool, row, digest, size)
        reach("fetch.stored")
        return Fetched(recording=recording, controller=row.controller, stored=stored, facts=facts, reason=reason)


def _copy(source: BinaryIO, target: BinaryIO) -> tuple[bytes, int]:
    """Copies and hashes in one pass; returns SHA-256 and size in bytes."""
    digest, size = hashlib.sha256(), 0
    with source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            target.write(chunk)
            size += len(chunk)
            if size > LARGEST_BYTES:
                raise AudioMissing("The vendor's stream does not end: it is no recording.")
    return digest.digest(), size


def _put(
    conn: db.Connection, job: Import, store: Store, spool: BinaryIO, row: db.Row, digest: bytes, size: int
) -> tuple[UUID, Stored]:
    content_type = row.media_type or "application/octet-stream"
    spool.seek(0)
    try:
        stored = store.put(
            row.object_key, spool, sha256=digest, size_bytes=size, content_type=content_type, legal_hold=row.legal_hold
        )
        return row.recording, stored
    except StoreConflict:
        # An earlier try stored other bytes, and the vendor has changed them since: that object has no row any more.
        if not list(db.queries().still_staged(conn, recordings=[row.recording])):
            conn.rollback()
            raise AudioMissing("Another self of this task has fetched it.") from None
        fresh = uuid4()
        object_key = f"{row.object_key.rsplit('/', 1)[0]}/{fresh}"
        db.queries().plan_orphan(conn, recording=row.recording)
        append(
            conn,
            job.actor,
            [
                DeletionPlanned(
                    recording=row.recording, controller=row.controller, vendor=job.vendor.name, trigger="orphan",
                    reason="changed_before_kept", state_before="staged",
                )
            ],
        )  # fmt: skip
        db.queries().rename_staged(conn, recording=row.recording, fresh=fresh, object_key=object_key)
        conn.commit()
        spool.seek(0)
        return fresh, store.put(
            object_key, spool, sha256=digest, size_bytes=size, content_type=content_type, legal_hold=row.legal_hold
        )
