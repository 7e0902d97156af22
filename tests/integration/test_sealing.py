"""The sealer on a real database and store: what it seals, in which order, under which signature, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta

import pytest

from callkeeper import db
from callkeeper.embedded.ports import free_ports
from callkeeper.embedded.postgres import Postgres
from callkeeper.errors import TrailBroken
from callkeeper.jobs import sealing
from callkeeper.trail import notes, tree
from callkeeper.trail import seal as seal_module
from callkeeper.trail.append import append
from installation import ACTOR, Installation
from trail import EVENT, RULES, faults, last_note, root, seal, write


def root_of(office: Installation) -> bytes:
    """The root over what the events say themselves."""
    rows = office.rows(
        "select e.id, e.xid::text as xid, e.class as of, e.body from leaf l join event e on e.id = l.event_id order by l.seq"
    )
    return root([hashlib.sha256(b"\x00" + f"{r.id} {r.xid} {r.of} ".encode() + bytes(r.body)).digest() for r in rows])


def test_the_first_run_opens_an_epoch_and_seals_everything(sealed_office):
    write(sealed_office, 7)

    done = seal(sealed_office)

    # the epoch's own event, the key's, and the seven
    assert (done.epoch, done.size, done.waiting) == (1, 9, 0)
    said = last_note(sealed_office)
    assert (said.origin, said.size, said.root) == ("callkeeper/1", 9, root_of(sealed_office))
    opened = sealed_office.events("epoch.opened")
    assert [(e["epoch"], e["reason"], e["carried"]) for e in opened] == [(1, "first", 0)]
    assert [e["verifier_key"] for e in sealed_office.events("seal_key.added")] == [
        str(sealed_office.app.seal_keys.live[0].verifier)
    ]


def test_a_run_seals_in_chunks_each_with_its_checkpoint_and_each_in_the_anchor(sealed_office):
    write(sealed_office, 25)

    done = seal(sealed_office, replace(RULES, chunk_rows=10))

    assert done.size == 27
    sizes = [r.size for r in sealed_office.rows("select size from checkpoint order by size")]
    assert sizes == [1, 11, 21, 27]
    outside = sealed_office.app.anchor.standing()
    assert sorted(outside.notes) == [(1, size) for size in sizes]
    assert sorted(outside.leaves) == [(1, 0, 1), (1, 1, 11), (1, 11, 21), (1, 21, 27)]
    hashes = b"".join(sealed_office.app.anchor.read(outside.leaves[key]) for key in sorted(outside.leaves))
    assert tree.root(tree.extend([], 0, tree.split(hashes))[0]) == root_of(sealed_office)


def test_without_anything_new_nothing_is_signed(sealed_office):
    write(sealed_office)
    before = seal(sealed_office).size

    again = seal(sealed_office)

    assert (again.size, again.events, again.checkpoints, again.anchored) == (before, 0, 0, 0)


def test_what_a_longer_transaction_wrote_earlier_is_sealed_when_it_ends(sealed_office):
    write(sealed_office)
    with sealed_office.connect() as slow:
        append(slow, ACTOR, [EVENT])
        write(sealed_office, 3)

        held = seal(sealed_office)
        slow.commit()
    after = seal(sealed_office)

    assert (held.size, held.waiting, after.waiting) == (2, 4, 0)
    assert after.size == 7
    order = sealed_office.rows("select xid::text::bigint as x, event_id from leaf where seq > 0 order by seq")
    assert order == sorted(order)
    assert last_note(sealed_office).root == root_of(sealed_office)


def test_the_note_has_the_form_of_a_checkpoint(sealed_office):
    write(sealed_office)
    seal(sealed_office)

    note = sealed_office.value("select note from checkpoint order by size desc limit 1")
    text, signature = note.split("\n\n")
    lines = text.split("\n")
    assert lines[:2] == ["callkeeper/1", "3"]
    assert base64.b64decode(lines[2]) == root_of(sealed_office)
    assert [line.split(" ")[0] for line in lines[3:]] == ["time", "horizon"]
    assert signature.startswith("— callkeeper ")
    assert signature.endswith("\n")


@pytest.mark.parametrize(
    ("tampered", "words"),
    [
        ("update checkpoint set root = sha256('x') where size = 9", "not what was signed"),
        ("update checkpoint set size = 10 where size = 9", "not what was signed"),
        ("update checkpoint set frontier[1] = sha256('x') where size = 9", "does not come to the root"),
        ("update checkpoint set note = replace(note, E'\\n9\\n', E'\\n8\\n') where size = 9", "no signature"),
        ("delete from leaf where seq = 8", "not as many leaves"),
        ("delete from leaf where seq = 4", "not as many leaves"),
        ("delete from checkpoint where size = 9", "not as many leaves|missing in|knows of more"),
        ("update epoch set system_identifier = '1'", "another cluster"),
    ],
)  # fmt: skip
def test_a_trail_that_a_superuser_has_changed_is_not_signed_on(sealed_office, tampered, words):
    write(sealed_office, 7)
    seal(sealed_office)
    write(sealed_office)
    with sealed_office.unguarded():
        if "from checkpoint" in tampered:
            sealed_office.sql.execute("delete from anchored")
        sealed_office.sql.execute(tampered)
    before = sealed_office.value("select count(*) from checkpoint")

    with pytest.raises(TrailBroken, match=words):
        seal(sealed_office)

    assert sealed_office.value("select count(*) from checkpoint") == before


def test_what_a_run_that_was_cut_off_left_is_not_taken_for_covered(sealed_office):
    """Its events are below the horizon of a checkpoint that they are not under."""
    write(sealed_office, 9)
    with sealed_office.app.connect("sealer") as conn:
        keys, anchor = sealed_office.app.seal_keys, sealed_office.app.anchor
        sealing.run(conn, keys, anchor, RULES, ACTOR, until=0)
        with seal_module.sole_sealer(conn, wait_seconds=1):
            assert seal_module.seal_batch(conn, keys, rows=2, actor=ACTOR) == 2

        done = sealing.cover(conn, keys, anchor, RULES, ACTOR, seconds=5)

    assert (done.covered, done.events) == (True, 8)
    assert faults(sealed_office) == []


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server_clock(monkeypatch):
    """``server_clock(of_timedelta)`` moves the real clock that the sealer is told, and no other."""
    asked = db.queries().sealing_moment

    def move(**of_timedelta: int) -> None:
        moved = timedelta(**of_timedelta)
        monkeypatch.setattr(db.queries(), "sealing_moment", lambda conn: (m := asked(conn))._replace(at=m.at + moved))

    return move


def test_a_clock_that_was_set_back_is_told_once_and_no_checkpoints_time_goes_back(sealed_office, server_clock):
    seal(sealed_office)
    server_clock(hours=1)
    write(sealed_office)
    seal(sealed_office)
    ahead = last_note(sealed_office).at

    server_clock(hours=0)
    for _ in range(3):
        write(sealed_office)
        seal(sealed_office)
        assert last_note(sealed_office).at == ahead
    server_clock(hours=2)
    write(sealed_office)
    seal(sealed_office)

    assert last_note(sealed_office).at > ahead
    (told,) = sealed_office.events("clock.went_back")
    assert 3500 < told["seconds"] <= 3600
    assert faults(sealed_office) == []


def test_a_server_whose_transaction_ids_have_gone_back_is_not_signed_on(sealed_office, monkeypatch):
    """As after a restore of the whole cluster to an earlier time: its identifier stays the same."""
    write(sealed_office)
    seal(sealed_office)
    asked = db.queries().sealing_moment
    monkeypatch.setattr(db.queries(), "sealing_moment", lambda conn: asked(conn)._replace(horizon="700"))

    with pytest.raises(TrailBroken, match="have gone back"):
        seal(sealed_office)


def test_a_prepared_transaction_that_holds_everything_up_is_named(tmp_path):
    server = Postgres(tmp_path / "data", free_ports(["p"])["p"], password=secrets.token_hex(8), fsync=False)
    server.start()
    try:
        with server.connect() as superuser:
            superuser.execute("alter system set max_prepared_transactions = 2")
        server.stop()
        server.start()
        with server.connect() as superuser:
            superuser.execute("create table elsewhere (n integer)")
            superuser.execute("begin")
            superuser.execute("insert into elsewhere values (1)")
            superuser.execute("prepare transaction 'forgotten'")
            q = db.queries()

            (held,) = q.sealing_blockers(superuser, horizon=q.sealing_moment(superuser).horizon)

        assert str(sealing.Blocker(**held._asdict())) == (
            "prepared transaction forgotten in the database postgres (role postgres)"
        )
    finally:
        server.stop()


# --- keys -------------------------------------------------------------------------------------------------------------


def signers(office: Installation) -> list[int]:
    """How many signatures each checkpoint bears."""
    return [r.note.count("\n— ") for r in office.rows("select note from checkpoint order by number")]


def rotate(office: Installation, change=sealing.add_key, *arguments: str):
    office.change_settings()  # a program of its own reads the folder anew
    with office.app.connect("sealer") as conn:
        return change(conn, office.app.seal_keys, office.app.anchor, RULES, ACTOR, *arguments)


def test_a_new_key_signs_beside_the_old_one_once_that_has_sealed_its_adding(sealed_office):
    write(sealed_office)
    seal(sealed_office)
    old = sealed_office.app.seal_keys.live[0]

    new = rotate(sealed_office)
    added = sealed_office.value(
        "select min(c.size) from checkpoint c, leaf l, event e where l.event_id = e.id and c.size > l.seq and e.class = 'trail' "
        "and convert_from(e.body, 'UTF8') like %s", f"%{new.verifier}%",
    )  # fmt: skip
    assert notes.read(sealed_office.value("select note from checkpoint where size = %s", added), [old.verifier]), (
        "under a checkpoint of the old key"
    )
    write(sealed_office)
    sealed_office.change_settings()
    seal(sealed_office)

    assert signers(sealed_office) == [1, 1, 1, 2]
    note = sealed_office.value("select note from checkpoint order by size desc limit 1")
    assert notes.read(note, [old.verifier]) == notes.read(note, [new.verifier])


def test_a_retired_key_signs_for_the_last_time_that_it_is(sealed_office):
    write(sealed_office)
    seal(sealed_office)
    old = sealed_office.app.seal_keys.live[0].verifier
    new = rotate(sealed_office).verifier

    rotate(sealed_office, sealing.retire_key, old.key_hash.hex())
    note = sealed_office.value("select note from checkpoint order by size desc limit 1")
    assert notes.read(note, [old])
    assert [e["verifier_key"] for e in sealed_office.events("seal_key.retired")] == [str(old)]
    write(sealed_office)
    sealed_office.change_settings()
    seal(sealed_office)

    note = sealed_office.value("select note from checkpoint order by size desc limit 1")
    assert notes.read(note, [new])
    with pytest.raises(TrailBroken):
        notes.read(note, [old])
    assert faults(sealed_office) == []


def test_the_only_key_is_not_retired(sealed_office):
    with pytest.raises(sealing.NotRetired):
        rotate(sealed_office, sealing.retire_key, sealed_office.app.seal_keys.live[0].verifier.key_hash.hex())
