"""How a number is kept: found by a keyed hash, read by the right private key for the right recording only."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper.errors import KeyMissing, NotAllowed
from callkeeper.pseudonyms import (
    PURPOSES,
    SEALED,
    EscrowRefused,
    Keyring,
    KeysUnsafe,
    Sealed,
    Unreadable,
    restore_escrow,
)

NUMBER = "+358401234501"
RECORDING = bytes(range(16))
PASSPHRASE = "kolme vihreää hevosta"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keyring(folder: Path) -> Keyring:
    return Keyring.create(folder)


def _modes(folder: Path) -> dict[str, str]:
    return {p.name: oct(p.stat().st_mode & 0o777) for p in (folder, *folder.iterdir())}


# --- the files --------------------------------------------------------------------------------------------------------


def test_a_new_keyring_has_a_key_for_each_purpose_in_files_for_its_owner_only(folder: Path) -> None:
    before = os.umask(0)
    try:
        keyring = Keyring.create(folder)
    finally:
        os.umask(before)

    assert [k.purpose for k in keyring.keys] == list(PURPOSES)
    assert len({k.key_id for k in keyring.keys} | {k.secret for k in keyring.keys}) == 2 * len(PURPOSES)
    assert _modes(folder) == {
        "keys": "0o700",
        "keyring.json": "0o600",
        "number.private.json": "0o600",
        "reference.private.json": "0o600",
    }


def test_creating_twice_changes_nothing(folder: Path) -> None:
    once = Keyring.create(folder)
    files = {p.name: p.read_bytes() for p in folder.iterdir()}

    assert Keyring.create(folder).keys == once.keys == Keyring.load(folder).keys
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files


def test_a_missing_keyring_is_told_in_words(folder: Path) -> None:
    with pytest.raises(KeyMissing, match="no keyring in the keys folder"):
        Keyring.load(folder)


@pytest.mark.parametrize("name", ["keyring.json", "number.private.json", "reference.private.json"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_file_that_others_can_read_or_change_is_refused(
    keyring: Keyring, folder: Path, name: str, mode: int
) -> None:
    (folder / name).chmod(mode)

    with pytest.raises(KeysUnsafe, match=rf"{name} can be read or changed by others\. chmod 600"):
        Keyring.load(folder)


def test_a_folder_that_others_can_change_is_refused(keyring: Keyring, folder: Path) -> None:
    folder.chmod(0o770)

    with pytest.raises(KeysUnsafe, match="folder can be changed by others"):
        Keyring.load(folder)


def _spoilt(text: str, how: str) -> str:
    document = json.loads(text)
    match how:
        case "cut":
            return text[: len(text) // 2]
        case "version":
            document["version"] = 2
        case "purpose":
            document["keys"][0]["purpose"] = "voiceprint"
        case "length":
            document["keys"][0]["key"] = "AAAA"
        case "twice":
            document["keys"].append(document["keys"][0])
        case "shape":
            document = []
    return json.dumps(document)


@pytest.mark.parametrize("how", ["cut", "version", "purpose", "length", "twice", "shape"])
def test_a_damaged_keyring_is_refused_without_showing_it(keyring: Keyring, folder: Path, how: str) -> None:
    ring = folder / "keyring.json"
    ring.write_text(_spoilt(ring.read_text(), how))

    with pytest.raises(KeysUnsafe, match=r"keyring\.json is damaged") as refused:
        Keyring.load(folder)

    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_keyring_without_a_purpose_is_told_in_words(keyring: Keyring, folder: Path) -> None:
    ring = folder / "keyring.json"
    document = json.loads(ring.read_text())
    document["keys"] = [k for k in document["keys"] if k["purpose"] != "tombstone"]
    ring.write_text(json.dumps(document))

    with pytest.raises(KeyMissing, match="no key for: tombstone"):
        Keyring.load(folder)


def test_another_keyrings_private_key_is_refused(keyring: Keyring, folder: Path) -> None:
    private = folder / "number.private.json"
    document = json.loads(private.read_text())
    other = json.loads((folder / "reference.private.json").read_text())
    document["private"] = dict.fromkeys(document["private"], next(iter(other["private"].values())))
    private.write_text(json.dumps(document))

    with pytest.raises(KeysUnsafe, match=r"number\.private\.json is damaged"):
        Keyring.load(folder)


def test_a_lost_keyring_is_not_replaced_over_its_private_keys(keyring: Keyring, folder: Path) -> None:
    (folder / "keyring.json").unlink()
    private = (folder / "number.private.json").read_bytes()

    with pytest.raises(KeysUnsafe, match="private keys but no keyring"):
        Keyring.create(folder)

    assert (folder / "number.private.json").read_bytes() == private


def _killed_at_each_file_operation(act: Callable[[int], object], then: Callable[[int], None]) -> int:
    """Runs ``act`` in a child killed (SIGKILL) at its first file operation, then at its second, and so on to its end.

    ``then`` looks at what each death left; returns how many there were.
    """
    for nth in range(1, 200):
        child = os.fork()
        if child == 0:
            left = nth

            def hook(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal left
                if event in {"open", "os.mkdir", "os.rename", "os.remove", "fcntl.flock"}:
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            try:
                act(nth)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return nth - 1
        then(nth)
    raise AssertionError("it never came to its end")


def test_a_kill_while_creating_leaves_no_keyring_or_a_whole_one(tmp_path: Path) -> None:
    def then(nth: int) -> None:
        folder = tmp_path / f"{nth}"
        left = Keyring.load(folder).keys if (folder / "keyring.json").exists() else None
        keyring = Keyring.create(folder)
        assert left in (None, keyring.keys)
        assert all(keyring.has_private(k) for k in keyring.keys if k.purpose in SEALED)
        assert set(_modes(folder)) == {f"{nth}", "keyring.json", "number.private.json", "reference.private.json"}

    died = _killed_at_each_file_operation(lambda nth: Keyring.create(tmp_path / f"{nth}"), then)

    assert died > 15


@pytest.mark.parametrize("purpose", ["pseudonym", "number"])
def test_a_kill_while_rotating_leaves_the_old_keyring_or_the_new_one(folder: Path, purpose: Sealed) -> None:
    keyring = Keyring.create(folder)
    sealed = keyring.sealer("number").seal(b"x", RECORDING)

    def then(nth: int) -> None:
        now = Keyring.load(folder)
        assert now.keys[: len(keyring.keys)] == keyring.keys
        assert all(now.has_private(k) for k in now.keys if k.purpose in SEALED)
        assert now.unseal("number", sealed, RECORDING) == b"x"

    died = _killed_at_each_file_operation(lambda nth: Keyring.load(folder).rotate(purpose), then)

    assert died > 10
    assert len(Keyring.load(folder).keys) > len(keyring.keys)


# --- finding ----------------------------------------------------------------------------------------------------------


def test_a_pseudonym_is_the_hmac_sha256_of_the_e164_form(keyring: Keyring, folder: Path) -> None:
    entries = json.loads((folder / "keyring.json").read_text())["keys"]
    key = next(b64decode(e["key"]) for e in entries if e["purpose"] == "pseudonym")

    assert keyring.pseudonym(NUMBER) == hmac.new(key, NUMBER.encode(), hashlib.sha256).digest()
    assert keyring.pseudonyms(NUMBER) == {keyring.key_id: keyring.pseudonym(NUMBER)}
    assert keyring.pseudonym("+358401234502") != keyring.pseudonym(NUMBER)


def test_after_a_rotation_the_new_key_is_in_use_and_the_old_one_still_finds(keyring: Keyring, folder: Path) -> None:
    rotated = keyring.rotate("pseudonym")

    assert rotated.key_id != keyring.key_id
    assert rotated.pseudonym(NUMBER) != keyring.pseudonym(NUMBER)
    assert rotated.pseudonyms(NUMBER) == {
        keyring.key_id: keyring.pseudonym(NUMBER),
        rotated.key_id: rotated.pseudonym(NUMBER),
    }
    assert Keyring.load(folder).key_id == rotated.key_id


def test_rotations_at_the_same_time_lose_no_key(keyring: Keyring, folder: Path) -> None:
    # both start from the same keyring
    keyring.rotate("pseudonym")
    keyring.rotate("pseudonym")

    assert len(Keyring.load(folder).pseudonyms(NUMBER)) == 3


def test_a_retired_key_is_asked_no_more(keyring: Keyring, folder: Path) -> None:
    rotated = keyring.rotate("pseudonym")

    retired = rotated.retire(keyring.key_id)

    assert retired.pseudonyms(NUMBER) == {rotated.key_id: rotated.pseudonym(NUMBER)}
    assert [k.key_id for k in Keyring.load(folder).keys if k.retired_at] == [keyring.key_id]


def test_a_key_in_use_or_of_another_purpose_cannot_retire(keyring: Keyring) -> None:
    for key in keyring.keys:
        with pytest.raises(NotAllowed, match="not in use"):
            keyring.retire(key.key_id)


def test_the_tombstone_key_never_rotates(keyring: Keyring) -> None:
    tombstone = keyring.tombstone("drop", "rec-1")

    with pytest.raises(NotAllowed, match="never rotates"):
        keyring.rotate("tombstone")

    for purpose in ("pseudonym", "number", "reference"):
        keyring = keyring.rotate(purpose)  # type: ignore[arg-type]  # of the literal's values
    assert keyring.tombstone("drop", "rec-1") == tombstone


def test_a_tombstone_tells_vendor_and_identity_apart(keyring: Keyring) -> None:
    marks = {keyring.tombstone(*names) for names in [("a", "bc"), ("ab", "c"), ("a", "bd"), ("b", "bc")]}

    assert len(marks) == 4
    assert all(len(mark) == 32 for mark in marks)
    assert keyring.tombstone(NUMBER, "") != keyring.pseudonym(NUMBER)


# --- reading ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.binary(max_size=40), st.sampled_from(SEALED))
def test_what_was_sealed_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, plain: bytes, bound_to: bytes, purpose: Sealed
) -> None:
    keyring = Keyring.create(tmp_path_factory.getbasetemp() / "shared-keys")

    sealed = keyring.sealer(purpose).seal(plain, bound_to)

    assert keyring.unseal(purpose, sealed, bound_to) == plain
    assert len(sealed) == 65 + len(plain)


def test_a_sealed_value_has_the_documented_form(keyring: Keyring) -> None:
    key_id = next(k.key_id for k in keyring.keys if k.purpose == "number")
    sealer = keyring.sealer("number")

    one, other, elsewhere = sealer.seal(b"x", b""), sealer.seal(b"x", b""), keyring.sealer("number").seal(b"x", b"")

    assert one[:5].hex() == "01" + key_id
    assert one[:37] == other[:37], "a chunk shares its ephemeral key"
    assert one[37:49] != other[37:49], "but never a nonce"
    assert one[5:37] != elsewhere[5:37], "and no other chunk has it"
    assert len({one[49:], other[49:], elsewhere[49:]}) == 3


def test_a_value_opens_for_its_own_recording_only(keyring: Keyring) -> None:
    sealed = keyring.sealer("number").seal(NUMBER.encode(), RECORDING)

    for other in (b"", RECORDING[:-1], RECORDING + b"\0", bytes(16)):
        with pytest.raises(Unreadable, match="belongs to another recording") as refused:
            keyring.unseal("number", sealed, other)
        assert NUMBER[4:] not in str(refused.value)


def test_a_value_opens_for_its_own_purpose_only(keyring: Keyring) -> None:
    sealed = keyring.sealer("number").seal(NUMBER.encode(), RECORDING)

    with pytest.raises(Unreadable, match="no sealed reference"):
        keyring.unseal("reference", sealed, RECORDING)


def test_purposes_are_apart_even_for_one_and_the_same_key(keyring: Keyring, folder: Path) -> None:
    sealed = keyring.sealer("number").seal(NUMBER.encode(), RECORDING)
    ring = folder / "keyring.json"
    ring.write_text(
        ring.read_text().replace('"number"', '"x"').replace('"reference"', '"number"').replace('"x"', '"reference"')
    )
    for name, other in (("number", "old"), ("reference", "number"), ("old", "reference")):
        (folder / f"{name}.private.json").rename(folder / f"{other}.private.json")

    with pytest.raises(Unreadable, match="damaged, or belongs"):
        Keyring.load(folder).unseal("reference", sealed, RECORDING)


def test_any_changed_byte_is_noticed(keyring: Keyring) -> None:
    sealed = keyring.sealer("number").seal(NUMBER.encode(), RECORDING)

    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(Unreadable):
            keyring.unseal("number", bytes(changed), RECORDING)
    for length in range(len(sealed)):
        with pytest.raises(Unreadable):
            keyring.unseal("number", sealed[:length], RECORDING)


def test_another_keyring_opens_nothing(keyring: Keyring, tmp_path: Path) -> None:
    sealed = keyring.sealer("number").seal(NUMBER.encode(), RECORDING)

    with pytest.raises(Unreadable, match="no sealed number of this keyring"):
        Keyring.create(tmp_path / "other").unseal("number", sealed, RECORDING)


def test_without_the_private_key_a_machine_seals_and_cannot_read(keyring: Keyring, folder: Path) -> None:
    (folder / "number.private.json").unlink()
    importer = Keyring.load(folder)

    sealed = importer.sealer("number").seal(NUMBER.encode(), RECORDING)

    with pytest.raises(KeyMissing, match="private key for a sealed number is not on this machine"):
        importer.unseal("number", sealed, RECORDING)
    assert [importer.has_private(k) for k in importer.keys if k.purpose in SEALED] == [False, True]
    reference = importer.sealer("reference").seal(b"ref", RECORDING)
    assert importer.unseal("reference", reference, RECORDING) == b"ref"
    assert keyring.unseal("number", sealed, RECORDING) == NUMBER.encode()


def test_after_a_rotation_old_values_are_read_and_new_ones_are_sealed_to_the_new_key(keyring: Keyring) -> None:
    old = keyring.sealer("number").seal(b"old", RECORDING)

    rotated = keyring.rotate("number")
    new = rotated.sealer("number").seal(b"new", RECORDING)

    assert [rotated.unseal("number", sealed, RECORDING) for sealed in (old, new)] == [b"old", b"new"]
    assert old[1:5] != new[1:5]


def test_a_machine_without_the_private_key_does_not_rotate_it(keyring: Keyring, folder: Path) -> None:
    (folder / "number.private.json").unlink()
    importer = Keyring.load(folder)

    with pytest.raises(KeyMissing, match="not on this machine"):
        importer.rotate("number")

    assert Keyring.load(folder).keys == importer.keys == importer.rotate("pseudonym").keys[:-1]


def test_nothing_prints_a_key(keyring: Keyring) -> None:
    printed = repr(keyring) + repr(keyring.keys) + repr(keyring.sealer("number")) + str(keyring)

    assert repr(keyring) == "Keyring()"
    assert repr(keyring.sealer("number")) == "Sealer()"
    for key in keyring.keys:
        assert repr(key.secret)[2:-1] not in printed
        assert key.secret.hex() not in printed


@pytest.fixture(scope="module")
def escrowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keyring, bytes]:
    """A keyring and its escrow, which costs a second."""
    keyring = Keyring.create(tmp_path_factory.mktemp("escrowed") / "keys")
    return keyring, keyring.escrow(PASSPHRASE)


# --- escrow -----------------------------------------------------------------------------------------------------------


def test_an_escrow_brings_every_key_back(keyring: Keyring, tmp_path: Path) -> None:
    rotated = keyring.rotate("pseudonym").rotate("number")
    rotated = rotated.retire(keyring.key_id)
    sealed = [k.sealer("number").seal(b"x", RECORDING) for k in (keyring, rotated)]

    escrow = rotated.escrow(PASSPHRASE)
    restored = restore_escrow(tmp_path / "elsewhere", escrow, PASSPHRASE)

    assert restored.keys == rotated.keys
    assert restored.pseudonyms(NUMBER) == rotated.pseudonyms(NUMBER)
    assert restored.tombstone("v", "i") == rotated.tombstone("v", "i")
    assert [restored.unseal("number", s, RECORDING) for s in sealed] == [b"x", b"x"]
    assert set(_modes(tmp_path / "elsewhere").values()) == {"0o700", "0o600"}


def test_an_escrow_opens_with_its_passphrase_only(escrowed: tuple[Keyring, bytes], tmp_path: Path) -> None:
    _, escrow = escrowed

    with pytest.raises(EscrowRefused, match="passphrase is wrong, or the escrow is damaged"):
        restore_escrow(tmp_path / "elsewhere", escrow, PASSPHRASE + "!")

    assert not (tmp_path / "elsewhere").exists()


def test_a_passphrase_is_the_same_on_every_keyboard(keyring: Keyring, tmp_path: Path) -> None:
    escrow = keyring.escrow("vihreää hevosta")

    assert restore_escrow(tmp_path / "elsewhere", escrow, "vihrea\u0308a\u0308 hevosta").keys == keyring.keys


@pytest.mark.parametrize(
    "spoil",
    [lambda e: e[:-9], lambda e: e[:60] + b"?" + e[61:], lambda e: b"callkeeper escrow 2" + e[19:], lambda e: b""],
)
def test_a_damaged_escrow_is_refused(
    escrowed: tuple[Keyring, bytes], tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(EscrowRefused):
        restore_escrow(tmp_path / "elsewhere", spoil(escrowed[1]), PASSPHRASE)


def test_an_escrow_survives_a_copy_with_other_line_ends(escrowed: tuple[Keyring, bytes], tmp_path: Path) -> None:
    keyring, escrow = escrowed
    head, _, body = escrow.partition(b"\n")

    copied = head + b"\n" + body.replace(b"\n", b"\r\n") + b"\r\n\r\n"

    assert restore_escrow(tmp_path / "elsewhere", copied, PASSPHRASE).keys == keyring.keys


def test_an_escrow_overwrites_no_key(keyring: Keyring, folder: Path) -> None:
    escrow = keyring.escrow(PASSPHRASE)
    rotated = keyring.rotate("pseudonym")

    with pytest.raises(EscrowRefused, match="not empty"):
        restore_escrow(folder, escrow, PASSPHRASE)

    assert Keyring.load(folder).keys == rotated.keys


def test_half_an_escrow_is_none(keyring: Keyring, folder: Path) -> None:
    (folder / "number.private.json").unlink()

    with pytest.raises(KeyMissing, match="not on this machine"):
        Keyring.load(folder).escrow(PASSPHRASE)


def test_a_short_passphrase_is_refused(keyring: Keyring) -> None:
    with pytest.raises(EscrowRefused, match="12 characters at least"):
        keyring.escrow("hevonen")


def test_an_escrow_shows_nothing_of_the_keys(escrowed: tuple[Keyring, bytes]) -> None:
    keyring, escrow = escrowed
    opened = b64decode(b"".join(escrow.split(b"\n")[1:]))

    for key in keyring.keys:
        assert key.secret not in opened
        assert key.key_id.encode() not in opened
