"""An older state of the database is restored: what was deleted since must not rise."""

from __future__ import annotations

import io
import json
import os
import subprocess
from datetime import timedelta

import pytest
from click.testing import CliRunner

from callkeeper import wiring
from callkeeper.commands import restore_check as command
from callkeeper.commands import signin
from callkeeper.embedded.postgres import binaries
from callkeeper.embedded.store import RECORDINGS
from callkeeper.errors import NotFound
from callkeeper.jobs import approving, holding, quarantining, reconciling, tombstones
from callkeeper.jobs.tombstones import TombstonesDamaged
from deliver import PHM, Call, deliver, tone
from installation import ACTOR, DAY, at

CALLS = (
    Call(id="a", start=at(8)),
    Call(id="b", start=at(9), line=PHM, audio=tone(1, 600)),
    Call(id="c", start=at(10), audio=tone(1, 700)),
    Call(id="long", start=at(11), ms=3100),  # in quarantine, with its audio
)
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def office(fresh_office):
    """Three calls in the catalogue, one in quarantine, deletion live."""
    deliver(fresh_office.linna, DAY, CALLS)
    fresh_office.run("import")
    fresh_office.go_live()
    return fresh_office


@pytest.fixture
def backup(office, postgres, tmp_path):
    """``backup()`` is a dump of the database as it is now; ``backup.restore()`` brings that state back."""

    class Backup:
        file = tmp_path / "callkeeper.dump"

        def _run(self, program, *words):
            where = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "-d", office.settings.db_name]
            environment = {**os.environ, "PGPASSWORD": postgres.password}
            subprocess.run([str(binaries() / program), *where, *words], env=environment, check=True, timeout=60)

        def __call__(self):
            self._run("pg_dump", "-Fc", "-n", "callkeeper", "-f", str(self.file))

        def restore(self):
            # Some seconds on: the clock is set to a whole one, and must not be back before what was imported.
            now = office.value("select callkeeper_now() + interval '2 seconds'")
            office.sql.execute("drop schema callkeeper cascade")
            self._run("pg_restore", str(self.file))
            office.set_clock(now)

    return Backup()


def mark(office, name):
    return office.app.keyring.tombstone("linna", name)


def erase(office, *names):
    """What an approved erasure puts into the journal."""
    office.sql.execute(
        "insert into deletion (recording, vendor, controller, trigger, object_key) "
        "select recording, vendor, controller, 'erasure_approved', object_key from recording where identity = any (%s)",
        ([mark(office, name) for name in names],),
    )


def export(office, key):
    """A night up to its tombstones."""
    with office.connect() as conn:
        night = office.armed(conn, key)
        return tombstones.export(conn, office.app.store, night.night, ACTOR)


def night(office, key):
    """One night of deletions, its tombstones written before its first effect."""
    export(office, key)
    return office.sweep(key)


def check(office, *, apply=False):
    with office.connect() as conn:
        return tombstones.restore_check(conn, office.app.store, ACTOR, apply=apply)


def files(office):
    """Key → lines of what stands in the store."""
    store = office.app.store
    return {v.key: store.open(v.key, v.version_id).read().splitlines() for v in store.versions("tombstones/")}


def objects(office, name):
    row = office.row("select object_key from recording where identity = %s", mark(office, name))
    return [v for v in office.app.store.versions("rec/") if v.key == row.object_key]


def reconcile(office, key):
    app = office.app
    with office.connect() as conn:
        number = reconciling.begin(conn, key)
        reconciling.compare_store(conn, number, app.store, ACTOR)
        reconciling.read_sample(conn, number, app.store, sample=10)
        reconciling.check_keeping(conn, number, app.holder, app.destroyer, sample=10)
        reconciling.compare_vendors(conn, number, [app.vendor("linna")], app.keyring, relook_days=7)
        return reconciling.balance(conn, key, ACTOR)


# --- tombstones -------------------------------------------------------------------------------------------------------


