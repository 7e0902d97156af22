"""Verifies an exported trail, offline: this one file, Python 3.11 or later, and `cryptography`; nothing of callkeeper.

    python verify.py BUNDLE --key KEY [--kept CHECKPOINT ...]

BUNDLE is the folder that `callkeeper audit export` wrote; KEY the verifier key (or a file with it) that reached the
auditor outside the system; CHECKPOINT a note that she kept, or a folder of them, such as a copy of the anchor.

Verified are: signatures; the tree's root at every checkpoint's size, recomputed from all leaves; each body against its
leaf; order and horizons; what is said to be expired or lost, against sealed events; and what the events mean: an intent
before each effect, one end a recording, counts as the runs reported them. Exit code: 0 verified, 1 broken, 2 could not read.

Formats: RFC 6962 section 2.1 (tree), C2SP signed-note and tlog-checkpoint. An event's leaf is
``<id> <xid> <class> <body>`` in ASCII.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import gzip
import hashlib
import json
import re
import struct
import sys
import tempfile
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FINDINGS: Mapping[str, str] = {
    # --- the folder ---
    "missing_file": "A file that belongs to the bundle is not there.",
    "damaged_file": "A file is not what it must be: cut, corrupt, or written by something else.",
    "wrong_counts": "bundle.json says something else than the files hold.",
    # --- checkpoints ---
    "malformed_checkpoint": "A checkpoint is no signed note of the agreed form.",
    "wrong_origin": "A checkpoint names another trail, or another epoch.",
    "unknown_key": "A checkpoint is signed by no key that is trusted.",
    "bad_signature": "A trusted key's signature does not fit the checkpoint that it stands under.",
    "retired_key": "A checkpoint is signed only by keys that had been retired before it.",
    "size_went_back": "A checkpoint is not larger than the one before it: replayed, repeated or put in another order.",
    "time_went_back": "A checkpoint is dated before the one before it.",
    "horizon_went_back": "A checkpoint's horizon lies before that of the one before it.",
    # --- the tree ---
    "nothing_sealed": "An epoch has no checkpoint: nothing of it can be verified.",
    "leaves_missing": "There are fewer leaves than a checkpoint covers.",
    "leaves_unsigned": "There are more leaves than the last checkpoint covers.",
    "wrong_root": "The leaves do not give the root that was signed.",
    "cut_tail": "A checkpoint that was kept covers more than the bundle holds: the end of the trail was cut off.",
    "missing_epoch": "An epoch is not in the bundle, though a later one, or a checkpoint that was kept, tells of it.",
    "two_histories": "A checkpoint that was kept has another root than this trail has at that size: there are two histories.",
    "kept_unsigned": "A checkpoint that was kept is signed by no key that is trusted.",
    "epoch_not_opened": "An epoch does not begin with the event that opens it.",
    "broken_chain": "What an epoch says of the one before it does not fit that one.",
    # --- bodies ---
    "changed_body": "An event's body is not what was sealed.",
    "missing_body": "An event's body is missing, and nothing says why.",
    "misplaced_body": "A body stands twice, out of order, outside the range, or where it is said to be gone.",
    "malformed_event": "An event is not written as events are: no canonical body, or a class that is not its action's.",
    "out_of_order": "Events are not in the order of their transactions.",
    "forged_horizon": "An event's transaction is not before the horizon of the checkpoint that covers it.",
    "behind_horizon": "An event was sealed in an epoch that began after its transaction.",
    "unsealed_behind": "An event that is not sealed would belong before what is: it was slipped in afterwards.",
    "expired_unexplained": "Bodies are said to have expired, and no sealed event accounts for just these.",
    "expired_early": "Bodies were dropped before their term was over.",
    "lost_unexplained": "Bodies are said to have been lost in a restore, and the newest epoch does not account for just these.",
    "wrong_proof": "An event of a sample does not stand where its proof says, under the checkpoint.",
    # --- meaning ---
    "sent_unarmed": "A deletion was sent without having been armed before.",
    "effect_without_intent": "A recording was proven gone from the store without a deletion of it having been sent before.",
    "asked_too_early": "A vendor was asked to delete what was not proven gone from the store.",
    "answer_without_question": "A vendor's answer was recorded that was not asked for before.",
    "end_without_effect": "A recording's end was recorded, and it was never proven gone from the store.",
    "ended_twice": "A recording ended twice.",
    "after_the_end": "Something happened to a recording after it was gone.",
    "out_of_turn": "A deletion took a step that may not follow its last one.",
    "kept_twice": "A recording was taken into the catalogue twice.",
    "effect_in_rehearsal": "A night that only rehearsed deleted something.",
    "live_without_yes": "A night deleted, and nobody had said yes to going live.",
    "run_miscounted": "A run reported other counts than its events come to.",
    "balance_false": "A run said that it balanced, and its own counts do not.",
    "changed_unasked": "A hold was extended, narrowed or released without having been asked for before, or ended as if a request had placed it.",
}  # fmt: skip
"""What can be broken, by its stable name."""

REMARKS: Mapping[str, str] = {
    "nothing_kept": "No checkpoint of your own, or of the anchor, was compared: that the newest end was cut off, or that two histories are shown to two people, cannot be seen without one.",
    "silence": "No checkpoint was signed for longer than it should take.",
    "epoch": "A new epoch was opened.",
    "clock_went_back": "The database's clock was set back.",
    "witness_missed": "The second witness could not write down everything it saw.",
    "said_unbalanced": "A run said itself that it did not balance.",
    "unknown_event": "Events are of a kind that this verifier does not know: they are sealed, and their meaning was not looked at.",
    "range_only": "The bundle holds the bodies of a range only.",
    "uncounted_run": "A run's events are not all in the bundle, or it went on after its balance: its counts were not compared.",
    "beginning_unknown": "The first steps of some deletions are not in the bundle.",
}  # fmt: skip
"""What an auditor should know, and breaks nothing, by its stable name."""

SHOWN = 12
"""So many findings of one name are told one by one."""
LONGEST_LINE = 1 << 20
LARGEST_NOTE = 1 << 20
DIGITS = 19
"""A number of a leaf has fewer: it fits into 63 bits."""
MOST_SIGNATURES = 100
_BLOCK = 1 << 20
_TEMPLATES = 4096
_sha256 = hashlib.sha256


class Unreadable(Exception):
    """Nothing can be verified: no bundle, no key. Exit code 2."""


class _Damaged(Exception):
    """A file is not what it must be."""


# --- the tree (RFC 6962, section 2.1) ---------------------------------------------------------------------------------


def hash_leaf(data: bytes) -> bytes:
    return _sha256(b"\x00" + data).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows leaf by leaf; it keeps the roots of its full subtrees only, the largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.frontier: list[bytes] = []

    def grow(self, hashes: bytes) -> None:
        """Appends leaf hashes, 32 bytes each."""
        frontier, size, sha256 = self.frontier, self.size, _sha256
        for at in range(0, len(hashes), 32):
            node, position = hashes[at : at + 32], size
            while position & 1:
                node = sha256(b"\x01" + frontier.pop() + node).digest()
                position >>= 1
            frontier.append(node)
            size += 1
        self.size = size

    def root(self) -> bytes:
        if not self.frontier:
            return _sha256(b"").digest()
        node = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            node = hash_children(left, node)
        return node


def inclusion_root(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes]) -> bytes | None:
    """The root that the proof gives for the leaf (RFC 9162, section 2.1.3.2); None if it cannot be a proof."""
    if not 0 <= index < size or any(len(h) != 32 for h in (leaf_hash, *proof)):
        return None
    position, last, node = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            return None
        if position & 1 or position == last:
            node = hash_children(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = hash_children(node, sibling)
        position, last = position >> 1, last >> 1
    return node if last == 0 else None


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf stands at the index in the tree of that size and root."""
    return inclusion_root(index, size, leaf_hash, proof) == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether the tree of size ``new`` begins with the one of size ``old`` (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof
    if not proof or any(len(h) != 32 for h in proof):
        return False
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first, second = hash_children(sibling, first), hash_children(sibling, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = hash_children(second, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def inclusion_proofs(leaves: bytes, indexes: Iterable[int]) -> dict[int, list[bytes]]:
    """The proofs of several leaves in the tree of all of these (32 bytes each), level by level."""
    proofs: dict[int, list[bytes]] = {index: [] for index in indexes}
    level, height = leaves, 0
    while len(level) > 32:
        for index, proof in proofs.items():
            sibling = 32 * ((index >> height) ^ 1)
            if sibling < len(level):
                proof.append(level[sibling : sibling + 32])
        whole = len(level) - len(level) % 64
        level = (
            b"".join([_sha256(b"\x01" + level[at : at + 64]).digest() for at in range(0, whole, 64)]) + level[whole:]
        )
        height += 1
    return proofs


# --- keys and notes (C2SP signed-note, tlog-checkpoint) ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Key:
    """A verifier key: who signs, and the public key. ``text`` is as it is handed from person to person."""

    name: str
    id: bytes
    public: bytes
    text: str

    def verifies(self, text: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True

    @property
    def short(self) -> str:
        return f"{self.name}+{self.id.hex()}"


def key_id(name: str, public: bytes) -> bytes:
    return _sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def parse_key(text: str) -> Key:
    """A verifier key, ``name+id+base64(0x01 ‖ public key)``. Raises ValueError."""
    name, plus, rest = text.partition("+")
    claimed, plus2, encoded = rest.partition("+")
    if not plus or not plus2 or not _good_name(name) or not re.fullmatch("[0-9a-f]{8}", claimed):
        raise ValueError("not a verifier key")
    public = _base64(encoded)
    if len(public) != 33 or public[0] != 1:
        raise ValueError("not an Ed25519 verifier key")
    if key_id(name, public[1:]).hex() != claimed:
        raise ValueError("the verifier key does not fit its own id")
    return Key(name=name, id=bytes.fromhex(claimed), public=public[1:], text=text)


def fingerprint(key: str) -> str:
    """SHA-256 of a verifier key's text, in groups of four: to be compared by telephone or on paper."""
    digest = _sha256(key.encode()).hexdigest()
    return " ".join(digest[at : at + 4] for at in range(0, 64, 4))


@dataclass(frozen=True, kw_only=True)
class Note:
    """A signed note: its text, and (name, key id, signature) of each of its signatures, verified or not."""

    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]


def parse_note(note: bytes) -> Note:
    """Reads a note without verifying it. Raises ValueError."""
    if len(note) > LARGEST_NOTE:
        raise ValueError("the note is too long")
    try:
        words = note.decode()
    except UnicodeDecodeError:
        raise ValueError("the note is not UTF-8") from None
    if any(c < " " and c != "\n" for c in words) or not words.endswith("\n"):
        raise ValueError("a control character in the note, or no newline at its end")
    text, blank, lines = words.rpartition("\n\n")
    if not blank or not lines:
        raise ValueError("no signatures below an empty line")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, space, encoded = rest.partition(" ")
        if dash != "—" or not space or not _good_name(name):
            raise ValueError("not a signature line")
        signature = _base64(encoded)
        if len(signature) < 5:
            raise ValueError("a signature is too short")
        signatures.append((name, signature[:4], signature[4:]))
    if len(signatures) > MOST_SIGNATURES:
        raise ValueError("too many signatures")
    return Note(text=(text + "\n").encode(), signatures=tuple(signatures))


def verified_by(note: Note, keys: Mapping[tuple[str, bytes], Key]) -> list[Key]:
    """The known keys whose signature stands under the note. Raises ValueError if one of a known key does not fit."""
    found = []
    for name, id_, signature in note.signatures:
        key = keys.get((name, id_))
        if key is None:
            continue
        if not key.verifies(note.text, signature):
            raise ValueError(f"the signature of {key.short} does not fit")
        found.append(key)
    return found


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A size and a root that were signed. ``where`` says where it was read, for people."""

    origin: str
    size: int
    root: bytes
    time: datetime | None
    horizon: int | None
    note: Note
    where: str

    @property
    def epoch(self) -> int | None:
        number = self.origin.rpartition("/")[2]
        return int(number) if re.fullmatch("[1-9][0-9]{0,8}", number) else None


def parse_checkpoint(raw: bytes, where: str = "") -> Checkpoint:
    """Reads a checkpoint without verifying it; ``time`` and ``horizon`` are lines of ours. Raises ValueError."""
    note = parse_note(raw)
    lines = note.text.decode()[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise ValueError("a checkpoint has at least three lines, none of them empty")
    if not re.fullmatch("0|[1-9][0-9]{0,17}", lines[1]):
        raise ValueError("the size is not a number")
    root = _base64(lines[2])
    if len(root) != 32:
        raise ValueError("the root is not 32 bytes long")
    time: datetime | None = None
    horizon: int | None = None
    for line in lines[3:]:
        word, _, value = line.partition(" ")
        if word == "time" and time is None:
            time = parse_time(value)
        elif word == "horizon" and horizon is None and re.fullmatch("0|[1-9][0-9]{0,19}", value):
            horizon = int(value)
        elif word in ("time", "horizon"):
            raise ValueError(f"the {word} is said twice, or is not one")
    return Checkpoint(
        origin=lines[0], size=int(lines[1]), root=root, time=time, horizon=horizon, note=note, where=where
    )


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def parse_time(text: str) -> datetime:
    """RFC 3339, UTC, microseconds: one spelling for one instant. Raises ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError("not a time")
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)


def _good_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def _base64(text: str) -> bytes:
    """Standard base64 in its one spelling. Raises ValueError."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not base64 in its one spelling")
    return raw


# --- the outcome ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is broken: its stable name, where, and what."""

    name: str
    where: str
    words: str


@dataclass(kw_only=True)
class EpochResult:
    """An epoch as far as it was verified; counts are leaves."""

    epoch: int
    size: int = 0
    verified: int = 0
    """The largest size whose root a trusted key signed and the leaves give."""
    checkpoints: int = 0
    bodies: int = 0
    expired: int = 0
    lost: int = 0
    out_of_range: int = 0
    unsealed: int = 0
    first: datetime | None = None
    last: datetime | None = None


@dataclass(kw_only=True)
class Verdict:
    """All that was found. ``counts`` has every finding, ``findings`` the first of each name."""

    trail: str = ""
    made_at: str = ""
    epochs: list[EpochResult] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    kept: int = 0
    sample: int = 0
    """Events of a sample, where it is one that was judged."""
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    remark_counts: Counter[str] = field(default_factory=Counter)
    remarks: list[Finding] = field(default_factory=list)
    meaning: Counter[str] = field(default_factory=Counter)
    """How much was looked at: events, recordings, deletions, nights, imports."""

    @property
    def ok(self) -> bool:
        return not self.counts

    def broken(self, name: str, where: str, words: str) -> None:
        assert name in FINDINGS
        self.counts[name] += 1
        if self.counts[name] <= SHOWN:
            self.findings.append(Finding(name=name, where=where, words=words))

    def remark(self, name: str, where: str, words: str, n: int = 1) -> None:
        assert name in REMARKS
        self.remark_counts[name] += n
        if sum(r.name == name for r in self.remarks) < SHOWN:
            self.remarks.append(Finding(name=name, where=where, words=words))


# --- the bundle -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What bundle.json says of an epoch."""

    epoch: int
    size: int
    first: int
    to: int
    unsealed: int


def _read_bundle(folder: Path) -> tuple[str, str, list[_Said]]:
    try:
        raw = (folder / "bundle.json").read_bytes()
    except OSError as wrong:
        raise Unreadable(f"There is no bundle in {folder}: {wrong.strerror}: bundle.json.") from None
    try:
        body = json.loads(raw)
        if body["format"] != 1:
            raise Unreadable(f"The bundle is of format {body['format']!r}; this verifier reads format 1.")
        said = [
            _Said(epoch=e["epoch"], size=e["size"], first=e["from"], to=e["to"], unsealed=e["unsealed"])
            for e in body["epochs"]
        ]
        trail, made_at = body["trail"], body["made_at"]
        numbers = [n for s in said for n in (s.epoch, s.size, s.first, s.to, s.unsealed)]
        if not isinstance(trail, str) or not isinstance(made_at, str) or not said:
            raise ValueError
        if any(type(n) is not int or n < 0 for n in numbers) or any(not s.first <= s.to <= s.size for s in said):
            raise ValueError
        if [s.epoch for s in said] != sorted({s.epoch for s in said}) or any(s.epoch > 9999 for s in said):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unreadable("bundle.json is not what callkeeper writes.") from None
    return trail, made_at, said


def _blocks(path: Path, *, zipped: bool) -> Iterator[list[bytes]]:
    """A file's lines, a block at a time. Raises _Damaged, and FileNotFoundError."""
    rest = b""
    with open(path, "rb") as plain:
        source: Any = gzip.GzipFile(fileobj=plain) if zipped else plain
        while True:
            try:
                block = source.read(_BLOCK)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                raise _Damaged("it is cut or corrupt") from None
            if not block:
                break
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if len(rest) > LONGEST_LINE:
                raise _Damaged("a line is longer than any can be")
            yield lines
    if rest:
        raise _Damaged("it ends within a line")


def _numbers(line: bytes, n: int) -> list[int]:
    """A line of n decimal numbers. Raises _Damaged."""
    words = line.split(b" ")
    if len(words) != n or not all(w.isdigit() and len(w) < 20 for w in words):
        raise _Damaged("a line is not what it must be")
    return [int(w) for w in words]


class _Leaves:
    """leaves.bin: read block by block in ascending order, or one by one anywhere."""

    def __init__(self, file: BinaryIO, n: int) -> None:
        self._file, self.n = file, n
        self._first, self._buffer = 0, b""

    def __getitem__(self, seq: int) -> bytes:
        at = 32 * (seq - self._first)
        if not 0 <= at < len(self._buffer):
            self._file.seek(32 * seq)
            self._first, self._buffer, at = seq, self._file.read(32 << 12), 0
        return self._buffer[at : at + 32]

    def roots(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """The tree's root at each of these sizes, so far as there are leaves."""
        tree, found = Tree(), {}
        self._file.seek(0)
        for size in sorted(set(sizes)):
            if size > self.n:
                break
            while tree.size < size:
                tree.grow(self._file.read(32 * min(size - tree.size, 1 << 15)))
            found[size] = tree.root()
        self._buffer = b""
        return found


@dataclass(kw_only=True)
class _Epoch:
    """An epoch while it is verified."""

    said: _Said
    folder: Path
    result: EpochResult
    leaves: _Leaves
    checkpoints: list[Checkpoint] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    trail: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What this epoch says of the trail itself, by its leaf: events of class trail, but heartbeats."""
    trail_seqs: set[int] = field(default_factory=set)
    endorsed: int = 0

    @property
    def number(self) -> int:
        return self.said.epoch

    @property
    def opened(self) -> dict[str, Any]:
        return self.trail.get(0, {})

    @property
    def carried(self) -> int:
        """Leaves up to this one stand under no horizon: they were written before the epoch, perhaps in another cluster."""
        carried = self.opened.get("carried")
        return carried if type(carried) is int else 0


# --- verifying --------------------------------------------------------------------------------------------------------


def verify(
    folder: Path,
    keys: Sequence[Key],
    kept: Sequence[tuple[str, bytes]] = (),
    *,
    silence: timedelta = timedelta(hours=2),
    years: Mapping[str, int] | None = None,
) -> Verdict:
    """Verifies a bundle. ``kept``: (where, note) of checkpoints that did not come with it. ``years``: terms by class.

    Raises Unreadable where there is nothing to judge, and OSError.
    """
    return _Verification(folder, keys, kept, silence, {**YEARS, **(years or {})}).run()


_TORN = (
    "missing_file", "damaged_file", "leaves_missing", "changed_body", "missing_body", "misplaced_body", "malformed_event",
    "expired_unexplained", "lost_unexplained",
)  # fmt: skip
"""Where one of these was found, counts would only tell of it once more."""
YEARS: Mapping[str, int] = {"opening": 2}
"""How long bodies stay at least, where it is not three years (requirements, section 5)."""


def verify_sample(raw: bytes, keys: Sequence[Key]) -> Verdict:
    """Verifies a file of `callkeeper audit sample --proofs`: that each of its events stands under a signed checkpoint.

    Only that: not that the rest of the trail is whole. Raises Unreadable.
    """
    verdict = Verdict()
    known = {(k.name, k.id): k for k in keys}
    try:
        body = json.loads(raw)
        notes = {
            int(epoch): parse_checkpoint(note.encode(), f"epoch {epoch}") for epoch, note in body["checkpoints"].items()
        }
        events = [
            (e["epoch"], e["seq"], e["data"].encode("ascii"), [_base64(node) for node in e["proof"]])
            for item in body["items"]
            for e in item["events"]
        ]
        if body["format"] != 1 or not events or any(type(n) is not int for e in events for n in e[:2]):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unreadable("The file is no sample that callkeeper wrote.") from None
    for epoch, c in notes.items():
        verdict.trail = c.origin.rpartition("/")[0]
        try:
            if c.epoch != epoch:
                verdict.broken("wrong_origin", c.where, f"It is of {c.origin!r}.")
            if not verified_by(c.note, known):
                verdict.broken("unknown_key", c.where, "No trusted key signed its checkpoint.")
        except ValueError as wrong:
            verdict.broken("bad_signature", c.where, f"{str(wrong).capitalize()}.")
    for epoch, seq, data, proof in events:
        at = notes.get(epoch)
        if at is None or not verify_inclusion(seq, at.size, hash_leaf(data), proof, at.root):
            verdict.broken("wrong_proof", f"epoch {epoch}, leaf {seq}", "It is not under the checkpoint.")
    verdict.sample = len(events)
    verdict.keys = sorted(k.text for k in keys)
    return verdict


class _Verification:
    def __init__(
        self,
        folder: Path,
        keys: Sequence[Key],
        kept: Sequence[tuple[str, bytes]],
        silence: timedelta,
        years: Mapping[str, int],
    ) -> None:
        self.folder, self.silence, self.years = folder, silence, years
        self.trusted = {(k.name, k.id): k for k in keys}
        self.verdict = Verdict()
        self.verdict.trail, self.verdict.made_at, self.said = _read_bundle(folder)
        self.broken, self.remark = self.verdict.broken, self.verdict.remark
        self.kept: list[Checkpoint] = []
        for where, raw in kept:
            try:
                self.kept.append(parse_checkpoint(raw, where))
            except ValueError as wrong:
                raise Unreadable(f"{where} is no checkpoint: {wrong}.") from None
        self.epochs: dict[int, _Epoch] = {}
        self.digests: dict[tuple[str, str], Any] = {}
        """Of the leaves that are said to have expired, by (class, month)."""
        self.months: Counter[tuple[str, str]] = Counter()
        self.lost, self.lost_digest = 0, _sha256()
        self.ranged = any(said.first or said.to < said.size for said in self.said)
        self.missing = False
        """Whether any body is not in the bundle, for whatever reason."""

    def run(self) -> Verdict:
        try:
            for said in self.said:
                self._open(said)
            for epoch in self.epochs.values():
                self._read_trail_events(epoch)
            self._roots()
            self._trust()
            self._signatures()
            self._chain()
            self._compare_kept()
            with tempfile.TemporaryDirectory(prefix="callkeeper-verify-") as folder:
                meaning = _Meaning(self.verdict, Path(folder))
                for epoch in self.epochs.values():
                    self._bodies(epoch, meaning)
                self._expiries()
                self._losses()
                self._unsealed()
                torn = any(self.verdict.counts[name] for name in _TORN)
                meaning.finish(missing=self.missing or torn, torn=torn, expired=set(self.months))
        finally:
            for epoch in self.epochs.values():
                epoch.leaves._file.close()
        self.verdict.keys = sorted(k.text for k in self.trusted.values())
        return self.verdict

    # --- reading --------------------------------------------------------------------------------------------------

    def _open(self, said: _Said) -> None:
        folder = self.folder / str(said.epoch)
        result = EpochResult(epoch=said.epoch, size=said.size, out_of_range=said.size - (said.to - said.first))
        self.verdict.epochs.append(result)
        try:
            file = open(folder / "leaves.bin", "rb")  # noqa: SIM115  # open until the end of the run
        except FileNotFoundError:
            self.broken("missing_file", f"epoch {said.epoch}", "leaves.bin is not there.")
            return
        length = file.seek(0, 2)
        if length % 32:
            self.broken("damaged_file", f"{said.epoch}/leaves.bin", "It ends within a leaf.")
        epoch = _Epoch(said=said, folder=folder, result=result, leaves=_Leaves(file, length // 32))
        self.epochs[said.epoch] = epoch
        if length // 32 != said.size:
            self.broken(
                "wrong_counts",
                f"{said.epoch}/leaves.bin",
                f"There are {length // 32} leaves; bundle.json speaks of {said.size}.",
            )
        self._read_checkpoints(epoch)

    def _read_checkpoints(self, epoch: _Epoch) -> None:
        name, before = f"{epoch.number}/checkpoints.jsonl", None
        for number, line in enumerate(self._lines(epoch.folder / "checkpoints.jsonl", name), 1):
            where = f"{name}, line {number}"
            try:
                body = json.loads(line)
                checkpoint = parse_checkpoint(body["note"].encode(), where)
                if checkpoint.time is None or checkpoint.horizon is None:
                    raise ValueError("it has no time or no horizon")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
                self.broken("malformed_checkpoint", where, f"{wrong}.")
                continue
            if checkpoint.origin != f"{self.verdict.trail}/{epoch.number}":
                self.broken("wrong_origin", where, f"It is of {checkpoint.origin!r}.")
                continue
            if before is not None:
                self._follows(before, checkpoint)
            before = checkpoint
            epoch.checkpoints.append(checkpoint)
        epoch.result.checkpoints = len(epoch.checkpoints)
        times = [c.time for c in epoch.checkpoints if c.time]
        if times:
            epoch.result.first, epoch.result.last = times[0], times[-1]

    def _follows(self, before: Checkpoint, now: Checkpoint) -> None:
        assert before.time is not None
        assert now.time is not None
        assert before.horizon is not None
        assert now.horizon is not None
        if now.size <= before.size:
            self.broken("size_went_back", now.where, f"Size {now.size} comes after size {before.size}.")
        if now.time < before.time:
            self.broken("time_went_back", now.where, f"{now.time:%Y-%m-%d %H:%M:%S} comes after {before.time:%Y-%m-%d %H:%M:%S} (UTC).")  # fmt: skip
        if now.horizon < before.horizon:
            self.broken("horizon_went_back", now.where, f"Horizon {now.horizon} comes after {before.horizon}.")
        if now.time - before.time > self.silence:
            self.remark("silence", now.where, f"From {_minute(before.time)} to {_minute(now.time)} nothing was sealed.")

    def _read_trail_events(self, epoch: _Epoch) -> None:
        """What the trail says of itself: epochs, keys, expiries. Their bodies are in the bundle whatever its range."""
        name = f"{epoch.number}/trail.txt.gz"
        before = -1
        for line in self._lines(epoch.folder / "trail.txt.gz", name, zipped=True):
            leaf = _parse_leaf(line)
            if leaf is not None and leaf.seq >= epoch.leaves.n:
                return  # told where the leaves are counted
            if leaf is None or leaf.seq <= before:
                self.broken("damaged_file", name, "A line is no leaf, or is out of order.")
                return
            before = leaf.seq
            where = f"epoch {epoch.number}, leaf {leaf.seq}"
            if hash_leaf(leaf.data) != epoch.leaves[leaf.seq]:
                self.broken("changed_body", where, "Its body, of class trail, is not what was sealed.")
                continue
            if leaf.klass != b"trail":
                self.broken("misplaced_body", where, "It is not of class trail, and stands among those.")
                continue
            epoch.trail_seqs.add(leaf.seq)
            event = _parse_event(leaf.body)
            if event is None:
                self.broken("malformed_event", where, "Its body is not written as bodies are.")
            elif event["action"] != "trail.heartbeat":
                epoch.trail[leaf.seq] = event
                self._tell(where, event)

    def _tell(self, where: str, event: Mapping[str, Any]) -> None:
        match event["action"]:
            case "epoch.opened" if event.get("reason") != "first":
                self.remark("epoch", where, f"Epoch {event.get('epoch')} was opened, for this reason: {event.get('reason')}.")  # fmt: skip
            case "clock.went_back":
                self.remark("clock_went_back", where, f"It was {event.get('seconds')} s behind the last checkpoint.")
            case "witness.missed":
                self.remark("witness_missed", where, f"It missed {event.get('count')} events.")

    def _lines(self, path: Path, name: str, *, zipped: bool = False, optional: bool = False) -> Iterator[bytes]:
        """A file's lines; what is wrong with it is a finding, and its end."""
        try:
            for lines in _blocks(path, zipped=zipped):
                yield from lines
        except FileNotFoundError:
            if not optional:
                self.broken("missing_file", name, "It is not there.")
        except _Damaged as wrong:
            self.broken("damaged_file", name, f"{str(wrong).capitalize()}.")

    # --- the tree and its signatures ------------------------------------------------------------------------------

    def _roots(self) -> None:
        """Every root that anybody speaks of, recomputed from the leaves."""
        for epoch in self.epochs.values():
            sizes = {c.size for c in epoch.checkpoints} | {c.size for c in self.kept if c.epoch == epoch.number}
            following = self.epochs.get(epoch.number + 1)
            if following is not None:
                opened = following.opened
                sizes |= {s for what in ("previous_size", "anchored_size") if type(s := opened.get(what)) is int}
            epoch.roots = epoch.leaves.roots(sizes)
            for c in epoch.checkpoints:
                if c.size > epoch.leaves.n:
                    self.broken("leaves_missing", c.where, f"It covers {c.size} leaves; there are {epoch.leaves.n}.")
                elif epoch.roots[c.size] != c.root:
                    self.broken("wrong_root", c.where, f"The first {c.size} leaves do not give its root.")
            last = max((c.size for c in epoch.checkpoints), default=0)
            if last == 0:
                self.broken("nothing_sealed", f"epoch {epoch.number}", "It has no checkpoint of any leaf.")
            elif epoch.leaves.n > last:
                self.broken(
                    "leaves_unsigned",
                    f"epoch {epoch.number}",
                    f"{epoch.leaves.n - last} leaves come after the last checkpoint, of size {last}.",
                )

    def _trust(self) -> None:
        """Which keys may be trusted, and to which size each epoch is: from the auditor's keys on, as far as it carries.

        A key is trusted if the event that added it stands in a tree that a trusted key signed; an epoch, too, as far as
        the next one, if trusted, tells of its root.
        """
        size = -1
        while size != (size := len(self.trusted) + sum(e.endorsed for e in self.epochs.values())):
            for epoch in self.epochs.values():
                for c in epoch.checkpoints:
                    if c.size > epoch.endorsed and epoch.roots.get(c.size) == c.root:
                        try:
                            if verified_by(c.note, self.trusted):
                                epoch.endorsed = c.size
                        except ValueError:
                            continue  # told in _signatures
                following = self.epochs.get(epoch.number + 1)
                if following is not None and following.endorsed > 0:
                    for told, root in self._told_of(following):
                        if epoch.roots.get(told) == root:
                            epoch.endorsed = max(epoch.endorsed, told)
                for seq, event in epoch.trail.items():
                    if seq < epoch.endorsed and event["action"] == "seal_key.added":
                        try:
                            key = parse_key(event["verifier_key"])
                        except (ValueError, KeyError, TypeError, AttributeError):
                            continue
                        self.trusted.setdefault((key.name, key.id), key)

    @staticmethod
    def _told_of(following: _Epoch) -> list[tuple[int, bytes]]:
        """(size, root) of the epoch before, as an epoch's first event tells them."""
        found = []
        for what in ("previous", "anchored"):
            size, root = following.opened.get(f"{what}_size"), following.opened.get(f"{what}_root")
            if type(size) is int and isinstance(root, str):
                try:
                    found.append((size, _base64(root)))
                except ValueError:
                    found.append((size, b""))
        return found

    def _signatures(self) -> None:
        for epoch in self.epochs.values():
            retired = self._retired(epoch)
            for c in epoch.checkpoints:
                try:
                    by = verified_by(c.note, self.trusted)
                except ValueError as wrong:
                    self.broken("bad_signature", c.where, f"{str(wrong).capitalize()}.")
                    continue
                names = ", ".join(f"{name}+{id_.hex()}" for name, id_, _ in c.note.signatures)
                if not by:
                    self.broken("unknown_key", c.where, f"It is signed by {names}.")
                elif all(c.size > retired.get(k.text, c.size) for k in by):
                    self.broken("retired_key", c.where, f"It is signed by {names}.")
                elif epoch.roots.get(c.size) == c.root:
                    epoch.result.verified = max(epoch.result.verified, c.size)

    def _retired(self, epoch: _Epoch) -> dict[str, int]:
        """Verifier key → the size of the last checkpoint that it may sign in this epoch: the first that covers its end."""
        last: dict[str, int] = {}
        sizes = sorted(c.size for c in epoch.checkpoints)
        for other in self.epochs.values():
            for seq, event in sorted(other.trail.items()):
                text = event.get("verifier_key")
                if not isinstance(text, str) or other.number > epoch.number:
                    continue
                if event["action"] == "seal_key.added":
                    last.pop(text, None)
                elif event["action"] == "seal_key.retired":
                    at = bisect_right(sizes, seq)
                    last[text] = 0 if other is not epoch else sizes[at] if at < len(sizes) else seq
        return last

    def _chain(self) -> None:
        """Epochs follow each other without a gap, and each tells what the one before it came to."""
        numbers = [said.epoch for said in self.said]
        if numbers[0] != 1 or numbers != list(range(1, numbers[-1] + 1)):
            self.broken("missing_epoch", "bundle.json", f"Its epochs are {', '.join(map(str, numbers))}.")
        for epoch in self.epochs.values():
            where = f"epoch {epoch.number}, leaf 0"
            opened = epoch.opened
            if not opened and self._opening_lost(epoch):
                continue  # a later epoch tells of it
            if epoch.leaves.n and (opened.get("action") != "epoch.opened" or opened.get("epoch") != epoch.number):
                self.broken("epoch_not_opened", where, "It is not the event that opens this epoch.")
                continue
            if (
                (epoch.carried or epoch.number > 1)
                and epoch.checkpoints
                and epoch.checkpoints[0].size != epoch.carried + 1
            ):
                self.broken("broken_chain", where, f"It carried {epoch.carried} events over, and was first sealed at size {epoch.checkpoints[0].size}.")  # fmt: skip
            before = self.epochs.get(epoch.number - 1)
            if not epoch.leaves.n or (before is None and epoch.number == 1):
                continue
            if before is None:
                continue  # told as a missing epoch
            told = self._told_of(epoch)
            if not told or opened.get("previous_epoch") != before.number:
                self.broken("broken_chain", where, "It does not tell what the epoch before it came to.")
                continue
            for size, root in told:
                if before.roots.get(size) != root:
                    self.broken("broken_chain", where, f"It tells another root of epoch {before.number} at size {size}, or more leaves, than that has.")  # fmt: skip
            if max(size for size, _ in told) < before.leaves.n:
                self.broken("broken_chain", where, f"Epoch {before.number} went on after it was closed: it has {before.leaves.n} leaves.")  # fmt: skip
        made_at, last = self.verdict.made_at, [e.last for e in self.verdict.epochs if e.last]
        try:
            if last and (made := parse_time(made_at)) - last[-1] > self.silence:
                self.remark("silence", "the end", f"The last checkpoint is of {_minute(last[-1])}; the bundle was made at {_minute(made)}.")  # fmt: skip
        except ValueError:
            self.broken("wrong_counts", "bundle.json", "made_at is not a time.")

    def _opening_lost(self, epoch: _Epoch) -> bool:
        """Whether the event that opened the epoch is one that a restore lost."""
        try:
            with open(epoch.folder / "lost.txt", "rb") as file:
                return file.read(2) == b"0\n" and epoch.number < max(self.epochs)
        except FileNotFoundError:
            return False

    def _compare_kept(self) -> None:
        """Checkpoints that did not come with the bundle: the one thing that nobody inside could change."""
        self.verdict.kept = len(self.kept)
        if not self.kept:
            self.remark("nothing_kept", "", REMARKS["nothing_kept"])
        for c in self.kept:
            if not c.origin.startswith(f"{self.verdict.trail}/") or c.epoch is None:
                self.broken("wrong_origin", c.where, f"It is of {c.origin!r}, the bundle of {self.verdict.trail!r}.")
                continue
            try:
                if not verified_by(c.note, self.trusted):
                    self.broken("kept_unsigned", c.where, "No trusted key signed it.")
            except ValueError as wrong:
                self.broken("kept_unsigned", c.where, f"{str(wrong).capitalize()}.")
            epoch = self.epochs.get(c.epoch)
            if epoch is None:
                self.broken("missing_epoch", c.where, f"It is of epoch {c.epoch}.")
            elif c.size > epoch.leaves.n:
                self.broken("cut_tail", c.where, f"It covers {c.size} leaves; the bundle has {epoch.leaves.n}.")
            elif epoch.roots[c.size] != c.root:
                self.broken("two_histories", c.where, f"At size {c.size} this trail has another root.")

    # --- bodies ---------------------------------------------------------------------------------------------------

    def _bodies(self, epoch: _Epoch, meaning: _Meaning) -> None:
        """Each body of the range against its leaf, in order; and each leaf without one against what explains it."""
        said, result = epoch.said, epoch.result
        sizes = [c.size for c in epoch.checkpoints]
        if said.first or said.to < said.size:
            self.missing = True
            self.remark("range_only", f"epoch {epoch.number}", f"Bodies from leaf {said.first} to before leaf {said.to}, of {said.size}; the leaves are whole.")  # fmt: skip
        gone = self._gone(epoch)
        following = next(gone, None)
        expect, files = said.first, sorted(epoch.folder.glob("events-*.txt.gz"))
        limit, horizon, floor = -1, 0, self._floor(epoch)
        last_xid = last_id = -1
        fresh = 1
        carried, leaves, trail_seqs = epoch.carried, epoch.leaves, set()
        broken, take, number, sha256 = self.broken, meaning.take, epoch.number, _sha256
        top = min(said.to, leaves.n)
        for path in files:
            name = f"{number}/{path.name}"
            try:
                for lines in _blocks(path, zipped=True):
                    for line in lines:
                        # The same as _parse_leaf, written out: here the time goes.
                        parts = line.split(b" ", 4)
                        if len(parts) != 5 or not (
                            parts[0].isdigit() and parts[1].isdigit() and parts[2].isdigit() and len(line) < LONGEST_LINE
                            and len(parts[0]) < DIGITS and len(parts[1]) < DIGITS and len(parts[2]) < DIGITS
                        ):  # fmt: skip
                            raise _Damaged("a line is no leaf")
                        seq, id_, xid = int(parts[0]), int(parts[1]), int(parts[2])
                        if not expect <= seq < top:
                            broken("misplaced_body", f"epoch {number}, leaf {seq}", f"It stands in {name} where leaf {expect} is next.")  # fmt: skip
                            continue
                        while expect < seq:
                            following = self._without_body(epoch, expect, following, gone)
                            expect += 1
                        expect = seq + 1
                        if following is not None and following[0] == seq:
                            broken("misplaced_body", f"epoch {number}, leaf {seq}", f"It is said to be gone ({following[1]}), and stands here.")  # fmt: skip
                            following = next(gone, None)
                        data = line[len(parts[0]) + 1 :]
                        if sha256(b"\x00" + data).digest() != leaves[seq]:
                            broken("changed_body", f"epoch {number}, leaf {seq}", f"The body of event {id_} is not what was sealed.")  # fmt: skip
                            continue
                        if seq >= limit:
                            limit, horizon = self._covering(epoch, sizes, seq)
                        if seq >= fresh:
                            # The opening, what was carried over, and the rest: each is in an order of its own.
                            fresh = carried + 1 if seq <= carried else 1 << 62
                            last_xid = last_id = -1
                        if (xid, id_) <= (last_xid, last_id):
                            broken("out_of_order", f"epoch {number}, leaf {seq}", f"Event {id_} of transaction {xid} comes after event {last_id} of transaction {last_xid}.")  # fmt: skip
                        last_xid, last_id = xid, id_
                        if seq > carried:
                            if xid >= horizon:
                                broken("forged_horizon", f"epoch {number}, leaf {seq}", f"Transaction {xid} is not before the horizon, {horizon}.")  # fmt: skip
                            if xid < floor:
                                broken("behind_horizon", f"epoch {number}, leaf {seq}", f"Transaction {xid} is before the epoch's first horizon, {floor}.")  # fmt: skip
                        klass = parts[3]
                        if klass == b"trail":
                            trail_seqs.add(seq)
                        result.bodies += 1
                        take(number, seq, id_, xid, klass, parts[4])
            except _Damaged as wrong:
                broken("damaged_file", name, f"{str(wrong).capitalize()}.")
        while expect < top:
            following = self._without_body(epoch, expect, following, gone)
            expect += 1
        if following is not None:
            broken("misplaced_body", f"epoch {number}, leaf {following[0]}", f"It is said to be gone ({following[1]}); the range does not have it.")  # fmt: skip
        inside = {seq for seq in epoch.trail_seqs if said.first <= seq < said.to}
        for seq in sorted(inside ^ trail_seqs):
            broken("missing_body", f"epoch {number}, leaf {seq}", "An event of class trail stands in one of events-*.txt.gz and trail.txt.gz, and not in the other.")  # fmt: skip

    @staticmethod
    def _floor(epoch: _Epoch) -> int:
        """Below this no transaction may be sealed in the epoch: the horizon that it began at, but for the very first."""
        if not epoch.checkpoints or not epoch.opened or (epoch.opened.get("reason") == "first" and not epoch.carried):
            return 0
        return epoch.checkpoints[0].horizon or 0

    @staticmethod
    def _covering(epoch: _Epoch, sizes: Sequence[int], seq: int) -> tuple[int, int]:
        """(size, horizon) of the first checkpoint that covers a leaf; those that none covers were told of already."""
        at = bisect_right(sizes, seq)
        if at == len(sizes):
            return 1 << 62, 1 << 64
        return sizes[at], epoch.checkpoints[at].horizon or 0

    def _gone(self, epoch: _Epoch) -> Iterator[tuple[int, str]]:
        """(leaf, why) of the leaves that are said to have no body, ascending."""
        expired, lost = self._said_expired(epoch), self._said_lost(epoch)
        a, b = next(expired, None), next(lost, None)
        while a is not None or b is not None:
            if b is None or (a is not None and a[0] <= b[0]):
                assert a is not None
                yield a
                a = next(expired, None)
            else:
                yield b
                b = next(lost, None)

    def _said_expired(self, epoch: _Epoch) -> Iterator[tuple[int, str]]:
        name, before = f"{epoch.number}/expired.txt", -1
        for line in self._lines(epoch.folder / "expired.txt", name, optional=True):
            words = line.split(b" ")
            try:
                seq = _numbers(words[0], 1)[0]
                if len(words) != 3 or not re.fullmatch(rb"[a-z_]{1,40}", words[1]) or seq <= before:
                    raise _Damaged("a line is not what it must be")
                if not re.fullmatch(rb"\d{4}-(0[1-9]|1[0-2])", words[2]):
                    raise _Damaged("a line is not what it must be")
            except _Damaged as wrong:
                self.broken("damaged_file", name, f"{str(wrong).capitalize()}.")
                return
            before = seq
            group = words[1].decode(), words[2].decode()
            self.months[group] += 1
            self.digests.setdefault(group, _sha256()).update(b"%d %d\n" % (epoch.number, seq))
            yield seq, "expired"

    def _said_lost(self, epoch: _Epoch) -> Iterator[tuple[int, str]]:
        """Leaves that a restore lost."""
        name, before = f"{epoch.number}/lost.txt", -1
        for line in self._lines(epoch.folder / "lost.txt", name, optional=True):
            try:
                (seq,) = _numbers(line, 1)
                if seq <= before:
                    raise _Damaged("it is not in order")
            except _Damaged as wrong:
                self.broken("damaged_file", name, f"{str(wrong).capitalize()}.")
                return
            before = seq
            self.lost += 1
            self.lost_digest.update(b"%d %d\n" % (epoch.number, seq))
            yield seq, "lost"

    def _losses(self) -> None:
        """What is said to be lost is just what the newest epoch that tells of losses accounts for."""
        if not self.lost:
            return
        told = [e.opened for e in self.epochs.values() if e.result.verified and type(e.opened.get("lost")) is int]
        n, digest = (told[-1]["lost"], told[-1].get("lost_digest")) if told else (0, None)
        if (self.lost, self.lost_digest.hexdigest()) != (n, digest) and not (self.ranged and self.lost <= n):
            self.broken("lost_unexplained", "lost.txt", f"{self.lost} bodies are said to be lost; the newest epoch tells of {n}, or of others.")  # fmt: skip

    def _without_body(
        self, epoch: _Epoch, seq: int, following: tuple[int, str] | None, gone: Iterator[tuple[int, str]]
    ) -> tuple[int, str] | None:
        """A leaf that has no body: expired, lost, or missing."""
        while following is not None and following[0] < seq:
            self.broken("misplaced_body", f"epoch {epoch.number}, leaf {following[0]}", f"It is said to be gone ({following[1]}); the range does not have it, or it is said twice.")  # fmt: skip
            following = next(gone, None)
        if following is None or following[0] != seq:
            self.broken("missing_body", f"epoch {epoch.number}, leaf {seq}", "Its body is not there, and nothing says why.")  # fmt: skip
            return following
        self.missing = True
        if following[1] == "expired":
            epoch.result.expired += 1
        else:
            epoch.result.lost += 1
        return next(gone, None)

    def _expiries(self) -> None:
        """What is said to have expired is just what sealed events account for, and was old enough."""
        told: dict[tuple[str, str], list[tuple[int, str, datetime | None]]] = {}
        for epoch in self.epochs.values():
            sizes = [c.size for c in epoch.checkpoints]
            for seq, event in epoch.trail.items():
                if event["action"] != "bodies.expired" or seq >= epoch.result.verified:
                    continue
                group = str(event.get("event_class")), str(event.get("month"))
                at = bisect_right(sizes, seq)
                sealed_at = epoch.checkpoints[at].time if at < len(sizes) else None
                told.setdefault(group, []).append((event.get("count", 0), str(event.get("digest")), sealed_at))
                if sealed_at and not self._is_over(group, sealed_at):
                    self.broken("expired_early", f"epoch {epoch.number}, leaf {seq}", f"Bodies of class {group[0]} of {group[1]} were dropped by {sealed_at:%Y-%m-%d}.")  # fmt: skip
        for group, digest in self.digests.items():
            where = f"class {group[0]}, {group[1]}"
            accounts = told.get(group, [])
            if any(digest.hexdigest() == d and self.months[group] == n for n, d, _ in accounts):
                continue
            # Of a range only a part of a month's leaves may be seen.
            if self.ranged and any(type(n) is int and self.months[group] <= n for n, _, _ in accounts):
                continue
            self.broken("expired_unexplained", where, f"{self.months[group]} bodies are said to have expired; {'the sealed events account for others' if accounts else 'no sealed event says so'}.")  # fmt: skip

    def _is_over(self, group: tuple[str, str], at: datetime) -> bool:
        klass, month = group
        if klass == "trail" or not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
            return False
        year, number = int(month[:4]) + self.years.get(klass, 3), int(month[5:])
        if year > 9990:
            return False
        # A month's last event is as old as the term when the next month begins, less a day for the time zones.
        ends = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        return at >= ends - timedelta(days=1)

    def _unsealed(self) -> None:
        """Events that no checkpoint covers: counted, and looked at for what was slipped in behind the last one."""
        said = sum(s.unsealed for s in self.said)
        number = max((e for e in self.epochs), default=0)
        epoch = self.epochs.get(number)
        last = self._last_sealed(epoch) if epoch is not None else None
        n = 0
        for line in self._lines(self.folder / "unsealed.txt.gz", "unsealed.txt.gz", zipped=True, optional=said == 0):
            leaf = _parse_leaf(b"0 " + line)
            if leaf is None:
                self.broken("damaged_file", "unsealed.txt.gz", "A line is no event.")
                return
            n += 1
            if last is not None and (leaf.xid, leaf.id) <= last:
                self.broken("unsealed_behind", f"event {leaf.id}", f"Its transaction, {leaf.xid}, is before what has been sealed, to transaction {last[0]}.")  # fmt: skip
        if n != said:
            self.broken("wrong_counts", "unsealed.txt.gz", f"It has {n} events; bundle.json speaks of {said}.")
        if epoch is not None:
            epoch.result.unsealed = n

    def _last_sealed(self, epoch: _Epoch) -> tuple[int, int] | None:
        """(xid, id) of an epoch's last leaf, if the bundle has its body."""
        files = sorted(epoch.folder.glob("events-*.txt.gz"))
        if not files or epoch.said.to < epoch.leaves.n or epoch.leaves.n <= epoch.carried + 1:
            return None
        found = None
        try:
            for lines in _blocks(files[-1], zipped=True):
                for line in lines[-1:]:
                    found = _parse_leaf(line)
        except _Damaged:
            return None
        if found is None or found.seq != epoch.leaves.n - 1 or found.seq <= epoch.carried:
            return None
        return found.xid, found.id


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Leaf:
    seq: int
    id: int
    xid: int
    klass: bytes
    body: bytes
    data: bytes


def _parse_leaf(line: bytes) -> _Leaf | None:
    """``<seq> <id> <xid> <class> <body>``."""
    parts = line.split(b" ", 4)
    if len(parts) != 5 or len(line) >= LONGEST_LINE or not all(p.isdigit() and len(p) < DIGITS for p in parts[:3]):
        return None
    seq, id_, xid = (int(p) for p in parts[:3])
    return _Leaf(seq, id_, xid, parts[3], parts[4], line[len(parts[0]) + 1 :])


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _whole(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) >= 1 << 53:
        raise ValueError
    return number


_encode = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse, parse_int=_whole).decode


def _parse_event(body: bytes) -> dict[str, Any] | None:
    """An event's body, if it is in the one spelling that it may have: so no name can stand in it twice."""
    try:
        event = _decode(body.decode("ascii"))
        if type(event) is not dict or _encode(event).encode() != body:
            return None
    except (ValueError, RecursionError):
        return None
    action, at, actor, version = (event.get(k) for k in ("action", "at", "actor", "v"))
    if type(action) is not str or type(at) is not str or type(actor) is not dict or type(version) is not int:
        return None
    return event if _TIME.fullmatch(at) else None


# --- meaning ----------------------------------------------------------------------------------------------------------

_CODES: Mapping[str, int] = {
    "deletion.planned": 1,
    "deletion.armed": 2,
    "deletion.blocked": 3,
    "deletion.withdrawn": 4,
    "deletion.sending": 5,
    "deletion.store_gone": 6,
    "deletion.vendor_asked": 7,
    "deletion.vendor_answered": 8,
    "deletion.done": 9,
    "deletion.needs_human": 10,
    "deletion.retried": 11,
    "recording.kept": 20,
    "recording.corrected": 21,
    "recording.quarantined": 22,
    "quarantine.left": 23,
    "legal_hold.placed": 24,
}
_PLANNED, _ARMED, _BLOCKED, _WITHDRAWN, _SENDING, _GONE, _ASKED, _ANSWERED, _DONE, _HUMAN, _RETRIED = range(1, 12)
_KEPT = 20
_NAMES = {code: action for action, code in _CODES.items()}
_FOLLOWS: Mapping[int, frozenset[int]] = {
    0: frozenset({_PLANNED}),
    # What is blocked goes back to planned in silence: nothing has happened.
    _PLANNED: frozenset({_PLANNED, _ARMED, _BLOCKED, _WITHDRAWN}),
    _BLOCKED: frozenset({_PLANNED, _ARMED, _BLOCKED, _WITHDRAWN}),
    _WITHDRAWN: frozenset({_PLANNED}),
    _ARMED: frozenset({_SENDING, _BLOCKED, _WITHDRAWN}),
    _SENDING: frozenset({_GONE, _BLOCKED}),
    _GONE: frozenset({_ASKED, _DONE, _HUMAN}),
    _ASKED: frozenset({_ASKED, _ANSWERED, _DONE, _HUMAN}),
    _ANSWERED: frozenset({_ASKED, _ANSWERED, _DONE, _HUMAN}),
    _HUMAN: frozenset({_RETRIED, _DONE}),
    _RETRIED: frozenset({_ASKED, _ANSWERED, _DONE, _HUMAN}),
}
"""Which step of a deletion may follow which. Not in it: the end, after which there is none."""
_WHEN_GONE = frozenset({_GONE, _ASKED, _ANSWERED, _DONE, _HUMAN, _RETRIED})

CLASS_OF: Mapping[str, str] = {
    **{action: action.partition(".")[0] for action in _CODES if action.startswith("deletion.")},
    "recording.kept": "import",
    "recording.corrected": "import",
    "recording.rectified": "import",
    "recording.quarantined": "import",
    "quarantine.left": "import",
    "day.listed": "import",
    "day.closed": "import",
    "import.checked": "import",
    "import.balanced": "import",
    "legal_hold.placed": "blocker",
    "legal_hold.lifted": "blocker",
    "blocker.placed": "blocker",
    "blocker.drafted": "blocker",
    "blocker.effective": "blocker",
    "blocker.too_late": "blocker",
    "blocker.kept": "blocker",
    "blocker.ratified": "blocker",
    "blocker.change_asked": "blocker",
    "blocker.extended": "blocker",
    "blocker.ended": "blocker",
    "blocker.lapsed": "blocker",
    "ticket.opened": "ticket",
    "ticket.moved": "ticket",
    "ticket.widened": "ticket",
    "ticket.noted": "ticket",
    "ticket.restricted": "ticket",
    "ticket.lifting_announced": "ticket",
    "ticket.caller_suppressed": "ticket",
    "ticket.identity_proven": "ticket",
    "ticket.extended": "ticket",
    "ticket.previewed": "ticket",
    "ticket.resumed": "ticket",
    "ticket.forgotten": "ticket",
    "ticket.seen": "ticket",
    "letter.written": "ticket",
    "letter.sent": "ticket",
    "package.begun": "ticket",
    "package.made": "ticket",
    "package.ended": "ticket",
    "package.taken": "ticket",
    "passphrase.seen": "ticket",
    "recording.opened": "opening",
    "disclosure.drafted": "disclosure",
    "disclosure.moved": "disclosure",
    "disclosure.made": "disclosure",
    "recording.disclosed": "disclosure",
    "disclosure.handed_over": "disclosure",
    "disclosure.may_be_told": "disclosure",
    "disclosure.seen": "disclosure",
    "disclosure.forgotten": "disclosure",
    "config.applied": "config",
    "key.changed": "config",
    "night.planned": "run",
    "night.balanced": "run",
    "decision.made": "run",
    "tombstones.written": "run",
    "restore.checked": "run",
    "reconciliation.ended": "run",
    "notice.proven": "run",
    "deadlines.told": "run",
    "files.expired": "run",
    "marks.expired": "run",
    "run.started": "run",
    "run.ended": "run",
    "task.started": "run",
    "task.ended": "run",
    "trail.heartbeat": "trail",
    "epoch.opened": "trail",
    "seal_key.added": "trail",
    "seal_key.retired": "trail",
    "clock.went_back": "trail",
    "bodies.expired": "trail",
    "witness.missed": "trail",
}
"""The class of each action that this verifier knows: by it an event's body expires."""

_RECORD = struct.Struct(">16sQHQQB")
_Run = tuple[str, str]
"""(dag, run), or nothing and a person's account."""
_STAND_IN = b"00000000-0000-0000-0000-000000000000"
_AT = b"2000-01-01T00:00:00.000000Z"
_TIME_BYTES = re.compile(_TIME.pattern.encode())
_NIGHT = ("done", "blocked", "waiting", "open_at_vendor", "failed")
_IMPORT = ("kept", "unchanged", "corrected", "quarantined", "suppressed", "refused", "pending")


@dataclass(slots=True)
class _Tally:
    """How many events, and the first and last of their ids."""

    n: int = 0
    first: int = 1 << 63
    last: int = -1


@dataclass(slots=True)
class _Template:
    """Events that differ by their recording and time only: which step they are, and where they are counted."""

    usable: bool
    code: int
    tally: _Tally | None


class _Meaning:
    """What the events say, and whether it can be so.

    A recording's steps are compared in the order of the events' ids: who acts on what another has done wrote after it,
    and so has the larger id, whichever transaction began first. They are sorted on disk, so that memory does not grow
    with the trail.
    """

    PARTS = 128

    def __init__(self, verdict: Verdict, folder: Path) -> None:
        self.verdict, self.broken, self.remark = verdict, verdict.broken, verdict.remark
        self._paths = [folder / f"{n:03d}" for n in range(self.PARTS)]
        self._buffers = [bytearray() for _ in self._paths]
        self._templates: dict[bytes, _Template] = {}
        self._tallies: dict[tuple[str, ...], _Tally] = {}
        self._nights: dict[_Run, tuple[int, dict[str, Any]]] = {}
        self._balances: dict[tuple[str, ...], tuple[int, str, dict[str, Any]]] = {}
        """The last balance of (dag, run, vendor or nothing, controller): id, where, event."""
        self._checked: dict[_Run, str] = {}
        self._live_from = self._yes_from = 1 << 63
        self._asked: dict[tuple[str, str], int] = {}
        self._changed: list[tuple[int, str, str, str]] = []

    # --- taking them in -------------------------------------------------------------------------------------------

    def take(self, epoch: int, seq: int, id_: int, xid: int, klass: bytes, body: bytes) -> None:
        """One event, in any order."""
        at = body.find(b'"at":"') + 6
        begin = body.find(b'"recording":"', at + 27) + 13
        if at > 5 and begin > 12:
            at_end, end = at + 27, begin + 36
            key = klass + b" " + body[:at] + body[at_end:begin] + body[end:]
            template = self._templates.get(key)
            if template is None:
                likeness = body[:at] + _AT + body[at_end:begin] + _STAND_IN + body[end:]
                template = self._learn(key, klass, likeness)
            if template.usable and _TIME_BYTES.fullmatch(body, at, at_end):
                try:
                    recording = binascii.unhexlify(body[begin:end].replace(b"-", b""))
                except binascii.Error:
                    recording = b""
                if len(recording) == 16:
                    tally, code = template.tally, template.code
                    if tally is not None:
                        tally.n += 1
                        if id_ > tally.last:
                            tally.last = id_
                        if id_ < tally.first:
                            tally.first = id_
                    if code:
                        part = recording[0] & 127
                        buffer = self._buffers[part]
                        buffer += _RECORD.pack(recording, id_, epoch, seq, xid, code)
                        if len(buffer) > 1 << 15:
                            self._spill(part)
                    return
        where = f"epoch {epoch}, leaf {seq}"
        event = _parse_event(body)
        if event is None or not self._fits(klass, event):
            self.broken("malformed_event", where, f"Event {id_} is not written as events are, or is of another class.")
        elif self._known(event):
            self._single(event, id_, where)

    def _learn(self, key: bytes, klass: bytes, body: bytes) -> _Template:
        event = _parse_event(body)
        usable = (
            event is not None
            and (event["at"], event.get("recording")) == (_AT.decode(), _STAND_IN.decode())
            and self._fits(klass, event)
        )
        code, tally = 0, None
        if usable:
            assert event is not None
            code = _CODES.get(event["action"], 0) if self._known(event, count=False) else 0
            name = self._counted(event)
            tally = self._tallies.setdefault(name, _Tally()) if name else None
        if len(self._templates) >= _TEMPLATES:
            self._templates.clear()
        template = self._templates[key] = _Template(usable, code, tally)
        return template

    @staticmethod
    def _fits(klass: bytes, event: Mapping[str, Any]) -> bool:
        known = CLASS_OF.get(event["action"])
        return known is None or known.encode() == klass

    def _known(self, event: Mapping[str, Any], *, count: bool = True) -> bool:
        known = event["v"] == 1 and event["action"] in CLASS_OF
        if count and not known:
            self._tallies.setdefault(("unknown", event["action"], str(event["v"])), _Tally()).n += 1
        return known

    def _counted(self, event: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Under which name an event of a recording is counted."""
        if not self._known(event, count=False):
            return "unknown", event["action"], str(event["v"])
        dag, run = _run_of(event)
        match event["action"]:
            case "recording.kept" | "recording.corrected" | "recording.quarantined":
                return event["action"].partition(".")[2], dag, run, str(event.get("vendor"))
            case "deletion.planned" if event.get("state_before") == "staged" and event.get("trigger") != "orphan":
                return "refused", dag, run, str(event.get("vendor"))
            case "deletion.done":
                return "done", dag, run, str(event.get("controller", "-")), str(event.get("due_at"))
            case "deletion.armed" | "deletion.sending" | "deletion.store_gone" | "deletion.vendor_asked":
                return "effect", dag, run
        return None

    def _single(self, event: dict[str, Any], id_: int, where: str) -> None:
        """An event that is not one of many alike."""
        run = _run_of(event)
        match event["action"]:
            case "night.planned":
                if run not in self._nights or id_ < self._nights[run][0]:
                    self._nights[run] = id_, event
                if event.get("mode") == "live":
                    self._live_from = min(self._live_from, id_)
            case "night.balanced":
                self._balance(event, id_, where, (*run, "", str(event.get("controller"))), "due", _NIGHT)
            case "import.checked":
                self._checked[run] = event["at"]
            case "import.balanced":
                name = (*run, str(event.get("vendor")), str(event.get("controller")))
                self._balance(event, id_, where, name, "found", _IMPORT)
            case "decision.made" if (event.get("subject"), event.get("decided")) == ("go_live", "approve"):
                self._yes_from = min(self._yes_from, id_)
            case "blocker.change_asked":
                change = str(event.get("blocker")), str(event.get("change"))
                self._asked[change] = min(id_, self._asked.get(change, id_))
            case "blocker.extended":
                self._changed.append((id_, str(event.get("blocker")), "extend", where))
            case "ticket.restricted":
                restricted = str(event.get("blocker")), "lift"
                self._asked[restricted] = min(id_, self._asked.get(restricted, id_))
            case "ticket.lifting_announced":
                lapse = str(event.get("blocker")), "lapse"
                self._asked[lapse] = min(id_, self._asked.get(lapse, id_))
                self._changed.append((id_, str(event.get("blocker")), "lift", where))
            case "ticket.opened" | "ticket.widened":
                # What a request froze may go with it, and nothing else may go so: a hold takes two people, a restriction that
                # stands a day on which the person was told of its end.
                frozen = event.get("blockers")
                for blocker in frozen if type(frozen) is list else ():
                    lapse = str(blocker), "lapse"
                    self._asked[lapse] = min(id_, self._asked.get(lapse, id_))
            case "blocker.lapsed":
                self._changed.append((id_, str(event.get("blocker")), "lapse", where))
            case "blocker.ended":
                asked = {"narrowed": "narrow", "released": "release"}.get(str(event.get("why")), "")
                self._changed.append((id_, str(event.get("blocker")), asked, where))

    def _balance(
        self, event: dict[str, Any], id_: int, where: str, name: tuple[str, ...], whole: str, terms: Sequence[str]
    ) -> None:
        counts = event.get("counts")
        if type(counts) is not dict or any(type(n) is not int for n in counts.values()):
            self.broken("balance_false", where, "It has no counts.")
            return
        balances = counts.get(whole, 0) - counts.get("withdrawn", 0) == sum(counts.get(t, 0) for t in terms)
        if event.get("balanced") is not balances:
            self.broken("balance_false", where, f"It says {event.get('balanced')}, of {_in_words(counts)}.")
        elif not balances:
            self.remark("said_unbalanced", where, f"{' '.join(w for w in name if w)}: {_in_words(counts)}.")
        if name not in self._balances or id_ > self._balances[name][0]:
            self._balances[name] = id_, where, event

    def _spill(self, part: int) -> None:
        with open(self._paths[part], "ab") as file:
            file.write(self._buffers[part])
        self._buffers[part] = bytearray()

    # --- judging --------------------------------------------------------------------------------------------------

    def finish(self, *, missing: bool, torn: bool, expired: set[tuple[str, str]]) -> None:
        """``missing``: some bodies are not in the bundle, ``torn``: nor should they be missing; ``expired``: (class, month)."""
        for part in range(self.PARTS):
            self._spill(part)
            data = self._paths[part].read_bytes()
            self._paths[part].unlink()
            size = _RECORD.size
            self._recordings(sorted([data[at : at + size] for at in range(0, len(data), size)]), missing=missing)
        if not torn:
            self._count_nights({month for klass, month in expired if klass in ("deletion", "run")})
            self._count_imports({month for klass, month in expired if klass in ("import", "deletion")})
        if not missing and self._live_from < self._yes_from:
            self.broken("live_without_yes", f"event {self._live_from}", "The first live night was planned before anybody had said yes.")  # fmt: skip
        for id_, blocker, change, where in self._changed:
            if not missing and self._asked.get((blocker, change), 1 << 63) >= id_:
                self.broken("changed_unasked", where, f"Nobody had asked to {change or 'end'} {blocker}.")
        for name, tally in self._tallies.items():
            if name[0] == "unknown":
                self.remark("unknown_event", "", f"{tally.n} events {name[1]}, version {name[2]}.", tally.n)
        self.verdict.meaning["nights"] = len(self._nights)
        self.verdict.meaning["imports"] = len(self._checked)

    def _recordings(self, records: Sequence[bytes], *, missing: bool) -> None:
        """One part's steps, sorted by recording and id."""
        unpack, recording = _RECORD.unpack, b""
        last = kept = seen = 0
        gone = asked = False
        sent_by = asked_by = (0, 0)
        n = unknown = done = 0
        for record in records:
            whose, _, epoch, seq, xid, code = unpack(record)
            if whose != recording:
                recording, last, kept, gone, asked = whose, 0, 0, False, False
                sent_by = asked_by = (0, 0)
                n += 1
            seen += 1
            if code >= _KEPT:
                if gone:
                    self._step("after_the_end", recording, epoch, seq, code, last)
                elif code == _KEPT:
                    kept += 1
                    if kept > 1:
                        self._step("kept_twice", recording, epoch, seq, code, last)
                continue
            if last == 0 and code != _PLANNED and missing:
                # Its beginning is not in the bundle: what went before is taken to have been right.
                asked, gone = True, code in _WHEN_GONE
                unknown += 1
            elif last == _DONE:
                name = "ended_twice" if code == _DONE else "after_the_end"
                self._step(name, recording, epoch, seq, code, last)
            elif code not in _FOLLOWS[last] or (
                (code == _GONE and sent_by == (epoch, xid)) or (code == _ANSWERED and asked_by == (epoch, xid))
            ):
                # The intent is committed before the effect: never in the effect's own transaction.
                if code == _GONE:
                    self._step("effect_without_intent", recording, epoch, seq, code, last)
                elif code == _SENDING:
                    self._step("sent_unarmed", recording, epoch, seq, code, last)
                elif code == _ASKED and not gone:
                    self._step("asked_too_early", recording, epoch, seq, code, last)
                elif code == _DONE and not gone:
                    self._step("end_without_effect", recording, epoch, seq, code, last)
                elif code == _ANSWERED:
                    self._step("answer_without_question", recording, epoch, seq, code, last)
                else:
                    self._step("after_the_end" if gone else "out_of_turn", recording, epoch, seq, code, last)
            elif code == _ANSWERED and not asked:
                self._step("answer_without_question", recording, epoch, seq, code, last)
            if code == _SENDING:
                sent_by = epoch, xid
            elif code == _GONE:
                gone = True
            elif code == _ASKED:
                asked, asked_by = True, (epoch, xid)
            elif code == _DONE:
                done += 1
            last = code
        counted = self.verdict.meaning
        counted["recordings"] += n
        counted["steps"] += seen
        counted["ended"] += done
        if unknown:
            self.remark("beginning_unknown", "", f"{unknown} deletions begin in the middle.", unknown)

    def _step(self, name: str, recording: bytes, epoch: int, seq: int, code: int, last: int) -> None:
        text = recording.hex()
        uuid = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
        before = f"after {_NAMES[last]}" if last else "with nothing before it"
        self.broken(name, f"epoch {epoch}, leaf {seq}", f"Recording {uuid}: {_NAMES[code]} {before}.")

    def _count_nights(self, expired: set[str]) -> None:
        """A night's ``done`` is what it brought to its end itself, and no more than what has ended since it was planned."""
        done = [(name, tally) for name, tally in self._tallies.items() if name[0] == "done"]
        by_run: dict[tuple[str, ...], list[tuple[str, _Tally]]] = {}
        by_controller: dict[str, list[_Tally]] = {}
        for (_, dag, run, controller, due_at), tally in done:
            by_run.setdefault((dag, run, controller), []).append((due_at, tally))
            by_controller.setdefault(controller, []).append(tally)
        for (dag, run), (_, event) in self._nights.items():
            effect = self._tallies.get(("effect", dag, run))
            if event.get("mode") == "rehearsal" and effect:
                self.broken("effect_in_rehearsal", f"night {event.get('night')}", f"The run {run} was a rehearsal, and took {effect.n} steps of deletions.")  # fmt: skip
        for (dag, run, vendor, controller), (id_, where, event) in self._balances.items():
            if vendor:
                continue
            planned = self._nights.get((dag, run))
            own = by_run.get((dag, run, controller), [])
            if (
                planned is None
                or any(t.last > id_ for _, t in own)
                or {planned[1]["at"][:7], event["at"][:7]} & expired
            ):
                self.remark("uncounted_run", where, f"Night {event.get('night')}, {controller}.")
                continue
            least = sum(t.n for due_at, t in own if due_at <= planned[1]["at"])
            most = sum(t.n for t in by_controller.get(controller, []) if t.last > planned[0])
            said = event["counts"].get("done", 0)
            if not least <= said <= most:
                self.broken("run_miscounted", where, f"Night {event.get('night')}, {controller}: {said} done, and the events tell of {least if said < least else most}.")  # fmt: skip

    def _count_imports(self, expired: set[str]) -> None:
        """What an import kept and corrected is just what its events tell; what it quarantined and refused, at least."""
        words = ("kept", "corrected", "quarantined", "refused")
        totals: dict[tuple[str, str, str], Counter[str]] = {}
        ids: dict[tuple[str, str, str], tuple[int, str, str]] = {}
        for (dag, run, vendor, _), (id_, where, event) in self._balances.items():
            if vendor:
                totals.setdefault((dag, run, vendor), Counter()).update(event["counts"])
                ids[dag, run, vendor] = max(ids.get((dag, run, vendor), (0, "", "")), (id_, where, event["at"]))
        for (dag, run, vendor), said in totals.items():
            id_, where, at = ids[dag, run, vendor]
            told = {w: self._tallies.get((w, dag, run, vendor), _Tally()) for w in words}
            checked = self._checked.get((dag, run))
            if checked is None or any(t.last > id_ for t in told.values()) or {checked[:7], at[:7]} & expired:
                self.remark("uncounted_run", where, f"Import {run}, {vendor}.")
                continue
            for word in words:
                n = said[word] + (said["suppressed"] if word == "refused" else 0)
                if n < told[word].n or (n > told[word].n and word in ("kept", "corrected")):
                    self.broken("run_miscounted", where, f"Import {run}, {vendor}: {n} {word}, and the events tell of {told[word].n}.")  # fmt: skip


def _run_of(event: Mapping[str, Any]) -> _Run:
    actor = event["actor"]
    return str(actor.get("dag", "")), str(actor.get("run", actor.get("account", "")))


def _in_words(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "nothing"


# --- telling ----------------------------------------------------------------------------------------------------------


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def tell(verdict: Verdict) -> Iterator[str]:
    """The verdict in words, a line each."""
    if not verdict.sample:
        yield from _tell_what(verdict)
    yield "Keys, and their fingerprints:"
    for key in verdict.keys:
        yield f"  {key}"
        yield f"  {fingerprint(key)}"
    if verdict.remarks:
        yield ""
        yield "To be known; it breaks nothing:"
        yield from _lines_of(verdict.remarks, verdict.remark_counts)
    yield ""
    if not verdict.ok:
        yield f"BROKEN, in {sum(verdict.counts.values()):,} places:"
        yield from _lines_of(verdict.findings, verdict.counts)
    elif verdict.sample:
        yield f"VERIFIED, as a sample: each of its {verdict.sample:,} events stands under a signed checkpoint. The rest was not looked at."
    else:
        yield "VERIFIED, to these sizes: nothing of it has been changed, and nothing taken out."


def _tell_what(verdict: Verdict) -> Iterator[str]:
    yield f"Trail {verdict.trail!r}, exported {verdict.made_at}"
    yield ""
    for e in verdict.epochs:
        yield f"Epoch {e.epoch}: verified to size {e.verified:,} of {e.size:,}, {e.unsealed:,} unsealed"
        yield f"  {e.bodies:,} bodies read, {e.expired:,} expired, {e.lost:,} lost in a restore, {e.out_of_range:,} out of range"
        if e.first and e.last:
            yield f"  {e.checkpoints:,} checkpoints, {_minute(e.first)} to {_minute(e.last)}"
    m = verdict.meaning
    yield f"Looked at: {m['recordings']:,} recordings, {m['ended']:,} of them ended; {m['nights']:,} nights, {m['imports']:,} imports"
    yield f"Compared with {verdict.kept:,} checkpoints that were kept outside"


def _printable(line: str) -> str:
    """A line without what would steer a terminal: the bundle's own words stand in it."""
    return "".join(c if c.isprintable() else "?" for c in line) + "\n"


def _lines_of(found: Sequence[Finding], counts: Mapping[str, int]) -> Iterator[str]:
    for name in dict.fromkeys(f.name for f in found):
        told = [f for f in found if f.name == name]
        yield f"  {name}: {(FINDINGS | REMARKS)[name]}" if name != "nothing_kept" else f"  {name}: {REMARKS[name]}"  # type: ignore[operator]  # both are dicts
        for f in told:
            if f.words != REMARKS.get(name):
                yield f"    {f.where}: {f.words}" if f.where else f"    {f.words}"
        if name in FINDINGS and counts[name] > len(told):
            yield f"    … and {counts[name] - len(told):,} more"


def as_json(verdict: Verdict) -> str:
    """The verdict for programs."""

    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else vars(value)

    return json.dumps({"verified": verdict.ok, **vars(verdict)}, default=plain, indent=1, sort_keys=True)


def _keys(arguments: argparse.Namespace) -> list[Key]:
    """The keys that were given: as text, in a file, or by their fingerprint out of the bundle's keys.txt."""
    found = []
    for given in arguments.key:
        path = Path(given)
        texts = [given]
        if "+" not in given or path.is_file():
            try:
                texts = path.read_text().split()
            except (OSError, ValueError):
                raise Unreadable(f"{given} is neither a verifier key nor a file with one.") from None
        for text in texts:
            try:
                found.append(parse_key(text))
            except ValueError as wrong:
                raise Unreadable(f"{text[:80]}: {wrong}.") from None
    for given in arguments.fingerprint:
        wanted = "".join(given.split()).lower()
        try:
            texts = (arguments.bundle / "keys.txt").read_text().split()
        except (OSError, ValueError):
            texts = []
        match = [text for text in texts if hashlib.sha256(text.encode()).hexdigest() == wanted]
        if not match:
            raise Unreadable(f"keys.txt has no key of the fingerprint {given}.")
        found.append(parse_key(match[0]))
    if not found:
        raise Unreadable("Without a key nothing can be verified: --key or --fingerprint, from outside the system.")
    return found


def _kept(paths: Sequence[Path]) -> list[tuple[str, bytes]]:
    found = []
    for path in paths:
        files = sorted(p for p in path.rglob("*.note") if p.is_file()) if path.is_dir() else [path]
        if not files:
            raise Unreadable(f"{path} has no checkpoint in it (a file NAME.note).")
        for file in files:
            try:
                with open(file, "rb") as body:
                    found.append((str(file), body.read(LARGEST_NOTE + 1)))
            except OSError as wrong:
                raise Unreadable(f"{file}: {wrong.strerror}.") from None
    return found


def _years(given: Sequence[str]) -> dict[str, int]:
    found = {}
    for text in given:
        klass, _, n = text.partition("=")
        if not re.fullmatch("[a-z_]+", klass) or not re.fullmatch("[0-9]{1,2}", n):
            raise Unreadable(f"{text}: --years wants a class and a number, such as opening=2.")
        found[klass] = int(n)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Verifies an exported trail of callkeeper, offline.", epilog="Exit code: 0 verified, 1 broken, 2 could not read.")  # fmt: skip
    parser.add_argument(
        "bundle",
        type=Path,
        help="the folder that `callkeeper audit export` wrote, or the file of `callkeeper audit sample --proofs`",
    )
    parser.add_argument(
        "--key", action="append", default=[], help="a verifier key, or a file with one; may be repeated"
    )
    parser.add_argument(
        "--fingerprint", action="append", default=[], help="take the key of this fingerprint from the bundle's keys.txt"
    )
    parser.add_argument(
        "--kept",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="a checkpoint that you kept, or a folder of *.note files (a copy of the anchor)",
    )
    parser.add_argument(
        "--silence", type=float, default=2, metavar="HOURS", help="longer than this without a checkpoint is told (2)"
    )
    parser.add_argument(
        "--years",
        action="append",
        default=[],
        metavar="CLASS=N",
        help="how long bodies of a class stay at least (3; opening 2)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(argv)
    try:
        if given.bundle.is_file():
            verdict = verify_sample(given.bundle.read_bytes(), _keys(given))
        else:
            verdict = verify(given.bundle, _keys(given), _kept(given.kept), silence=timedelta(hours=given.silence), years=_years(given.years))  # fmt: skip
    except Unreadable as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 2
    except OSError as wrong:
        sys.stderr.write(f"The bundle cannot be read: {wrong}\n")
        return 2
    getattr(sys.stdout, "reconfigure", dict)(errors="backslashreplace")
    sys.stdout.write(as_json(verdict) + "\n" if given.json else "".join(_printable(line) for line in tell(verdict)))
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main())
