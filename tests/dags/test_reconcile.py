"""The end of a reconciliation in Airflow: who is told, how often, and when the run is red."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest

from callkeeper.embedded.store import RECORDINGS
from callkeeper.errors import NotBalanced
from callkeeper.jobs import reconciling
from installation import ACTOR


@pytest.fixture
def end(fresh_office, monkeypatch):
    """``end(run)`` is the task `balance` after all parts have been compared; ``end.mails`` went out, ``end.notes`` were set."""
    from callkeeper import connections

    class End:
        def __init__(self):
            self.mails, self.notes = [], []

        def send(self, message):
            self.mails.append(message)

        def __call__(self, run):
            app = fresh_office.app
            vars(app)["notifier"] = self
            ti = SimpleNamespace(dag_id="reconcile", run_id=run, task_id="balance", try_number=1)
            with fresh_office.connect() as conn:
                number = reconciling.begin(conn, run)
                reconciling.compare_store(conn, number, app.store, ACTOR)
                reconciling.read_sample(conn, number, app.store, sample=10)
                reconciling.check_keeping(conn, number, app.holder, app.destroyer, sample=10)
                reconciling.compare_vendors(conn, number, [app.vendor("linna")], app.keyring, relook_days=7)
                return connections.end_reconciliation(app, conn, {"ti": ti, "run_id": run})

    ended = End()
    monkeypatch.setattr(connections, "note_run", lambda opened, dag, run, note: ended.notes.append(note))
    fresh_office.change_settings(smtp_host="mail.example")
    return ended


def put(seaweed, key):
    seaweed.client().put_object(Bucket=RECORDINGS, Key=key, Body=b"x")


def test_a_morning_without_findings_is_noted_and_nobody_is_mailed(end):
    counts = end("calm")

    assert end.mails == []
    assert end.notes[-1].startswith("**balanced**: 0 ever imported")
    assert counts == {}


def test_findings_are_mailed_once_however_often_the_task_is_run(end, seaweed):
    put(seaweed, f"rec/2027-05-25/{uuid4()}")

    end("run")
    end("run")

    assert [m.subject for m in end.mails] == ["callkeeper reconcile: 1 findings"]


def test_what_needs_somebody_is_mailed_and_fails_the_run(end, seaweed):
    put(seaweed, "backup.tar")

    with pytest.raises(NotBalanced, match="1 findings"):
        end("run")

    assert [m.subject for m in end.mails] == ["callkeeper reconcile: ALARM"]
    assert end.notes[-1].startswith("**needs somebody**")
