"""The second witness: what Airflow says that it ran, written into the trail beside what our own tasks say that they did.

Airflow's listener calls it: for runs in the scheduler and, when somebody sets a state by hand, in the api-server; for tasks in
the task's process. None of them may fail or wait because of it. So a sight is marked by an empty file first, then written by a
thread, with one time-out over connecting and writing; written, its mark goes. After a failure nobody tries for a while. Marks
that stay are what was missed: the next seal counts them (``tell_missed``), whatever became of the process that made them.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from callkeeper import __version__, db
from callkeeper.settings import PROJECT, Settings
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, Event, WitnessMissed, canonical, utc

log = logging.getLogger(__name__)

SECONDS = 2.0
"""So long may connecting and writing take together; so long does a task wait for it at most."""
PAUSE_SECONDS = 10.0
"""So long does no process try again after a failure."""
SETTLED_SECONDS = 30.0
"""A younger mark may be of a sight that is just being written."""
_PAUSE = "pause"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sight:
    event: Callable[[], Event]
    actor: Actor
    mark: Path


class Witness:
    """What one process saw and has not written yet. ``settings`` is called in the writing thread."""

    def __init__(self, folder: Path, settings: Callable[[], Settings]) -> None:
        self.folder = folder
        self._settings = settings
        self._number = itertools.count(1)
        self._begin()
        # A fork copies what waits, and no thread: what the parent saw, the parent writes.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Sight] = []
        self._thread: threading.Thread | None = None

    def see(self, event: Callable[[], Event], actor: Actor, *, wait: bool) -> None:
        """Has the event written; ``wait``: until it is, or SECONDS have passed. Raises OSError where it cannot even be marked."""
        mark = self.folder / f"{time.time_ns()}-{os.getpid()}-{next(self._number)}"
        try:
            mark.touch(mode=0o600)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch(mode=0o600)
        with self._lock:
            self._waiting.append(_Sight(event=event, actor=actor, mark=mark))
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_what_waits, name="callkeeper-witness", daemon=True)
                self._thread.start()
        if wait:
            self.flush()

    def flush(self) -> None:
        """Waits until all is written or given up, for SECONDS at most."""
        if thread := self._thread:
            thread.join(SECONDS)
            if thread.is_alive():  # the process may end before the thread can say so
                self._pause()

    def _write_what_waits(self) -> None:
        while True:
            with self._lock:
                sights, self._waiting = self._waiting, []
                if not sights:
                    self._thread = None
                    return
            if self._pauses():
                continue
            try:
                self._write(sights)
                for sight in sights:
                    sight.mark.unlink(missing_ok=True)
            except Exception as wrong:  # noqa: BLE001  # a process's edge: whatever it is, only this thread may end by it
                log.warning("%d sights could not be written (%s); their marks stay", len(sights), type(wrong).__name__)
                self._pause()

    def _write(self, sights: list[_Sight]) -> None:
        # All that takes time of its own comes before the time-out begins.
        settings = self._settings()
        seen = [(sight.event(), sight.actor.facts()) for sight in sights]
        with db.connect(settings, "witness", seconds=SECONDS) as conn:
            stamp = utc(db.now(conn))
            bodies = [canonical(event, who, stamp) for event, who in seen]
            # Not by its name in queries/: reading those files takes a new process longer than all the rest.
            conn.execute("select callkeeper.witness(%s::bytea[])", (bodies,))
            conn.commit()

    def _pauses(self) -> bool:
        try:
            return time.time() - (self.folder / _PAUSE).stat().st_mtime < PAUSE_SECONDS
        except OSError:
            return False

    def _pause(self) -> None:
        with contextlib.suppress(OSError):  # without it each sight is tried, which costs nobody but this thread
            (self.folder / _PAUSE).touch(mode=0o600)


def actor(*, dag: str, run: str, task: str | None = None, attempt: int | None = None) -> Actor:
    """Who acts, as Airflow knows it; the version is that of this process's code."""
    return Actor(dag=dag, run=run, task=task, attempt=attempt, rule=__version__)


def is_ours(dag: str) -> bool:
    """Whether it is one of callkeeper's DAGs: they are named as their files."""
    return dag.isidentifier() and (PROJECT / "dags" / f"{dag}.py").is_file()


def code_digest() -> str:
    """SHA-256, in hex, of what runs: each file of the package, the DAGs and the plugins, by name, length and bytes."""
    digest = hashlib.sha256()
    for part in ("dags", "include/callkeeper", "plugins"):
        for path in sorted((PROJECT / part).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                data = path.read_bytes()
                digest.update(f"{path.relative_to(PROJECT).as_posix()} {len(data)}\n".encode())
                digest.update(data)
    return digest.hexdigest()


def missed(folder: Path) -> list[Path]:
    """The marks of what was seen and is not known to be written; without those that are too young to tell."""
    settled = time.time() - SETTLED_SECONDS
    # When it was made is in its name: it may be gone before it could be asked.
    return (
        [mark for mark in folder.glob("[0-9]*") if int(mark.name.partition("-")[0]) < settled * 1e9]
        if folder.is_dir()
        else []
    )


def tell_missed(conn: db.Connection, folder: Path, who: Actor) -> int:
    """Writes into the trail how much the witness missed, commits, and forgets it; returns how much.

    Counted are the marks that stay, and ``who`` itself if it is a task that no witness saw begin: then the listener is not there
    at all. The count errs upwards only: what was written and not confirmed counts, and a crash in here lets it count again.
    """
    marks = missed(folder)
    unseen = who.task is not None and not db.queries().witnessed_start(
        conn, dag=who.dag, run=who.run, task=who.task, attempt=who.attempt
    )
    count = len(marks) + int(unseen)
    if count:
        append(conn, who, [WitnessMissed(count=count)])
        conn.commit()
    else:
        conn.rollback()
    for mark in marks:
        mark.unlink(missing_ok=True)
    return count
