"""Bodies that are past their term go, a month of a class at a time, and nothing else does."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from time import monotonic
from uuid import uuid4

import psycopg
import pytest

from callkeeper import db
from callkeeper.errors import StoreRefused
from callkeeper.jobs import ageing
from callkeeper.jobs.ageing import Month, TrailNotAged
from callkeeper.trail.append import append
from callkeeper.trail.events import (
    Actor,
    BodiesExpired,
    DayClosed,
    DeletionPlanned,
    RecordingKept,
    canonical,
    read,
    utc,
)
from installation import ACTOR

BEGUN = datetime(2023, 10, 31, 22, 30, tzinfo=UTC)
"""Within October for UTC, by which the trail's months go; November already in Helsinki."""
LAST_MOMENT = datetime(2026, 10, 31, 23, 59, tzinfo=UTC)
PAST = datetime(2026, 11, 1, 0, 1, tzinfo=UTC)
CLOSED = DayClosed(vendor="linna", day="2023-10-30", state="complete")


def kept(vendor: str = "linna") -> RecordingKept:
    return RecordingKept(recording=uuid4(), controller="phm", vendor=vendor, delivery=1, blocked=False)


@pytest.fixture
def trail(fresh_office):
    """A trail of October 2023 (three events of import, one of a deletion), nothing sealed."""
    with fresh_office.unguarded():
        fresh_office.sql.execute("truncate anchored, checkpoint, leaf, epoch restart identity")
    fresh_office.sql.execute(
        "drop table if exists event_import_2023_10, event_deletion_2023_10, event_opening_2023_10, event_ticket_2023_10"
    )
    fresh_office.set_clock(BEGUN)
    with fresh_office.connect() as conn:
        append(conn, ACTOR, [kept(), kept("vaihde"), CLOSED])
        conn.commit()
        rejected = DeletionPlanned(
            recording=uuid4(),
            controller=None,
            vendor="linna",
            trigger="quarantine_rejected",
            reason="r",
            state_before="quarantined",
        )
        append(conn, ACTOR, [rejected])
        conn.commit()
    return fresh_office


def seal(office, *, anchored: bool = True, upto: int | None = None) -> None:
    """As the sealer does it, as far as ageing looks; roots and signatures are another's test."""
    sql = office.sql
    sql.execute("insert into epoch (epoch, reason, system_identifier) values (1, 'first', '1') on conflict do nothing")
    sql.execute(
        r"""
        insert into leaf (epoch, seq, event_id, xid, class, at, leaf_hash)
        select 1, row_number() over (order by xid, id) - 1 + (select count(*) from leaf), id, xid, class, at,
            sha256('\x00'::bytea || convert_to(id || ' ' || xid || ' ' || class || ' ', 'UTF8') || body)
        from event e where not exists (select from leaf l where l.event_id = e.id) order by xid, id limit %s
        """,
        (upto,),
    )
    number = sql.execute(
        """
        insert into checkpoint (epoch, size, root, horizon, at, frontier, note)
        select 1, count(*), sha256(''), '3', clock_timestamp(), '{}', '' from leaf returning number
        """
    ).fetchone()[0]
    if anchored:
        sql.execute("insert into anchored (number) values (%s)", (number,))


def age(office) -> list[Month]:
    with office.app.connect("ageing") as conn:
        return ageing.age(conn, ACTOR)


def bodies(office) -> dict[str, int]:
    """How many events there are of each class, those of now left out."""
    return dict(office.rows("select class as of, count(*) from event where at < '2024-01-01' group by 1"))


def month(event_class: str, n: int, why_not: str | None = None) -> Month:
    return Month(event_class=event_class, month="2023-10", bodies=n, why_not=why_not)


def due(months: list[Month]) -> list[Month]:
    """Without the months in which nothing happened."""
    return [m for m in months if m.bodies or m.why_not]


