"""Whatever is put before the verifier: it does not crash, and says yes to nothing but the trail that was sealed."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callkeeper.trail import verify
from trails import Log, Signer, a_story, body, kept, uuid

KEY = verify.parse_key(Signer("first").key)
EXAMPLES = int(os.environ.get("EXAMPLES", "100"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
NOTE = a_story(2).epoch.notes[0]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20) | st.sampled_from([KEY.text, "go_live", "2026-11"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small trail with two epochs, a second key, bodies expired and lost, a range, and events that are not sealed."""
    log = a_story(4)
    log.rotate("second")
    log.restore(len(log.epoch.entries) - 4)
    log.at = log.at.replace(year=2030)
    log.expire("import", "2026-11")
    log.commit(kept(70))
    log.seal()
    log.retire()
    log.commit(kept(71))
    folder = log.bundle(tmp_path_factory.mktemp("whole"))
    (folder / "kept.note").write_text(log.epoch.notes[-2])
    assert judged(folder).ok, judged(folder).findings
    return folder


def judged(folder: Path) -> verify.Verdict:
    return verify.verify(folder, [KEY], [("kept", (folder / "kept.note").read_bytes())])


def said_by(folder: Path) -> dict[str, Any]:
    """What a folder says, whichever way it is written."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        name = str(path.relative_to(folder))
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        if name == "bundle.json":
            bundle = json.loads(raw)
            found[name] = (
                bundle["trail"],
                [[e[k] for k in ("epoch", "size", "from", "to", "unsealed")] for e in bundle["epochs"]],
            )
        elif path.suffix == ".jsonl":
            # Its text; who else signed it does not count (C2SP signed-note).
            found[name] = [json.loads(line)["note"].rpartition("\n\n")[0] for line in raw.splitlines()]
        elif name[2:8] in ("events", "trail."):
            found[name] = [(int(line.split(b" ")[0]), line.split(b" ", 1)[1]) for line in raw.splitlines()]
        elif name == "unsealed.txt.gz":
            # Nobody signed them yet: their number is all that is said.
            found[name] = len(raw.splitlines())
        elif name.endswith("lost.txt"):
            found[name] = [int(line) for line in raw.splitlines()]
        elif name.endswith("expired.txt"):
            found[name] = [(int(line.split(b" ")[0]), line.split(b" ")[1:]) for line in raw.splitlines()]
        elif name not in ("keys.txt", "kept.note"):
            found[name] = raw
    return found


def edits(n: int) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Changes of a file of lines: bytes and whole lines put elsewhere, doubled, cut."""
    place = st.integers(0, 10_000)
    return st.lists(
        st.one_of(
            st.tuples(st.just("byte"), place, st.integers(0, 255)),
            st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=5)),
            st.tuples(st.just("cut"), place, st.integers(1, 400)),
            st.tuples(st.just("line_away"), place, place),
            st.tuples(st.just("line_twice"), place, place),
            st.tuples(st.just("line_moved"), place, place),
            st.tuples(st.just("number"), place, st.integers(0, 10**20)),
        ),
        min_size=1,
        max_size=n,
    )


def edited(raw: bytes, changes: list[tuple[Any, ...]]) -> bytes:
    for what, a, b in changes:
        if not raw:
            return raw
        at = a % len(raw)
        if what == "byte":
            raw = raw[:at] + bytes([b]) + raw[at + 1 :]
        elif what == "insert":
            raw = raw[:at] + b + raw[at:]
        elif what == "cut":
            raw = raw[:at] + raw[at + b :]
        elif what == "number":
            words = raw.split(b" ")
            words[a % len(words)] = b"%d" % b
            raw = b" ".join(words)
        else:
            lines = raw.split(b"\n")
            one = lines[a % len(lines)]
            if what != "line_twice":
                lines.remove(one)
            if what != "line_away":
                lines.insert(b % (len(lines) + 1), one)
            raw = b"\n".join(lines)
    return raw


@contextmanager
def copy_of(whole: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(whole, Path(folder) / "bundle"))


def same(folder: Path, whole: Path) -> bool:
    """A checkpoint may be left out where a later one covers it: that shows as silence, and takes nothing away."""
    is_, was = said_by(folder), said_by(whole)
    for name, notes in is_.items():
        if name.endswith("checkpoints.jsonl") and set(notes) <= set(was[name]):
            was[name] = notes
    return is_ == was


@MANY
@given(which=st.integers(0, 99), zipped=st.booleans(), changes=edits(3))
def test_a_changed_file_gets_no_yes_unless_it_says_the_same(whole, which, zipped, changes):
    with copy_of(whole) as folder:
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("keys.txt", "kept.note"))
        path = files[which % len(files)]
        raw = path.read_bytes()
        if path.suffix == ".gz" and not zipped:
            path.write_bytes(gzip.compress(edited(gzip.decompress(raw), changes), 1))
        else:
            path.write_bytes(edited(raw, changes))

        try:
            verdict = judged(folder)
        except verify.Unreadable:
            return
        list(verify.tell(verdict))
        json.loads(verify.as_json(verdict))
        assert not verdict.ok or same(folder, whole)


