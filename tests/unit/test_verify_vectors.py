"""The verifier's tree and notes, against values that others have published."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest

from callkeeper.trail import verify
from trails import root_of

VECTORS = Path(__file__).parents[1] / "vectors"
TREE = json.loads((VECTORS / "merkle.json").read_text())
NOTES = json.loads((VECTORS / "notes.json").read_text())
LEAVES = [verify.hash_leaf(bytes.fromhex(leaf)) for leaf in TREE["leaves"]]
ROOTS = [bytes.fromhex(TREE["hashes"]["empty_root"]), *map(bytes.fromhex, TREE["roots"])]
OTHER = bytes.fromhex(TREE["other_hash"])
PETER, ENOCH, TEXT = NOTES["peter"], NOTES["enoch"], NOTES["text"]


def proof_of(vector):
    return [bytes.fromhex(h) for h in vector["proof"]]


def keys(*texts):
    return {(k.name, k.id): k for k in map(verify.parse_key, texts)}


def test_leaves_and_nodes_are_hashed_as_rfc_6962_says():
    hashes = TREE["hashes"]
    assert verify.Tree().root().hex() == hashes["empty_root"]
    assert verify.hash_leaf(b"").hex() == hashes["empty_leaf"]
    assert verify.hash_leaf(b"L123456").hex() == hashes["leaf_L123456"]
    assert verify.hash_children(b"N123", b"N456").hex() == hashes["node_N123_N456"]


@pytest.mark.parametrize("size", range(9))
def test_a_tree_has_the_published_root_at_every_size(size):
    tree = verify.Tree()
    tree.grow(b"".join(LEAVES[:size]))
    assert tree.root() == ROOTS[size]
    if str(size) in TREE["frontiers"]:
        assert [node.hex() for node in tree.frontier] == TREE["frontiers"][str(size)]


@pytest.mark.parametrize("size", [int(size) for size in TREE["golden_roots"] if size.isdigit()])
def test_large_trees_have_the_published_roots(size):
    tree = verify.Tree()
    tree.grow(b"".join(verify.hash_leaf(bytes((i & 255, i >> 8 & 255))) for i in range(size)))
    assert base64.b64encode(tree.root()).decode() == TREE["golden_roots"][str(size)]


@pytest.mark.parametrize("vector", TREE["inclusion"], ids=lambda v: f"{v['leaf']} in {v['size']}")
def test_published_inclusion_proofs_hold_and_are_the_ones_we_make(vector):
    leaf, size, proof = vector["leaf"], vector["size"], proof_of(vector)
    assert verify.verify_inclusion(leaf, size, LEAVES[leaf], proof, ROOTS[size])
    assert verify.inclusion_proofs(b"".join(LEAVES[:size]), [leaf])[leaf] == proof


def spoilt_inclusions():
    """The corruptions of proof/verify_test.go, of each published proof."""
    for v in TREE["inclusion"][1:]:
        leaf, size, proof = v["leaf"], v["size"], proof_of(v)
        good = leaf, size, LEAVES[leaf], proof, ROOTS[size]
        for what, at, value in (
            ("leaf-1", 0, leaf - 1), ("leaf+1", 0, leaf + 1), ("leaf^2", 0, leaf ^ 2), ("size*2", 1, size * 2), ("size/2", 1, size // 2),
            ("wrong leaf", 2, b"WrongLeaf"), ("other leaf", 2, OTHER), ("empty root", 4, ROOTS[0]), ("other root", 4, OTHER),
            ("trailing garbage", 3, [*proof, b""]), ("trailing root", 3, [*proof, ROOTS[size]]), ("preceding garbage", 3, [b"", *proof]),
            ("preceding root", 3, [ROOTS[size], *proof]), ("removed", 3, proof[:-1]), ("inserted", 3, [proof[0], OTHER, *proof[1:]]),
        ):  # fmt: skip
            if what == "size*2" and size == 1:
                continue
            yield pytest.param((*good[:at], value, *good[at + 1 :]), id=f"{leaf} in {size}: {what}")
        for i, h in enumerate(proof):
            bent = [*proof[:i], bytes((h[0] ^ 8, *h[1:])), *proof[i + 1 :]]
            yield pytest.param((*good[:3], bent, good[4]), id=f"{leaf} in {size}: bit of {i}")


@pytest.mark.parametrize("spoilt", list(spoilt_inclusions()))
def test_a_spoilt_inclusion_proof_does_not_hold(spoilt):
    assert not verify.verify_inclusion(*spoilt)


@pytest.mark.parametrize("vector", TREE["consistency"], ids=lambda v: f"{v['old']} to {v['new']}")
def test_published_consistency_proofs_hold(vector):
    old, new = vector["old"], vector["new"]
    assert verify.verify_consistency(old, new, proof_of(vector), ROOTS[old], ROOTS[new])


def spoilt_consistencies():
    for v in TREE["consistency"][1:]:
        old, new, proof = v["old"], v["new"], proof_of(v)
        a, b = ROOTS[old], ROOTS[new]
        good = old, new, proof, a, b
        for what, at, value in (
            ("old-1", 0, old - 1), ("old+1", 0, old + 1), ("old^2", 0, old ^ 2), ("new*2", 1, new * 2), ("new/2", 1, new // 2),
            ("wrong old root", 3, b"WrongRoot"), ("wrong new root", 4, b"WrongRoot"), ("empty", 2, []), ("trailing garbage", 2, [*proof, b""]),
            ("trailing old root", 2, [*proof, a]), ("trailing new root", 2, [*proof, b]), ("preceding garbage", 2, [b"", *proof]),
            ("preceding old root", 2, [a, *proof]), ("preceding new root", 2, [b, *proof]), ("repeated", 2, [proof[0], *proof]),
            ("truncated", 2, proof[:-1]),
        ):  # fmt: skip
            if what == "old-1" and old == 1:
                continue  # size 0 is consistent with everything, if the proof is empty
            yield pytest.param((*good[:at], value, *good[at + 1 :]), id=f"{old} to {new}: {what}")
        yield pytest.param((old, new, proof, b, a), id=f"{old} to {new}: swapped roots")
        for i, h in enumerate(proof):
            bent = [*proof[:i], bytes((h[0] ^ 16, *h[1:])), *proof[i + 1 :]]
            yield pytest.param((old, new, bent, a, b), id=f"{old} to {new}: bit of {i}")


@pytest.mark.parametrize("spoilt", list(spoilt_consistencies()))
def test_a_spoilt_consistency_proof_does_not_hold(spoilt):
    assert not verify.verify_consistency(*spoilt)


@pytest.mark.parametrize(
    ("old", "new", "a", "b", "proof", "holds"),
    [
        (0, 0, b"1", b"2", [], False), (1, 1, b"1", b"2", [], False), (0, 0, b"1", b"1", [], True), (0, 1, b"1", b"2", [], True),
        (1, 1, b"2", b"2", [], True), (1, 0, b"1", b"2", [], False), (2, 1, b"1", b"2", [], False), (1, 2, b"1", b"2", [], False),
        (0, 0, ROOTS[0], ROOTS[0], [ROOTS[0]], False), (0, 1, ROOTS[0], ROOTS[0], [ROOTS[0]], False),
        (1, 1, ROOTS[0], ROOTS[0], [ROOTS[0]], False),
    ],
)  # fmt: skip
def test_consistency_at_its_edges(old, new, a, b, proof, holds):
    assert verify.verify_consistency(old, new, proof, a, b) is holds


def test_every_leaf_of_every_small_tree_has_a_proof():
    leaves = [sha256(bytes([i])).digest() for i in range(70)]
    for size in range(1, 70):
        root = root_of(leaves[:size])
        for leaf, proof in verify.inclusion_proofs(b"".join(leaves[:size]), range(size)).items():
            assert verify.verify_inclusion(leaf, size, leaves[leaf], proof, root)
            assert not verify.verify_inclusion(leaf, size, leaves[leaf + 1], proof, root)


def test_the_published_note_is_verified():
    note = verify.parse_note(f"{TEXT}\n{PETER['signature']}{ENOCH['signature']}".encode())

    assert note.text.decode() == TEXT
    assert [k.text for k in verify.verified_by(note, keys(PETER["key"]))] == [PETER["key"]]
    assert [k.name for k in verify.verified_by(note, keys(PETER["key"], ENOCH["key"]))] == ["PeterNeumann", "EnochRoot"]
    assert verify.verified_by(note, {}) == []


def test_a_known_keys_wrong_signature_rejects_the_note():
    swapped = PETER["signature"][:60] + ("A" if PETER["signature"][60] != "A" else "B") + PETER["signature"][61:]
    note = verify.parse_note(f"{TEXT}\n{swapped}".encode())

    assert verify.verified_by(note, keys(ENOCH["key"])) == []
    with pytest.raises(ValueError, match="PeterNeumann"):
        verify.verified_by(note, keys(PETER["key"]))
    other = verify.parse_note(f"{TEXT[1:]}\n{PETER['signature']}".encode())
    with pytest.raises(ValueError, match="PeterNeumann"):
        verify.verified_by(other, keys(PETER["key"]))


@pytest.mark.parametrize(
    "bad",
    [
        TEXT, f"{TEXT}\n", f"{TEXT}\n{PETER['signature'][:-1]}", f"\x01{TEXT}\n{PETER['signature']}",
        f"{TEXT}\n— Bad Name {PETER['signature'].split(' ')[2]}", f"{TEXT}\n{PETER['signature']}Unexpected line.\n",
        f"{TEXT}\n— a+b {PETER['signature'].split(' ')[2]}", f"{TEXT}\n{PETER['signature'] * 101}", f"{TEXT}\n- Peter AAAA\n",
        f"{TEXT}\n— PeterNeumann x08g\n", f"{TEXT}\n— PeterNeumann *\n", f"\r{TEXT}\n{PETER['signature']}", "",
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(bad):
    with pytest.raises(ValueError):
        verify.parse_note(bad.encode())
    with pytest.raises(ValueError):
        verify.parse_note(b"\xff" + f"{TEXT}\n{PETER['signature']}".encode())


def test_sixteen_signatures_are_accepted():
    assert len(verify.parse_note(f"{TEXT}\n{PETER['signature'] * 16}".encode()).signatures) == 16


def test_every_mangling_of_the_published_key_is_refused():
    key, n = PETER["key"], 0
    for i in range(len(key) + 1):
        for j in range(i + 1, len(key) + 1):
            if (i, j) != (0, len(key)):
                with pytest.raises(ValueError):
                    verify.parse_key(key[i:j])
                n += 1
    for i, c in enumerate(key):
        with pytest.raises(ValueError):
            verify.parse_key(key[:i] + chr(ord(c) + 1) + key[i + 1 :])
    for bad in NOTES["bad_keys"]:
        with pytest.raises(ValueError):
            verify.parse_key(bad)
    assert n > 2000


def test_the_specifications_examples_are_read():
    note = verify.parse_note(NOTES["note_with_empty_lines"].encode())
    assert note.text.decode().endswith("\n\ned è subito sera.\n")
    assert note.signatures[0][:2] == ("quasimodo.example/salvatore", bytes.fromhex("367ba04b"))

    checkpoint = verify.parse_checkpoint(NOTES["checkpoint"].encode())
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert base64.b64encode(checkpoint.root).decode() == "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("20852163", "020852163"), ("20852163", "-1"), ("20852163", "+5"), ("20852163", " 7"), ("20852163", "1e3"), ("20852163", "٣"),
        ("20852163", ""), ("CsUY", "Cs\nUY"), ("q2I=", "q2I"), ("q2I=", "q2J="), ("q2I=", "="), ("example.com/behind-the-sofa\n2", "\n2"),
        ("2I=\n", "2I=\n\nmore\n"), ("2I=\n", "2I=\ntime 2026-11-25\n"), ("2I=\n", "2I=\nhorizon 1\nhorizon 1\n"), ("2I=\n", "2I=\nhorizon x\n"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(old, new):
    text = NOTES["checkpoint"]
    assert old in text
    with pytest.raises(ValueError):
        verify.parse_checkpoint(text.replace(old, new, 1).encode())
