"""Restores, moves, lost keys: the sealer notices, signs nothing, and begins a new epoch when a person says so."""

from __future__ import annotations

import secrets

import pytest

from callkeeper import db
from callkeeper.embedded.ports import free_ports
from callkeeper.embedded.postgres import Postgres
from callkeeper.errors import TrailBroken
from callkeeper.trail.notes import SealKeys
from trail import Backup, faults, judged, last_note, new_epoch, seal, write


@pytest.fixture
def backup(sealed_office, postgres, tmp_path):
    """``backup()`` is a dump of the trail as it is now."""
    return lambda: Backup(sealed_office, postgres, tmp_path / "callkeeper.dump")


@pytest.fixture
def old(sealed_office, backup):
    """A dump with four leaves, and two events that were not sealed yet; sealed since, with three more that the dump lacks."""
    write(sealed_office, 2)
    assert seal(sealed_office).size == 4
    write(sealed_office, 2)
    made = backup()
    write(sealed_office, 3)
    assert seal(sealed_office).size == 9
    return made


def test_after_a_restore_nothing_is_signed_until_a_person_says_so(sealed_office, old):
    old.restore()
    write(sealed_office)

    for _ in range(2):
        with pytest.raises(TrailBroken, match=r"knows of more.*callkeeper seal new-epoch"):
            seal(sealed_office)

    assert sealed_office.value("select max(size) from checkpoint") == 4


def test_a_new_epoch_takes_back_what_the_anchor_knows_and_seals_what_never_was(sealed_office, old, tmp_path):
    old.restore()
    write(sealed_office)

    opened = new_epoch(sealed_office.app)

    assert (opened.epoch, opened.adopted, opened.carried) == (2, 5, 1)
    # Two of the five leaves are of events that the backup has; three are known by their hashes only.
    assert sealed_office.value("select count(*) from leaf where event_id is null") == 3
    said = sealed_office.events("epoch.opened")[-1]
    assert (said["reason"], said["previous_epoch"], said["previous_size"], said["anchored_size"]) == ("restored_backup", 1, 9, 9)  # fmt: skip
    assert said["previous_root"] == said["anchored_root"]
    write(sealed_office, 2)
    assert seal(sealed_office).size == 4
    assert last_note(sealed_office).origin == "callkeeper/2"
    assert faults(sealed_office) == []
    assert judged(sealed_office, tmp_path / "bundle") == []


def test_a_second_restore_goes_on_from_the_epoch_that_the_backup_does_not_know(sealed_office, old, tmp_path):
    old.restore()
    new_epoch(sealed_office.app)
    old.restore()

    opened = new_epoch(sealed_office.app)

    assert (opened.epoch, opened.adopted) == (3, 6)
    seal(sealed_office)
    assert faults(sealed_office) == []
    assert judged(sealed_office, tmp_path / "bundle") == []


def test_a_database_that_moved_to_another_server_begins_anew_whatever_its_transaction_ids(sealed_office, old, tmp_path):
    """Its ids are of thousands, the new server's of hundreds: nothing of the one may wait for the other's."""
    server = Postgres(tmp_path / "elsewhere", free_ports(["p"])["p"], password=secrets.token_hex(8), fsync=False)
    server.start()
    try:
        settings = sealed_office.settings.model_copy(update={"db_port": server.port, "db_name": "moved"})
        passwords = {role: getattr(settings, f"db_{role}_password").get_secret_value() for role in db.ROLES}
        with server.connect() as superuser:
            db.ensure_roles(superuser, passwords, "moved")
        old.restore_in(server, "moved")
        with server.connect("moved") as superuser:
            superuser.execute("set search_path = callkeeper")
            sealed_office.settings, sealed_office.sql = settings, superuser
            sealed_office.app = sealed_office._build()
            assert sealed_office.value("select max(xid) > pg_snapshot_xmax(pg_current_snapshot()) from event")
            with pytest.raises(TrailBroken, match="another cluster"):
                seal(sealed_office)

            opened = new_epoch(sealed_office.app, "moved_database")

            assert (opened.epoch, opened.adopted, opened.carried) == (2, 5, 0)
            write(sealed_office, 5)
            done = seal(sealed_office)
            assert (done.size, done.waiting) == (6, 0)
            assert faults(sealed_office) == []
            assert judged(sealed_office, tmp_path / "bundle") == []
    finally:
        server.stop()


