"""One night of delete_expired from end to end without Airflow, for tests and as a process that can be killed.

As a program: ``python tests/run_night.py RUN_KEY``, settings from the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from callkeeper import deletions, settings, wiring
from callkeeper.deletions import NightBalance
from callkeeper.jobs import deleting, holding, tombstones
from callkeeper.media import Destroyer
from callkeeper.vendors import Vendor


def run_night(
    app: wiring.App, run_key: str, *, destroyer: Destroyer | None = None, vendors: Mapping[str, Vendor] | None = None
) -> NightBalance:
    """All steps of delete_expired, in their order, on one connection; with another destroyer or other vendors, if given."""
    rules = app.deleting_rules()
    with app.connect() as conn:
        actor = app.actor(conn, dag="delete_expired", run=run_key, task="all", attempt=1)
        night = deleting.open_night(conn, run_key, actor)
        holding.settle(conn, app.holder, actor)
        deleting.plan(conn, night, rules, actor)
        night = deletions.find_night(conn, run_key)
        deleting.arm(conn, night, rules, actor)
        tombstones.export(conn, app.store, night.night, actor)
        for lane in range(1, app.settings.deletion_lanes + 1):
            deleting.send(conn, night, destroyer or app.destroyer, lane=lane, rules=rules, actor=actor)
        for vendor in deletions.vendors_to_ask(conn, [v.id for v in app.config.vendors]):
            deleting.ask_vendor(
                conn,
                night,
                (vendors or {}).get(vendor) or app.vendor(vendor),
                keyring=app.keyring,
                rules=rules,
                actor=actor,
            )
        balance = deleting.balance(conn, night, actor)
        deleting.forecast(conn, night)
        return balance


if __name__ == "__main__":
    result = run_night(wiring.build(settings.load()), sys.argv[1])
    print("balanced" if result.balanced else "NOT balanced")
