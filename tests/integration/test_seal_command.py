"""``callkeeper seal``: what it says, and who may begin an epoch or change a key."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from callkeeper.commands import seal as command
from callkeeper.errors import NotAllowed, TrailBroken
from callkeeper.trail.append import append
from callkeeper.trail.notes import VerifierKey
from installation import ACTOR
from trail import EVENT, Backup, faults, seal, write


@pytest.fixture
def run(sealed_office, monkeypatch):
    """``run("status")`` → what it said; ``run.account`` signs in, the data team's as a rule."""

    def sign_in(app, account, roles):
        if run.account != "data":
            raise NotAllowed(f"{run.account} may not do this.")
        assert roles == ("data_team",)
        return run.account

    def run(*words):
        done = CliRunner(env={"COLUMNS": "200"}).invoke(command.group, words)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    run.account = "data"
    monkeypatch.setattr(command, "sign_in", sign_in)
    monkeypatch.setattr(command.settings, "load", lambda: sealed_office.settings)
    return run


def test_it_seals_and_says_how_far(sealed_office, run):
    write(sealed_office, 3)

    said = run()

    assert said == "Sealed: 4 events more, epoch 1 is at size 5. 2 checkpoints put in the anchor.\n"
    assert faults(sealed_office) == []


def test_it_says_who_holds_the_horizon(sealed_office, run):
    run()
    with sealed_office.connect() as slow:
        append(slow, ACTOR, [EVENT])
        write(sealed_office)
        pid = slow.info.backend_pid

        for said in (run(), run("status")):
            assert f"session {pid} in the database {sealed_office.settings.db_name} (role callkeeper_app)" in said


def test_the_status_before_anything_was_sealed_and_after(sealed_office, run):
    write(sealed_office, 2)
    assert "Nothing has been sealed yet" in run("status")
    assert "2 events not sealed, 0 checkpoints not in the anchor" in run("status")

    run()

    said = run("status")
    assert "epoch 1, size 4, sealed" in said
    assert "0 events not sealed, 0 checkpoints not in the anchor, 0 leaves of lost events" in said
    key = sealed_office.app.seal_keys.live[0].verifier
    assert f"signs    {key.key_hash.hex()}  {key}" in said
    assert VerifierKey.parse(said.split()[-1]) == key


def test_an_epoch_begins_in_the_name_of_who_says_so(sealed_office, run, postgres, tmp_path):
    write(sealed_office, 2)
    seal(sealed_office)
    backup = Backup(sealed_office, postgres, tmp_path / "dump")
    write(sealed_office)
    seal(sealed_office)
    backup.restore()
    with pytest.raises(TrailBroken):
        run()

    said = run("new-epoch", "--reason", "restored_backup")

    assert said.startswith(
        "Epoch 2 is open. 1 leaves came back from the anchor, 0 events that were never sealed are in it."
    )
    assert sealed_office.events("epoch.opened")[-1]["actor"]["account"] == "data"
    run()
    assert faults(sealed_office) == []


def test_a_key_is_rotated_and_retired_in_the_name_of_who_says_so(sealed_office, run):
    run()
    old = sealed_office.app.seal_keys.live[0].verifier

    new = VerifierKey.parse(run("rotate-key").split("\n")[0])
    assert run("retire-key", old.key_hash.hex()).startswith(f"{old}\nsigns no more.")

    status = run("status")
    assert f"signs    {new.key_hash.hex()}" in status
    assert f"retired  {old.key_hash.hex()}" in status
    accounts = [e["actor"]["account"] for e in sealed_office.events("seal_key.added", "seal_key.retired")]
    assert accounts == ["callkeeper seal", "data", "data"]


@pytest.mark.parametrize("words", [("new-epoch", "--reason", "other"), ("rotate-key",), ("retire-key", "00000000")])
def test_whoever_is_not_of_the_data_team_changes_nothing(sealed_office, run, words):
    run()
    before = sealed_office.value("select count(*) from event")
    run.account = "officer"

    with pytest.raises(NotAllowed):
        run(*words)

    assert sealed_office.value("select count(*) from event") == before
