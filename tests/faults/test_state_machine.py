"""Everything that may happen to recordings, in any order, with faults in between; and what must be true all the same.

Hypothesis draws what happens, and on a failure prints the shortest story that it finds; ``FAULTS_SEED=… make test-faults``
draws it again. ``make soak`` goes on with other seeds until its time is up.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from callkeeper.blockers import Predicate
from callkeeper.clock import helsinki_day
from callkeeper.errors import CallkeeperError, NotAllowed
from callkeeper.jobs import approving, holding, quarantining
from callkeeper.trail import verify
from deliver import PHM, PUNAVAARA, Call
from faults.killing import steps
from faults.world import STORE_MODES, VENDOR_MODES, Died, Fault, World
from installation import ACTOR, DAY, NOW
from trails import Log

SEED = int(os.environ.get("FAULTS_SEED") or (random.randrange(10**9) if os.environ.get("SOAK_SECONDS") else 20261124))
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
EXAMPLES, STEPS = 30, 25
CALLERS = ("+358501234501", "+358501234502", "+358501234503")
SERVICE = {PUNAVAARA: "+358207001234", PHM: "+358102708001"}
MOST_LIVING, MOST_HOLDS = 8, 2
JUMPS = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=184))
BY = ("recording", "number", "line")
UNSENT = ("arm.after_commit", "send.sending", "send.deleted", "send.after_scrubbed")
"""Steps at which something may be armed and not sent."""
NIGHT = steps("plan", "arm", "send", "ask")
FOLLOWS = {
    None: {"planned"},
    "planned": {"armed", "blocked", "withdrawn", "planned"},
    "blocked": {"armed", "blocked", "withdrawn", "planned"},
    "withdrawn": {"planned"},
    "armed": {"sending", "blocked", "withdrawn"},
    "sending": {"store_gone", "blocked"},
    "store_gone": {"vendor_asked", "done"},
    "vendor_asked": {"vendor_asked", "vendor_answered", "done"},
    "vendor_answered": {"vendor_asked", "vendor_answered", "done"},
    "done": set(),
}
"""Which event of a deletion may follow which. (A blocked one goes back to planned in silence: nothing has happened.)"""
AUDIO = """
with audio as (
    select recording, controller, line, pseudonym, started_at, object_key, version_id, legal_hold from recording
    union all
    select recording, controller, line, pseudonym, started_at, object_key, version_id, legal_hold from quarantine
    union all
    select recording, controller, line, pseudonym, started_at, object_key, version_id, legal_hold from deletion d
    where state not in ('store_gone', 'done', 'withdrawn') and not exists (select from recording r where r.recording = d.recording)
)
select a.recording, a.object_key, a.version_id, a.legal_hold, coalesce(d.state, '') as state,
    exists (select from blocker b where covers(b, a.recording, a.controller, a.line, a.pseudonym, a.started_at)) as covered
