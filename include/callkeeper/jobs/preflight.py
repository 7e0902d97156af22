"""Before anything is imported: may we, from whom, and into what.

The notice's conditions (contract, regions, legal basis) are asked each time; deletion never stops for them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from callkeeper import controllers, db
from callkeeper.clock import helsinki_day
from callkeeper.controllers import Config, Severity
from callkeeper.errors import ConfigurationError, NotAllowed
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, ImportChecked

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """Who may be imported from, who may not, and what there is to say; sentences without personal data."""

    run: int
    vendors: tuple[str, ...]
    refused: tuple[str, ...]
    findings: tuple[str, ...]


def preflight(
    conn: db.Connection,
    config: Config,
    *,
    run_key: str,
    day: date,
    first_day: date | None,
    only_vendor: str | None,
    actor: Actor,
) -> Preflight:
    """Opens the run, wants the vendors' days, and says who may be imported from; commits.

    The configuration must be the one that was applied. Raises ConfigurationError, or NotAllowed if no vendor may be
    imported from.
    """
    q = db.queries()
    applied = db.queries().config_last(conn)
    if applied is None or bytes(applied.digest) != config.digest:
        raise ConfigurationError(
            "The configuration file is not the one in force.",
            mend="Look at `callkeeper config diff`, then bring it into force with `callkeeper config apply`.",
        )
    today = helsinki_day(db.now(conn))
    if day > today:
        raise ConfigurationError(f"{day} has not been yet.", mend="Give a day up to yesterday.")
    asked = [v for v in config.vendors if only_vendor in (None, v.id)]
    if not asked:
        raise ConfigurationError(f"There is no vendor {only_vendor!r} in the configuration.")
    may: list[str] = []
    refused: list[str] = []
    findings: list[str] = []
    codes: list[str] = []
    for vendor in asked:
        found: Sequence[controllers.Finding] = controllers.preflight(config, vendor.id, today)
        stops = [f for f in found if f.severity is Severity.stops_import]
        (refused if stops else may).append(vendor.id)
        findings += [str(f) for f in found if str(f) not in findings]
        codes += [f"{f.subject}:{f.code}" for f in found]
    run = q.open_run(conn, run_key=run_key, day=day)
    q.ensure_trail_partitions(conn)
    for name in may + refused:
        q.want_days(conn, vendor=name, first=min(first_day or day, day), last=day)
    if q.first_check(conn, run=run):
        append(
            conn,
            actor,
            [
                ImportChecked(
                    day=day.isoformat(), vendors=tuple(may), refused=tuple(refused), findings=tuple(sorted(set(codes)))
                )
            ],
        )
    conn.commit()
    for sentence in findings:
        log.warning("%s", sentence)
    if not may:
        raise NotAllowed(
            "No vendor may be imported from: " + "; ".join(findings), mend="See the runbook, 'Preflight refuses'."
        )
    return Preflight(run=run, vendors=tuple(may), refused=tuple(refused), findings=tuple(findings))
