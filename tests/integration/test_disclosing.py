"""Disclosures: to whom the law or the notice allows, by two people, encrypted, and answered for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from callkeeper import controllers
from callkeeper.jobs import disclosing
from deliver import PHM, Call, deliver
from installation import ACTOR, DAY, OFFICER, Installation, at

CALLER = "+358409990001"
PEOPLE = ('approvers = ["approver"]', 'deputies = ["deputy"]\napprovers = ["approver"]')
DEMAND = {
    "recipient_kind": "authority",
    "recipient": "Helsingin poliisilaitos",
    "purpose": "authority",
    "statute": "Pakkokeinolaki 8:23",
    "reference": "5530/R/1/26",
}
GROUP = {"recipient_kind": "group_company", "recipient": "phm", "purpose": "quality"}


@pytest.fixture
def kept(office: Installation) -> Installation:
    """Two calls of Punavaara's, one of the other company's."""
    office.configure(PEOPLE)
    calls = [
        Call(id="a", start=at(8), caller=CALLER),
        Call(id="b", start=at(9), caller=CALLER),
        Call(id="c", start=at(10), caller=CALLER, line=PHM),
    ]
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


def recordings(office: Installation, controller: str = "punavaara") -> list[UUID]:
    rows = office.rows("select recording from recording where controller = %s order by started_at", controller)
    return [row.recording for row in rows]


def draft(office: Installation, facts: dict[str, Any] = DEMAND, **more: Any) -> str:
    with office.connect() as conn:
        named = {"recordings": recordings(office)} | more if "case" not in more else more
        return disclosing.draft(conn, office.app.keyring, account="officer", actor=OFFICER, **{**facts, **named})


def act(
    office: Installation, disclosure: str, action: Any, account: str = "officer", **more: Any
) -> disclosing.Outcome:
    run = more.pop("run", None)
    with office.connect() as conn:
        return disclosing.act(
            conn, office.app, disclosure, action, account=account, duties=controllers.duties(conn, office.app.config, account),
            actor=replace(ACTOR, account=account, run=run), **more,
        )  # fmt: skip


def shown(office: Installation, disclosure: str, *, officer: bool = True) -> disclosing.Disclosure:
    with office.connect() as conn:
        return disclosing.show(conn, disclosure, officer=officer)


def made(office: Installation, facts: dict[str, Any] = DEMAND, **more: Any) -> str:
    disclosure = draft(office, facts, **more)
    act(office, disclosure, "ask")
    act(office, disclosure, "approve", "deputy")
    return disclosure


def test_smoke(kept):
    disclosure = made(kept)
    assert shown(kept, disclosure).state == "made"
    act(kept, disclosure, "hand_over", channel="in_person")
    with kept.connect() as conn:
        given = disclosing.of_recordings(conn, recordings(kept), officer=False, keyring=kept.app.keyring)
    assert [(g.disclosure, g.recipient) for g in given] == [(disclosure, "Helsingin poliisilaitos")] * 2
