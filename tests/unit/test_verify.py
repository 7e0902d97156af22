"""What the verifier finds, each by its stable name; and what it lets pass."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import trails
from callkeeper.trail import events, verify
from trails import (
    Log,
    Signer,
    a_night,
    a_story,
    a_yes,
    an_import,
    body,
    done,
    edit_lines,
    kept,
    run,
    sha256,
    step,
    uuid,
)

KEY = Signer("first").key
THE_FILE = Path(verify.__file__)


def judged(folder: Path, log: Log | None = None, *, key: str = KEY, keep: tuple[str, ...] = (), **more: Any) -> Any:
    if log is not None:
        log.bundle(folder)
    notes = [(f"kept {n}", note.encode()) for n, note in enumerate(keep)]
    return verify.verify(folder, [verify.parse_key(key)], notes, **more)


def names(verdict: verify.Verdict) -> set[str]:
    return set(verdict.counts)


# --- what is whole ----------------------------------------------------------------------------------------------------


def test_a_whole_trail_is_verified_to_its_last_checkpoint(tmp_path):
    log = a_story()
    log.commit(kept(99), kept(98))

    verdict = judged(tmp_path, log, keep=(log.epoch.notes[1],))

    assert verdict.ok
    assert verdict.findings == verdict.remarks == []
    (epoch,) = verdict.epochs
    assert (epoch.size, epoch.verified, epoch.bodies, epoch.unsealed, epoch.checkpoints) == (
        len(log.epoch.entries), len(log.epoch.entries), len(log.epoch.entries), 2, 3,
    )  # fmt: skip
    assert verdict.meaning == {"recordings": 23, "steps": 83, "ended": 10, "nights": 1, "imports": 2}
    assert verdict.kept == 1


def test_a_range_of_bodies_is_verified_with_all_leaves(tmp_path):
    log = a_story()
    sizes = [verify.parse_checkpoint(note.encode()).size for note in log.epoch.notes]
    log.bundle(tmp_path, first=sizes[0], to=sizes[1])

    verdict = judged(tmp_path)

    assert verdict.ok
    assert verdict.epochs[0].bodies == sizes[1] - sizes[0]
    assert verdict.epochs[0].out_of_range == sizes[0] + sizes[2] - sizes[1]
    assert "range_only" in verdict.remark_counts


@pytest.mark.parametrize("first", range(0, 120, 7))
def test_no_range_raises_a_false_alarm(tmp_path, first):
    log = a_story()
    log.bundle(tmp_path, first=min(first, len(log.epoch.entries)))
    assert judged(tmp_path).ok


def test_a_new_key_is_learnt_from_the_trail_and_an_old_one_signs_no_more(tmp_path):
    log = a_story()
    log.rotate("second")
    an_import(log, "import 3", range(50, 55))
    log.seal()
    log.retire()
    an_import(log, "import 4", range(60, 65))
    log.seal()

    assert judged(tmp_path, log).ok
    assert sorted(judged(tmp_path).keys) == sorted([KEY, Signer("second").key])
    assert judged(tmp_path, key=Signer("second").key).counts == {"unknown_key": 4}, "the first key was never told of"


def test_the_newest_key_alone_verifies_all_that_came_before(tmp_path):
    log = Log()
    log.commit(("trail", "seal_key.added", {"verifier_key": KEY}))
    a_story(log=log)
    log.rotate("second")
    log.retire()
    log.seal()
    assert judged(tmp_path, log, key=Signer("second").key).ok


def test_a_restore_opens_an_epoch_and_what_it_lost_is_counted(tmp_path):
    log = a_story()
    old = verify.parse_checkpoint(log.epoch.notes[1].encode()).size
    a_lost_note = log.epoch.notes[-1]
    log.xid = 100  # another cluster's
    log.pending.append((99_999, 7000, "import", "2026-11", b"7000 99999 import " + body("day.closed", log.at, {})))
    log.restore(old)
    an_import(log, "import 3", range(50, 55))
    log.seal()

    verdict = judged(tmp_path, log, keep=(a_lost_note,))

    assert verdict.ok, verdict.findings
    assert [e.lost for e in verdict.epochs] == [len(log.epochs[0].entries) - old, 0]
    assert verdict.remark_counts["epoch"] == 1


def test_bodies_that_expired_are_accounted_for_by_a_sealed_event(tmp_path):
    log = a_story()
    log.at += timedelta(days=3 * 366 + 30)
    log.expire("import", "2026-11")
    log.expire("deletion", "2026-11")
    log.seal()

    verdict = judged(tmp_path, log)

    assert verdict.ok, verdict.findings
    assert verdict.epochs[0].expired == 23 + 4 + 60
    assert verdict.remark_counts["silence"] == 1


def test_silence_is_told_and_breaks_nothing(tmp_path):
    log = a_story()
    log.seal(pause=timedelta(hours=30))
    log.at += timedelta(hours=5)

    verdict = judged(tmp_path, log)

    assert verdict.ok
    assert verdict.remark_counts["silence"] == 2
    assert judged(tmp_path, silence=timedelta(hours=40)).remark_counts["silence"] == 0


def test_kinds_of_events_from_later_versions_are_counted_not_judged(tmp_path):
    log = a_story()
    log.commit(("opening", "recording.hummed", {"recording": uuid(1)}), ("run", "coffee.made", {}))
    log.seal()
    verdict = judged(tmp_path, log)
    assert verdict.ok
    assert verdict.remark_counts["unknown_event"] == 2


def test_a_recording_may_be_planned_again_blocked_withdrawn_and_asked_for_many_times(tmp_path):
    log = a_story()
    for what in (
        "planned", "blocked", "planned", "armed", "blocked", "armed", "withdrawn", "planned", "armed", "sending", "blocked", "armed",
        "sending", "store_gone", "vendor_asked", "vendor_asked", "vendor_answered", "vendor_answered", "vendor_asked", "needs_human",
        "retried", "vendor_answered", "needs_human",
    ):  # fmt: skip
        log.commit(step(1, what))
    log.commit(("blocker", "blocker.too_late", {"recording": uuid(1), "blocker": uuid(77)}))
    log.commit(done(1), actor={"account": "officer"})
    log.commit(("blocker", "blocker.too_late", {"recording": uuid(1), "blocker": uuid(78)}))
    log.seal()
    assert judged(tmp_path, log).ok


def test_steps_count_in_the_order_in_which_they_were_written_not_in_which_their_transactions_began(tmp_path):
    log = a_story()
    late = log.xid + 1
    log.xid += 1
    log.commit(step(1, "planned"))
    log.commit(step(1, "blocked"))
    # Began before both, and saw what they had done.
    log.write("deletion", body("deletion.withdrawn", log.at, {}, recording=uuid(1)), xid=late)
    log.seal()
    assert judged(tmp_path, log).ok


# --- what is broken: the log itself -----------------------------------------------------------------------------------


def entry(data: bytes, klass: str = "deletion") -> trails.Entry:
    return trails.Entry(data, klass, "2026-11", sha256(b"\x00" + data))


def replayed(log: Log) -> None:
    log.epoch.notes.insert(2, log.epoch.notes[0])


def repeated(log: Log) -> None:
    log.epoch.notes.append(log.epoch.notes[-1])


def reordered(log: Log) -> None:
    log.epoch.notes[0], log.epoch.notes[1] = log.epoch.notes[1], log.epoch.notes[0]


def swapped_roots(log: Log) -> None:
    first, second = (verify.parse_checkpoint(note.encode()) for note in log.epoch.notes[:2])
    log.epoch.notes[0] = log.note(size=first.size, root=second.root, time=first.time, horizon=first.horizon)


def forged_note(**instead: Any) -> Callable[[Log], None]:
    def forge(log: Log) -> None:
        was = verify.parse_checkpoint(log.epoch.notes[-1].encode())
        log.epoch.notes[-1] = log.note(**{"time": was.time, "horizon": was.horizon, **instead})

    return forge


def signed_by(seed: str) -> Callable[[Log], None]:
    return forged_note(signers=[Signer(seed)])


def other_signature(log: Log) -> None:
    """The right key's name, over other words."""
    text, _, signatures = log.epoch.notes[-1].partition("\n\n")
    log.epoch.notes[-1] = text.replace("horizon ", "horizon 1") + "\n\n" + signatures


