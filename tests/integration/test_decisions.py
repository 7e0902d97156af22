"""A person's yes is a row with its event, and what was seen is in its hash."""

from __future__ import annotations

from uuid import UUID

from callkeeper import decisions
from installation import ACTOR

ONE, TWO = UUID(int=1), UUID(int=2)


def test_a_decision_is_found_with_its_scope_and_its_event(office):
    scope = decisions.scope_of([ONE, TWO])

    with office.connect() as conn:
        number = decisions.record(conn, "go_live", "approve", "officer", scope, ACTOR)
        conn.commit()
        found = decisions.find(conn, "go_live", "approve")
        other = decisions.find(conn, "go_live", "revoke")

    assert (found.decision, found.account, found.scope) == (number, "officer", scope)
    assert other is None
    (event,) = office.events("decision.made")
    assert (event["decision"], event["subject"], event["decided"]) == (number, "go_live", "approve")
    assert event["scope"] == scope.hex()


def test_a_decision_that_is_rolled_back_leaves_no_event(office):
    with office.connect() as conn:
        decisions.record(conn, "go_live", "approve", "officer", decisions.scope_of([]), ACTOR)
        conn.rollback()

    assert office.events("decision.made") == []
    assert office.value("select count(*) from decision") == 0


def test_a_scope_is_the_same_in_any_order_and_another_for_other_ids():
    assert decisions.scope_of([TWO, ONE]) == decisions.scope_of([ONE, str(TWO)])
    assert len({decisions.scope_of(ids) for ids in ([], [ONE], [TWO], [ONE, TWO])}) == 4
