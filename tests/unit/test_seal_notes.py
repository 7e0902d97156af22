"""The tree and the notes of the sealer, against what others have published (facts: RFC 6962, C2SP, their reference implementations)."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from datetime import UTC, datetime

import pytest

from callkeeper.errors import KeyMissing, TrailBroken
from callkeeper.trail import notes, tree
from callkeeper.trail.notes import Checkpoint, SealKeys, SealKeysUnsafe, SigningKey, VerifierKey

# transparency-dev/merkle, testonly: the leaves' data and the root at each size from 1 on.
DATA = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [hashlib.sha256(b"\x00" + bytes.fromhex(data)).digest() for data in DATA]

# golang.org/x/mod/sumdb/note, the example of its documentation.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

SAID = Checkpoint(origin="callkeeper/1", size=3, root=b"r" * 32, at=datetime(2026, 11, 28, 12, tzinfo=UTC), horizon=871)


@pytest.fixture
def keys(tmp_path) -> SealKeys:
    return SealKeys.create(tmp_path / "trail-keys", "callkeeper")


def test_the_roots_are_those_that_are_published():
    assert tree.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [tree.root(tree.extend([], 0, LEAVES[:n])[0]).hex() for n in range(1, 9)] == ROOTS


@pytest.mark.parametrize("first", range(9))
def test_a_tree_grows_from_its_frontier_as_from_its_leaves(first):
    frontier, size = tree.extend([], 0, LEAVES[:first])
    assert len(frontier) == first.bit_count()

    assert tree.extend(frontier, size, LEAVES[first:]) == tree.extend([], 0, LEAVES)


def test_a_key_and_its_signature_are_those_that_are_published(tmp_path):
    key = notes._signing_key(PETERS)

    assert str(key.verifier) == PETER
    assert key.line(TEXT) == SIGNATURE
    assert VerifierKey.parse(PETER) == key.verifier
    assert notes._signed(TEXT, SIGNATURE.strip(), [VerifierKey.parse(PETER)])


def test_a_note_says_what_was_signed_and_nothing_else(keys):
    note = notes.write(SAID, keys.live)

    assert note.split("\n")[:6] == [
        "callkeeper/1", "3", base64.b64encode(SAID.root).decode(), "time 2026-11-28T12:00:00.000000Z", "horizon 871", "",
    ]  # fmt: skip
    assert notes.read(note, keys.known) == SAID


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n3\n", "\n4\n"),
        ("callkeeper/1", "callkeeper/2"),
        ("horizon 871", "horizon 870"),
        ("12:00", "12:01"),
        ("— ", "- "),
        ("\n\n", "\n"),
    ],
)
def test_a_note_that_was_changed_bears_no_signature(keys, old, new):
    with pytest.raises(TrailBroken):
        notes.read(notes.write(SAID, keys.live).replace(old, new, 1), keys.known)


def test_a_strangers_signature_is_none(keys, tmp_path):
    stranger = SealKeys.create(tmp_path / "others", "callkeeper")

    with pytest.raises(TrailBroken, match="no signature"):
        notes.read(notes.write(SAID, stranger.live), keys.known)


def test_keys_are_made_once_for_their_owner_only(keys):
    again = SealKeys.create(keys.folder, "callkeeper")

    assert again.known == keys.known
    modes = {stat.S_IMODE(path.stat().st_mode) for path in keys.folder.iterdir()}
    assert (stat.S_IMODE(keys.folder.stat().st_mode), modes) == (0o700, {0o600})


def test_a_key_that_others_can_read_signs_nothing(keys):
    os.chmod(next(keys.folder.iterdir()), 0o640)

    with pytest.raises(SealKeysUnsafe):
        SealKeys.load(keys.folder)


def test_without_a_key_the_words_say_what_to_do(tmp_path):
    with pytest.raises(KeyMissing, match="Bring its folder back"):
        SealKeys.load(tmp_path)


def test_a_folder_whose_keys_are_retired_gets_no_new_one_by_itself(keys):
    old = keys.live[0]
    new = keys.add()
    keys.take_up(new)
    SealKeys.load(keys.folder).retire(old)
    (keys.folder / f"{new.verifier.key_hash.hex()}.key").unlink()

    with pytest.raises(KeyMissing):
        SealKeys.create(keys.folder, "callkeeper")


def test_what_a_retired_key_signed_is_still_believed_and_its_private_half_is_gone(keys):
    note = notes.write(SAID, keys.live)
    old = keys.live[0]
    keys.take_up(keys.add())
    SealKeys.load(keys.folder).retire(old)

    now = SealKeys.load(keys.folder)
    assert notes.read(note, now.known) == SAID
    assert old.verifier not in [key.verifier for key in now.live]
    assert not any("PRIVATE" in path.read_text() for path in keys.folder.glob("*.retired"))


def test_a_key_is_printed_without_its_private_half(keys):
    key: SigningKey = keys.live[0]
    assert base64.b64encode(key.private.private_bytes_raw()).decode()[:40] not in f"{key!r} {keys!r}"
