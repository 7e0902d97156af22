"""A package whose maker is killed at each of its named steps, and made again: one package, and nothing else is left in the store."""

from __future__ import annotations

import pytest

from callkeeper import wiring
from callkeeper.jobs import fulfilling, packaging
from callkeeper.phone import E164
from callkeeper.tickets import Right
from deliver import Call, deliver
from faults.killing import killed_at, steps
from installation import DAY, OFFICER, Installation, at

CALLER = E164("+358409990001")
STEPS = steps("package")


def make(app: wiring.App, ticket: str) -> None:
    with app.connect() as conn:
        packaging.make(conn, app, ticket, OFFICER)


@pytest.fixture
def ticket(office: Installation) -> str:
    """An access that is agreed on, to a call; deletion live."""
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER)])
    office.run("import")
    office.go_live()
    office.forecast()
    keyring, today = office.app.keyring, office.value("select helsinki_day(callkeeper_now())")
    with office.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn, keyring, right=Right.access, received_on=today, channel="letter", language="fi", numbers=[CALLER],
            account="officer", actor=OFFICER,
        )  # fmt: skip
        fulfilling.prove_identity(
            conn, keyring, ticket, evidence="strong", from_at=at(0), to_at=at(23), account="officer", actor=OFFICER
        )
        seen = fulfilling.preview(conn, keyring, ticket, OFFICER)
        fulfilling.approve(conn, keyring, ticket, scope=seen.scope, account="officer", actor=OFFICER)
    return ticket


@pytest.mark.parametrize("step", STEPS)
def test_killed_and_made_again_there_is_one_package_and_nothing_else(office, ticket, step):
    assert killed_at(office, step, make, ticket)

    make(office.app, ticket)
    office.later(hours=1)
    night = office.sweep()

    with office.connect() as conn:
        parts = packaging.parts(conn, ticket)
        assert len(packaging.passphrase(conn, office.app.keyring, ticket, account="officer", actor=OFFICER)) > 30
    ids = {str(row.package) for row in office.rows("select package from package")}
    left = {v.key for v in office.app.store.versions("pkg/") if v.key.split("/")[2] in ids}
    assert left == {p.key for p in parts}
    assert night.balanced
    assert office.value("select state from ticket") == "carried_out"
    assert [e["state_after"] for e in office.events("ticket.moved")].count("carried_out") == 1
    assert office.value("select count(*) from package where gone_at is null") == 1