def test_a_tombstone_stands_in_the_store_before_anything_is_sent(office):
    erase(office, "a", "b")

    assert export(office, "night") == 2

    ((key, lines),) = files(office).items()
    assert key.startswith(f"tombstones/{NEXT}/1-")
    told = [json.loads(line) for line in lines]
    assert {bytes.fromhex(t["mark"]) for t in told} == {mark(office, "a"), mark(office, "b")}
    assert {t["recording"] for t in told} == {str(r.recording) for r in office.rows("select recording from deletion")}
    assert {t["trigger"] for t in told} == {"erasure_approved"}
    assert {name for t in told for name in t} == {"recording", "mark", "trigger", "armed_at"}
    assert {r.state for r in office.rows("select state from deletion")} == {"armed"}
    assert [(e["night"], e["tombstones"]) for e in office.events("tombstones.written")] == [(1, 2)]


def test_tombstones_that_are_written_again_are_the_same_file_and_the_same_event(office):
    erase(office, "a")
    export(office, "night")
    before = files(office)

    assert export(office, "night") == 1

    assert files(office) == before
    assert len(office.events("tombstones.written")) == 1


def test_a_night_in_which_nothing_goes_writes_nothing(office):
    assert export(office, "night") == 0
    assert files(office) == {}
    assert office.events("tombstones.written") == []


def test_many_tombstones_are_several_files(office, monkeypatch):
    monkeypatch.setattr(tombstones, "FILE_ROWS", 2)
    erase(office, "a", "b", "c")

    assert export(office, "night") == 3
    assert sorted(len(lines) for lines in files(office).values()) == [1, 2]


def test_a_nights_number_that_comes_again_after_a_restore_meets_no_file_of_the_first(office, backup):
    backup()
    erase(office, "a")
    night(office, "before")
    backup.restore()
    erase(office, "b")

    assert export(office, "after") == 1
    assert len(files(office)) == 2


def test_tombstones_of_a_night_that_is_not_there_are_refused(office):
    with office.connect() as conn, pytest.raises(NotFound):
        tombstones.export(conn, office.app.store, 7, ACTOR)


# --- after a restore --------------------------------------------------------------------------------------------------


def test_what_was_deleted_since_the_backup_is_found_and_changed_only_when_asked(office, backup):
    backup()
    erase(office, "a")
    night(office, "night")
    backup.restore()

    found = check(office)

    assert found.undone
    assert (found.tombstones, found.marks, found.recordings, found.without_audio, found.lost) == (1, 1, 1, 1, 0)
    assert office.rows("select * from deletion") == []
    assert office.rows("select * from suppression") == []


def test_what_has_risen_is_proven_gone_and_erased_by_the_next_night(office, backup):
    backup()
    erase(office, "a")
    night(office, "night")
    backup.restore()

    applied = check(office, apply=True)

    assert (applied.planned, applied.marks) == (1, 1)
    row = office.row("select state, trigger, controller, waits from deletion")
    assert tuple(row) == ("planned", "erasure_approved", "punavaara", None)
    assert [(e["trigger"], e["reason"], e["state_before"]) for e in office.events("deletion.planned")][-1] == (
        "erasure_approved", "restored_backup", "live",
    )  # fmt: skip
    assert night(office, "after").total("done") == 1
    assert office.value("select count(*) from recording") == 2
    result = reconcile(office, "morning")
    assert (result.findings, result.total("gone")) == ((), 1)


def test_a_check_after_the_check_has_nothing_left_to_do(office, backup):
    backup()
    erase(office, "a")
    night(office, "night")
    backup.restore()
    check(office, apply=True)

    before_the_night = check(office, apply=True)
    night(office, "after")
    after_the_night = check(office, apply=True)

    assert (before_the_night.undone, before_the_night.under_way, before_the_night.planned) == (False, 1, 0)
    assert (after_the_night.undone, after_the_night.recordings, after_the_night.under_way) == (False, 0, 0)


