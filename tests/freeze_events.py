"""Freezes a sample body of each version of each event: ``python tests/freeze_events.py`` adds those that are new.

What is frozen is never changed nor taken away (tests/unit/test_frozen_events.py): a changed event gets a new version, and the
class of the old one stays. Only of an event that no release has written yet may the line be taken out, and frozen anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

from callkeeper.trail import events
from callkeeper.trail.events import Actor, Event

FROZEN = Path(__file__).parent / "frozen_events.jsonl"
ACTOR = Actor(account="officer", dag="delete_expired", run="night", task="keep", attempt=2, rule="0.1.0", config=7)
AT = "2026-11-25T00:15:00.000001Z"


def shape(kind: type) -> dict[str, str]:
    """How each field is called and of what type it is, and what it is when nobody says."""
    hints = get_type_hints(kind)
    return {field.name: f"{_shown(hints[field.name])}{_default(kind, field.name)}" for field in fields(kind)}


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _default(kind: type, name: str) -> str:
    (default,) = (f.default for f in fields(kind) if f.name == name)
    return f" = {default!r}" if isinstance(default, str | int) else ""


def _sample(name: str, hint: Any) -> Any:
    if type(None) in get_args(hint):
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return inner[-1]
    if origin is tuple:
        return (_sample(name, inner[0]),) * 2
    if origin is Mapping:
        return {"kept": 3, "refused": 0}
    return {str: f"ä {name}", int: 41, bool: True, UUID: UUID(int=2**100)}[hint]


def sample(kind: type[Event]) -> Event:
    """One with something in each field."""
    return kind(**{name: _sample(name, hint) for name, hint in get_type_hints(kind).items() if name in _names(kind)})


def _names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def frozen() -> dict[tuple[str, int], dict[str, Any]]:
    lines = map(json.loads, FROZEN.read_text().splitlines() if FROZEN.exists() else ())
    return {(line["action"], line["v"]): line for line in lines}


def freeze(kind: type[Event]) -> dict[str, Any]:
    body = events.canonical(sample(kind), ACTOR.facts(), AT).decode()
    return {
        "action": kind.action,
        "v": kind.version,
        "class": kind.event_class,
        "fields": shape(kind),
        "body": body,
    }


if __name__ == "__main__":
    known = frozen()
    new = [freeze(kind) for key, kind in sorted(events.KINDS.items()) if key not in known]
    with FROZEN.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in new)
    sys.stdout.write(f"{len(new)} frozen, {len(known)} were\n")
