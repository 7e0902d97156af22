"""A batch is the next one, whatever plan the database takes: no call in between is passed over."""

from __future__ import annotations

from uuid import UUID

from callkeeper import db
from deliver import Call, deliver
from installation import DAY, at

LIMIT = 3


def claimed(conn, claim, **asked):
    """Everything in batches, while the planner believes that the table has one row: then it may ask an inner select for each."""
    batches, after = [], UUID(int=0)
    while batch := [row.recording for row in claim(conn, limit=LIMIT, after=after, **asked)]:
        batches.append(len(batch))
        after = max(batch)
    return batches


def of_one_row(office, table):
    """As autovacuum leaves it that looked while there was one."""
    office.sql.execute(
        "update pg_class set reltuples = 1, relpages = pg_relation_size(oid) / 8192 where oid = %s::regclass",
        [f"callkeeper.{table}"],
    )


def test_the_audio_of_each_call_is_fetched_in_its_turn(office):
    deliver(
        office.linna,
        DAY,
        [Call(id=f"c{n}", start=at(8, n), audio=None, fields={"status": "pending"}) for n in range(12)],
    )
    office.run("night")
    office.sql.execute("update staging set state = 'listed', media_status = 'available', lane = null")
    office.sql.execute("update run_vendor set checked = true")
    of_one_row(office, "staging")

    with office.connect() as conn:
        run = office.value("select max(run) from import_run")
        assert claimed(conn, db.queries().claim, vendor="linna", run=run, lane=1) == [LIMIT] * 4


def test_each_vendor_is_asked_in_its_turn(office):
    deliver(office.linna, DAY, [Call(id=f"c{n}", start=at(8, n)) for n in range(12)])
    office.run("night")
    office.sql.execute(
        "insert into deletion (recording, vendor, controller, trigger, identity, state, store_gone_at, absence_checked_at) "
        "select recording, vendor, controller, 'retention_expired', identity, 'store_gone', now(), now() from recording"
    )
    of_one_row(office, "deletion")

    with office.connect() as conn:
        asked = {"vendor": "linna", "can_delete": True, "lease_minutes": 15}
        assert claimed(conn, db.queries().claim_to_ask, **asked) == [LIMIT] * 4
