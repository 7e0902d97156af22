"""A person in the trail is a hash that nobody can resolve once the ticket's salt is gone."""

from __future__ import annotations

import pytest

from callkeeper.trail import subjects
from callkeeper.trail.subjects import SubjectForgotten, forget, refer


@pytest.fixture
def conn(app_conn):
    return app_conn


def test_one_person_has_one_reference_under_a_ticket_and_another_under_the_next(conn):
    first = refer(conn, "T-1", "+358401234567")

    assert first == refer(conn, "T-1", "+358401234567")
    assert len({first, refer(conn, "T-1", "+358401234568"), refer(conn, "T-2", "+358401234567")}) == 3
    assert len(first) == 64
    assert int(first, 16)


def test_a_reference_needs_the_salt(conn):
    refer(conn, "T-1", "+358401234567")
    salt = bytes(conn.execute("select salt from subject_salt where ticket = 'T-1'").fetchone()[0])

    assert len(salt) == 32
    assert salt != bytes(32)


def test_what_is_forgotten_is_gone_for_ever(conn):
    refer(conn, "T-1", "+358401234567")

    assert forget(conn, "T-1")

    assert conn.execute("select salt, erased_at is not null from subject_salt where ticket = 'T-1'").fetchone() == (
        None,
        True,
    )
    with pytest.raises(SubjectForgotten):
        refer(conn, "T-1", "+358401234567")
    assert not forget(conn, "T-1")
    assert not forget(conn, "T-9")


def test_two_at_once_make_one_salt(db_settings, conn):
    from callkeeper import db

    first = refer(conn, "T-3", "a")
    conn.commit()
    with db.connect(db_settings) as other:
        assert refer(other, "T-3", "a") == first


def test_neither_refers_nor_forgets_before_its_caller_commits(conn):
    refer(conn, "T-4", "a")
    conn.rollback()
    assert conn.execute("select from subject_salt where ticket = 'T-4'").fetchone() is None


def test_only_the_tasks_role_sees_a_salt(owner_conn):
    readers = owner_conn.execute(
        "select r from unnest(array['app', 'sealer', 'ageing', 'auditor', 'witness']) r"
        " where has_table_privilege('callkeeper_' || r, 'callkeeper.subject_salt', 'select')"
    ).fetchall()
    assert [row.r for row in readers] == ["app"]
    assert subjects.__doc__
