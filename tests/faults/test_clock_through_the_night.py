"""The retention vectors of the requirements (section 3), month ends and both nights of daylight saving, through whole nights.

The database's clock is stopped one second before each eligibility, at it, and one second after: what a night deletes is
decided by that clock and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import sql

from callkeeper.clock import helsinki_day
from deliver import PUNAVAARA, Call
from faults.world import World
from installation import counts

SECOND = timedelta(seconds=1)
VECTORS = [
    # of the requirements: month ends, a leap year, one hour that comes twice
    ("2026-08-31T20:30:00", "2027-02-28T22:00:00"),
    ("2026-08-31T21:30:00", "2027-03-01T22:00:00"),
    ("2027-08-31T09:00:00", "2028-02-29T22:00:00"),
    ("2026-10-25T00:30:00", "2027-04-25T21:00:00"),
    ("2026-10-25T01:30:00", "2027-04-25T21:00:00"),
    # the last second of a Helsinki day, and the first of the next
    ("2026-11-24T21:59:59", "2027-05-24T21:00:00"),
    ("2026-11-24T22:00:00", "2027-05-25T21:00:00"),
    # into, and out of, each month that is shorter
    ("2026-08-29T09:00:00", "2027-02-28T22:00:00"),
    ("2026-08-30T09:00:00", "2027-02-28T22:00:00"),
    ("2026-12-31T09:00:00", "2027-06-30T21:00:00"),
    ("2027-03-31T09:00:00", "2027-09-30T21:00:00"),
    ("2027-02-28T09:00:00", "2027-08-28T21:00:00"),
    # begun in the night that lacks an hour, on both sides of it
    ("2027-03-28T00:59:59", "2027-09-28T21:00:00"),
    ("2027-03-28T01:00:00", "2027-09-28T21:00:00"),
    # ending as the day of 23 hours begins, and as it ends
    ("2026-09-27T09:00:00", "2027-03-27T22:00:00"),
    ("2026-09-28T09:00:00", "2027-03-28T21:00:00"),
    # ending as the day of 25 hours begins, and as it ends
    ("2026-04-24T09:00:00", "2026-10-24T21:00:00"),
    ("2026-04-25T09:00:00", "2026-10-25T22:00:00"),
]
REAL = "select pg_get_functiondef('callkeeper.callkeeper_now'::regproc)"


@pytest.fixture(scope="module")
def stopped(world: World) -> Iterator[World]:
    """A world whose database's clock stands still, where it is put by ``stop``; deletion is live."""
    real = world.value(REAL)
    try:
        yield world
    finally:
        world.sql.execute(real)


def stop(world: World, moment: datetime) -> None:
    body = sql.SQL("select {}::timestamptz").format(sql.Literal(moment.isoformat()))
    world.sql.execute(
        sql.SQL(
            "create or replace function callkeeper.callkeeper_now() returns timestamptz language sql stable as {}"
        ).format(sql.Literal(body.as_string()))
    )
    world.sql.execute("select callkeeper.ensure_trail_partitions()")


@pytest.fixture
def kept(stopped: World, request: pytest.FixtureRequest) -> tuple[World, datetime]:
    """A call in the catalogue, and when it may go; an evening before, a night has looked ahead."""
    start, eligible = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in request.param)
    stop(stopped, start + timedelta(hours=2))
    stopped.reset()
    stopped.go_live()
    stopped.deliver([Call(id="call", start=start, line=PUNAVAARA)], helsinki_day(start))
    assert stopped.run("import", helsinki_day(start)).balanced
    assert stopped.value("select count(*) from recording") == 1
    stop(stopped, eligible - timedelta(days=1))
    stopped.forecast()
    return stopped, eligible


@pytest.mark.parametrize("kept", VECTORS, indirect=True, ids=[start for start, _ in VECTORS])
def test_it_stays_until_the_second_before_and_goes_at_the_second(kept):
    world, eligible = kept

    stop(world, eligible - SECOND)
    assert world.sweep("too early").total("due") == 0
    assert (len(world.versions()), len(world.vendor.recordings)) == (1, 1)

    stop(world, eligible)
    assert world.sweep("on time").total("done") == 1
    assert (world.versions(), world.vendor.recordings) == ([], {})
    assert world.row("select due_at, done_at from deletion") == (eligible, eligible)
    assert world.trespasses == []


@pytest.mark.parametrize("kept", VECTORS, indirect=True, ids=[start for start, _ in VECTORS])
def test_a_night_that_comes_a_second_later_deletes_it_too(kept):
    world, eligible = kept
    stop(world, eligible + SECOND)

    assert world.sweep("night").total("done") == 1


@pytest.mark.parametrize(("start", "eligible"), VECTORS)
def test_a_call_delivered_a_second_before_its_end_is_kept_and_at_its_end_refused(stopped, start, eligible):
    began, ends = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, eligible))
    for moment, outcome in ((ends - SECOND, "kept"), (ends, "refused")):
        stop(stopped, moment)
        stopped.reset()
        stopped.deliver([Call(id="call", start=began, line=PUNAVAARA)], helsinki_day(began))

        assert counts(stopped.run("import", helsinki_day(began)))[outcome] == 1
