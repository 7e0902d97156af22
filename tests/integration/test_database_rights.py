"""What each role of the database must not be able to do, and what nobody can do to the trail (architecture, rule 12)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from callkeeper import db
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, DayClosed

EVENT = DayClosed(vendor="linna", day="2026-11-24", state="complete")
SECRET = (
    "pseudonym", "sealed_number", "sealed_ref", "identity", "revision", "mark", "object_key", "pseudonyms",
    "sealed_facts", "sealed_passphrase",
)  # fmt: skip


@pytest.fixture
def superuser(postgres, database) -> Iterator[psycopg.Connection]:
    """A superuser who has put aside all ordinary triggers."""
    with postgres.connect(database) as conn:
        conn.execute("set search_path = callkeeper")
        conn.execute("set session_replication_role = replica")
        yield conn


@pytest.fixture
def an_event(db_settings) -> None:
    with db.connect(db_settings) as conn:
        append(conn, Actor(account="test"), [EVENT])
        conn.commit()


def month() -> str:
    return f"event_import_{datetime.now(UTC):%Y_%m}"


def refused(settings, role, statement: str) -> bool:
    with db.connect(settings, role) as conn:
        try:
            conn.execute(statement)
        except errors.InsufficientPrivilege:
            return True
        return False


NO_TRAIL = [
    f"{verb} {part}{rest}"
    for part in ("event", "event_import", "{month}")
    for verb, rest in (("update", " set class = class"), ("delete from", ""), ("truncate", ""))
] + [
    "insert into {month} (class, at, body) values ('import', now(), 'x')",
    "insert into event (class, at, body, xid) values ('import', now(), 'x', '3')",
    "insert into event (class, at, body, id) overriding system value values ('import', now(), 'x', 1)",
    "alter table event disable trigger all",
    "alter table {month} disable trigger no_change",
    "drop table {month}",
    "alter table event_import detach partition {month}",
]
SEALED = ("epoch", "leaf", "checkpoint", "anchored")
SEALS = [
    "insert into epoch (epoch, reason, system_identifier) values (1, 'first', '1')",
    "insert into leaf (epoch, seq, leaf_hash) values (1, 0, sha256('x'))",
    "insert into checkpoint (epoch, size, root, horizon, at, frontier, note) values (1, 1, sha256('x'), '3', now(), '{}', 'x')",
    "insert into anchored (number) values (1)",
]
NO_UNSEALING = [
    f"{verb} {table}{rest}"
    for table, column in zip(SEALED, ("reason", "seq", "note", "at"), strict=True)
    for verb, rest in (("update", f" set {column} = {column}"), ("delete from", ""), ("truncate", " cascade"))
]
NO_CLOCK = [
    "insert into clock_shift (shift) values ('1 hour')",
    "update clock_shift set shift = '1 hour'",
    "delete from clock_shift",
    "create or replace function callkeeper_now() returns timestamptz language sql return 'epoch'::timestamptz",
]
NO_DDL = [
    "create table mine (n integer)",
    "create schema mine",
    "drop table recording",
    "alter table recording add column n integer",
    "create function mine() returns integer language sql return 1",
    "drop function covers",
    "create role mine",
    "set role callkeeper_owner",
    "set session_replication_role = replica",
    "alter role callkeeper_app superuser",
]
NO_SUPPRESSION = [
    "update suppression set review_on = null",
    "delete from suppression",
    "truncate suppression",
]
NO_REGISTER = [
    f"delete from {table}"
    for table in (
        "deletion", "blocker", "decision", "night", "hold", "import_run", "delivery", "delivery_day", "tally", "config_version",
        "controller", "line", "processor", "key",
    )
] + ["update decision set account = 'another'"]  # fmt: skip
NO_CATALOGUE = [
    f"select from {table}" for table in ("staging", "quarantine", "recording", "deletion", "blocker", "suppression")
]
NO_WRITING = [
    f"{verb} {table}{rest}"
    for table in (
        "recording",
        "quarantine",
        "staging",
        "blocker",
        "deletion",
        "line",
        "import_run",
        "delivery_day",
        "tally",
    )
    for verb, rest in (("insert into", " default values"), ("update", " set vendor = vendor"), ("delete from", ""))
    if not (verb == "update" and table in ("blocker", "line", "import_run"))
]
TICKETS = ("ticket", "ticket_subject", "ticket_recording", "ticket_delivery", "package", "opening")
NO_TICKETS = [f"select from {table}" for table in TICKETS]
NO_AGEING = [
    "select expire_bodies('import', date_trunc('month', now())::date, null)",
    "update subject_salt set ticket = ticket",
    "delete from subject_salt",
    *(f"delete from {table}" for table in TICKETS),
    *(f"update {table} set at = at" for table in ("ticket_delivery", "opening")),
    "insert into told_before values ('import', now(), 'linna', 1, 0, 0, 0)",
]
AGEING_ONLY = "select expire_marks()"
WITNESS_ONLY = "select witness(array[convert_to('{\"action\":\"task.started\"}', 'UTF8')])"
MUST_NOT = {
    "app": [*SEALS, *NO_UNSEALING, *NO_TRAIL, *NO_CLOCK, *NO_DDL, *NO_SUPPRESSION, *NO_REGISTER, *NO_AGEING, AGEING_ONLY, WITNESS_ONLY],
    "sealer": [*NO_UNSEALING, *NO_TRAIL, *NO_CLOCK, *NO_DDL, *NO_SUPPRESSION, *NO_REGISTER, *NO_CATALOGUE, *NO_TICKETS, *NO_WRITING, *NO_AGEING, AGEING_ONLY, WITNESS_ONLY],
    # Its function refuses what is not past its term, sealed and anchored.
    "ageing": [*SEALS, *NO_UNSEALING, *NO_TRAIL, *NO_CLOCK, *NO_DDL, *NO_SUPPRESSION, *NO_REGISTER, *NO_CATALOGUE, *NO_TICKETS, *NO_WRITING, *NO_AGEING, WITNESS_ONLY],
    "witness": [
        *NO_TRAIL, *NO_CLOCK, *NO_DDL, *NO_SUPPRESSION, *NO_REGISTER, *NO_CATALOGUE, *NO_TICKETS, *NO_WRITING, *NO_AGEING, AGEING_ONLY,
        "insert into event (class, at, body) values ('run', now(), 'x')",
        "select from event",
        "select ensure_trail_partitions()",
        "select witness(array[convert_to('{\"action\":\"night.balanced\"}', 'UTF8')])",
        "select witness(array[convert_to('{}', 'UTF8')])",
        "select witness(array[convert_to('{\"action\":\"run.ended\"}', 'UTF8'), convert_to('{\"action\":\"deletion.done\"}', 'UTF8')])",
    ],
    "auditor": [
        *SEALS, *NO_UNSEALING, *NO_TRAIL, *NO_CLOCK, *NO_DDL, *NO_SUPPRESSION, *NO_REGISTER, *NO_CATALOGUE, *NO_TICKETS, *NO_WRITING, *NO_AGEING, AGEING_ONLY, WITNESS_ONLY,
        "insert into event (class, at, body) values ('import', now(), 'x')",
        "select ensure_trail_partitions()",
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", MUST_NOT)
def test_a_role_cannot_do_what_it_must_not(db_settings, an_event, role):
    statements = [statement.replace("{month}", month()) for statement in MUST_NOT[role]]

    assert [s for s in statements if not refused(db_settings, role, s)] == []


def test_each_role_can_do_its_work(db_settings, an_event):
    for role in ("app", "sealer", "ageing"):
        with db.connect(db_settings, role) as conn:
            conn.execute("insert into event (class, at, body) values ('import', now(), 'x')")
            assert conn.execute("select ensure_trail_partitions()").fetchone() is not None
    with db.connect(db_settings, "witness") as conn:
        assert conn.execute(WITNESS_ONLY).fetchone()[0] == 1
    for role in ("app", "sealer", "ageing", "auditor"):
        with db.connect(db_settings, role) as conn:
            assert conn.execute("select count(*) from event").fetchone()[0] >= 1
    with db.connect(db_settings) as conn:
        conn.execute("insert into suppression (kind, mark) values ('recording', 'x')")
        conn.execute("select from recording, staging, quarantine, deletion, blocker")
        conn.execute(f"select from {', '.join(TICKETS)}")


def test_the_auditor_reads_no_column_that_could_tell_who_called(db_settings, superuser):
    readable = superuser.execute(
        """
        select table_name, column_name from information_schema.columns
        where table_schema = 'callkeeper'
          and has_column_privilege('callkeeper_auditor', format('callkeeper.%%I', table_name), column_name, 'select')
          and column_name = any (%s)
          -- a night's is that of its report
          and (table_name, column_name) <> ('night', 'revision')
        """,
        (list(SECRET),),
    ).fetchall()
    assert readable == []


def test_nobody_else_gets_in(postgres, database, superuser):
    stranger = "create role stranger login password 'stranger'"
    superuser.execute(stranger)
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(host="127.0.0.1", port=postgres.port, user="stranger", password="stranger", dbname=database)
        assert not superuser.execute("select has_schema_privilege('stranger', 'callkeeper', 'usage')").fetchone()[0]
    finally:
        superuser.execute("drop role stranger")


# --- the trail --------------------------------------------------------------------------------------------------------


def leaves(conn) -> list[tuple[str, str, str]]:
    """(partition, its class, a time within its month) of every part of the trail that holds rows."""
    return [
        tuple(row)
        for row in conn.execute(
            """
            select p.relid::text, substring(p.relid::text from 'event_(.*)_\\d{4}_\\d\\d$'),
                   replace(right(p.relid::text, 7), '_', '-') || '-15'
            from pg_partition_tree('event') p where p.isleaf order by 1
            """
        )
    ]


def unguarded(conn) -> list[str]:
    """Which statements a superuser under session_replication_role = replica gets through on the trail."""
    passed = []

    def attempt(statement: str) -> None:
        try:
            with conn.transaction(force_rollback=True):
                conn.execute(statement)
            passed.append(statement)
        except errors.InsufficientPrivilege as wrong:
            if "append-only" not in str(wrong):
                raise

    parts = leaves(conn)
    for leaf, of_class, day in parts:
        conn.execute("insert into event (class, at, body) values (%s, %s, 'x')", (of_class, f"{day} 12:00+00"))
        for table in (leaf, f"event_{of_class}", "event"):
            attempt(f"update {table} set body = 'y' where class = '{of_class}' and at = '{day} 12:00+00'")
            attempt(f"delete from {table} where class = '{of_class}' and at = '{day} 12:00+00'")
        attempt(f"truncate {leaf}")
    for table in [*sorted({f"event_{of_class}" for _, of_class, _ in parts}), "event"]:
        attempt(f"truncate {table}")
    return passed


def test_a_superuser_without_ordinary_triggers_still_cannot_change_the_trail(superuser):
    assert len(leaves(superuser)) >= 8 * 4
    assert unguarded(superuser) == []


def test_a_superuser_without_ordinary_triggers_cannot_change_what_was_sealed(superuser):
    with superuser.transaction(force_rollback=True):
        for statement in SEALS[:3]:
            superuser.execute(statement)
        superuser.execute("insert into anchored select max(number) from checkpoint")
        for statement in NO_UNSEALING:
            with pytest.raises(errors.InsufficientPrivilege, match="append-only"), superuser.transaction():
                superuser.execute(statement)


@pytest.mark.parametrize(
    ("size", "horizon", "at"), [(1, "9", "2027-01-02"), (2, "8", "2027-01-02"), (2, "9", "2026-12-31")]
)
def test_no_checkpoint_goes_back_in_size_horizon_or_time(superuser, size, horizon, at):
    put = "insert into checkpoint (epoch, size, root, horizon, at, frontier, note) values (1, %s, sha256('x'), %s, %s, '{}', 'x')"
    with superuser.transaction(force_rollback=True):
        superuser.execute(SEALS[0])
        superuser.execute(put, (1, "9", "2027-01-01"))
        with pytest.raises((errors.CheckViolation, errors.UniqueViolation)), superuser.transaction():
            superuser.execute(put, (size, horizon, at))
        superuser.execute(put, (2, "9", "2027-01-01"))


def test_the_guards_hold_for_months_that_are_made_later(superuser, db_settings, owner_conn):
    before = set(leaves(superuser))
    db.move_clock(owner_conn, int(timedelta(days=100).total_seconds()))
    owner_conn.commit()
    try:
        new = set(leaves(superuser)) - before
        assert len(new) >= 8 * 3
        assert unguarded(superuser) == []
        with db.connect(db_settings) as conn:
            append(conn, Actor(account="test"), [EVENT])
            assert db.queries().ensure_trail_partitions(conn) == 0
    finally:
        db.move_clock(owner_conn, 0)
        owner_conn.commit()


def test_an_ordinary_trigger_would_not_have_held(superuser):
    """Why they are ENABLE ALWAYS; and that the tests above can fail."""
    leaf = month()
    superuser.execute(f"alter table {leaf} enable trigger no_change")
    superuser.execute(f"alter table {leaf} enable trigger no_truncate")
    try:
        passed = unguarded(superuser)
        assert f"truncate {leaf}" in passed
        assert any(statement.startswith(f"delete from {leaf}") for statement in passed)
        assert [row.name for row in db.queries().doctor_unguarded(superuser)] == [leaf]
    finally:
        superuser.execute(f"alter table {leaf} enable always trigger no_change")
        superuser.execute(f"alter table {leaf} enable always trigger no_truncate")