def bent_signature(log: Log) -> None:
    text, _, line = log.epoch.notes[-1].rpartition(" ")
    raw = bytearray(base64.b64decode(line))
    raw[40] ^= 1
    log.epoch.notes[-1] = f"{text} {base64.b64encode(raw).decode()}\n"


def unsigned(log: Log) -> None:
    log.epoch.notes[-1] = log.epoch.notes[-1].partition("\n\n")[0] + "\n"


def time_back(log: Log) -> None:
    log.at -= timedelta(hours=9)
    log.seal()


def horizon_back(log: Log) -> None:
    log.commit(kept(70))
    first = verify.parse_checkpoint(log.epoch.notes[0].encode())
    log._append(sorted(log.pending))
    log.pending = []
    log.checkpoint(horizon=first.horizon)


def forged_horizon(log: Log) -> None:
    forged_note(horizon=verify.parse_checkpoint(log.epoch.notes[-2].encode()).horizon)(log)


def slipped_in(log: Log) -> None:
    """An event of an old transaction, sealed late."""
    log.write("deletion", body("deletion.planned", log.at, {}, recording=uuid(3)), xid=1005)
    log._append(log.pending)
    log.pending = []
    log.checkpoint()


def sealed_twice(log: Log) -> None:
    log.epoch.entries.append(log.epoch.entries[5])
    log.checkpoint()


def no_opening(log: Log) -> None:
    """A whole trail whose first leaf opens nothing."""
    log.epochs.clear()
    log.pending = []
    log.epochs.append(trails.Stage(1))
    log.commit(("trail", "trail.heartbeat", {}))
    log._append(log.pending)
    log.pending = []
    log.checkpoint()


def retired_signs_on(log: Log) -> None:
    log.rotate("second")
    log.retire()
    log.signers = [Signer("first")]
    log.seal()


def closed_epoch_goes_on(log: Log) -> None:
    log.restore(len(log.epoch.entries))
    log.epochs[0].entries.append(entry(b"9 9 deletion {}"))


def other_chain(log: Log) -> None:
    log.restore(len(log.epoch.entries), previous_root=base64.b64encode(bytes(32)).decode())


def no_chain(log: Log) -> None:
    log.open("other")


def an_epoch_left_out(log: Log) -> None:
    log.restore(len(log.epoch.entries))
    log.restore(len(log.epoch.entries))
    log.epochs.pop(1)


def lost_without_restore(log: Log) -> None:
    log.epoch.entries[30].gone = "lost"


def too_much_lost(log: Log) -> None:
    log.restore(len(log.epoch.entries) - 5)
    log.epochs[0].entries[20].gone = "lost"


def expired_untold(log: Log) -> None:
    log.at += timedelta(days=1200)
    log.expire("import", "2026-11")
    log.pending = []
    log.seal()


def expired_one_more(log: Log) -> None:
    """The event is right; and one other body goes with them."""
    log.at += timedelta(days=1200)
    log.expire("import", "2026-11")
    log.seal()
    next(e for e in log.epoch.entries if e.klass == "deletion").gone = "expired"