@MANY
@given(files=st.dictionaries(
    st.sampled_from(["1/leaves.bin", "1/checkpoints.jsonl", "1/trail.txt.gz", "1/events-0000000000000000.txt.gz", "1/expired.txt", "1/lost.txt",
                     "unsealed.txt.gz", "2/leaves.bin"]),
    st.binary(max_size=300), max_size=4,
))  # fmt: skip
def test_files_of_anything_get_no_yes(whole, files):
    with copy_of(whole) as folder:
        for name, raw in files.items():
            (folder / name).write_bytes(gzip.compress(raw, 1) if name.endswith("gz") and len(raw) % 2 else raw)
        verdict = judged(folder)
        assert not verdict.ok or same(folder, whole)


FACTS = st.dictionaries(
    st.sampled_from(
        ["epoch", "reason", "carried", "previous_epoch", "previous_size", "previous_root", "anchored_size", "anchored_root", "verifier_key",
         "event_class", "month", "count", "digest", "recording", "controller", "vendor", "counts", "balanced", "night", "mode", "subject",
         "decided", "blocker", "change", "why", "state_before", "trigger", "due_at", "actor", "at", "v", "seconds"]
    ),
    JSON | st.just(str(uuid(1))) | st.just({"due": 1, "found": 1, "done": 1, "kept": 1}) | st.integers(0, 30), max_size=12,
)  # fmt: skip


@MANY
@given(
    sealed=st.lists(st.tuples(st.sampled_from(sorted(verify.CLASS_OF)), FACTS, st.booleans()), min_size=1, max_size=6),
    restored=st.booleans(),
    opened=FACTS,
)
def test_sealed_events_of_anything_do_not_crash_it(sealed, restored, opened):
    """A signed trail whose events hold whatever they like."""
    log = Log()
    log.seal()
    for action, facts, other_class in sealed:
        log.xid += 1
        facts = {k: v for k, v in facts.items() if k not in ("actor", "at")}
        text = json.dumps(json.loads(body(action, log.at, {"dag": "d", "run": "r"})) | facts, sort_keys=True, separators=(",", ":"))  # fmt: skip
        log.write("opening" if other_class else verify.CLASS_OF[action], text.encode())
    log.seal()
    if restored:
        log.restore(3, **{k: v for k, v in opened.items() if k not in ("actor", "at", "reason")})
        log.seal()
    with tempfile.TemporaryDirectory() as folder:
        verdict = verify.verify(log.bundle(Path(folder)), [KEY])
    list(verify.tell(verdict))
    verify.as_json(verdict)


@MANY
@given(text=st.text() | st.text("—+ \nabc=09/").map(lambda t: t + "\n\n— a b\n") | edits(4).map(lambda e: edited(NOTE.encode(), e).decode("utf-8", "replace")))  # fmt: skip
def test_notes_and_keys_of_anything_are_read_or_refused(text):
    for read, given_ in ((verify.parse_note, text.encode()), (verify.parse_checkpoint, text.encode()), (verify.parse_key, text)):  # fmt: skip
        with contextlib.suppress(ValueError):
            read(given_)


@MANY
@given(raw=st.binary(max_size=400), changes=edits(4))
def test_a_changed_note_is_not_verified(raw, changes):
    changed = edited(NOTE.encode(), changes)
    for note in (raw, changed):
        try:
            read = verify.parse_note(note)
            by = verify.verified_by(read, {(KEY.name, KEY.id): KEY})
        except ValueError:
            continue
        assert not by or read.text == verify.parse_note(NOTE.encode()).text


@MANY
@given(
    size=st.integers(1, 40), index=st.integers(-1, 41), other=st.integers(0, 41), changes=edits(2), proof=st.lists(st.binary(max_size=33), max_size=7)
)  # fmt: skip
def test_a_changed_proof_proves_nothing(size, index, other, changes, proof):
    leaves = b"".join(verify.hash_leaf(b"%d" % n) for n in range(size))
    tree = verify.Tree()
    tree.grow(leaves)
    root = tree.root()
    true = verify.inclusion_proofs(leaves, [index % size])[index % size]
    bent = edited(b"".join(true), changes)
    for way in (proof, [bent[at : at + 32] for at in range(0, len(bent), 32)]):
        if way != true:
            leaf = leaves[32 * (index % size) :][:32]
            assert not verify.verify_inclusion(index, size, leaf, way, root)
            assert not verify.verify_consistency(other, size, way, bytes(32), root) or (other == 0 and not way)
