"""An installation of callkeeper for one test: a configuration, a vendor's folder, a moved clock, an empty catalogue."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from pydantic import SecretStr

from callkeeper import blockers, controllers, db, decisions, deletions, wiring
from callkeeper.blockers import Blocker
from callkeeper.clock import HELSINKI
from callkeeper.deletions import Night, NightBalance
from callkeeper.deliveries import RunBalance
from callkeeper.jobs import deleting, tombstones
from callkeeper.media import ObjectVersion
from callkeeper.settings import Settings
from callkeeper.trail.events import Actor
from callkeeper.trail.notes import SealKeys
from run_import import run_import
from run_night import run_night

NOW = datetime(2026, 11, 25, 2, 15, tzinfo=HELSINKI)
"""What callkeeper_now() says when a test begins: the night's run."""
DAY = date(2026, 11, 24)
"""The night's day."""
ACTOR = Actor(account="data", rule="test")
OFFICER = Actor(account="officer", rule="test")

CONFIG = """
[policy]
other_party = "pseudonym"
[store]
region = "FI"
[people]
data_team = ["data"]
privacy_officers = ["officer"]
approvers = ["approver"]
[[controllers]]
id = "punavaara"
name = "Punavaara Oy"
business_id = "1234567-1"
contact = { address = "Takomotie 1-3", phone = "010 270 8001", email = "tietosuoja@example.fi" }
languages = ["fi"]
notice_version = 2023-09-12
balancing_test = "LIA-1"
employee_notice = "HR-1"
[[controllers]]
id = "phm"
name = "PHM Group Services Oy"
business_id = "3125932-2"
contact = { address = "Takomotie 1-3", phone = "010 270 8001", email = "tietosuoja@example.fi" }
languages = ["fi", "sv"]
notice_version = 2023-09-12
balancing_test = "LIA-2"
employee_notice = "HR-2"
[[lines]]
number = "020 700 1234"
controller = "punavaara"
from = 2023-09-12
[[lines]]
number = "010 270 8001"
controller = "phm"
from = 2023-09-12
[[processors]]
id = "linna"
kind = "vendor"
name = "Linna Puhepalvelut Oy"
contract = "DPA-1"
valid_to = 2030-12-31
regions = ["FI"]
[[vendors]]
id = "linna"
processor = "linna"
kind = "drop"
location = "{home}/linna"
retention_days = 30
"""
EXCHANGE = """
[[lines]]
number = "0800 123456"
controller = "punavaara"
from = 2023-09-12
[[processors]]
id = "vaihde"
kind = "vendor"
name = "Vaihde Ylläpito Oy"
contract = "DPA-2"
valid_to = 2030-12-31
regions = ["FI"]
[[vendors]]
id = "vaihde"
processor = "vaihde"
kind = "asterisk"
location = "{corpus}"
cdr = "Master.csv"
recordings = "."
"""
"""More configuration: an Asterisk, whose folder is put in for {corpus}."""

TABLES = (
    "config_version, controller, line, processor, vendor, import_run, delivery, delivery_count, delivery_day, run_day, run_vendor, "
    "tally, staging, quarantine, recording, blocker, blocker_cover, suppression, deletion, decision, night, night_count, forecast, "
    "hold, hold_predicate, hold_request, hold_too_late, reconciliation, stray, subject_salt, told_before, ticket, ticket_subject, "
    "ticket_recording, ticket_delivery, ticket_correction, package, opening, disclosure, disclosure_recording, desk_form"
)


