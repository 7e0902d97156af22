"""Writing to the trail and sealing it, for tests; and what must be true of it afterwards, worked out without the sealer's code."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from callkeeper import wiring
from callkeeper.embedded.postgres import Postgres, binaries
from callkeeper.jobs import auditing, sealing
from callkeeper.trail import notes, verify
from callkeeper.trail.append import append
from callkeeper.trail.events import DayClosed
from installation import ACTOR, Installation

EVENT = DayClosed(vendor="linna", day="2026-11-24", state="complete")
RULES = sealing.Rules()


def write(office: Installation, n: int = 1) -> None:
    """``n`` events, in a transaction."""
    with office.connect() as conn:
        append(conn, ACTOR, [EVENT] * n)
        conn.commit()


def seal(office: Installation, rules: sealing.Rules = RULES, **more: object) -> sealing.Sealed:
    return seal_app(office.app, rules, **more)


def seal_app(app: wiring.App, rules: sealing.Rules = RULES, **more: object) -> sealing.Sealed:
    """For a process of its own, too."""
    with app.connect("sealer") as conn:
        return sealing.run(conn, app.seal_keys, app.anchor, rules, ACTOR, **more)  # type: ignore[arg-type]


def new_epoch(app: wiring.App, reason: str = "restored_backup") -> object:
    with app.connect("sealer") as conn:
        return sealing.new_epoch(conn, app.seal_keys, app.anchor, reason, ACTOR)  # type: ignore[arg-type]


class Tree:
    """RFC 6962, section 2.1, as it is written there; a subtree is worked out once, however many sizes are asked of."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves, self._known = leaves, dict[tuple[int, int], bytes]()

    def root(self, size: int) -> bytes:
        return self._hash(0, size)

    def _hash(self, start: int, end: int) -> bytes:
        if end - start == 1:
            return self.leaves[start]
        if (start, end) not in self._known:
            k = start + (1 << (end - start - 1).bit_length() - 1)
            both = self._hash(start, k) + self._hash(k, end)
            self._known[start, end] = hashlib.sha256(b"\x01" + both).digest()
        return self._known[start, end]


def root(leaves: list[bytes]) -> bytes:
    return Tree(leaves).root(len(leaves))


def last_note(office: Installation) -> notes.Checkpoint:
    note = office.value("select note from checkpoint order by epoch desc, size desc limit 1")
    return notes.read(note, office.app.seal_keys.known)


def faults(office: Installation) -> list[str]:
    """What is wrong with the sealing: every event sealed once, leaves as the events say, roots as the notes say, all of it outside."""
    found = []
    if n := office.value("select count(*) from event e where not exists (select from leaf l where l.event_id = e.id)"):
        found.append(f"{n} events lost")
    if n := office.value("select count(event_id) - count(distinct event_id) from leaf"):
        found.append(f"{n} events sealed twice")
    outside, app = office.app.anchor.standing(), office.app
    for row in office.rows("select epoch, max(size) as size from checkpoint group by 1 order by 1"):
        leaves = office.rows(
            "select l.seq, l.leaf_hash, l.event_id, l.xid::text as xid, l.class as of, e.body from leaf l left join event e on e.id = l.event_id "
            "where l.epoch = %s order by l.seq", row.epoch,
        )  # fmt: skip
        if [leaf.seq for leaf in leaves] != list(range(row.size)):
            found.append(f"epoch {row.epoch}: leaves are not 0 to {row.size}")
        for leaf in leaves:
            data = f"{leaf.event_id} {leaf.xid} {leaf.of} ".encode() + bytes(leaf.body or b"")
            if leaf.event_id and hashlib.sha256(b"\x00" + data).digest() != bytes(leaf.leaf_hash):
                found.append(f"epoch {row.epoch}: leaf {leaf.seq} is not its event's")
        hashes = [bytes(leaf.leaf_hash) for leaf in leaves]
        tree, stood, before = Tree(hashes), set(), 0
        for point in office.rows("select size, note from checkpoint where epoch = %s order by size", row.epoch):
            said = notes.read(point.note, app.seal_keys.known)
            if (said.size, said.root) != (point.size, tree.root(point.size)):
                found.append(f"epoch {row.epoch}: the note at {point.size} is of other leaves")
            if (row.epoch, point.size) not in outside.notes:
                found.append(f"epoch {row.epoch}: the note at {point.size} does not stand outside")
                continue
            if app.anchor.read(outside.notes[row.epoch, point.size]) != point.note.encode():
                found.append(f"epoch {row.epoch}: another note at {point.size} stands outside")
            if app.anchor.read(outside.leaves[row.epoch, before, point.size]) != b"".join(hashes[before : point.size]):
                found.append(f"epoch {row.epoch}: other leaves before {point.size} stand outside")
            stood.add(point.size)
            before = point.size
        if {size for epoch, size in outside.notes if epoch == row.epoch} != stood:
            found.append(f"epoch {row.epoch}: the anchor knows of more")
    return found


def judged(office: Installation, folder: Path) -> list[str]:
    """What the auditor's verifier finds broken in an export, knowing all that the anchor holds."""
    with office.connect() as conn:
        auditing.export(conn, folder, first=None, last=None, code="test")
    keys = [verify.parse_key(str(key)) for key in office.app.seal_keys.known]
    anchor = office.app.anchor
    kept = [(version.key, anchor.read(version)) for version in anchor.standing().notes.values()]
    verdict = verify.verify(folder, keys, kept)
    return [f"{finding.name}: {finding.words}" for finding in verdict.findings]


class Backup:
    """A dump of the office's schema, to bring that state back; here or in another server."""

    def __init__(self, office: Installation, postgres: Postgres, file: Path) -> None:
        self.office, self.postgres, self.file = office, postgres, file
        self._run(postgres, office.settings.db_name, "pg_dump", "-Fc", "-n", "callkeeper", "-f", str(file))

    def _run(self, server: Postgres, database: str, program: str, *words: str) -> None:
        where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-d", database]
        environment = {**os.environ, "PGPASSWORD": server.password}
        subprocess.run([str(binaries() / program), *where, *words], env=environment, check=True, timeout=120)

    def restore(self) -> None:
        self.office.sql.execute("drop schema callkeeper cascade")
        self._run(self.postgres, self.office.settings.db_name, "pg_restore", str(self.file))

    def restore_in(self, server: Postgres, database: str) -> None:
        self._run(server, database, "pg_restore", str(self.file))