def expired_others(log: Log) -> None:
    log.at += timedelta(days=1200)
    log.expire("import", "2026-11", digest="00" * 32)
    log.seal()


def expired_miscounted(log: Log) -> None:
    log.at += timedelta(days=1200)
    log.expire("import", "2026-11", count=1)
    log.seal()


def expired_unsealed(log: Log) -> None:
    log.at += timedelta(days=1200)
    log.seal()
    log.expire("import", "2026-11")


def expired_early(log: Log) -> None:
    log.at += timedelta(days=200)
    log.expire("deletion", "2026-11")
    log.seal()


def the_trails_own_expired(log: Log) -> None:
    log.at += timedelta(days=4000)
    log.expire("trail", "2026-11")
    log.seal()


def slipped_in_unsealed(log: Log) -> None:
    log.write("import", body("recording.kept", log.at, {}, recording=uuid(50)), xid=1003)


def not_canonical(text: bytes) -> Callable[[Log], None]:
    def write(log: Log) -> None:
        log.xid += 1
        log.write("deletion", text)
        log.seal()

    return write


def trail(*transactions: tuple[trails.Event, ...] | trails.Event, actor: dict[str, Any] | None = None) -> Callable[[Log], None]:  # fmt: skip
    """These transactions after the story, sealed."""

    def write(log: Log) -> None:
        for events_ in transactions:
            log.commit(*(events_ if isinstance(events_[0], tuple) else (events_,)), actor=actor)  # type: ignore[arg-type]
        log.seal()

    return write


def way(n: int, *steps: str) -> list[trails.Event]:
    return [done(n) if what == "done" else step(n, what) for what in steps]


TO_GONE = ("planned", "armed", "sending", "store_gone")
NIGHT_2 = run("delete_expired", "night 2")


def a_night_that(mode: str = "live", said: int = 1, steps: int = 1, balanced: bool = True) -> Callable[[Log], None]:
    """A second night that plans, brings to an end, and reports so many."""

    def write(log: Log) -> None:
        facts = {"night": 2, "mode": mode, "due": {"phm": said}, "surplus": 0}
        log.commit(*[step(n, "planned") for n in range(1, 2 * steps, 2)], actor=NIGHT_2)
        log.commit(("run", "night.planned", facts), actor=NIGHT_2)
        for what in ("armed", "sending", "store_gone", "vendor_asked", "done"):
            log.commit(*[e for n in range(1, 2 * steps, 2) for e in way(n, what)], actor=NIGHT_2)
        counts = {"due": said, "done": said}
        facts = {"night": 2, "mode": mode, "controller": "phm", "counts": counts, "balanced": balanced}
        log.commit(("run", "night.balanced", facts), actor=NIGHT_2)
        log.seal()

    return write


def an_import_that(**said: int) -> Callable[[Log], None]:
    """A third import that keeps two and refuses one, and says otherwise."""

    def write(log: Log) -> None:
        actor, whose = run("import_recordings", "import 3"), trails.WHOSE
        log.commit(("import", "import.checked", {"day": "2026-11-25"}), actor=actor)
        log.commit(kept(50), kept(51), actor=actor)
        log.commit(step(52, "planned", vendor="linna", state_before="staged", trigger="retention_expired"), actor=actor)
        log.commit(("import", "recording.quarantined", {**whose, "recording": uuid(53)}), actor=actor)
        counts = {"kept": 2, "refused": 1, "quarantined": 1, **said}
        counts["found"] = sum(counts.values())
        log.commit(("import", "import.balanced", {**whose, "counts": counts, "balanced": True}), actor=actor)
        log.seal()

    return write


HOLD = {"blocker": uuid(900)}


def vast(log: Log) -> None:
    """Sealed numbers that no database gives."""
    log.pending.append((log.xid, 10**25, "import", "2026-11", b"%d %d import {}" % (10**25, log.xid)))
    log.seal()