from audio a left join deletion d on d.recording = a.recording
"""


def faults() -> st.SearchStrategy[Fault]:
    """One place of a night, and a way in which it goes wrong there: each kind of place as often."""
    kinds = (
        [("step", step, "die") for step in [*NIGHT, *steps("hold")]],
        [("commit", "commit", mode) for mode in ("before", "after")],
        [("store", what, mode) for what, modes in STORE_MODES.items() for mode in modes],
        [("store", "delete", mode) for mode in STORE_MODES["delete"]],
        [("vendor", what, mode) for what, modes in VENDOR_MODES.items() for mode in modes],
    )
    return st.builds(
        lambda place, nth: Fault(where=place[0], what=place[1], nth=nth, mode=place[2]),
        st.one_of(*map(st.sampled_from, kinds)),
        st.integers(1, 4),
    )


CALLS = st.fixed_dictionaries(
    {
        "age": st.sampled_from([timedelta(hours=2), timedelta(days=1), timedelta(days=150), timedelta(days=200)]),
        "line": st.sampled_from([PUNAVAARA, PHM]),
        "caller": st.sampled_from(CALLERS),
        "manner": st.sampled_from(["deletes", "deletes", "accepts", "refuses"]),
        # Longer than its audio is: to be quarantined.
        "ms": st.sampled_from([1000, 1000, 1000, 9000]),
    }
)


class WaysOut(RuleBasedStateMachine):
    """``world`` is put in by the test, ``empty`` is how it begins."""

    world: World
    empty: Any

    @initialize(calls=st.lists(CALLS, min_size=2, max_size=6), live=st.sampled_from([True, True, True, False]))
    def begin(self, calls: list[dict[str, Any]], live: bool) -> None:
        self.world.load(self.empty)
        self.clock: datetime = NOW
        self.world.set_clock(NOW)
        self.calls: dict[str, Call] = {}
        self.cases: list[str] = []
        self.kept_whole: dict[UUID, set[tuple[str, str]]] = {}
        """What a hold covered before it was sent: its keys and versions, to stay."""
        self.runs = 0
        self.living: list[str] = []
        """The names of what is in the catalogue, and (``waiting``) how much waits for the officer."""
        self.waiting = 0
        self.live = live
        if live:
            self.world.go_live()
        self._come_in(calls)

    # --- what happens -------------------------------------------------------------------------------------------------

    def _key(self, what: str) -> str:
        self.runs += 1
        return f"{what} {self.runs}"

    def _import(self) -> None:
        world = self.world
        before = {row.recording for row in world.rows("select recording from recording")}
        assert world.run(self._key("import"), helsinki_day(self.clock)).balanced
        for row in world.rows(
            "select recording, exists (select from blocker b where covers(b, recording, controller, line, pseudonym, started_at)) "
            "as covered from recording r where exists (select from suppression p where p.mark = r.identity)"
        ):
            assert row.recording in before or row.covered, "what was deleted has come back"

    def _come_in(self, calls: list[dict[str, Any]]) -> None:
        for drawn in calls:
            name = f"call{len(self.calls)}"
            facts = {field: value for field, value in drawn.items() if field not in ("age", "manner")}
            self.calls[name] = Call(id=name, start=self.clock - drawn["age"], **facts)
            self.world.deliver([self.calls[name]], helsinki_day(self.clock))
            self.world.vendor.manners[self.world.vendor.call(name).ref] = drawn["manner"]
        self._import()

    @precondition(lambda self: len(self.living) < MOST_LIVING)
    @rule(calls=st.lists(CALLS, min_size=1, max_size=3))
    def calls_come_in(self, calls: list[dict[str, Any]]) -> None:
        self._come_in(calls)

    @precondition(lambda self: self.calls)
    @rule(
        which=st.integers(0, 99), later=st.sampled_from([0, 0, 90]), line=st.sampled_from([None, None, PUNAVAARA, PHM])
    )
    def a_call_is_delivered_again(self, which: int, later: int, line: str | None) -> None:
        name = sorted(self.calls)[which % len(self.calls)]
        call = self.calls[name]
        assert isinstance(call.start, datetime)
        start = min(call.start + timedelta(days=later), self.clock - timedelta(hours=1))
        self.calls[name] = replace(call, start=start, line=line or call.line)
        self.world.deliver([self.calls[name]], helsinki_day(self.clock))
        self._import()

    @rule(jump=st.sampled_from(JUMPS), looked=st.booleans(), night=st.booleans())
    def time_passes(self, jump: timedelta, looked: bool, night: bool) -> None:
        self._pass(jump, looked)
        if night:
            self._night()

    def _pass(self, jump: timedelta, looked: bool) -> None:
        """``looked``: the evening before, a night made its forecast; else nothing is foreseen that far ahead."""
        if looked and jump > timedelta(days=1):
            self.world.set_clock(self.clock + jump - timedelta(days=1))
            self.world.forecast()
        self.clock += jump
        self.world.set_clock(self.clock)

    def _predicate(self, which: int, by: str) -> Predicate:
        """One call's recordings, everything of its caller, or its line around that day."""
        known = self.world.known.names
        call = self.calls[self.living[which % len(self.living)]]
        if by == "recording":
            return Predicate(recordings=tuple(r for r, name in known.items() if name == call.id))
        if by == "number":
            return Predicate(pseudonyms=(self.world.pseudonym(str(call.caller)),))
        assert isinstance(call.start, datetime)
        return Predicate(
            line=SERVICE[str(call.line)], from_at=call.start - timedelta(days=1), to_at=call.start + timedelta(days=1)
        )

    @precondition(lambda self: self.living and len(self.cases) < MOST_HOLDS)
    @rule(which=st.integers(0, 99), by=st.sampled_from(BY), fault=st.none() | faults())
    def a_hold_is_placed(self, which: int, by: str, fault: Fault | None) -> None:
        self.world.order(*[fault] if fault else [])
        with attempted():
            self.world.hold(self._predicate(which, by))
        self.world.heal()

    @precondition(lambda self: self.living and len(self.cases) < MOST_HOLDS)
    @rule(
        which=st.integers(0, 99),
        by=st.sampled_from(BY),
        step=st.sampled_from([*UNSENT, *steps("arm", "send", "ask")]),
        nth=st.sampled_from([1, 1, 2]),
        jump=st.sampled_from([timedelta(days=31), timedelta(days=184)]),
    )
    def a_hold_is_placed_during_a_night(self, which: int, by: str, step: str, nth: int, jump: timedelta) -> None:
        self._pass(jump, looked=True)
        self.world.meanwhile = lambda: self.world.hold(self._predicate(which, by))
        self.world.order(Fault(where="step", what=step, nth=nth, mode="meanwhile"))
        assert self.world.sweep(self._key("night")).balanced
        self.world.heal()

    @precondition(lambda self: self.cases)
    @rule(which=st.integers(0, 99), what=st.sampled_from(["ratify", "release", "release"]), fault=st.none() | faults())
    def a_hold_is_ratified_or_released(self, which: int, what: str, fault: Fault | None) -> None:
        world, case = self.world, self.cases[which % len(self.cases)]
        world.order(*[fault] if fault else [])
        for account in ("approver",) if what == "ratify" else ("officer", "approver"):
            with attempted(), world.connect() as conn:
                if what == "ratify":
                    holding.ratify(conn, case, account, ACTOR)
                else:
                    holding.change(conn, case, "release", account, ACTOR, world.app.holder)
        world.heal()

    @rule()
    def a_night(self) -> None:
        self._night()

    @rule(first=faults(), second=st.none() | faults(), again=st.booleans())
    def a_night_is_spoilt(self, first: Fault, second: Fault | None, again: bool) -> None:
        world = self.world
        world.order(*[fault for fault in (first, second) if fault])
        key = self._key("night")
        with attempted():
            assert world.sweep(key).balanced
        world.heal()
        if again:
            assert world.sweep(key).balanced

    def _night(self) -> None:
        world = self.world
        assert world.sweep(self._key("night")).balanced
        for row in world.rows(AUDIO):
            if row.version_id and row.state != "sending":
                assert row.legal_hold == row.covered
                assert world.store.is_held(row.object_key, row.version_id) == row.covered

    @precondition(lambda self: self.waiting or not self.live)
    @rule()
    def the_officer_says_yes(self) -> None:
        """To going live, if a rehearsal has been; else to what waits as a surplus."""
        world, subject = self.world, approving.Subject.surplus if self.live else approving.Subject.go_live
        with world.connect() as conn:
            try:
                approving.approve(conn, approving.propose(conn, subject), "officer", ACTOR)
                self.live = True
            except NotAllowed:
                pass

    @precondition(lambda self: self.world.rows("select from quarantine"))
    @rule()
    def what_is_quarantined_is_rejected(self) -> None:
        world = self.world
        for row in world.rows("select recording from quarantine"):
            with world.connect() as conn:
                quarantining.reject(conn, recording=row.recording, account="officer", actor=ACTOR)

    @precondition(lambda self: self.living)
    @rule(which=st.integers(0, 99), how=st.sampled_from(["add_version", "hide", "begin_upload"]))
    def somebody_else_writes_into_the_store(self, which: int, how: str) -> None:
        keys = sorted({v.key for v in self.world.versions()})
        if keys:
            getattr(self.world, how)(keys[which % len(keys)])

    # --- what is true -------------------------------------------------------------------------------------------------

    @invariant()
    def look(self) -> None:
        """What the next rules need to know."""
        world, known = self.world, self.world.known.names
        live = "select case_ref from hold where placed_at is not null and released_at is null order by 1"
        self.cases = [row.case_ref for row in world.rows(live)]
        self.living = sorted(known[row.recording] for row in world.rows("select recording from recording"))
        waiting = "select count(*) from deletion where waits is not null and decision is null and state = 'planned'"
        self.waiting = world.value(waiting)

    @invariant()
    def no_effect_was_out_of_turn(self) -> None:
        """Sent, marked, over, allowed and not held when the store was asked; proven gone when the vendor was."""
        assert self.world.trespasses == []

    @invariant()
    def what_a_hold_covers_keeps_every_version(self) -> None:
        world = self.world
        there: dict[str, set[tuple[str, str]]] = {}
        for v in world.versions():
            there.setdefault(v.key, set()).add((v.key, v.version_id))
        audio = {row.recording: row for row in world.rows(AUDIO)}
        for recording, versions in list(self.kept_whole.items()):
            now = audio.get(recording)
            assert now is not None, "what a hold covered is gone"
            assert versions <= there.get(now.object_key, set()), "a version of what a hold covered is gone"
            if not now.covered:
                del self.kept_whole[recording]
        for recording, row in audio.items():
            if row.covered and row.version_id and row.state != "sending":
                self.kept_whole[recording] = there.get(row.object_key, set())
                assert (row.object_key, row.version_id) in self.kept_whole[recording]

    @invariant()
    def done_means_no_version_the_vendor_asked_and_the_row_erased(self) -> None:
        world = self.world
        there = {v.key for v in world.versions()} | {key for key, _ in world.store.uploads("")}
        asked = Counter(key for _, key in world.vendor.keys)
        living = {row.recording: row for row in world.rows("select recording, object_key, version_id from recording")}
        unfinished = set()
        for row in world.rows("select * from deletion"):
            if row.state in ("store_gone", "done"):
                assert world.known.keys[row.recording] not in there
                assert row.recording not in living
                assert (row.line, row.pseudonym, row.started_at, row.object_key) == (None, None, None, None)
            else:
                unfinished.add(row.object_key)
            if row.state == "done":
                # An object that no row had pointed to has no copy at a vendor.
                assert asked[str(row.recording)] or row.trigger == "orphan"
                assert (row.identity, row.sealed_ref) == (None, None)
        explained = {row.object_key for row in living.values()} | unfinished
        explained |= {
            row.object_key
            for row in world.rows("select object_key from quarantine union all select object_key from staging")
        }
        assert there <= explained, "an object that no row explains"
        sending = {row.recording for row in world.rows("select recording from deletion where state = 'sending'")}
        assert {row.object_key for r, row in living.items() if r not in sending} <= there, "a row whose audio is gone"

    @invariant()
    def every_step_has_its_event_in_order_and_one_end(self) -> None:
        last: dict[str, str | None] = {}
        for event in self.world.events():
            if event["action"].startswith("deletion.") and "recording" in event:
                action = event["action"].removeprefix("deletion.")
                assert action in FOLLOWS[last.get(event["recording"])], f"{action} after {last.get(event['recording'])}"
                last[event["recording"]] = action
        for row in self.world.rows("select recording, state from deletion"):
            told = last.get(str(row.recording))
            alike = {"vendor_asked": "store_gone", "vendor_answered": "store_gone"}.get(str(told), told)
            assert alike == row.state or (alike, row.state) == ("blocked", "planned")

    def teardown(self) -> None:
        """Once nothing goes wrong any more, two nights and the yes in between bring everything to its end."""
        if not hasattr(self, "clock"):
            return
        world = self.world
        if not self.live:
            world.go_live()
        self._night()
        self.live = True
        self.the_officer_says_yes()
        self._night()
        self._night()
        for row in world.rows(AUDIO):
            assert row.covered or row.state in ("", "withdrawn"), f"{row.state} for ever"
        assert (
            world.rows(
                "select from recording r where eligible_at <= callkeeper_now() and not exists "
                "(select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at))"
            )
            == []
        ), "past its term for ever"
        for row in world.rows(
            "select vendor_answer, exists (select from hold_too_late t join blocker b on b.blocker = t.blocker "
            "where t.recording = d.recording and b.ended_at is null) as too_late from deletion d where state = 'store_gone'"
        ):
            assert row.vendor_answer == "refused" or row.too_late, "open at its vendor for ever"
        self._everything()
        self._an_auditor_is_content()
        before = [e for e in world.events() if "recording" in e], world.versions(), dict(world.vendor.recordings)
        self._night()
        assert (
            [e for e in world.events() if "recording" in e],
            world.versions(),
            dict(world.vendor.recordings),
        ) == before
        counts = Counter(row.state for row in world.rows("select state from deletion"))
        note(f"{dict(counts)}, {len(self.calls)} calls, {len(self.cases)} holds")
        COUNTED.update(counts)

    def _an_auditor_is_content(self) -> None:
        """Sealed, exported and judged, the story has nothing in it that cannot be."""
        rows = self.world.rows(
            "select id, xid::text::bigint as xid, class as of, at, body from event where xid > %s::xid8 order by id",
            self.world._first_xid,
        )
        log = Log.of((r.id, r.xid, r.of, r.at.astimezone(UTC), bytes(r.body)) for r in rows)
        with TemporaryDirectory() as folder:
            verdict = verify.verify(log.bundle(Path(folder)), [verify.parse_key(log.key)])
        assert verdict.ok, verdict.findings
        JUDGED.update(verdict.meaning)
        JUDGED["uncounted runs"] += verdict.remark_counts["uncounted_run"]

    def _everything(self) -> None:
        self.no_effect_was_out_of_turn()
        self.what_a_hold_covers_keeps_every_version()
        self.done_means_no_version_the_vendor_asked_and_the_row_erased()
        self.every_step_has_its_event_in_order_and_one_end()


