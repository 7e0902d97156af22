"""A person's request, led through its steps as an officer would: what the tests of requests share."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from callkeeper import db
from callkeeper.jobs import answering, carrying_out, fulfilling
from callkeeper.phone import E164
from callkeeper.tickets import ErasureGround, Right
from deliver import PHM, Call, deliver
from installation import DAY, OFFICER, Installation, at

CALLER, OTHER = E164("+358409990001"), E164("+358409990002")
LINE = E164("+358207001234")


def three_calls(office: Installation) -> Installation:
    """Three calls: a and b of one caller, to two companies, c of another one."""
    calls = [
        Call(id="a", start=at(8), caller=CALLER),
        Call(id="b", start=at(9), caller=CALLER, line=PHM),
        Call(id="c", start=at(10), caller=OTHER),
    ]
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


def opened(office: Installation, right: Right = Right.access, **facts: Any) -> str:
    """A request of CALLER's that reached the company today, unless it is said otherwise."""
    asked = {
        "numbers": [CALLER],
        "received_on": None,
        "channel": "letter",
        "language": "fi",
        "account": "officer",
    } | facts
    with office.connect() as conn:
        asked["received_on"] = asked["received_on"] or office.value("select helsinki_day(callkeeper_now())")
        return fulfilling.open_ticket(conn, office.app.keyring, right=right, actor=OFFICER, **asked)


def proven(office: Installation, ticket: str, *, evidence: str = "callback", days: int = 30, **more: Any) -> str:
    """Identity proven: the number was theirs for so many days up to and with DAY."""
    facts = {"from_at": at(0) - timedelta(days), "to_at": at(0) + timedelta(days=1), "account": "officer"} | more
    with office.connect() as conn:
        fulfilling.prove_identity(conn, office.app.keyring, ticket, evidence=evidence, actor=OFFICER, **facts)
    return ticket


def preview(office: Installation, ticket: str) -> fulfilling.Preview:
    with office.connect() as conn:
        return fulfilling.preview(conn, office.app.keyring, ticket, OFFICER)


def approve(office: Installation, ticket: str, scope: bytes | None = None, account: str = "officer") -> bool:
    with office.connect() as conn:
        scope = fulfilling.seen(conn, ticket).scope if scope is None else scope
        actor = replace(OFFICER, account=account)
        return fulfilling.approve(
            conn, office.app.keyring, ticket, scope=scope, ground=ground(conn, ticket), account=account, actor=actor
        )


def ground(conn: db.Connection, ticket: str) -> ErasureGround | None:
    """Why these tests' erasures are due."""
    return "objected" if fulfilling.show(conn, ticket).right is Right.erasure else None


def second(office: Installation, ticket: str, account: str = "approver", scope: bytes | None = None) -> None:
    with office.connect() as conn:
        scope = fulfilling.seen(conn, ticket).scope if scope is None else scope
        fulfilling.second(conn, ticket, scope=scope, account=account, actor=replace(OFFICER, account=account))


def agreed(office: Installation, right: Right = Right.erasure, **facts: Any) -> str:
    """A request to which as many people have said yes as it takes."""
    ticket = proven(office, opened(office, right, **facts))
    preview(office, ticket)
    if approve(office, ticket):
        second(office, ticket)
    return ticket


def carry_out(office: Installation, ticket: str) -> int:
    with office.connect() as conn:
        return carrying_out.carry_out(conn, office.app, ticket, OFFICER)


def delivered(office: Installation, ticket: str) -> str:
    with office.connect() as conn:
        return fulfilling.record_delivery(
            conn, ticket, "letter", years=3, account="officer", actor=OFFICER, keyring=office.app.keyring
        )


def refuse(office: Installation, ticket: str, ground: str, reasons: str | None = "as Matti was told") -> None:
    with office.connect() as conn:
        fulfilling.refuse(conn, office.app.keyring, ticket, ground, reasons=reasons, account="officer", actor=OFFICER)


def close(office: Installation, ticket: str, outcome: str = "withdrawn") -> int:
    with office.connect() as conn:
        return fulfilling.close(conn, ticket, outcome, years=3, actor=OFFICER)


def letter_sent(office: Installation, ticket: str, kind: str) -> None:
    """A letter that is not the answer was printed, and sent."""
    with office.connect() as conn:
        answering.write(conn, office.app, ticket, kind, actor=OFFICER)
        answering.sent(conn, ticket, kind, "letter", account="officer", actor=OFFICER)


def left(office: Installation) -> int:
    """How many recordings live in the catalogue."""
    return int(office.value("select count(*) from recording"))