def test_a_database_that_was_restored_to_before_it_was_ever_sealed_is_noticed(sealed_office, backup, tmp_path):
    write(sealed_office, 2)
    unsealed = backup()
    seal(sealed_office)
    unsealed.restore()

    with pytest.raises(TrailBroken, match="has never been sealed"):
        seal(sealed_office)

    assert new_epoch(sealed_office.app).adopted == 4
    seal(sealed_office)
    assert faults(sealed_office) == []
    assert judged(sealed_office, tmp_path / "bundle") == []


def two_histories(office, old, seaweed):
    """The backup was sealed further into another anchor, then given the first one again."""
    first = office.settings.anchor_bucket
    old.restore()
    bucket = f"callkeeper-anchor-{secrets.token_hex(6)}"
    seaweed.make_bucket(bucket)
    office.change_settings(anchor_bucket=bucket)
    with office.unguarded():
        office.sql.execute("delete from anchored")
    write(office, 9)
    seal(office)
    office.change_settings(anchor_bucket=first)
    with office.unguarded():
        office.sql.execute("delete from anchored where number > 1")


def test_two_histories_are_signed_on_by_neither_command_until_a_person_says_that_they_are_two(
    sealed_office, old, seaweed
):
    two_histories(sealed_office, old, seaweed)
    for attempt in (seal, lambda office: new_epoch(office.app)):
        with pytest.raises(TrailBroken):
            attempt(sealed_office)

    opened = new_epoch(sealed_office.app, "other")

    said = sealed_office.events("epoch.opened")[-1]
    assert (opened.epoch, opened.adopted) == (2, 0)
    assert said["previous_root"] != said["anchored_root"]
    write(sealed_office)
    assert seal(sealed_office).epoch == 2


def test_lost_keys_are_noticed_and_a_new_epoch_begins_under_new_ones(sealed_office, tmp_path):
    write(sealed_office)
    seal(sealed_office)
    folder = tmp_path / "new-trail-keys"
    SealKeys.create(folder, "callkeeper")
    sealed_office.change_settings(trail_keys_dir=folder)

    with pytest.raises(TrailBroken, match="no signature of a key that is known"):
        seal(sealed_office)
    with pytest.raises(TrailBroken):
        new_epoch(sealed_office.app)

    assert new_epoch(sealed_office.app, "other").epoch == 2
    seal(sealed_office)
    told = [e["verifier_key"] for e in sealed_office.events("seal_key.added")]
    assert told[-1] == str(sealed_office.app.seal_keys.live[0].verifier)
    assert len(told) == 2


def test_what_lies_over_a_checkpoint_in_the_anchor_is_noticed(sealed_office, seaweed):
    write(sealed_office)
    size = seal(sealed_office).size
    seaweed.client().delete_object(Bucket=sealed_office.settings.anchor_bucket, Key=f"0001/{size:016d}.note")

    with pytest.raises(TrailBroken, match="lies over a checkpoint"):
        seal(sealed_office)


def test_nobody_can_delete_a_checkpoint_that_stands_in_the_anchor(sealed_office, seaweed, tmp_path):
    write(sealed_office)
    seal(sealed_office)
    admin, bucket = seaweed.client(), sealed_office.settings.anchor_bucket

    for version in sealed_office.app.anchor.standing().notes.values():
        which = {"Bucket": bucket, "Key": version.key, "VersionId": version.version_id}
        with pytest.raises(admin.exceptions.ClientError):
            admin.delete_object(**which)
        with pytest.raises(admin.exceptions.ClientError):
            admin.delete_object(**which, BypassGovernanceRetention=True)
    assert faults(sealed_office) == []
    assert judged(sealed_office, tmp_path / "bundle") == []