COUNTED: Counter[str] = Counter()
"""How the deletions of all stories ended."""
JUDGED: Counter[str] = Counter()
"""What the auditor's verifier looked at in all of them."""


def test_a_refused_call_that_is_corrected_out_of_a_hold_stays_and_goes_once_the_hold_has_ended(world):
    begin(world)
    world.go_live()
    call = Call(id="old", start=NOW - timedelta(days=200))
    world.deliver([call])
    hold = world.block(line=SERVICE[PUNAVAARA], from_at=NOW - timedelta(days=201), to_at=NOW - timedelta(days=199))
    world.run("import")
    world.set_clock(NOW + timedelta(days=1))
    world.sweep("night")
    world.deliver([replace(call, line=PHM)], DAY + timedelta(days=1))
    world.run("import again", DAY + timedelta(days=1))
    assert world.sweep("held").total("done") == 0
    world.sql.execute("update blocker set ended_at = callkeeper_now() where blocker = %s", (hold,))
    with world.connect() as conn:
        approving.approve(conn, approving.propose(conn, approving.Subject.surplus), "officer", ACTOR)

    assert world.sweep("next night").total("done") == 1
    assert world.vendor.recordings == {}


class attempted:  # noqa: N801  # read as a word
    """What a fault does to a job is the fault's: the story goes on."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, wrong: BaseException | None, trace: Any) -> bool:
        return isinstance(wrong, (Died, CallkeeperError))


def tell(world: World, number: int, examples: int) -> None:
    """So many stories, drawn from the number, each in an installation in which nothing has been yet."""
    begin(world)
    machine = seed(number)(type("WaysOut", (WaysOut,), {"world": world, "empty": world.save()}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


def begin(world: World) -> None:
    world.reset()
    world.change_settings(deletion_chunk_rows=3, deletion_claim_rows=2, deletion_slice_rows=100)


def test_whatever_happens_in_whatever_order(world):
    began, number = time.monotonic(), SEED
    while True:
        try:
            tell(world, number, EXAMPLES)
        except BaseException as wrong:
            wrong.add_note(f"FAULTS_SEED={number}")
            raise
        number += 1
        if time.monotonic() - began >= SOAK_SECONDS:
            break
    print(
        f"seeds {SEED} to {number - 1}, {EXAMPLES} stories each; deletions: {dict(COUNTED)}, verified: {dict(JUDGED)}"
    )
    assert COUNTED["done"] > 0
    assert JUDGED["nights"] > JUDGED["uncounted runs"]