IN_THE_LOG: list[tuple[str, Callable[[Log], None], set[str]]] = [
    ("a checkpoint replayed", replayed, {"size_went_back", "time_went_back", "horizon_went_back"}),
    ("a checkpoint repeated", repeated, {"size_went_back"}),
    ("checkpoints reordered", reordered, {"size_went_back", "time_went_back", "horizon_went_back"}),
    ("roots swapped, and signed", swapped_roots, {"wrong_root"}),
    ("another root signed", forged_note(root=bytes(32)), {"wrong_root"}),
    ("a size beyond the leaves", forged_note(size=500, root=bytes(32)), {"leaves_missing"}),
    ("a smaller size at the end", forged_note(size=80), {"leaves_unsigned", "size_went_back"}),
    ("signed by another key", signed_by("stranger"), {"unknown_key"}),
    ("another key of the same name", signed_by("impostor"), {"unknown_key"}),
    ("another trail's checkpoint", forged_note(origin="other/1"), {"wrong_origin", "leaves_unsigned"}),
    ("another epoch's checkpoint", forged_note(origin="callkeeper/2"), {"wrong_origin", "leaves_unsigned"}),
    ("words changed under a signature", other_signature, {"bad_signature"}),
    ("a bit of the signature", bent_signature, {"bad_signature"}),
    ("a checkpoint without signature", unsigned, {"malformed_checkpoint", "leaves_unsigned"}),
    ("a retired key signs on", retired_signs_on, {"retired_key"}),
    ("the time goes back", time_back, {"time_went_back"}),
    ("the horizon goes back", horizon_back, {"horizon_went_back", "forged_horizon"}),
    ("a horizon forged", forged_horizon, {"forged_horizon"}),
    ("slipped in and sealed late", slipped_in, {"out_of_order"}),
    ("an id that no database gives", vast, {"damaged_file", "missing_body"}),
    ("sealed twice", sealed_twice, {"out_of_order", "kept_twice", "run_miscounted"}),
    ("slipped in, not sealed", slipped_in_unsealed, {"unsealed_behind"}),
    ("no event opens the epoch", no_opening, {"epoch_not_opened"}),
    ("a closed epoch goes on", closed_epoch_goes_on, {"broken_chain", "leaves_unsigned", "malformed_event", "out_of_order"}),
    ("an epoch tells another root of the last", other_chain, {"broken_chain"}),
    ("an epoch tells nothing of the last", no_chain, {"broken_chain"}),
    ("an epoch left out", an_epoch_left_out, {"missing_epoch"}),
    ("lost without a restore", lost_without_restore, {"lost_unexplained"}),
    ("more lost than the restore did", too_much_lost, {"lost_unexplained"}),
    ("expired, and no event tells", expired_untold, {"expired_unexplained"}),
    ("one more expired than the event tells", expired_one_more, {"expired_unexplained"}),
    ("others expired than the event tells", expired_others, {"expired_unexplained"}),
    ("another number expired", expired_miscounted, {"expired_unexplained"}),
    ("the expiry is not sealed", expired_unsealed, {"expired_unexplained"}),
    ("expired too early", expired_early, {"expired_early"}),
    ("the trail's own bodies expired", the_trails_own_expired, {"expired_early", "epoch_not_opened"}),
    ("a body with a name twice", not_canonical(b'{"action":"deletion.planned","action":"deletion.done"}'), {"malformed_event"}),
    ("a body with spaces", not_canonical(b'{"action": "x", "actor": {}, "at": "2026-11-25T00:00:00.000000Z", "v": 1}'), {"malformed_event"}),
    ("a body with a float", not_canonical(b'{"action":"x","actor":{},"at":"2026-11-25T00:00:00.000000Z","n":1.5,"v":1}'), {"malformed_event"}),
    ("a body that is no JSON", not_canonical(b"gone"), {"malformed_event"}),
    ("a body of deep brackets", not_canonical(b"[" * 100_000), {"malformed_event"}),
    ("a field hidden where the time belongs", not_canonical(
        b'{"action":"deletion.done","actor":{},"at":"","z":"01T00:00:00.00000Z","recording":"%s","v":1}' % str(uuid(1)).encode()
    ), {"malformed_event"}),
    ("a time that is none", not_canonical(
        b'{"action":"deletion.planned","actor":{},"at":"2026-11-25 00:00:00.000000Z","recording":"%s","v":1}' % str(uuid(1)).encode()
    ), {"malformed_event"}),
    ("a body under another class", trail(("opening", "deletion.planned", {"recording": uuid(1)})), {"malformed_event"}),
    ("a single body under another class", trail(("opening", "night.planned", {"night": 2})), {"malformed_event"}),
    # --- meaning ---
    ("sent without arming", trail(*way(1, "planned", "sending")), {"sent_unarmed"}),
    ("sent after a block", trail(*way(1, "planned", "armed", "blocked", "sending")), {"sent_unarmed"}),
    ("gone without sending", trail(*way(1, "planned", "armed", "store_gone")), {"effect_without_intent"}),
    ("gone out of nothing", trail(*way(1, "store_gone")), {"effect_without_intent"}),
    ("sent and gone in one transaction", trail(*way(1, "planned", "armed"), tuple(way(1, "sending", "store_gone"))), {"effect_without_intent"}),
    ("the vendor asked before the store", trail(*way(1, "planned", "armed", "sending", "vendor_asked")), {"asked_too_early"}),
    ("an answer without a question", trail(*way(1, *TO_GONE, "vendor_answered")), {"answer_without_question"}),
    ("asked and answered in one transaction", trail(*way(1, *TO_GONE), tuple(way(1, "vendor_asked", "vendor_answered"))), {"answer_without_question"}),
    ("an end without an effect", trail(*way(1, "planned", "armed", "done")), {"end_without_effect"}),
    ("two ends", trail(*way(1, *TO_GONE, "done", "done")), {"ended_twice"}),
    ("planned after its end", trail(*way(0, "planned")), {"after_the_end"}),
    ("kept after its end", trail(kept(0)), {"after_the_end"}),
    ("held after its end", trail(("blocker", "legal_hold.placed", {"recording": uuid(0)})), {"after_the_end"}),
    ("planned after it was gone", trail(*way(1, *TO_GONE, "planned")), {"after_the_end"}),
    ("armed out of nothing", trail(*way(1, "armed")), {"out_of_turn"}),
    ("armed after being withdrawn", trail(*way(1, "planned", "withdrawn", "armed")), {"out_of_turn"}),
    ("kept twice", trail(kept(1)), {"kept_twice"}),
    ("a rehearsal that deletes", a_night_that(mode="rehearsal"), {"effect_in_rehearsal"}),
    ("a night that reports more", a_night_that(said=3, steps=2), {"run_miscounted"}),
    ("a night that reports less", a_night_that(said=1, steps=2), {"run_miscounted"}),
    ("a night that balances and says not", a_night_that(balanced=False), {"balance_false"}),
    ("an import that reports more kept", an_import_that(kept=3), {"run_miscounted"}),
    ("an import that reports less kept", an_import_that(kept=1), {"run_miscounted"}),
    ("an import that forgets a correction", an_import_that(corrected=1), {"run_miscounted"}),
    ("an import that forgets what it refused", an_import_that(refused=0), {"run_miscounted"}),
    ("an import that forgets what it quarantined", an_import_that(quarantined=0), {"run_miscounted"}),
    ("a hold released unasked", trail(("blocker", "blocker.ended", {**HOLD, "why": "released"})), {"changed_unasked"}),
    ("a hold extended unasked", trail(("blocker", "blocker.extended", {**HOLD, "review_on": "2027-01-01"})), {"changed_unasked"}),
    ("a hold that ends as if a request had placed it", trail(("blocker", "blocker.lapsed", {**HOLD, "ticket": "DSR-2026-0001"})), {"changed_unasked"}),
    ("a hold whose end is announced as if it were a restriction", trail(("ticket", "ticket.lifting_announced", {
        **HOLD, "ticket": "DSR-2026-0001", "lifts_on": "2026-12-01", "reason": "asked"})), {"changed_unasked"}),
    ("a restriction that ends of which nobody was told", trail(
        ("ticket", "ticket.restricted", {**HOLD, "ticket": "DSR-2026-0001", "recordings": 2, "review_on": "2027-11-25"}),
        ("blocker", "blocker.lapsed", {**HOLD, "ticket": "DSR-2026-0001"}),
    ), {"changed_unasked"}),
    ("a hold asked to be extended, and released", trail(
        ("blocker", "blocker.change_asked", {**HOLD, "change": "extend"}), ("blocker", "blocker.ended", {**HOLD, "why": "released"}),
    ), {"changed_unasked"}),
]  # fmt: skip


