"""A night with each kind of call in it, and what it leaves behind: to be the same, whatever happens on the way."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

from deliver import PHM, Call, deliver, tone
from installation import DAY, Installation, at

FIRST_CALLER = "+358401234501"
_IDS = (
    "still",
    "time",
    "bytes",
    "back",
    "odd",
    "a",
    "b",
    "c",
    "d",
    "e",
    "long",
    "sum",
    "old",
    "gone",
    "later",
    "lost",
    "held",
)


def prepare(office: Installation) -> None:
    """An earlier night, already imported, and the delivery of the night that is tested."""
    office.change_settings(import_chunk_rows=3, import_claim_rows=2)
    before = DAY - timedelta(1)
    earlier = [
        Call(id="still", start=at(8, day=before)),
        Call(id="time", start=at(9, day=before)),
        Call(id="bytes", start=at(10, day=before)),
        Call(id="back", start="2026-11-23T11:00:00"),
    ]
    deliver(office.linna, before, earlier)
    office.run("before", before)

    office.suppress("recording", office.app.keyring.tombstone("linna", "gone"))
    office.block(pseudonyms=(office.pseudonym("+358501234505"),))
    long_ago = at(9, day=DAY - timedelta(190))
    deliver(
        office.linna,
        before,
        [
            earlier[0],
            Call(id="time", start=at(9, 30, day=before), line=PHM),
            Call(id="bytes", start=at(10, day=before), audio=tone(1, 880)),
            Call(id="back", start=at(11, day=before)),
        ],
        seq=2,
    )
    deliver(
        office.linna,
        DAY,
        [
            Call(id="odd", start=at(7), direction="internal"),
            *(Call(id=name, start=at(8), audio=tone(1, 500 + n), line=PHM) for n, name in enumerate("abcde")),
            Call(id="long", start=at(9), ms=3100),
            Call(id="sum", start=at(9), media={"sha256": "00" * 32}),
            Call(id="old", start=long_ago),
            Call(id="gone", start=at(10)),
            Call(id="later", start=at(11), audio=None, fields={"status": "pending"}),
            Call(id="lost", start=at(12), audio=None),
            Call(id="held", start=long_ago, caller="050 123 4505", fields={"agent": "x"}),
        ],
        repeat=2,
    )


def _facts(row: Any, names: dict[bytes, str], *without: str) -> dict[str, Any]:
    """A row without what differs from run to run: UUIDs, sealed values, when it happened."""
    drop = {
        "recording", "object_key", "version_id", "sealed_ref", "sealed_number", "run", "missed_in", "lane", "lease_until",
        "delivery", "delivered_at", "imported_at", "term_since", "since", "decide_by", "planned_at", "due_at", "corrects", "counts_from",
        *without,
    }  # fmt: skip
    facts = {name: value for name, value in row._asdict().items() if name not in drop}
    facts["identity"] = names[bytes(facts["identity"])]
    key = row.object_key
    return facts | {"has_object": row.version_id is not None, "prefix": key.rsplit("/", 1)[0] if key else None}


def end_state(office: Installation) -> dict[str, Any]:
    """The catalogue, what is beside it, the trail and the store, without what differs from run to run."""
    names = {office.app.keyring.tombstone("linna", name): name for name in _IDS}
    state: dict[str, Any] = {}
    whose: dict[str, str] = {}
    for table in ("recording", "staging", "quarantine", "deletion"):
        rows = office.rows(f"select * from {table}")
        whose |= {str(row.recording): names[bytes(row.identity)] for row in rows}
        state[table] = sorted((_facts(row, names) for row in rows), key=lambda facts: str(facts["identity"]))
    state["cover"] = sorted(whose[str(r.recording)] for r in office.rows("select recording from blocker_cover"))
    state["days"] = office.rows("select vendor, day, state, trouble, closed_by from delivery_day order by 1, 2")
    state["events"] = Counter(
        json.dumps(
            {
                k: whose[v] if k == "recording" else v
                for k, v in e.items()
                if k not in ("at", "actor", "delivery", "blocker", "digest")
            },
            sort_keys=True,
        )
        for e in office.events()
    )
    rows = office.rows(
        "select object_key, version_id from recording union all select object_key, version_id from quarantine "
        "where version_id is not null"
    )
    state["every object has its row"] = sorted(tuple(r) for r in rows) == sorted(
        (v.key, v.version_id) for v in office.versions()
    )
    return state


def tally(office: Installation, key: str) -> list[tuple[Any, ...]]:
    """The run's counts."""
    found = office.rows(
        "select controller, outcome, reason, n from tally join import_run using (run) where run_key = %s and n > 0 "
        "order by 1, 2, 3",
        key,
    )
    return [tuple(row) for row in found]
