"""Ageing in Airflow: which failure is tried again, and which needs somebody."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from callkeeper.jobs import ageing
from callkeeper.jobs.ageing import Month

CONTEXT = {
    "run_id": "r1",
    "ti": SimpleNamespace(dag_id="age_trail", run_id="r1", task_id="drop_past_bodies", try_number=1),
}


@pytest.fixture
def age(office, monkeypatch):
    """``age(*months)``: the task's body, where these are what it comes to."""
    from callkeeper import connections

    monkeypatch.setattr(connections, "app", lambda: office.app)

    def aged(*months):
        monkeypatch.setattr(ageing, "age", lambda conn, who: list(months))
        return connections.age_trail(CONTEXT)

    return aged


def month(why_not: str | None, bodies: int = 0) -> Month:
    return Month(event_class="import", month="2023-10", bodies=bodies, why_not=why_not)


def test_what_went_is_counted(age):
    assert age(month(None, 3), month(None, 4)) == {"months": 2, "bodies": 7, "marks": 0}
    assert age() == {"months": 0, "bodies": 0, "marks": 0}


def test_a_month_in_use_is_tried_again_and_others_are_not(age):
    with pytest.raises(AirflowException, match="was in use") as again:
        age(month(None, 3), month("busy"))
    assert not isinstance(again.value, AirflowFailException)
    with pytest.raises(AirflowFailException, match="not what was sealed"):
        age(month("altered"), month("busy"))


def test_it_acts_as_the_ageing_role_and_finds_nothing_in_a_young_trail(office, monkeypatch):
    from callkeeper import connections

    monkeypatch.setattr(connections, "app", lambda: office.app)
    assert connections.age_trail(CONTEXT) == {"months": 0, "bodies": 0, "marks": 0}