def test_a_restriction_may_lapse_once_its_end_was_announced(tmp_path):
    log, ticket = a_story(), {**HOLD, "ticket": "DSR-2026-0001"}
    trail(
        ("ticket", "ticket.restricted", {**ticket, "recordings": 2, "review_on": "2027-11-25"}),
        ("ticket", "ticket.lifting_announced", {**ticket, "lifts_on": "2026-12-01", "reason": "asked"}),
        ("blocker", "blocker.lapsed", ticket),
    )(log)

    assert judged(tmp_path, log).ok


@pytest.mark.parametrize(("change", "found"), [case[1:] for case in IN_THE_LOG], ids=[case[0] for case in IN_THE_LOG])
def test_what_is_wrong_with_a_log_is_found_by_name(tmp_path, change, found):
    log = a_story()
    change(log)
    assert names(judged(tmp_path, log)) == found


def test_a_night_before_the_yes_is_found(tmp_path):
    log = Log()
    an_import(log, "import 1", range(4))
    a_night(log, "night 1", range(2))
    a_yes(log)
    log.seal()
    assert names(judged(tmp_path, log)) == {"live_without_yes"}


def test_what_should_have_been_sealed_before_its_epoch_is_found(tmp_path):
    log = a_story()
    log.restore(len(log.epoch.entries))
    log.write("import", body("day.closed", log.at, {}), xid=1002)
    log.seal()
    assert names(judged(tmp_path, log)) == {"behind_horizon"}


# --- what is broken: the folder ---------------------------------------------------------------------------------------


def flip(path: str, at: int, bit: int = 1) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        raw = bytearray((folder / path).read_bytes())
        raw[at] ^= bit
        (folder / path).write_bytes(raw)

    return change


def cut(path: str, by: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / path).write_bytes((folder / path).read_bytes()[:-by])

    return change


def lines(path: str, change: Callable[[list[bytes]], Any]) -> Callable[[Path], None]:
    return lambda folder: edit_lines(folder / path, change)


