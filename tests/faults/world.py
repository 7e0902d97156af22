"""An installation whose store and vendor are in memory: real jobs on real Postgres, fast, and with faults at will.

It watches: each effect is compared, at the moment at which it is asked for, with what is committed then.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import psycopg

from callkeeper import db, wiring
from callkeeper.blockers import Predicate
from callkeeper.deliveries import RunBalance
from callkeeper.errors import DatabaseUnavailable, NotAllowed
from callkeeper.jobs import balancing, deleting, fetching, holding, importing
from callkeeper.jobs.preflight import preflight
from callkeeper.media import AudioFacts, ObjectVersion
from callkeeper.settings import Settings
from callkeeper.vendors import DeleteAnswer, VendorCall, VendorRef
from callkeeper.vendors.fields import read_call
from deliver import Call
from fakes.store import FakeStore
from fakes.vendor import FakeVendor
from faults.leaving import Known
from installation import ACTOR, DAY, TABLES, Installation

MODULES = (deleting, holding, importing, fetching)
STORE_MODES = {
    "put": ("before", "after", "twice", "refused"),
    "delete": ("before", "after", "twice", "denied", "refused", "partial"),
    "versions": ("before", "refused", "partial"),
    "uploads": ("before", "refused"),
    "abort_upload": ("before", "after", "twice", "refused"),
    "hold": ("before", "after", "twice", "refused"),
    "release": ("before", "after", "twice", "refused"),
    "is_held": ("before",),
}
VENDOR_MODES = {
    "delete": ("before", "after", "twice", "refused"),
    "confirm_deleted": ("before", "refused"),
}


class Died(BaseException):
    """What SIGKILL is to a process: nothing handles it, and the database rolls back what was open."""


@dataclass(frozen=True, kw_only=True, order=True)
class Fault:
    """What goes wrong, the nth time from now on: a step of the code, a commit, a call to the store or the vendor."""

    where: Literal["step", "commit", "store", "vendor"]
    what: str
    nth: int
    mode: str
    """die, or meanwhile (at a step); before, after (a commit whose answer is lost); else a mode of the fakes."""

    def __str__(self) -> str:
        return f"{self.what}#{self.nth}:{self.mode}"


class World(Installation):
    """``trespasses`` are effects that were not allowed when they were asked for, in words: to stay empty."""

    def __init__(self, settings: Settings, sql: psycopg.Connection[Any], folder: Path) -> None:
        self.meanwhile: Callable[[], object] = lambda: None
        """What others do at the step of a fault whose mode is ``meanwhile``."""
        self._ordered: list[Fault] = []
        self.passed: Counter[tuple[str, str]] = Counter()
        """How often each place at which something can go wrong was passed since the last ``order``."""
        self._conn: psycopg.Connection[Any] | None = None
        super().__init__(settings, sql, folder)

    def reset(self) -> None:
        self.store, self.vendor = FakeStore(), _Vendor(self)
        self.known = Known()
        self.trespasses: list[str] = []
        self.heal()
        super().reset()
        self.mark()

    # --- arranging ----------------------------------------------------------------------------------------------------

    def _build(self) -> wiring.App:
        app = _App(self.settings)
        store = _Store(self)
        vars(app).update(world=self, store=store, destroyer=store, holder=store)
        return app

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    @contextmanager
    def shared(self) -> Iterator[psycopg.Connection[Any]]:
        """One connection for every job, one after the other; as if closed at the end of each."""
        if self._conn is None or self._conn.closed or self._conn.broken:
            self._opened = db.connect(self.settings)
            self._conn = self._opened.__enter__()
            commit = self._conn.commit
            self._conn.commit = lambda: self._commit(commit)  # type: ignore[method-assign]
        try:
            with db.worded():
                yield self._conn
        finally:
            if not self._conn.closed:
                self._conn.rollback()

    def order(self, *faults: Fault) -> None:
        """Lets these go wrong, counted from now."""
        self.heal()
        self._ordered = list(faults)
        self.passed.clear()

    def heal(self) -> None:
        self._ordered = []

    def set_clock(self, moment: datetime) -> None:
        """As the superuser, which may, too."""
        db.move_clock(self.sql, round((moment - datetime.now(UTC)).total_seconds()))

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def come(self, where: str, what: str) -> str | None:
        """What was ordered for this passing of the place."""
        self.passed[where, what] += 1
        for fault in self._ordered:
            if (fault.where, fault.what, fault.nth) == (where, what, self.passed[where, what]):
                return fault.mode
        return None

    def reach(self, step: str) -> None:
        mode = self.come("step", step)
        if mode == "die":
            raise Died(step)
        if mode == "meanwhile":
            self.meanwhile()

    def _commit(self, commit: Any) -> None:
        mode = self.come("commit", "commit")
        if mode == "before":
            assert self._conn is not None
            self._conn.rollback()
        else:
            commit()
        if mode:
            raise DatabaseUnavailable("The database went away.")

    # --- acting -------------------------------------------------------------------------------------------------------

    def deliver(self, calls: Iterable[Call], day: date = DAY) -> None:
        """The vendor lists these for the day, and has each one's audio once, however often it is delivered."""
        for call in calls:
            record = call.record()
            listed = read_call(record, record["media"], folder="calls")
            known = self.vendor.calls_of.setdefault(day, [])
            known[:] = [c for c in known if c.identity != listed.identity]
            self.vendor.add(listed.ref, call.audio or b"", call=listed, day=day)

    def run(self, key: str = "night", day: date = DAY, vendor: str = "linna", **more: Any) -> RunBalance:
        with self.connect() as conn:
            actor = self.app.actor(conn, dag="import_recordings", run=key, task="all", attempt=1)
            preflight(conn, self.app.config, run_key=key, day=day, first_day=None, only_vendor=vendor, actor=actor)
            job = self.app.importing(conn, key, vendor, actor)
            importing.stage(conn, job)
            importing.check(conn, job)
            fetching.fetch(conn, job, self.app.store, _probe, lane=1, claim_rows=100)
            importing.keep(conn, job)
            importing.finish_days(conn, job)
            holding.settle(conn, self.app.holder, actor)
            self.learn()
            return balancing.balance(conn, key, actor)

    def learn(self) -> None:
        self.known.learn(self, {call.identity for calls in self.vendor.calls_of.values() for call in calls})

    def add_version(self, key: str) -> str:
        return self.store.add(key).version_id

    def hide(self, key: str) -> None:
        self.store.hide(key)

    def begin_upload(self, key: str) -> None:
        self.store.begin_upload(key)

    def hold(self, predicate: Predicate) -> str | None:
        """Places a case on a connection of its own; None if the blockers' lock is taken, or it would cover nothing.

        Without waiting: what the store could not be asked of at once is left to later runs.
        """
        with contextlib.suppress(NotAllowed), db.connect(self.settings) as conn:
            conn.execute("set lock_timeout = '50ms'")
            conn.commit()
            case, _ = holding.draft(
                conn, self.app.keyring, kind="legal_claim", facts=holding.Facts(), predicate=predicate, account="officer",
                actor=ACTOR, wide=True,
            )  # fmt: skip
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                holding.place(conn, case, "officer", ACTOR, self.app.holder, wait_seconds=0)
            conn.rollback()
            if self.rows("select from hold where case_ref = %s and placed_at is not null", case):
                return case
        return None

    # --- saving and loading -------------------------------------------------------------------------------------------

    def save(self) -> _Saved:
        """The database's tables, the store, the vendor and the clock as they are; the trail goes on."""
        tables = {}
        for table in [*TABLES.split(", "), "clock_shift"]:
            with self.sql.cursor() as cursor, cursor.copy(f"copy {table} to stdout") as copy:
                tables[table] = b"".join(bytes(block) for block in copy)
        return _Saved(
            tables={table: body for table, body in tables.items() if body},
            objects={k: {v: replace(one) for v, one in of.items()} for k, of in self.store._bucket.objects.items()},
            uploads=dict(self.store._bucket.uploads),
            vendor=self.vendor.state(),
            known=Known(names=dict(self.known.names), keys=dict(self.known.keys)),
        )

    def load(self, saved: _Saved, *, only_database: bool = False) -> None:
        """Everything as it was when it was saved; of the database alone, as a backup that is restored brings it."""
        self.heal()
        with self.sql.transaction():
            self.sql.execute("set local session_replication_role = replica")
            self.sql.execute("; ".join(f"delete from {table}" for table in [*TABLES.split(", "), "clock_shift"]))
            for table, body in saved.tables.items():
                if only_database and table == "clock_shift":
                    continue
                with self.sql.cursor() as cursor, cursor.copy(f"copy {table} from stdin") as copy:
                    copy.write(body)
        if not only_database:
            bucket = self.store._bucket
            bucket.objects = {k: {v: replace(one) for v, one in of.items()} for k, of in saved.objects.items()}
            bucket.uploads = dict(saved.uploads)
            self.vendor.restore(saved.vendor)
            self.known = Known(names=dict(saved.known.names), keys=dict(saved.known.keys))
            self.trespasses.clear()
            self.mark()

    def mark(self) -> None:
        """This test's events begin here."""
        self._first_xid = self.value("select pg_current_xact_id()::text")

    def events(self, *actions: str) -> list[dict[str, Any]]:
        bodies = self.rows("select body from event where xid > %s::xid8 order by id", self._first_xid)
        events = [json.loads(bytes(row.body)) for row in bodies]
        return [e for e in events if e["action"] in actions] if actions else events

    # --- looking ------------------------------------------------------------------------------------------------------

    def versions(self) -> list[ObjectVersion]:
        return list(self.store._list("rec/", "", ""))

    # --- watching -----------------------------------------------------------------------------------------------------

    def watch_store(self, keys: Sequence[str], effect: str) -> None:
        """Everything about to be removed in the store has been sent, has its tombstone, is over as foreseen or allowed, and not held."""
        rows = self.rows(
            """
            select l.object_key, l.state, l.trigger, l.waits is not null and l.decision is null as unasked,
                l.trigger = 'retention_expired' and l.eligible_at > callkeeper_now() as early,
                -- What was corrected after it had been planned was planned for the end that it had before.
                l.trigger = 'retention_expired' and l.decision is null
                    and exists (select from recording r where r.recording = l.recording and r.term_since <= j.planned_at)
                    and not exists (select from forecast f, recording r where r.recording = l.recording
                        and f.made_at between r.term_since and j.planned_at and r.eligible_at <= f.made_at + interval '30 days')
                    and exists (select from decision g where g.subject = 'go_live' and g.decided_at < j.planned_at) as unforeseen,
                l.identity is not null and not exists (
                    select from suppression p where p.kind = 'recording' and p.mark = l.identity) as unmarked,
                exists (select from blocker b join deletion d on d.recording = l.recording
                    where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)
                      and b.placed_at < d.sending_at) as held
            from leaving l join deletion j on j.recording = l.recording where l.object_key = any (%s)
            """,
            list(keys),
        )
        found = {row.object_key: row for row in rows}
        for key in keys:
            row = found.get(key)
            if (
                row is None
                or row.state != "sending"
                or any((row.unasked, row.early, row.unforeseen, row.unmarked, row.held))
            ):
                self.trespasses.append(f"{effect} {key}: {row}")

    def watch_vendor(self, recording: str) -> None:
        """What the vendor is asked to delete is gone from the store, and that it is asked is in the trail."""
        row = self.row(
            """
            select d.state, d.absence_checked_at is not null as proven, d.vendor_asked_at is not null as asked,
                exists (select from event e where e.xid > %s::xid8 and e.class = 'deletion'
                    and convert_from(e.body, 'UTF8') like '%%deletion.vendor_asked%%' || d.recording || '%%') as said,
                exists (select from blocker b where b.ended_at is null and (d.recording = any (b.recordings)
                    or exists (select from blocker_cover c where c.blocker = b.blocker and c.recording = d.recording))) as held,
                exists (select from recording r where r.recording = d.recording) as living
            from deletion d where d.recording = %s
            """,
            self._first_xid,
            UUID(recording),
        )
        if row.state != "store_gone" or not (row.proven and row.asked and row.said) or row.held or row.living:
            self.trespasses.append(f"vendor {recording}: {row}")


