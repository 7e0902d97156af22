"""``callkeeper keys``, with a real database: what the table and the trail say of the keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from callkeeper import db, pseudonyms
from callkeeper.commands import keys, signin
from callkeeper.errors import NotAllowed
from callkeeper.pseudonyms import EscrowRefused, Keyring, restore_escrow
from callkeeper.settings import Settings

PASSPHRASE = "kolme vihreää hevosta"


@pytest.fixture
def keyring(db_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    """A keyring of this test's own, where the commands find it; whoever signs in is of the data team."""
    own = db_settings.model_copy(update={"keys_dir": tmp_path / "keys"})
    monkeypatch.setattr(keys.settings, "load", lambda: own)
    monkeypatch.setattr(signin, "sign_in", lambda app, account, roles: account or "operator")
    yield Keyring.create(own.keys_dir)
    with db.connect(db_settings, "owner") as conn:
        conn.execute("delete from callkeeper.key")
        conn.commit()


def run(*words: str, typed: str = "") -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(keys.group, words, input=typed, catch_exceptions=False)


def rows(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    conn.rollback()
    return {row.key_id: row for row in db.queries().registered_keys(conn)}


def events(conn: psycopg.Connection[Any], keyring: Keyring) -> list[tuple[str, str]]:
    """(purpose, change) of the keyring's events, in the order of its keys."""
    conn.rollback()
    bodies = [
        json.loads(bytes(r.body)) for r in conn.execute("select body from callkeeper.event where class = 'config'")
    ]
    order = [key.key_id for key in keyring.keys]
    found = sorted((order.index(b["key_id"]), b["purpose"], b["change"]) for b in bodies if b.get("key_id") in order)
    return [(purpose, change) for _, purpose, change in found]


def test_registering_twice_tells_only_what_is_new(app_conn: psycopg.Connection[Any], keyring: Keyring) -> None:
    first = pseudonyms.register(app_conn, keyring)
    again = pseudonyms.register(app_conn, keyring)
    rotated = keyring.rotate("pseudonym")
    after_rotation = pseudonyms.register(app_conn, rotated)
    retired = rotated.retire(keyring.key_id)
    after_retirement = pseudonyms.register(app_conn, retired)

    assert (first, again) == (keyring.keys, ())
    assert [k.key_id for k in after_rotation] == [rotated.key_id]
    assert [k.key_id for k in after_retirement] == [keyring.key_id]


def test_the_table_holds_no_key(app_conn: psycopg.Connection[Any], keyring: Keyring) -> None:
    pseudonyms.register(app_conn, keyring)
    pseudonyms.record_escrow(app_conn, keyring)

    told = str([tuple(map(str, row)) for row in app_conn.execute("select row_to_json(k) from callkeeper.key k")])

    assert all(key.key_id in told for key in keyring.keys)
    assert not any(key.secret.hex() in told for key in keyring.keys)


def test_a_rotation_is_in_the_files_the_table_and_the_trail(
    app_conn: psycopg.Connection[Any], keyring: Keyring, db_settings: Settings
) -> None:
    said = run("rotate", "pseudonym", "--as", "operator")

    now = Keyring.load(keys.settings.load().keys_dir)
    assert said.exit_code == 0
    assert now.key_id != keyring.key_id
    assert set(rows(app_conn)) == {key.key_id for key in now.keys}
    assert events(app_conn, now) == [
        ("number", "created"),
        ("reference", "created"),
        ("pseudonym", "created"),
        ("tombstone", "created"),
        ("pseudonym", "rotated"),
    ]


def test_the_pseudonym_key_does_not_rotate_while_a_hold_waits_for_a_number(
    app_conn: psycopg.Connection[Any], keyring: Keyring
) -> None:
    hold = "insert into callkeeper.blocker (blocker, kind, case_ref, pseudonyms, placed_by, review_on)"
    app_conn.execute(
        f"{hold} values (gen_random_uuid(), 'investigation', 'T-1', %s, 'officer', '2030-01-01')",
        ([keyring.pseudonym("+358401234501")],),
    )
    app_conn.commit()

    with pytest.raises(NotAllowed, match="waits for calls of a number"):
        run("rotate", "pseudonym")
    assert Keyring.load(keys.settings.load().keys_dir).keys == keyring.keys
    assert run("rotate", "number").exit_code == 0

    app_conn.execute("update callkeeper.blocker set ended_at = callkeeper.callkeeper_now()")
    app_conn.commit()
    assert run("rotate", "pseudonym").exit_code == 0


def test_the_tombstone_key_cannot_be_named_for_rotation(keyring: Keyring) -> None:
    said = run("rotate", "tombstone")

    assert said.exit_code == 2
    assert Keyring.load(keys.settings.load().keys_dir).keys == keyring.keys


def test_who_is_not_of_the_data_team_rotates_nothing(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(app: object, account: str | None, roles: tuple[str, ...]) -> str:
        assert roles == ("data_team",)
        raise NotAllowed("No.")

    monkeypatch.setattr(signin, "sign_in", refuse)

    for words in (["rotate", "number"], ["escrow", "file"]):
        with pytest.raises(NotAllowed):
            run(*words)
    assert Keyring.load(keys.settings.load().keys_dir).keys == keyring.keys


def test_an_escrow_is_written_recorded_and_can_be_restored(
    app_conn: psycopg.Connection[Any], keyring: Keyring, tmp_path: Path
) -> None:
    file = tmp_path / "escrow.txt"

    said = run("escrow", str(file), typed=f"{PASSPHRASE}\n{PASSPHRASE}\n")

    assert said.exit_code == 0
    assert PASSPHRASE not in said.output
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert all(row.escrowed_at for row in rows(app_conn).values())
    assert [change for _, change in events(app_conn, keyring)] == ["created", "escrowed"] * 4
    assert restore_escrow(tmp_path / "elsewhere", file.read_bytes(), PASSPHRASE).keys == keyring.keys


def test_an_escrow_that_cannot_be_written_is_not_recorded(
    app_conn: psycopg.Connection[Any], keyring: Keyring, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("something of somebody's")

    for file, why in ((taken, "exists already"), (tmp_path / "nowhere" / "escrow", "cannot be written")):
        with pytest.raises(EscrowRefused, match=why):
            run("escrow", str(file), typed=f"{PASSPHRASE}\n{PASSPHRASE}\n")

    assert taken.read_text() == "something of somebody's"
    assert rows(app_conn) == {}


def test_restore_brings_the_keys_to_an_empty_folder(
    keyring: Keyring, db_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "escrow.txt"
    file.write_bytes(keyring.escrow(PASSPHRASE))
    elsewhere = db_settings.model_copy(update={"keys_dir": tmp_path / "elsewhere"})
    monkeypatch.setattr(keys.settings, "load", lambda: elsewhere)

    said = run("restore", str(file), typed=f"{PASSPHRASE}\n")

    assert "4 keys are back" in said.output
    assert Keyring.load(elsewhere.keys_dir).keys == keyring.keys


def test_the_list_says_what_is_in_use_here_and_escrowed(
    app_conn: psycopg.Connection[Any], keyring: Keyring, tmp_path: Path
) -> None:
    folder = keys.settings.load().keys_dir
    pseudonyms.register(app_conn, keyring)
    pseudonyms.record_escrow(app_conn, keyring)
    app_conn.execute("insert into callkeeper.key (key_id, purpose) values ('0badc0de', 'pseudonym')")
    app_conn.commit()
    keyring = keyring.rotate("pseudonym")
    (folder / "number.private.json").unlink()

    lines = {cells[0]: cells[1:] for line in run("list").output.splitlines() if (cells := line.strip("│ ").split("│"))}
    table = {key.strip(): [cell.strip() for cell in cells] for key, cells in lines.items()}

    number, reference, old, tombstone, new = (table[key.key_id] for key in keyring.keys)
    assert number[:3] == ["number", "in use", "not here"]
    assert reference[:3] == ["reference", "in use", "here"]
    assert old[:3] == ["pseudonym", "live", "-"]
    assert tombstone[:3] == ["tombstone", "in use", "-"]
    assert new[:3] == ["pseudonym", "in use", "-"]
    assert [row[4] == "never" for row in (number, reference, old, tombstone, new)] == [False, False, False, False, True]
    assert table["0badc0de"][:2] == ["pseudonym", "missing"]
