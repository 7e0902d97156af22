"""Every question to the database is one that the real schema answers, and says in a sentence what it asks."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import callkeeper
from callkeeper import db
from callkeeper.clock import helsinki_day, retention_eligible_at
from callkeeper.quality import REASONS

HEADER = re.compile(r"^-- name: (\w+)([!#$^*]?)\n((?:--.*\n)*)", re.MULTILINE)
FOUND = {
    name: (path.name, "".join(line.removeprefix("--") for line in comment.splitlines()).strip())
    for path in sorted(db.QUERIES.glob("*.sql"))
    for name, _, comment in HEADER.findall(path.read_text())
}
# Not PREPAREd, since they are no plain statements: what makes a temporary table is carried out before each of the others, in
# the order of the files.
MADE = [name for name in FOUND if name.startswith("make_") and name != "make_forecast"]
ASKS = {"auditing.sql": "auditor", "ageing.sql": "ageing", "sealing.sql": "sealer"}
"""Who asks the queries of a file, where it is not the tasks' role."""
DONE = {*MADE, *(name for name in FOUND if name.startswith(("analyze_", "copy_")))}


def test_the_files_and_the_program_know_the_same_queries():
    assert set(FOUND) == {name for name in db.queries().available_queries if not name.endswith("_cursor")}


@pytest.mark.parametrize("name", FOUND)
def test_a_query_says_what_it_asks(name):
    _, sentence = FOUND[name]
    assert re.fullmatch(r"[A-Z].{10,}[.]", sentence, re.DOTALL), sentence


@pytest.mark.parametrize("name", sorted(set(FOUND) - DONE))
def test_a_query_is_prepared_and_planned_by_the_role_that_asks_it(db_settings, name):
    with db.connect(db_settings, ASKS.get(FOUND[name][0], "app")) as conn:
        prepare(conn, name)


def prepare(conn, name):
    parameters: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        return f"${parameters.setdefault(match[1], len(parameters) + 1)}"

    statement = re.sub(r"%\((\w+)\)s", numbered, getattr(db.queries(), name).sql).replace("%%", "%").rstrip(";\n ")
    for made in MADE:
        if ASKS.get(FOUND[made][0]) == ASKS.get(FOUND[name][0]):
            conn.execute(getattr(db.queries(), made).sql)

    conn.execute(f"prepare asked as {statement}")
    # The plan is made without values, and the rights of the role are asked for it.
    conn.execute(f"explain (generic_plan) {statement}")


@pytest.mark.parametrize("table", ["arrival", "listing", "at_vendor"])
def test_the_queries_around_a_listing_are_carried_out(app_conn, table):
    q = db.queries()
    getattr(q, f"make_{table}")(app_conn)
    with app_conn.cursor() as cursor, cursor.copy(getattr(q, f"copy_{table}").sql):
        pass
    getattr(q, f"analyze_{table}")(app_conn)


def test_the_arrivals_of_a_listing_go_with_its_transaction(app_conn):
    db.queries().make_arrival(app_conn)
    app_conn.rollback()
    assert not app_conn.execute("select to_regclass('pg_temp.arrival')").fetchone()[0]


def test_every_query_is_asked_somewhere():
    code = "".join(path.read_text() for path in Path(callkeeper.__file__).parent.rglob("*.py"))
    made_up = re.compile(r"config_(put|remove)_(controllers|lines|processors|vendors)")  # by name, in controllers.apply
    assert [n for n in FOUND if not re.search(rf"\.{n}\b", code) and not made_up.fullmatch(n)] == []


# --- what SQL and Python both know ------------------------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))


@settings(max_examples=60, deadline=None)
@given(moments=st.lists(MOMENTS, min_size=1, max_size=60), months=st.integers(1, 24))
def test_the_database_ends_a_term_when_the_clock_does(conn_of_examples, moments, months):
    rows = conn_of_examples.execute(
        "select at, retention_eligible_at(at, %s), helsinki_day(at) from unnest(%s::timestamptz[]) at",
        (months, moments),
    ).fetchall()

    assert [(r[1], r[2]) for r in rows] == [(retention_eligible_at(at, months), helsinki_day(at)) for at in moments]


@pytest.fixture(scope="module")
def conn_of_examples(db_settings):
    """One connection for all of Hypothesis' examples: they only ask."""
    with db.connect(db_settings) as conn:
        yield conn


def test_the_checks_of_the_view_are_the_staged_reasons(app_conn):
    view = app_conn.execute("select pg_get_viewdef('staging_fault'::regclass)").fetchone()[0]
    rows = re.findall(r"\((\d+),\s*'(\w+)'(?:::text)?,\s*(true|false)", view)

    assert {code: gate == "true" for _, code, gate in rows} == {c: r.gate for c, r in REASONS.items() if r.staged}
    ranks = [int(rank) for rank, _, _ in rows]
    assert sorted(set(ranks)) == sorted(ranks), "two checks of one rank would be told in no order"