def test_a_month_goes_when_its_last_event_is_past_its_term_and_its_leaves_stay(trail):
    seal(trail)
    trail.set_clock(LAST_MOMENT)
    assert due(age(trail)) == []
    trail.set_clock(PAST)
    leaves = trail.rows("select epoch, seq, event_id, leaf_hash from leaf order by seq")

    assert due(age(trail)) == [month("deletion", 1), month("import", 3)]

    assert bodies(trail) == {}
    assert trail.rows("select epoch, seq, event_id, leaf_hash from leaf order by seq") == leaves
    assert age(trail) == []


def test_the_event_says_what_went_and_its_digest_is_of_the_leaves(trail):
    seal(trail)
    trail.set_clock(PAST)
    places = trail.rows("select epoch, seq from leaf where class = 'import' order by 1, 2")

    age(trail)

    (event,) = [
        found.event
        for row in trail.rows("select body from event where class = 'trail'")
        if (found := read(bytes(row.body))).event.event_class_ == "import"
    ]
    digest = hashlib.sha256(b"".join(b"%d %d\n" % (row.epoch, row.seq) for row in places)).hexdigest()
    assert event == BodiesExpired(event_class_="import", month="2023-10", count=3, digest=digest)


def test_each_class_has_its_term_by_the_configuration_in_force_and_the_trails_own_has_none(trail):
    seal(trail)
    trail.configure(more="\n[terms]\nopenings_years = 1\ndeletion_evidence_years = 2\n")
    terms = dict(trail.rows("select class as of, trail_term(class)::text from event_class"))

    assert terms.pop("opening") == "1 year"
    assert terms.pop("ticket") == "3 years"
    assert terms.pop("trail") is None
    assert set(terms.values()) == {"2 years"}


def test_without_a_configuration_nothing_goes(trail):
    seal(trail)
    trail.set_clock(PAST)
    trail.sql.execute("truncate config_version cascade")

    assert age(trail) == []


@pytest.mark.parametrize(
    ("spoil", "why_not"),
    [
        (lambda o: seal(o, upto=1), "unsealed"),
        (lambda o: seal(o, anchored=False), "unanchored"),
        (lambda o: (seal(o), _by_force(o, "update event_import_2023_10 set body = body || ' '")), "altered"),
        (lambda o: (seal(o), _by_force(o, "update event_import_2023_10 set xid = '5'")), "altered"),
        (lambda o: (seal(o), _by_force(o, "delete from event_import_2023_10 where body like '%linna%'")), "missing"),
    ],
    ids=["unsealed", "unanchored", "altered", "another transaction", "missing"],
)
def test_what_is_not_wholly_sealed_and_anchored_stays_and_is_told(trail, spoil, why_not):
    spoil(trail)
    trail.set_clock(PAST)
    before = trail.value("select count(*) from event_import_2023_10")

    found = age(trail)

    assert month("import", 0, why_not) in found
    assert trail.value("select count(*) from event_import_2023_10") == before
    with pytest.raises(TrailNotAged, match=ageing.WHY_NOT[why_not]) as told:
        ageing.report(found)
    assert not told.value.retry


def _by_force(office, statement: str) -> None:
    """As a superuser could."""
    office.sql.execute("alter table event_import_2023_10 disable trigger no_change")
    office.sql.execute(statement)
    office.sql.execute("alter table event_import_2023_10 enable always trigger no_change")


def test_an_anchor_that_lags_keeps_what_lies_beyond_it(trail):
    seal(trail, upto=3)
    seal(trail, anchored=False)
    trail.set_clock(PAST)

    assert due(age(trail)) == [month("deletion", 0, "unanchored"), month("import", 3)]