def said(**other: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        bundle = json.loads((folder / "bundle.json").read_text())
        bundle["epochs"][0].update(other)
        (folder / "bundle.json").write_text(json.dumps(bundle))

    return change


def without(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def row_changed(line: bytes) -> bytes:
    """A sealed row, changed by a superuser."""
    assert b'"controller":"phm"' in line
    return line.replace(b'"controller":"phm"', b'"controller":"xyz"')


EVENTS_FILE = "1/events-0000000000000000.txt.gz"
N = len(a_story().epoch.entries)
IN_THE_FOLDER: list[tuple[str, Callable[[Path], None], set[str]]] = [
    ("a sealed row changed", lines(EVENTS_FILE, lambda ls: [*ls[:9], row_changed(ls[9]), *ls[10:]]), {"changed_body"}),
    ("a sealed row's time changed", lines(EVENTS_FILE, lambda ls: [*ls[:9], ls[9].replace(b"2026-11-25", b"2026-11-24"), *ls[10:]]), {"changed_body"}),
    ("a sealed row's id changed", lines(EVENTS_FILE, lambda ls: [*ls[:9], b"9 999 " + ls[9].split(b" ", 2)[2], *ls[10:]]), {"changed_body"}),
    ("a sealed row's class changed", lines(EVENTS_FILE, lambda ls: [*ls[:9], ls[9].replace(b" import ", b" opening "), *ls[10:]]), {"changed_body"}),
    ("a sealed row deleted", lines(EVENTS_FILE, lambda ls: ls[:9] + ls[10:]), {"missing_body"}),
    ("the table truncated", lines(EVENTS_FILE, lambda ls: []), {"missing_body"}),
    ("the rows of a whole file gone", without(EVENTS_FILE), {"missing_body"}),
    ("the last rows deleted", lines(EVENTS_FILE, lambda ls: ls[:-5]), {"missing_body"}),
    ("two rows swapped", lines(EVENTS_FILE, lambda ls: [*ls[:9], ls[10], ls[9], *ls[11:]]), {"missing_body", "misplaced_body"}),
    ("two bodies under each other's number", lines(EVENTS_FILE, lambda ls: [
        *ls[:9], ls[9].split(b" ", 1)[0] + b" " + ls[10].split(b" ", 1)[1], ls[10].split(b" ", 1)[0] + b" " + ls[9].split(b" ", 1)[1], *ls[11:],
    ]), {"changed_body"}),
    ("a row twice", lines(EVENTS_FILE, lambda ls: [*ls[:9], ls[9], *ls[9:]]), {"misplaced_body"}),
    ("a row beyond the leaves", lines(EVENTS_FILE, lambda ls: [*ls, b"9999 " + ls[9].split(b" ", 1)[1]]), {"misplaced_body"}),
    ("a heartbeat deleted", both(
        lines(EVENTS_FILE, lambda ls: [line for line in ls if b"heartbeat" not in line]), lines("1/trail.txt.gz", lambda ls: ls[:1]),
    ), {"missing_body"}),
    ("the trail's own file short of one", lines("1/trail.txt.gz", lambda ls: ls[:-1]), {"missing_body"}),
    ("the trail's own file forged", lines("1/trail.txt.gz", lambda ls: [
        *ls[:-1], ls[-1].replace(b'"v":1', b'"v":1,"verifier_key":"x"'),
    ]), {"changed_body", "missing_body"}),
    ("another class in the trail's own file", lines("1/trail.txt.gz", lambda ls: [
        ls[0], gzip.decompress(a_bundle_file(EVENTS_FILE)).split(b"\n")[3], *ls[1:],
    ]), {"misplaced_body"}),
    ("a leaf changed", flip("1/leaves.bin", 32 * 9), {"wrong_root", "changed_body"}),
    ("the last leaf changed", flip("1/leaves.bin", 32 * N - 1), {"wrong_root", "changed_body"}),
    ("leaves cut off", cut("1/leaves.bin", 32 * 7), {"leaves_missing", "wrong_counts", "misplaced_body"}),
    ("a leaf cut through", cut("1/leaves.bin", 5), {"damaged_file", "leaves_missing", "wrong_counts", "misplaced_body"}),
    ("a leaf row deleted", lambda folder: (folder / "1/leaves.bin").write_bytes(
        (raw := (folder / "1/leaves.bin").read_bytes())[: 32 * 40] + raw[32 * 41 :]
    ), {"leaves_missing", "wrong_root", "wrong_counts", "changed_body", "misplaced_body"}),
    ("leaves added", lambda folder: (folder / "1/leaves.bin").write_bytes((folder / "1/leaves.bin").read_bytes() + bytes(64)), {
        "leaves_unsigned", "wrong_counts",
    }),
    ("no leaves", without("1/leaves.bin"), {"missing_file"}),
    ("no checkpoints", without("1/checkpoints.jsonl"), {"missing_file", "nothing_sealed"}),
    ("all checkpoints deleted", lines("1/checkpoints.jsonl", lambda ls: []), {"nothing_sealed"}),
    ("the last checkpoint deleted", lines("1/checkpoints.jsonl", lambda ls: ls[:-1]), {"leaves_unsigned"}),
    ("a checkpoint that is no JSON", lines("1/checkpoints.jsonl", lambda ls: [b"[" * 5000, *ls]), {"malformed_checkpoint"}),
    ("no file of the trail's own", without("1/trail.txt.gz"), {"missing_file", "epoch_not_opened", "missing_body"}),
    ("a zipped file cut", cut(EVENTS_FILE, 40), {"damaged_file", "missing_body"}),
    ("a zipped file's middle bent", flip(EVENTS_FILE, 500), {"damaged_file", "missing_body"}),
    ("a zipped file's checksum bent", flip(EVENTS_FILE, -6), {"damaged_file", "missing_body"}),
    ("a line that is none", lines(EVENTS_FILE, lambda ls: [*ls[:9], b"hello", *ls[10:]]), {"damaged_file", "missing_body"}),
    ("a line without end", lambda folder: (folder / EVENTS_FILE).write_bytes(
        gzip.compress(gzip.decompress((folder / EVENTS_FILE).read_bytes()) + b"1" * (3 << 20))
    ), {"damaged_file"}),
    ("a larger size said", said(size=N + 5, to=N + 5), {"wrong_counts"}),
    ("a smaller size said", said(size=N - 5, to=N - 5), {"wrong_counts", "misplaced_body"}),
    ("more unsealed said", said(unsealed=5), {"wrong_counts", "missing_file"}),
    ("a body said to have expired, and there", lambda folder: (folder / "1/expired.txt").write_bytes(b"9 import 2026-11\n"), {
        "misplaced_body", "expired_unexplained",
    }),
    ("a body deleted and said to have expired", both(
        lines(EVENTS_FILE, lambda ls: ls[:9] + ls[10:]), lambda folder: (folder / "1/expired.txt").write_bytes(b"9 import 2026-11\n"),
    ), {"expired_unexplained"}),
    ("a body deleted and said to be lost", both(
        lines(EVENTS_FILE, lambda ls: ls[:9] + ls[10:]), lambda folder: (folder / "1/lost.txt").write_bytes(b"9\n"),
    ), {"lost_unexplained"}),
    ("expired lines that are none", lambda folder: (folder / "1/expired.txt").write_bytes(b"9 import November\n"), {"damaged_file"}),
    ("lost lines that are none", lambda folder: (folder / "1/lost.txt").write_bytes(b"9 9\n"), {"damaged_file"}),
    ("a number of a thousand digits", lines(EVENTS_FILE, lambda ls: [*ls[:9], b"9" * 5000 + b" 1 1 import {}", *ls[9:]]), {"damaged_file", "missing_body"}),
    ("an id of a thousand digits", lines(EVENTS_FILE, lambda ls: [*ls[:9], b"9 " + b"9" * 5000 + b" 1 import {}", *ls[10:]]), {"damaged_file", "missing_body"}),
    ("a long number of the trail's own", lines("1/trail.txt.gz", lambda ls: [*ls, b"9" * 5000 + b" 1 1 trail {}"]), {"damaged_file"}),
    ("a long number that expired", lambda folder: (folder / "1/expired.txt").write_bytes(b"9" * 5000 + b" import 2026-11\n"), {"damaged_file"}),
    ("expired beyond the range", lambda folder: (folder / "1/expired.txt").write_bytes(b"99999 import 2026-11\n"), {
        "misplaced_body", "expired_unexplained",
    }),
]  # fmt: skip


def a_bundle_file(name: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return (a_story().bundle(Path(folder)) / name).read_bytes()


@pytest.mark.parametrize(("change", "found"), [case[1:] for case in IN_THE_FOLDER], ids=[case[0] for case in IN_THE_FOLDER])  # fmt: skip
def test_what_is_wrong_with_a_folder_is_found_by_name(tmp_path, change, found):
    a_story().bundle(tmp_path)
    change(tmp_path)
    assert names(judged(tmp_path)) == found


def test_every_bit_of_leaves_and_signed_words_counts(tmp_path):
    """A bit in each leaf, in each 7th byte of the checkpoints, here and there in the zipped bodies: no yes."""
    log = a_story(4)
    log.bundle(tmp_path)
    spoilt = 0
    for path, step_ in (("1/leaves.bin", 32), ("1/checkpoints.jsonl", 7), (EVENTS_FILE, 99), ("1/trail.txt.gz", 55)):
        raw = (tmp_path / path).read_bytes()
        for at in range(10 if path.endswith("gz") else 0, len(raw), step_):
            bent = bytearray(raw)
            bent[at] ^= 1 << at % 7
            (tmp_path / path).write_bytes(bent)
            verdict = judged(tmp_path)
            same = path.endswith("gz") and unzipped(bytes(bent)) == unzipped(raw)
            assert same or not verdict.ok, f"{path}, byte {at}"
            spoilt += not same
        (tmp_path / path).write_bytes(raw)
    assert spoilt > 120
    assert judged(tmp_path).ok


def unzipped(raw: bytes) -> bytes | None:
    try:
        return gzip.decompress(raw)
    except Exception:  # noqa: BLE001  # whatever zlib says
        return None


# --- what only a checkpoint from outside can show ---------------------------------------------------------------------


def test_a_cut_tail_is_found_by_a_checkpoint_that_was_kept(tmp_path):
    log = a_story()
    newest = log.epoch.notes.pop()
    del log.epoch.entries[verify.parse_checkpoint(log.epoch.notes[-1].encode()).size :]

    assert names(judged(tmp_path, log)) == set(), "a clean cut shows only as silence"
    assert "nothing_kept" in judged(tmp_path).remark_counts
    assert names(judged(tmp_path, keep=(newest,))) == {"cut_tail"}


def test_two_histories_are_found_by_a_checkpoint_that_was_kept(tmp_path):
    seen, shown = Log(), Log()
    an_import(seen, "import 1", range(5))
    an_import(shown, "import 1", range(1, 6))
    kept_note = seen.seal()
    shown.seal()
    assert names(judged(tmp_path, shown, keep=(kept_note,))) == {"two_histories"}


def test_a_whole_epoch_that_is_gone_is_found_by_a_checkpoint_that_was_kept(tmp_path):
    log = a_story()
    log.restore(len(log.epoch.entries))
    newest = log.epochs.pop().notes[-1]
    assert names(judged(tmp_path, log, keep=(newest,))) == {"missing_epoch"}


def test_a_kept_checkpoint_that_nobody_signed_is_told(tmp_path):
    log = a_story()
    stranger = log.note(signers=[Signer("stranger")])
    assert names(judged(tmp_path, log, keep=(stranger,))) == {"kept_unsigned"}
    assert names(judged(tmp_path, keep=(a_story(log=Log("other")).epoch.notes[0],))) == {"wrong_origin"}


# --- the command line -------------------------------------------------------------------------------------------------


def command(*arguments: object) -> tuple[int, str, str]:
    """The one file, as an auditor runs it: in a Python that finds nothing of callkeeper."""
    ran = subprocess.run(
        [sys.executable, "-I", THE_FILE, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_the_file_stands_alone(tmp_path):
    log = a_story()
    log.bundle(tmp_path)
    (tmp_path / "seen.note").write_text(log.epoch.notes[1])

    code, out, _ = command(tmp_path, "--key", KEY, "--kept", tmp_path / "seen.note")
    assert code == 0
    assert f"verified to size {N} of {N}" in out
    assert "VERIFIED" in out

    (tmp_path / "key.txt").write_text(KEY + "\n")
    assert command(tmp_path, "--key", tmp_path / "key.txt", "--kept", tmp_path)[0] == 0
    assert command(tmp_path, "--fingerprint", verify.fingerprint(KEY).upper())[0] == 0
    code, out, _ = command(tmp_path, "--key", KEY, "--json")
    assert (code, json.loads(out)["verified"]) == (0, True)

    edit_lines(tmp_path / EVENTS_FILE, lambda ls: ls[:9] + ls[10:])
    code, out, _ = command(tmp_path, "--key", KEY)
    assert code == 1
    assert "missing_body" in out
    assert "epoch 1, leaf 9" in out
    assert json.loads(command(tmp_path, "--key", KEY, "--json")[1])["counts"] == {"missing_body": 1}


def test_it_imports_the_standard_library_and_cryptography_only():
    import ast

    roots = {
        (name.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(ast.parse(THE_FILE.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert roots - set(sys.stdlib_module_names) - {"__future__"} == {"cryptography"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["{b}"], ["{b}", "--key", "x+y"], ["{b}", "--key", KEY[:-1]], ["{b}", "--key", "/nowhere"], ["/nowhere", "--key", KEY],
        ["{b}", "--key", KEY, "--kept", "/nowhere"], ["{b}", "--key", KEY, "--kept", "{b}"], ["{b}", "--fingerprint", "00"],
        ["{b}", "--key", KEY, "--kept", "{b}/keys.txt"], ["{b}", "--key", KEY, "--years", "x"], ["{b}/1", "--key", KEY],
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_neither_yes_nor_no(tmp_path, arguments, capsys):
    a_story(2).bundle(tmp_path)
    assert verify.main([a.replace("{b}", str(tmp_path)) for a in arguments]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format":2}', "[" * 50_000, '{"format":1,"trail":"t","made_at":"x","epochs":[]}',
             '{"format":1,"trail":"t","made_at":"x","epochs":[{"epoch":"1","size":0,"from":0,"to":0,"unsealed":0}]}',
             '{"format":1,"trail":"t","made_at":"x","epochs":[{"epoch":1,"size":-1,"from":0,"to":0,"unsealed":0}]}',
             '{"format":1,"trail":"t","made_at":"x","epochs":[{"epoch":true,"size":1,"from":0,"to":1,"unsealed":0}]}'],
)  # fmt: skip
def test_a_bundle_json_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(verify.Unreadable):
        judged(tmp_path)


def test_a_bundle_steers_no_terminal(tmp_path, capsys):
    a_story(2).bundle(tmp_path)
    text = json.loads((tmp_path / "bundle.json").read_text()) | {"made_at": "\x1b[2J\ud800 VERIFIED\n\n"}
    (tmp_path / "bundle.json").write_text(json.dumps(text))
    assert verify.main([str(tmp_path), "--key", KEY]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "exported ?[2J? VERIFIED??" in out


def test_an_empty_trail_is_no_yes(tmp_path):
    log = Log()
    log.epochs.append(trails.Stage(1))
    assert names(judged(tmp_path, log)) == {"nothing_sealed"}


# --- a sample ---------------------------------------------------------------------------------------------------------


def a_sample(log: Log, leaves: tuple[int, ...] = (3, 20)) -> dict[str, Any]:
    """What `callkeeper audit sample --proofs` writes."""
    entries = log.epoch.entries
    proofs = verify.inclusion_proofs(b"".join(e.hash for e in entries), leaves)
    events_ = [
        {
            "epoch": 1,
            "seq": n,
            "data": entries[n].data.decode(),
            "proof": [base64.b64encode(h).decode() for h in proofs[n]],
        }
        for n in leaves
    ]
    items = [{"kind": "run", "id": "x", "events": events_}]
    return {"format": 1, "seed": "s", "checkpoints": {"1": log.epoch.notes[-1]}, "items": items}


def test_a_sample_is_verified_by_its_proofs(tmp_path, capsys):
    (tmp_path / "sample.json").write_text(json.dumps(a_sample(a_story())))
    assert verify.main([str(tmp_path / "sample.json"), "--key", KEY]) == 0
    assert "each of its 2 events" in capsys.readouterr().out
    assert verify.main([str(tmp_path / "sample.json"), "--key", Signer("stranger").key]) == 1


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("items", 0, "events", 0, "seq"), 4, {"wrong_proof"}), (("items", 0, "events", 0, "epoch"), 2, {"wrong_proof"}),
        (("items", 0, "events", 0, "data"), "1 1 import {}", {"wrong_proof"}), (("items", 0, "events", 0, "proof"), [], {"wrong_proof"}),
        (("checkpoints", "1"), a_story(8).epoch.notes[-1], {"wrong_proof"}),
        (("checkpoints", "1"), a_story(log=Log(seed="other")).epoch.notes[-1], {"unknown_key"}),
    ],
)  # fmt: skip
def test_a_sample_that_was_changed_is_not(path, value, found):
    whole = a_sample(a_story())
    place: Any = whole
    for word in path[:-1]:
        place = place[word]
    place[path[-1]] = value
    assert names(verify.verify_sample(json.dumps(whole).encode(), [verify.parse_key(KEY)])) >= found


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"[" * 50_000, json.dumps(a_sample(a_story(), ())).encode()])
def test_what_is_no_sample_is_neither_yes_nor_no(raw):
    with pytest.raises(verify.Unreadable):
        verify.verify_sample(raw, [verify.parse_key(KEY)])


# --- the names --------------------------------------------------------------------------------------------------------


def test_every_finding_has_a_case_here():
    raised = set().union(*(found for *_, found in [*IN_THE_LOG, *IN_THE_FOLDER]))
    elsewhere = {"cut_tail", "two_histories", "kept_unsigned", "live_without_yes", "behind_horizon", "wrong_proof"}
    assert raised | elsewhere == set(verify.FINDINGS)


def test_the_verifier_knows_each_kind_of_event_by_its_class():
    known = {action: kind.event_class for (action, _), kind in events.KINDS.items()}
    assert known == verify.CLASS_OF, "add it to CLASS_OF in trail/verify.py"
    assert {v for _, v in events.KINDS} == {1}, "teach _Meaning the new version"


def test_a_fingerprint_is_told_in_groups():
    assert len(verify.fingerprint(KEY).split()) == 16
    assert verify.fingerprint(KEY) != verify.fingerprint(Signer("second").key)
    assert verify.parse_key(KEY).short == "+".join(KEY.split("+")[:2])