def test_a_call_imported_and_deleted_since_the_backup_does_not_come_back_from_its_vendor(office, backup):
    backup()
    deliver(office.linna, NEXT, [Call(id="new", start=at(8, day=NEXT))])
    office.later(days=1)
    office.run("next", NEXT)
    erase(office, "new")
    night(office, "night")
    backup.restore()
    # The vendor delivers the day once more.
    deliver(office.linna, NEXT, [Call(id="new", start=at(8, day=NEXT))])

    found = check(office, apply=True)
    office.run("next", NEXT)

    assert (found.marks, found.recordings) == (1, 0)
    assert office.rows("select * from recording where identity = %s", mark(office, "new")) == []
    assert office.value("select trigger from deletion") == "redelivered_after_deletion"


def test_a_call_that_is_in_quarantine_again_goes_too(office, backup):
    backup()
    with office.connect() as conn:
        quarantining.reject(
            conn, recording=office.value("select recording from quarantine"), account="officer", actor=ACTOR
        )
    night(office, "night")
    backup.restore()

    found = check(office, apply=True)

    assert (found.quarantined, found.recordings, found.planned) == (1, 0, 1)
    assert office.rows("select * from quarantine") == []
    assert office.value("select trigger from deletion") == "quarantine_rejected"
    assert night(office, "after").total("done") == 1
    result = reconcile(office, "morning")
    assert (result.findings, result.total("gone"), result.total("quarantined")) == ((), 1, 0)


def test_a_call_that_is_staged_again_is_refused_by_the_next_import(office, backup):
    pending = Call(id="late", start=at(13), audio=tone(1, 900), fields={"status": "pending"})
    deliver(office.linna, DAY, [*CALLS, pending], seq=2)
    office.run("pending")
    backup()
    deliver(office.linna, DAY, [*CALLS, Call(id="late", start=at(13), audio=tone(1, 900))], seq=3)
    office.run("arrived")
    erase(office, "late")
    night(office, "night")
    backup.restore()

    found = check(office, apply=True)
    office.run("after")

    assert (found.staged, found.recordings, found.marks) == (1, 0, 1)
    assert office.rows("select * from staging") == []
    assert office.value("select trigger from deletion") == "redelivered_after_deletion"


def test_a_deletion_that_was_under_way_in_the_backup_converges_by_itself(office, backup):
    erase(office, "a", "b")
    with office.connect() as conn:
        office.armed(conn, "night")
    office.sql.execute(
        "update deletion set state = 'sending', sending_at = callkeeper_now() where controller = 'punavaara'"
    )
    backup()
    night(office, "night")
    backup.restore()

    found = check(office)
    balance = night(office, "after")

    assert (found.undone, found.marks, found.recordings) == (False, 0, 0)
    assert balance.total("done") == 2
    assert office.value("select count(*) from recording") == 1


def test_a_deletion_that_was_only_planned_in_the_backup_is_left_to_the_journal(office, backup):
    erase(office, "a")
    backup()
    night(office, "night")
    backup.restore()

    found = check(office, apply=True)

    assert (found.recordings, found.under_way, found.planned, found.marks) == (1, 1, 0, 1)
    assert night(office, "after").total("done") == 1


def test_what_was_held_after_the_backup_is_planned_and_the_store_keeps_it(office, backup):
    """The register of holds is as old as the backup; the legal hold on the object is not."""
    backup()
    erase(office, "a")
    export(office, "night")
    office.block(recordings=(office.value("select recording from deletion"),))
    with office.connect() as conn:
        holding.settle(conn, office.app.holder, ACTOR)
    backup.restore()

    check(office, apply=True)
    balance = night(office, "after")

    assert balance.total("done") == 0
    assert balance.total("failed") == 1
    assert len(objects(office, "a")) == 1


def test_a_restored_row_with_a_later_end_goes_all_the_same(office, backup):
    backup()
    # The vendor corrects the time: the call's term has been over since yesterday.
    deliver(office.linna, DAY, [Call(id="a", start=at(8) - timedelta(days=186))], seq=2)
    office.run("corrected")
    export(office, "surplus")
    with office.connect() as conn:
        approving.approve(conn, approving.propose(conn, approving.Subject.surplus), "officer", ACTOR)
    assert night(office, "night").total("done") == 1
    backup.restore()

    check(office, apply=True)

    assert office.value("select trigger from deletion") == "redelivered_after_deletion"
    assert night(office, "after").total("done") == 1