@pytest.mark.parametrize(
    "change",
    [{"count": 2}, {"digest": "0" * 64}, {"month": "2023-11"}, {"event_class_": "deletion"}],
    ids=lambda change: next(iter(change)),
)
def test_an_event_that_does_not_say_what_goes_is_refused(trail, change):
    seal(trail)
    trail.set_clock(PAST)
    with trail.app.connect("ageing") as conn:
        found = db.queries().expiry(conn, event_class="import", month=BEGUN.date().replace(day=1))
        event = BodiesExpired(
            **{"event_class_": "import", "month": "2023-10", "count": 3, "digest": found.digest} | change
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="does not say what goes"):
            conn.execute(
                "select expire_bodies('import', '2023-10-01', %s)",
                (canonical(event, ACTOR.facts(), utc(db.now(conn))),),
            )
    assert bodies(trail) == {"import": 3, "deletion": 1}


@pytest.mark.parametrize("body", [b"x", b"{}", None])
def test_without_an_event_nothing_goes(trail, body):
    seal(trail)
    trail.set_clock(PAST)
    with trail.app.connect("ageing") as conn, pytest.raises(psycopg.Error):
        conn.execute("select expire_bodies('import', '2023-10-01', %s)", (body,))
    assert bodies(trail) == {"import": 3, "deletion": 1}


@pytest.mark.parametrize(
    "which", ["'import', '2026-11-01'", "'trail', '2023-10-01'", "'import', '2023-10-02'", "'nothing', '2023-10-01'"]
)
def test_what_is_no_past_month_of_a_class_is_refused(trail, which):
    seal(trail)
    trail.set_clock(PAST)
    with trail.app.connect("ageing") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege, match="not_past"):
        conn.execute(f"select expire_bodies({which}, null)")


def test_a_month_that_is_in_use_is_waited_for_two_seconds_and_goes_another_time(trail, postgres, database):
    seal(trail)
    trail.set_clock(PAST)
    with postgres.connect(database) as reader:
        reader.execute("begin")
        reader.execute("select from callkeeper.event_deletion_2023_10")
        began = monotonic()

        found = due(age(trail))

        assert 2 <= monotonic() - began < 4
        assert found == [month("deletion", 0, "busy")], "and the months after it are left for then"
        with pytest.raises(TrailNotAged) as told:
            ageing.report(found)
        assert told.value.retry
    assert due(age(trail)) == [month("deletion", 1), month("import", 3)]


def test_writers_of_the_present_do_not_wait_for_a_month_that_is_looked_at(trail):
    seal(trail)
    trail.set_clock(PAST)
    with trail.app.connect("ageing") as conn, trail.connect() as writer:
        db.queries().expiry(conn, event_class="import", month=BEGUN.date().replace(day=1))
        writer.execute("set lock_timeout = '100ms'")
        append(writer, ACTOR, [CLOSED])
        writer.commit()


def test_a_month_in_which_nothing_happened_goes_without_an_event(trail):
    trail.set_clock(PAST)

    assert {m.event_class for m in age(trail) if m.why_not is None} >= {"opening", "ticket"}
    assert trail.value("select to_regclass('event_opening_2023_10')") is None
    assert trail.value("select count(*) from event where class = 'trail'") == 0


def test_the_balance_sheet_stays_one_of_all_that_ever_came(trail):
    seal(trail)
    trail.set_clock(PAST)

    def sheet():
        with trail.connect() as conn:
            return [tuple(row) for row in db.queries().balance_sheet(conn)]

    before = sheet()
    age(trail)

    assert before
    assert sheet() == before
    assert trail.rows("select class as of, vendor, kept, rejected from told_before order by 1, 2") == [
        ("deletion", "linna", 0, 1),
        ("import", "linna", 1, 0),
        ("import", "vaihde", 1, 0),
    ]


def test_a_counted_report_is_what_went(trail):
    seal(trail)
    trail.set_clock(PAST)
    counts = ageing.report(age(trail))
    assert counts["bodies"] == 4
    assert counts["months"] >= 2


def test_nobody_but_the_ageing_role_may(trail):
    seal(trail)
    trail.set_clock(PAST)
    with trail.connect() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        ageing.age(conn, Actor(account="data"))


# --- marks of what was deleted ---------------------------------------------------------------------------------------


def age_marks(office):
    with db.connect(office.settings, "ageing") as conn:
        return ageing.age_marks(conn, ACTOR)