def at(hour: int, minute: int = 0, day: date = DAY) -> datetime:
    """A Helsinki time of the night's day."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=HELSINKI)


_stores: dict[tuple[str, str], dict[str, Any]] = {}


def _clients(settings: Settings) -> dict[str, Any]:
    which = settings.store_endpoint, settings.store_secret_key.get_secret_value()
    if which not in _stores:
        app = wiring.build(settings)
        _stores[which] = {"store": app.store, "destroyer": app.destroyer, "holder": app.holder}
    return _stores[which]


class Installation:
    """``sql`` is a superuser's connection, in autocommit; ``linna`` the vendor's folder."""

    def __init__(self, settings: Settings, sql: psycopg.Connection[Any], folder: Path) -> None:
        self.settings = settings.model_copy(update={"config_file": folder / "callkeeper.toml"})
        self.sql = sql
        self.folder = folder
        self.linna = folder / "linna"
        self.reset()

    # --- arranging ----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """As if nothing had been delivered yet, and nothing imported."""
        shutil.rmtree(self.linna, ignore_errors=True)
        self.linna.mkdir()
        self.sql.execute(f"truncate {TABLES} restart identity")
        self.set_clock(NOW)
        self._first_event: int = self.value("select coalesce(max(id), 0) from event")
        self.configure()

    def set_clock(self, moment: datetime) -> None:
        """Moves callkeeper_now() there, as only the owner can."""
        with db.connect(self.settings, "owner") as owner:
            db.move_clock(owner, round((moment - datetime.now(UTC)).total_seconds()))
            owner.commit()

    def later(self, **of_timedelta: int) -> None:
        """Moves the clock on, from NOW."""
        self.set_clock(NOW + timedelta(**of_timedelta))

    def begin_trail(self, bucket: str, access_key: str, secret_key: str) -> None:
        """As if nothing had ever been sealed: no epoch, new keys, that bucket as the anchor."""
        with self.unguarded():
            self.sql.execute("truncate anchored, checkpoint, leaf, epoch restart identity")
        folder = self.folder / "trail-keys"
        SealKeys.create(folder, "callkeeper")
        self.change_settings(
            trail_keys_dir=folder,
            anchor_bucket=bucket,
            anchor_access_key=SecretStr(access_key),
            anchor_secret_key=SecretStr(secret_key),
        )

    @contextmanager
    def unguarded(self) -> Iterator[None]:
        """What a superuser can do who takes the guards off the trail, and puts them back."""
        tables = ("anchored", "checkpoint", "leaf", "epoch")
        for table in tables:
            self.sql.execute(f"alter table {table} disable trigger all")
        try:
            yield
        finally:
            for table in tables:
                self.sql.execute(f"alter table {table} enable trigger all")
                for guard in ("no_change", "no_truncate", *(["only_grows"] if table == "checkpoint" else [])):
                    self.sql.execute(f"alter table {table} enable always trigger {guard}")

    def change_settings(self, **changed: object) -> None:
        """Other settings from now on."""
        self.settings = self.settings.model_copy(update=changed)
        self.app = self._build()

    def _build(self) -> wiring.App:
        app = wiring.build(self.settings)
        # A client of the store costs more than an import: the tests share them.
        vars(app).update(_clients(self.settings))
        return app

    def configure(self, *edits: tuple[str, str], more: str = "", apply: bool = True) -> wiring.App:
        """Writes the configuration, each (old, new) edited in, and applies it; the app that reads it."""
        text = CONFIG.replace("{home}", str(self.folder)) + more
        for old, new in edits:
            assert old in text, "an edit must change something"
            text = text.replace(old, new, 1)
        self.settings.config_file.write_text(text)
        self.app = self._build()
        if apply:
            with self.connect() as conn:
                controllers.apply(conn, self.app.config, OFFICER)
        return self.app

    def pseudonym(self, e164: str) -> bytes:
        return self.app.keyring.pseudonym(e164)

    def decide(self, subject: str) -> int:
        """A person's yes."""
        with self.connect() as conn:
            decision = decisions.record(conn, subject, "approve", "officer", b"seen", ACTOR)
            conn.commit()
        return decision

    def go_live(self) -> None:
        """The officer's yes: from now on nights delete."""
        self.decide("go_live")

    def forecast(self) -> None:
        """What a night keeps for the nights after it: that it looked, and when."""
        self.sql.execute(
            "insert into forecast (made_at, horizon_days, controller, due, blocked) values (callkeeper_now(), 30, 'phm', 0, 0)"
        )

    def suppress(self, kind: str, mark: bytes, review_on: date | None = None) -> None:
        """What the deletion of a recording, or an objection, leaves behind."""
        self.sql.execute("insert into suppression (kind, mark, review_on) values (%s, %s, %s)", (kind, mark, review_on))

    def block(self, **predicate: Any) -> UUID:
        """Places a hold with that predicate."""
        hold = Blocker(
            blocker=uuid4(), kind="investigation", case_ref="K-1", placed_by="officer", review_on=DAY, **predicate
        )
        with self.connect() as conn:
            blockers.place(conn, hold, ACTOR)
        return hold.blocker

    # --- acting -------------------------------------------------------------------------------------------------------

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of the tasks' role."""
        with self.app.connect() as conn:
            yield conn

    def run(self, key: str = "night", day: date = DAY, vendor: str = "linna", **more: Any) -> RunBalance:
        """One import, from preflight to balance."""
        return run_import(self.app, key, day, vendor, **more)

    def sweep(self, key: str = "sweep", **instead: Any) -> NightBalance:
        """One night of deletions, from its opening to its balance; ``destroyer`` and ``vendors`` may be others."""
        return run_night(self.app, key, **instead)

    def armed(self, conn: db.Connection, key: str) -> Night:
        """A night up to where everything is armed and nothing sent."""
        rules = self.app.deleting_rules()
        night = deleting.open_night(conn, key, ACTOR)
        deleting.plan(conn, night, rules, ACTOR)
        night = deletions.find_night(conn, key)
        deleting.arm(conn, night, rules, ACTOR)
        tombstones.export(conn, self.app.store, night.night, ACTOR)
        return night

    # --- looking ------------------------------------------------------------------------------------------------------

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        return self.sql.execute(query, parameters or None).fetchall()  # type: ignore[arg-type]

    def row(self, query: str, *parameters: Any) -> Any:
        """The only row."""
        (found,) = self.rows(query, *parameters)
        return found

    def value(self, query: str, *parameters: Any) -> Any:
        return self.row(query, *parameters)[0]

    def events(self, *actions: str) -> list[dict[str, Any]]:
        """The bodies of this test's events, in their order; those of the actions only, if some are named."""
        bodies = self.rows("select body from event where id > %s order by id", self._first_event)
        events = [json.loads(bytes(row.body)) for row in bodies]
        return [e for e in events if e["action"] in actions] if actions else events

    def day_state(self, day: date = DAY, vendor: str = "linna") -> str:
        return str(self.value("select state from delivery_day where vendor = %s and day = %s", vendor, day))

    def versions(self) -> list[ObjectVersion]:
        """The object versions whose key is a recording's of this test, whatever became of it."""
        keys = {
            row.object_key
            for table in ("staging", "quarantine", "recording", "deletion")
            for row in self.rows(f"select object_key from {table}")
        }
        return [v for v in self.app.store.versions("rec/") if v.key in keys]


def counts(balance: RunBalance) -> dict[str, int]:
    """The balance over all controllers, without its zeroes."""
    total: Counter[str] = Counter()
    for b in balance.balances:
        total.update(b.counts)
    return dict(sorted((+total).items()))


def reasons(balance: RunBalance) -> dict[str, int]:
    """Calls per ``outcome:reason``."""
    return {f"{outcome}:{reason}": n for (outcome, reason, _), n in sorted(balance.reasons.items()) if n and reason}
