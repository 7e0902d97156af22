"""The second witness fails alone: nobody waits for it, nobody fails by it, and what it missed is counted."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper.settings import PROJECT, Settings
from callkeeper.trail import witness
from callkeeper.trail.events import TaskStarted
from callkeeper.trail.witness import Witness

ACTOR = witness.actor(dag="reconcile", run="r", task="begin", attempt=1)


def seen() -> TaskStarted:
    return TaskStarted(code="0")


@pytest.fixture
def hanging() -> Iterator[int]:
    """The port of a server that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def at(port: int, folder: Path) -> Witness:
    return Witness(folder / "witness", lambda: Settings(home=folder, db_port=port))


def marks(folder: Path) -> int:
    return len(list((folder / "witness").glob("[0-9]*")))


def timed(act) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def test_a_task_waits_two_seconds_for_a_hanging_database_and_the_next_not_at_all(hanging, tmp_path):
    first = timed(lambda: at(hanging, tmp_path).see(seen, ACTOR, wait=True))
    # as in another process: what it knows of the failure stands in the folder
    second = timed(lambda: at(hanging, tmp_path).see(seen, ACTOR, wait=True))

    assert 1.5 < first < 2.5
    assert second < 0.2
    assert marks(tmp_path) == 2


def test_a_database_that_is_down_costs_a_task_nothing(refusing, tmp_path):
    assert timed(lambda: at(refusing, tmp_path).see(seen, ACTOR, wait=True)) < 1
    assert marks(tmp_path) == 1


def test_the_scheduler_never_waits(hanging, tmp_path):
    it = at(hanging, tmp_path)
    it.see(seen, ACTOR, wait=False)

    times = [timed(lambda: it.see(seen, ACTOR, wait=False)) for _ in range(200)]

    assert max(times) < 0.1
    assert sum(times) / len(times) < 0.005
    assert marks(tmp_path) == 201
    it.flush()


def test_after_a_pause_it_tries_again(refusing, tmp_path, monkeypatch):
    it, tries = at(refusing, tmp_path), []
    it.see(seen, ACTOR, wait=True)
    monkeypatch.setattr(it, "_write", tries.append)

    it.see(seen, ACTOR, wait=True)
    assert tries == []
    os.utime(tmp_path / "witness" / "pause", (0, time.time() - witness.PAUSE_SECONDS))
    it.see(seen, ACTOR, wait=True)

    assert [len(sights) for sights in tries] == [1]
    assert marks(tmp_path) == 2, "what was missed stays missed"


def test_whatever_goes_wrong_in_writing_ends_there(tmp_path, monkeypatch):
    it = at(1, tmp_path)

    def fails(sights):
        raise RuntimeError

    monkeypatch.setattr(it, "_write", fails)
    it.see(seen, ACTOR, wait=True)

    assert marks(tmp_path) == 1
    assert (tmp_path / "witness" / "pause").exists()


def test_sights_that_come_while_one_is_written_are_written_together(tmp_path, monkeypatch):
    it, go, written = at(1, tmp_path), threading.Event(), []

    def write(sights):
        go.wait(5)
        written.append(len(sights))

    monkeypatch.setattr(it, "_write", write)
    for _ in range(5):
        it.see(seen, ACTOR, wait=False)
    go.set()
    it.flush()

    assert sum(written) == 5
    assert len(written) <= 2
    assert marks(tmp_path) == 0


def test_what_the_parent_of_a_fork_saw_its_child_does_not_write(tmp_path, monkeypatch):
    it, go, written = at(1, tmp_path), threading.Event(), tmp_path / "written"

    def write(sights):
        go.wait(5)
        with written.open("ab") as file:
            file.write(b"".join(b"%d of %d\n" % (len(sights), os.getpid()) for _ in "1"))

    monkeypatch.setattr(it, "_write", write)
    it.see(seen, ACTOR, wait=False)
    child = os.fork()
    if not child:
        go.set()
        it.see(seen, ACTOR, wait=True)
        os._exit(0)
    os.waitpid(child, 0)
    go.set()
    it.flush()

    assert sorted(written.read_text().split("\n")[:-1]) == sorted([f"1 of {child}", f"1 of {os.getpid()}"])
    assert marks(tmp_path) == 0


def test_only_our_own_dags_are_seen():
    assert witness.is_ours("reconcile")
    assert not witness.is_ours("example_dag")
    assert not witness.is_ours("../include/callkeeper/cli")


def test_the_codes_digest_changes_with_any_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(witness, "PROJECT", tmp_path)
    before = set()
    for name, text in (("dags/a.py", "1"), ("dags/a.py", "2"), ("plugins/b.py", ""), ("include/callkeeper/q.sql", "x")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        before.add(witness.code_digest())
    (tmp_path / "dags" / "__pycache__").mkdir()
    (tmp_path / "dags" / "__pycache__" / "a.pyc").write_text("compiled")

    assert len(before) == 4
    assert witness.code_digest() in before
    assert (PROJECT / "dags").is_dir()
