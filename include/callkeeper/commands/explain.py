"""``callkeeper explain``: one recording's rule, clock, what blocks it, and what comes next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import click

from callkeeper import controllers, settings, wiring
from callkeeper.clock import HELSINKI
from callkeeper.controllers import OFFICERS
from callkeeper.jobs.explaining import Evidence, Explanation

_STAFF = {
    "listener": "a listener of its controller, for one of the four purposes",
    "officer": "nobody, but for the uses of GDPR Art. 18(2), by the officer",
    "nobody": "nobody",
    "hold_roles": "only those whom the legal ground names",
}


@click.command()
@click.argument("recording", type=click.UUID)
@click.option("--as", "account", help="An officer's or deputy's Airflow account: shows the legal grounds, too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def explain(recording: UUID, account: str | None, as_json: bool) -> None:
    """One recording: its rule and clock, what blocks it, where it is, what comes next; of a deleted one, the evidence."""
    from callkeeper.commands.signin import sign_in
    from callkeeper.jobs import explaining

    app = wiring.build(settings.load())
    if account:
        sign_in(app, account, OFFICERS)
    with app.connect() as conn:
        found = explaining.explain(
            conn, recording, months=controllers.months_in_force(conn), officer=account is not None
        )
    if as_json:
        click.echo(json.dumps(asdict(found), default=str))
        return
    for name, value in _lines(found):
        click.echo(f"{name:15} {value}")


def _lines(e: Explanation) -> Iterator[tuple[str, str]]:
    yield "recording", str(e.recording)
    yield "controller", e.controller or "-"
    yield "vendor", e.vendor
    yield "where", e.where
    yield "rule", e.rule
    if e.clock:
        yield "call started", _time(e.clock.started_at)
        yield "anniversary", str(e.clock.anniversary)
        yield "may go from", _time(e.clock.eligible_at) + (", which is past" if e.expired else "")
    if e.evidence:
        yield from _proof(e.evidence)
    else:
        yield "legal grounds", str(e.legal_grounds or "none")
        for ground in e.grounds:
            yield "", f"{ground.case_ref}: {ground.kind}, since {_time(ground.placed_at)}, review {ground.review_on}"
        yield "staff use", _STAFF[e.outcome.staff]
    yield "next", e.next + (f" ({_time(e.next_at)})" if e.next_at else "")


def _proof(e: Evidence) -> Iterator[tuple[str, str]]:
    yield "due", _time(e.due_at)
    yield "trigger", e.trigger + (f", decision {e.decision}" if e.decision else "")
    yield "versions", f"{e.versions_removed} removed"
    yield "absence", f"read again on {_time(e.absence_checked_at)}" if e.absence_checked_at else "-"
    if e.vendor_answer:
        confirmed = {True: "looked at again: gone", False: "looked at again: still there", None: "cannot be looked at"}
        yield "vendor", f"{e.vendor_answer}; {confirmed[e.vendor_confirmed]}"
    if e.vendor_asked_at:
        yield "vendor asked", _time(e.vendor_asked_at)
    if e.done_at:
        yield "done", _time(e.done_at) + (f", night of {e.night}" if e.night else "")


def _time(at: datetime) -> str:
    return f"{at.astimezone(HELSINKI):%Y-%m-%d %H:%M} Helsinki"
