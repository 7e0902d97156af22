"""`make bench`, answering: one person's calls are found among all, searched, noted and hashed for the officer. Prints a table, writes JSON.

`SCALE=5m` is the live recordings in the catalogue (default 200k); as many deletions are done already. fsync is on.

Ours is a ticket's whole preview: a search under every live key, in the proven period, over all companies and wherever a call
may be; what was found noted, hashed, its event written, committed. Bare is the lookup by the pseudonyms alone, and the commit
of one row. Each person is looked for once, ours and bare in turn. The 99th percentile beyond 50 ms, or beyond 5 times the
bare one's, makes the exit code 1.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from uuid import uuid4

from deletion import CALLS_OF_ONE_NUMBER, LIVE, Catalogue, numbers
from run import ACTOR, PROJECT, servers, timed

from callkeeper import db, pseudonyms, wiring
from callkeeper.clock import helsinki_day
from callkeeper.jobs import fulfilling
from callkeeper.phone import E164
from callkeeper.tickets import Right

PERSONS = int(os.environ.get("PERSONS", "200"))
WARM = 200
"""So many other people's tickets are open before, and counted by vacuum as it does by itself each minute."""
MOST_MS = 50
MOST_RATIO = 5

BARE = "select recording, controller, line, started_at, duration_ms from recording where pseudonym = any (%s)"


@dataclass(frozen=True, kw_only=True)
class Took:
    """Milliseconds of each, in their order."""

    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        return p99(self.ours) / p99(self.bare)


def p99(times: list[float]) -> float:
    return sorted(times)[max(0, -(-len(times) * 99 // 100) - 1)]


def persons(catalogue: Catalogue, conn: db.Connection, app: wiring.App) -> list[E164]:
    """So many people's numbers, each with its calls, under a hash of the keyring's."""
    found = []
    chosen = numbers(conn, PERSONS + WARM)
    with catalogue.owner() as owner:
        for n, mark in enumerate(chosen):
            number = E164(f"+3584099{n:05d}")
            owner.execute(
                "update recording set pseudonym = %s where pseudonym = %s", (app.keyring.pseudonym(number), mark)
            )
            found.append(number)
    catalogue.vacuum()
    return found


def asked(conn: db.Connection, app: wiring.App, number: E164, today: date) -> str:
    """A ticket of a person whose identity is proven: next, somebody looks what there is."""
    ticket = fulfilling.open_ticket(
        conn, app.keyring, right=Right.access, received_on=today, channel="letter", language="fi", numbers=[number],
        account="officer", actor=ACTOR,
    )  # fmt: skip
    now = db.now(conn)
    fulfilling.prove_identity(
        conn, app.keyring, ticket, evidence="strong", from_at=now - timedelta(days=200), to_at=now, account="officer", actor=ACTOR
    )  # fmt: skip
    return ticket


def find(conn: db.Connection, app: wiring.App, tickets: dict[E164, str]) -> Took:
    ours, bare = [], []
    for number, ticket in tickets.items():
        seconds, seen = timed(lambda ticket=ticket: fulfilling.preview(conn, app.keyring, ticket, ACTOR))
        assert len(seen.chosen) == CALLS_OF_ONE_NUMBER, len(seen.chosen)
        ours.append(seconds * 1000)
        began = time.perf_counter()
        rows = conn.execute(BARE, (list(app.keyring.pseudonyms(number).values()),)).fetchall()
        conn.execute("insert into suppression (kind, mark) values ('recording', %s)", (uuid4().bytes * 2,))
        conn.commit()
        bare.append((time.perf_counter() - began) * 1000)
        assert len(rows) == CALLS_OF_ONE_NUMBER
    return Took(ours=ours, bare=bare)


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="callkeeper-bench-"))
    try:
        with servers(home) as settings:
            catalogue, app = Catalogue(settings), wiring.build(settings)
            filled, _ = timed(
                lambda: [catalogue.fill(min(LIVE - n, 250_000), due=False) for n in range(0, LIVE, 250_000)]
            )
            history, _ = timed(
                lambda: [catalogue.fill_history(min(LIVE - n, 250_000)) for n in range(0, LIVE, 250_000)]
            )
            print(f"{LIVE} live recordings in {filled:.0f} s, as many deletions in {history:.0f} s")
            with db.connect(settings) as conn:
                pseudonyms.register(conn, app.keyring)
                conn.commit()
                mine = persons(catalogue, conn, app)
                today = helsinki_day(db.now(conn))
                tickets = [(number, asked(conn, app, number, today)) for number in mine]
                find(conn, app, dict(tickets[:WARM]))
                catalogue.vacuum()
                took = find(conn, app, dict(tickets[WARM:]))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    good = p99(took.ours) <= MOST_MS and took.ratio <= MOST_RATIO
    print(f"\none person of {CALLS_OF_ONE_NUMBER} calls among {LIVE}, {PERSONS} times, in milliseconds")
    print(f"{'':12} {'ours':>8} {'bare':>8} {'ratio':>6} limit")
    print(
        f"{'median':12} {median(took.ours):8.2f} {median(took.bare):8.2f} {median(took.ours) / median(took.bare):6.2f}"
    )
    limit = f"at most {MOST_MS} ms, {MOST_RATIO} times"
    print(
        f"{'p99':12} {p99(took.ours):8.2f} {p99(took.bare):8.2f} {took.ratio:6.2f} {limit}{'' if good else '  BEYOND'}"
    )
    out = {
        "live": LIVE, "persons": PERSONS, "calls": CALLS_OF_ONE_NUMBER, "ours_ms": {"median": round(median(took.ours), 3), "p99": round(p99(took.ours), 3)},
        "bare_ms": {"median": round(median(took.bare), 3), "p99": round(p99(took.bare), 3)}, "ratio": round(took.ratio, 3),
    }  # fmt: skip
    (PROJECT / "tests" / "bench" / "last-answering.json").write_text(json.dumps(out, indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