def test_what_is_in_the_catalogue_though_its_mark_is_suppressed_goes_too(office):
    office.suppress("recording", mark(office, "a"))

    found = check(office, apply=True)

    assert (found.tombstones, found.recordings, found.planned) == (0, 1, 1)
    assert office.value("select trigger from deletion") == "redelivered_after_deletion"


# --- what is no restored database -------------------------------------------------------------------------------------


def test_a_database_that_remembers_its_deletions_has_nothing_to_do(office):
    erase(office, "a")
    night(office, "night")

    found = check(office, apply=True)

    assert found.tombstones == 1
    assert (found.undone, found.recordings, found.planned) == (False, 0, 0)


def test_a_recording_that_was_armed_and_then_kept_is_not_planned_again(office):
    """Its tombstone stands in the store; the database knows better."""
    erase(office, "a", "b")
    export(office, "night")
    office.block(recordings=(office.value("select recording from deletion where controller = 'phm'"),))
    office.sql.execute("update deletion set state = 'withdrawn' where controller = 'punavaara'")

    found = check(office, apply=True)

    assert (found.undone, found.recordings, found.planned) == (False, 0, 0)
    assert office.value("select state from deletion where controller = 'punavaara'") == "withdrawn"


def test_audio_that_is_gone_without_a_tombstone_is_lost_and_not_deleted(office, seaweed):
    row = office.row("select object_key, version_id from recording where identity = %s", mark(office, "a"))
    seaweed.client().delete_object(Bucket=RECORDINGS, Key=row.object_key, VersionId=row.version_id)

    found = check(office, apply=True)

    assert (found.lost, found.undone, found.planned) == (1, False, 0)


def test_tombstones_older_than_all_that_is_here_are_not_read(office):
    erase(office, "a")
    night(office, "night")
    office.sql.execute("update recording set imported_at = imported_at + interval '2 days'")
    office.sql.execute("update quarantine set since = since + interval '2 days'")

    assert check(office).tombstones == 0


def test_a_damaged_file_of_tombstones_stops_the_check(office, seaweed):
    erase(office, "a")
    export(office, "night")
    (key,) = files(office)
    seaweed.client().put_object(Bucket=RECORDINGS, Key=key, Body=io.BytesIO(b"{}\n"))

    with pytest.raises(TombstonesDamaged):
        check(office)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def invoke(office, monkeypatch):
    """``callkeeper restore-check``, signed in as whoever is named."""
    monkeypatch.setattr(wiring, "build", lambda _: office.app)
    monkeypatch.setattr(signin, "sign_in", lambda app, account, roles: account)
    return lambda *words: CliRunner().invoke(command.restore_check, words)


def test_the_command_says_in_words_what_has_risen_and_exits_with_one(office, backup, invoke):
    backup()
    erase(office, "a")
    night(office, "night")
    backup.restore()

    shown = invoke()

    assert shown.exit_code == 1
    assert "1 recordings are in the catalogue again" in shown.output
    assert "restore-check --apply" in shown.output
    assert (
        str(office.value("select recording from recording where identity = %s", mark(office, "a"))) not in shown.output
    )

    applied = invoke("--apply", "--as", "officer")
    assert applied.exit_code == 0, applied.output
    assert "1 were planned to go" in applied.output
    assert office.events("deletion.planned")[-1]["actor"]["account"] == "officer"


def test_the_command_says_that_nothing_has_risen_and_whether_nights_delete(office, invoke):
    shown = invoke()
    assert (shown.exit_code, "Nothing has risen" in shown.output) == (0, True)
    assert "go-live" not in shown.output

    office.sql.execute("truncate decision cascade")
    assert "go-live" in invoke().output


def test_the_command_speaks_to_programs(office, invoke):
    told = json.loads(invoke("--json").output)

    assert (told["recordings"], told["live"], told["since"]) == (0, True, str(NEXT))