@dataclass(frozen=True, kw_only=True)
class _Saved:
    tables: dict[str, bytes]
    objects: dict[str, dict[str, Any]]
    uploads: dict[tuple[str, str], bool]
    vendor: dict[str, Any]
    known: Known


class _App(wiring.App):
    """The app, with the world's edges."""

    def connect(self, role: Any = "app") -> Any:
        return self.__dict__["world"].shared() if role == "app" else super().connect(role)

    def vendor(self, name: str) -> Any:
        return self.__dict__["world"].vendor


class _Store:
    """The world's store, each of its operations a place where something can go wrong."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, operation: str) -> Any:
        world, inner = self._world, getattr(self._world.store, operation)
        if operation not in STORE_MODES:
            return inner

        def call(*args: Any, **named: Any) -> Any:
            mode = world.come("store", operation)
            if operation == "delete":
                world.watch_store([v.key for v in args[0]], operation)
            elif operation == "abort_upload":
                world.watch_store([args[0]], operation)
            if mode:
                world.store.fail(operation, mode)  # type: ignore[arg-type]  # a Mode
            return inner(*args, **named)

        return call


class _Vendor(FakeVendor):
    """The world's vendor; what it accepted is gone at the first look."""

    def __init__(self, world: World) -> None:
        super().__init__("linna", polls=0)
        self._world = world

    def delete(self, ref: VendorRef, key: str) -> DeleteAnswer:
        mode = self._world.come("vendor", "delete")
        self._world.watch_vendor(key)
        if mode:
            self.fail("delete", mode)  # type: ignore[arg-type]  # a Mode
        return super().delete(ref, key)

    def confirm_deleted(self, ref: VendorRef) -> bool | None:
        mode = self._world.come("vendor", "confirm_deleted")
        if mode:
            self.fail("confirm_deleted", mode)  # type: ignore[arg-type]  # a Mode
        return super().confirm_deleted(ref)

    def state(self) -> dict[str, Any]:
        """Everything that it has, knows and counted."""
        return {name: _copied(value) for name, value in vars(self).items() if isinstance(value, dict)}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, _copied(value))

    def call(self, name: str) -> VendorCall:
        (found,) = [c for calls in self.calls_of.values() for c in calls if c.identity == name]
        return found


def _copied(of: dict[Any, Any]) -> dict[Any, Any]:
    fresh = of.copy()
    fresh.update((key, list(value)) for key, value in of.items() if isinstance(value, list))
    return fresh


def _probe(body: io.BufferedIOBase, *, claimed_codec: str | None, content_type: str | None) -> AudioFacts:
    """All audio of this world is a second of the same."""
    return AudioFacts(duration_ms=1000, codec="pcm_s16le", channels=1, sample_rate_hz=8000, truncated=False)


@contextmanager
def opened(settings: Settings, sql: psycopg.Connection[Any], folder: Path) -> Iterator[World]:
    """A world, whose steps are the code's, until the end."""
    world = World(settings, sql, folder)
    real = {module: module.reach for module in MODULES}
    for module in MODULES:
        module.reach = world.reach  # type: ignore[attr-defined]
    try:
        yield world
    finally:
        for module, reach in real.items():
            module.reach = reach  # type: ignore[attr-defined]
        world.close()