def test_a_mark_goes_when_nothing_could_bring_back_what_import_would_not_refuse(fresh_office):
    fresh_office.suppress("recording", b"r")
    fresh_office.suppress("caller", b"c")
    since = fresh_office.value("select since from suppression where kind = 'recording'")
    assert since.date().isoformat() == "2026-11-25"

    # six months, and the 30 days of backups and of the vendor
    fresh_office.set_clock(datetime(2027, 6, 24, 0, 0, tzinfo=UTC))
    assert age_marks(fresh_office) == 0
    fresh_office.set_clock(datetime(2027, 6, 25, 0, 30, tzinfo=UTC))
    assert age_marks(fresh_office) == 1

    assert fresh_office.rows("select kind from suppression") == [("caller",)]
    assert [e["count"] for e in fresh_office.events("marks.expired")] == [1]


def test_no_mark_goes_while_a_vendor_keeps_for_ever(fresh_office):
    fresh_office.configure(("retention_days = 30\n", ""))
    fresh_office.suppress("recording", b"r")
    fresh_office.set_clock(datetime(2036, 1, 1, tzinfo=UTC))

    assert age_marks(fresh_office) == 0


# --- what stands in the store -----------------------------------------------------------------------------------------

OLD, YOUNG = "2023-11-24", "2023-11-25"
"""A day more than three years ago, and just three."""


def put(office, *keys):
    for key in keys:
        body = key.encode()
        office.app.store.put(
            key, io.BytesIO(body), sha256=hashlib.sha256(body).digest(), size_bytes=len(body), content_type="text/plain"
        )


def in_store(office):
    return {v.key for prefix in ("reports/", "tombstones/", "rec/") for v in office.app.store.versions(prefix)}


def age_files(office):
    with office.connect() as conn:
        return ageing.age_files(conn, office.app.destroyer, office.app.config, ACTOR)


def test_reports_go_with_the_evidence_and_tombstones_once_nothing_can_bring_back_what_they_name(fresh_office):
    kept = {
        f"reports/deletion/{YOUNG}/2.json", "reports/deletion/2023-11.pdf", f"reports/notice/{YOUNG}/proof.html",
        "tombstones/2026-10-26/3-ab.jsonl", "reports/README", f"rec/{OLD}/x",
    }  # fmt: skip
    gone = {
        f"reports/deletion/{OLD}/1.json", "reports/deletion/2023-10.pdf", f"reports/notice/{OLD}/proof.html",
        "tombstones/2026-10-25/2-cd.jsonl", f"tombstones/{OLD}/1-ef.jsonl",
    }  # fmt: skip
    put(fresh_office, *kept, *gone)

    assert age_files(fresh_office) == {"reports": 3, "tombstones": 2}

    assert in_store(fresh_office) == kept
    told = [(e["kind"], e["before"], e["count"]) for e in fresh_office.events("files.expired")]
    assert told == [("reports", "2023-11-25", 3), ("tombstones", "2026-10-26", 2)]
    assert age_files(fresh_office) == {"reports": 0, "tombstones": 0}


def test_a_vendor_that_keeps_for_ever_keeps_the_tombstones_as_long_as_the_evidence(fresh_office):
    fresh_office.configure(("retention_days = 30\n", ""))
    put(fresh_office, f"tombstones/{OLD}/1-ef.jsonl", f"tombstones/{YOUNG}/2-cd.jsonl")

    age_files(fresh_office)

    assert in_store(fresh_office) == {f"tombstones/{YOUNG}/2-cd.jsonl"}


def test_files_that_the_store_keeps_are_told(fresh_office):
    put(fresh_office, f"reports/deletion/{OLD}/1.json")
    (version,) = fresh_office.app.store.versions("reports/")
    fresh_office.app.holder.hold(version.key, version.version_id)

    with pytest.raises(StoreRefused, match="1 files of reports are past their term"):
        age_files(fresh_office)
    fresh_office.app.holder.release(version.key, version.version_id)
