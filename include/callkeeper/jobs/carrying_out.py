"""What was agreed on is done, by right: exactly that, on the word of the decisions' rows (architecture, rule 13).

Each effect is one transaction with its events: it asks for the rows under the locks that it needs, and can be run again. No audio
is touched here: what goes, goes by the journal, and the copy is made by ``packaging``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from callkeeper import db
from callkeeper.errors import NotAllowed
from callkeeper.jobs import fulfilling
from callkeeper.tickets import Right, State
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import Actor, DeletionPlanned, Event

if TYPE_CHECKING:
    from callkeeper.wiring import App


def carry_out(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """Does what was agreed on for a ticket; commits, and says of how many recordings.

    Asks for the decisions' rows, all of them about the scope as it is now. Raises NotAllowed, ScopeChanged.
    """
    right = fulfilling.show(conn, ticket).right
    match right:
        case Right.erasure:
            return _erase(conn, app, ticket, actor)
        case _:
            raise NotAllowed(
                f"{ticket} asks for {right}: callkeeper does not carry that out.",
                mend="Answer it by hand, then `callkeeper ticket close`.",
            )


# --- erasure ----------------------------------------------------------------------------------------------------------


def _erase(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """Plans the erasure of exactly what two people approved: it goes by the next night.

    The journal takes it from here: what a hold covers is deferred, and resumed by the night after its release; what somebody
    waits for a copy of goes after that delivery; the vendor's copy goes too.
    """
    # Whoever places a hold now is found by the night, which asks again; a statement of its own, before the look.
    db.lock_blockers(conn, exclusive=False)
    row = fulfilling.for_change(conn, ticket)
    what = fulfilling.agreed(conn, app.keyring, row)
    which = [f.recording for f in what.preview.chosen]
    _plan(conn, which, "erasure_approved", what.decision, actor)
    fulfilling.move(conn, row, State.carried_out, actor)
    conn.commit()
    return len(which)


def _plan(conn: db.Connection, recordings: list[UUID], trigger: str, decision: int, actor: Actor) -> None:
    """Puts what goes into the journal, in the caller's transaction: from the catalogue, and from quarantine, which that decides."""
    q, alike = db.queries(), dict[Event, list[UUID]]()
    rows = [
        *q.plan_erasure(conn, recordings=recordings, trigger=trigger, decision=decision),
        *q.plan_quarantined(conn, recordings=recordings, trigger=trigger, decision=decision),
    ]
    for planned in rows:
        event = DeletionPlanned(
            recording=ANY, controller=planned.controller, vendor=planned.vendor, trigger=trigger,
            reason="subject_request", state_before=planned.state_before,
        )  # fmt: skip
        alike.setdefault(event, []).append(planned.recording)
    append(conn, actor, (), alike=alike)
