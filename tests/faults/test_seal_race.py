"""Eight processes write while the sealer runs: of 100,000 events none is lost or sealed twice; by ids, some are lost."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from callkeeper import db, wiring
from callkeeper.settings import Settings
from callkeeper.trail.append import append
from faults.killing import _FORKS
from installation import ACTOR
from trail import EVENT, RULES, faults, seal

WRITERS = 8
EVENTS = int(os.environ.get("SEAL_RACE_EVENTS", "100000"))
SEALER = replace(RULES, chunk_rows=5_000)


def write_for_long(settings: Settings, seed: int, events: int) -> None:
    """Short transactions, long ones, and some that are given up, until so many events have been committed."""
    by, left = random.Random(seed), events
    with wiring.build(settings).connect() as conn:
        while left:
            long = by.random() < 0.1
            n = min(left, by.randint(200, 1500) if long else by.randint(1, 40))
            first = by.randint(1, n)
            append(conn, ACTOR, [EVENT] * first)
            time.sleep(by.uniform(0.05, 0.5) if long else by.uniform(0, 0.005))
            if first < n:
                append(conn, ACTOR, [EVENT] * (n - first))
            if by.random() < 0.1:
                conn.rollback()
            else:
                conn.commit()
                left -= n


class ById:
    """What the sealer must not be: it takes what is behind the last id that it has seen."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self, conn: db.Connection) -> None:
        last = self.taken[-1] if self.taken else 0
        self.taken += [row[0] for row in conn.execute("select id from event where id > %s order by id", (last,))]
        conn.rollback()


def in_a_thread(step: Callable[[], object], stop: threading.Event) -> threading.Thread:
    def go() -> None:
        while not stop.is_set():
            step()
            time.sleep(0.02)

    thread = threading.Thread(target=go)
    thread.start()
    return thread


def test_of_what_eight_writers_commit_nothing_is_lost_or_sealed_twice(sealed_office):
    before = sealed_office.value("select count(*) from event")
    writers = [
        _FORKS.Process(target=write_for_long, args=(sealed_office.app.settings, seed, EVENTS // WRITERS))
        for seed in range(WRITERS)
    ]
    by_id, stop = ById(), threading.Event()
    with sealed_office.connect() as naive:
        beside = in_a_thread(lambda: by_id.take(naive), stop)
        for writer in writers:
            writer.start()
        rounds, began = 0, time.monotonic()
        while any(writer.is_alive() for writer in writers):
            assert time.monotonic() - began < 400
            rounds += bool(seal(sealed_office, SEALER).events)
        stop.set()
        beside.join()
        by_id.take(naive)
    took = time.monotonic() - began
    seal(sealed_office, SEALER)

    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    written = {row.id for row in sealed_office.rows("select id from event")}
    assert len(written) - before == EVENTS // WRITERS * WRITERS + 2  # the epoch's event and the key's
    assert faults(sealed_office) == []
    assert rounds > 1, "the sealer had nothing to do while they wrote"
    lost = written - set(by_id.taken)
    print(
        f"{len(written)} events by {WRITERS} writers in {took:.1f} s, {rounds} rounds of the sealer: none lost; by id {len(lost)} lost"
    )
    assert lost, "a sealer by ids would have lost nothing: this test shows nothing"
