"""What Airflow's listener saw stands in the trail; what it missed is counted by the next seal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from callkeeper import db
from callkeeper.trail import witness
from callkeeper.trail.events import RunEnded, RunStarted, TaskStarted, WitnessMissed, read
from callkeeper.trail.witness import Witness, tell_missed

WHO = witness.actor(dag="seal_audit", run="r", task="seal", attempt=1)


@pytest.fixture
def eyes(db_settings, tmp_path) -> Witness:
    return Witness(tmp_path / "witness", lambda: db_settings)


def said(conn) -> list:
    """The listener's and the seal's events of this test, in their order."""
    rows = conn.execute("select body from event where class in ('run', 'trail') order by id").fetchall()
    return [read(bytes(row.body)) for row in rows]


@pytest.fixture(autouse=True)
def _fresh(postgres, database):
    with postgres.connect(database) as superuser:
        superuser.execute("set session_replication_role = replica; set search_path = callkeeper")
        for part in superuser.execute(
            "select relid::regclass::text as name from pg_partition_tree('event') where isleaf"
        ):
            superuser.execute(f"alter table {part.name} disable trigger all; truncate {part.name}")


def marks(it: Witness) -> list[Path]:
    return sorted(it.folder.glob("[0-9]*"))


def age_marks(it: Witness) -> None:
    for number, mark in enumerate(marks(it)):
        mark.rename(it.folder / f"{time.time_ns() - int((witness.SETTLED_SECONDS + 1) * 1e9)}-1-{number}")


def test_what_it_sees_is_in_the_trail_when_the_task_begins(eyes, app_conn):
    eyes.see(lambda: TaskStarted(code="c0de", triggered_by="officer"), WHO, wait=True)

    (found,) = said(app_conn)
    assert (found.event, found.actor) == (TaskStarted(code="c0de", triggered_by="officer"), WHO)
    assert marks(eyes) == []


def test_what_the_scheduler_sees_is_written_in_its_order(eyes, app_conn):
    eyes.see(lambda: RunStarted(run_type="manual", code="c0de"), WHO, wait=False)
    eyes.see(lambda: RunEnded(state="success", by_hand=False), WHO, wait=False)
    eyes.flush()

    assert [type(found.event) for found in said(app_conn)] == [RunStarted, RunEnded]


def test_a_database_that_hangs_after_it_has_answered_keeps_nobody_longer(eyes, postgres, database, app_conn):
    """The listener's statement waits for a lock here; a server that is stopped is a unit test."""
    with postgres.connect(database) as superuser:
        superuser.execute("begin")
        superuser.execute("lock table callkeeper.event in access exclusive mode")
        began = time.monotonic()
        eyes.see(lambda: TaskStarted(code="c0de"), WHO, wait=True)
        assert 1.9 < time.monotonic() - began < 2.6
        superuser.execute("rollback")
    time.sleep(0.3)

    assert said(app_conn) == []
    assert len(marks(eyes)) == 1


def test_the_next_seal_tells_what_was_missed_once(eyes, app_conn, db_settings):
    monkey = Witness(eyes.folder, lambda: db_settings.model_copy(update={"db_port": 1}))
    monkey.see(lambda: TaskStarted(code="c0de"), WHO, wait=True)
    monkey.see(lambda: TaskStarted(code="c0de"), WHO, wait=True)
    who = witness.actor(dag="seal_audit", run="r2")

    with db.connect(db_settings, "sealer") as sealer:
        assert tell_missed(sealer, eyes.folder, who) == 0, "they may be just being written"
        age_marks(eyes)
        assert tell_missed(sealer, eyes.folder, who) == 2
        assert tell_missed(sealer, eyes.folder, who) == 0

    assert [found.event for found in said(app_conn)] == [WitnessMissed(count=2)]
    assert marks(eyes) == []


def test_a_crash_before_its_commit_forgets_nothing(eyes, app_conn, db_settings, monkeypatch):
    monkey = Witness(eyes.folder, lambda: db_settings.model_copy(update={"db_port": 1}))
    monkey.see(lambda: TaskStarted(code="c0de"), WHO, wait=True)
    age_marks(eyes)
    with db.connect(db_settings, "sealer") as sealer:
        monkeypatch.setattr(sealer, "commit", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tell_missed(sealer, eyes.folder, witness.actor(dag="seal_audit", run="r"))

    assert len(marks(eyes)) == 1
    assert said(app_conn) == []


def test_a_listener_that_is_not_there_is_seen_by_the_seal_that_nobody_saw_begin(eyes, app_conn, db_settings):
    with db.connect(db_settings, "sealer") as sealer:
        assert tell_missed(sealer, eyes.folder, WHO) == 1
        eyes.see(lambda: TaskStarted(code="c0de"), WHO, wait=True)
        assert tell_missed(sealer, eyes.folder, WHO) == 0

    assert [type(found.event) for found in said(app_conn)] == [WitnessMissed, TaskStarted]
