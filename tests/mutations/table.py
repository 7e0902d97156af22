"""Every guard that matters: how it is taken away, and the tests that must go red."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """``edits``: (file under include/callkeeper, a text that stands in it once, the text in its place)."""

    guard: str
    change: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]
    """Node ids under tests/."""

    def wrong(self, package: Path) -> list[str]:
        """The files in which a text does not stand exactly once, or would not change."""
        return [file for file, old, new in self.edits if old == new or (package / file).read_text().count(old) != 1]

    @property
    def names(self) -> str:
        return ", ".join(test.rpartition("::")[2].removeprefix("test_") for test in self.tests)


DELETING, DELETIONS, SCHEMA = "jobs/deleting.py", "queries/deletions.sql", "migrations/versions/0002_let_go.py"
VERIFIER = "trail/verify.py"
FULFILLING = "jobs/fulfilling.py"
CARRYING, TICKETS, RIGHTS = "jobs/carrying_out.py", "queries/tickets.sql", "migrations/versions/0005_every_right.py"
LEADING = "jobs/leading.py"
ANSWERING, ANSWERS = "jobs/answering.py", "queries/answering.sql"
DISCLOSING = "jobs/disclosing.py"
LISTENING, PACKAGING, PACKAGES = "jobs/listening.py", "jobs/packaging.py", "queries/packages.sql"
LOCK = "(select pg_advisory_xact_lock_shared(0x63616C6C0001)) as lock"


def disclosing(name: str) -> tuple[str, ...]:
    return (f"integration/test_disclosing.py::test_{name}",)


def sweep(name: str) -> tuple[str, ...]:
    return (f"integration/test_deleting.py::test_{name}",)


def rights(name: str) -> tuple[str, ...]:
    return (f"integration/test_rights.py::test_{name}",)


def guard(name: str) -> tuple[str, ...]:
    return (f"integration/test_guards.py::test_{name}",)


def listening(name: str) -> tuple[str, ...]:
    return (f"integration/test_listening.py::test_{name}",)


def packaging(name: str) -> tuple[str, ...]:
    return (f"integration/test_packaging.py::test_{name}",)


def desk(name: str) -> tuple[str, ...]:
    return (f"integration/test_desk.py::test_{name}",)


SEALED = "migrations/versions/0003_sealed_trail.py"


SEAL, SEALING = "trail/seal.py", "queries/sealing.sql"


def sealing(name: str) -> tuple[str, ...]:
    return (f"integration/test_sealing.py::test_{name}",)


def epochs(name: str) -> tuple[str, ...]:
    return (f"integration/test_seal_epochs.py::test_{name}",)


def ageing(name: str) -> tuple[str, ...]:
    return (f"integration/test_ageing.py::test_{name}",)


def watching(name: str) -> tuple[str, ...]:
    return (f"integration/test_watching.py::test_{name}",)


def holding(name: str) -> tuple[str, ...]:
    return (f"integration/test_holding.py::test_{name}",)


def proving(name: str) -> tuple[str, ...]:
    return (f"integration/test_proving.py::test_{name}",)


def answering(name: str) -> tuple[str, ...]:
    return (f"integration/test_answering.py::test_{name}",)


def lettering(name: str) -> tuple[str, ...]:
    return (f"unit/test_letters.py::test_{name}",)


MUTATIONS = (
    # --- blockers, and their lock (architecture, rule 3) ---
    Mutation(
        guard="blockers are asked again at sending",
        change="no recheck",
        edits=(
            (
                DELETIONS,
                "        when exists (select from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)) then 'blocked'\n        else 'sending'",
                "        else 'sending'",
            ),
        ),
        tests=sweep("a_hold_between_arming_and_sending_wins"),
    ),
    Mutation(
        guard="blockers are asked at arming",
        change="only a quarantine blocks",
        edits=(
            (
                DELETIONS,
                "when exists (select from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at))\n            or (",
                "when (",
            ),
        ),
        tests=guard("what_a_hold_covers_is_not_even_armed"),
    ),
    Mutation(
        guard="the term is asked again at sending",
        change="no recheck",
        edits=(
            (
                DELETIONS,
                "        when l.trigger = 'retention_expired' and l.state = 'armed' and l.eligible_at > (select callkeeper_now()) then 'withdrawn'\n",
                "",
            ),
        ),
        tests=guard("a_term_that_is_corrected_after_arming_is_not_over"),
    ),
    Mutation(
        guard="a quarantine blocks",
        change="not asked",
        edits=((DELETIONS, "exists (select from quarantine q where q.recording = l.recording)", "false"),),
        tests=guard("a_call_in_quarantine_stays_whatever_is_decided_about_the_person_and_goes_when_it_is_rejected"),
    ),
    Mutation(
        guard="an unknown time may lie in a hold's days",
        change="covers() says no",
        edits=(
            (
                SCHEMA,
                "((b).from_at is null or started_at is null or started_at >= (b).from_at)",
                "((b).from_at is null or started_at >= (b).from_at)",
            ),
        ),
        tests=guard("a_call_of_which_the_time_is_not_known_may_lie_in_a_holds_days"),
    ),
    Mutation(
        guard="arming takes the lock",
        change="no lock",
        edits=(
            (
                DELETING,
                "        db.lock_blockers(conn, exclusive=False)\n        rows = list(q.arm_verdicts(",
                "        rows = list(q.arm_verdicts(",
            ),
        ),
        tests=guard("arming_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="sending takes the lock",
        change="no lock",
        edits=(
            (
                DELETING,
                "    db.lock_blockers(conn, exclusive=False)\n    claimed = [",
                "    claimed = [",
            ),
        ),
        tests=guard("sending_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="what was not let go is judged under the lock",
        change="no lock",
        edits=(
            (
                DELETING,
                "    db.lock_blockers(conn, exclusive=False)\n    covered = list(",
                "    covered = list(",
            ),
        ),
        tests=guard("what_was_sent_and_not_let_go_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="an import keeps under the lock",
        change="no lock",
        edits=(
            (
                "jobs/importing.py",
                "    db.lock_blockers(conn, exclusive=False)\n    rows = list(q.fetched(",
                "    rows = list(q.fetched(",
            ),
        ),
        tests=guard("an_import_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="an import refuses under the lock",
        change="no lock",
        edits=(
            (
                "jobs/importing.py",
                "        db.lock_blockers(conn, exclusive=False)\n        rows = list(\n            q.verdicts(",
                "        rows = list(\n            q.verdicts(",
            ),
        ),
        tests=guard("a_refusal_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="a blocker is placed under the lock",
        change="no lock",
        edits=(
            (
                "blockers.py",
                "    db.lock_blockers(conn, exclusive=True)\n    add(",
                "    add(",
            ),
        ),
        tests=guard("placing_a_hold_waits_for_whoever_has_looked_and_not_yet_committed[blocker]"),
    ),
    Mutation(
        guard="a case is placed under the lock",
        change="the lock is taken shared",
        edits=(
            (
                "jobs/holding.py",
                "    db.lock_blockers(conn, exclusive=True)\n    hold = _find(conn, case_ref)",
                "    db.lock_blockers(conn, exclusive=False)\n    hold = _find(conn, case_ref)",
            ),
        ),
        tests=guard("placing_a_hold_waits_for_whoever_has_looked_and_not_yet_committed[case]"),
    ),
    Mutation(
        guard="arming: the lock, and then the look",
        change="lock and look in one statement",
        edits=(
            (
                DELETING,
                "        db.lock_blockers(conn, exclusive=False)\n        rows = list(q.arm_verdicts(",
                "        rows = list(q.arm_verdicts(",
            ),
            (
                DELETIONS,
                "from leaving l\nwhere l.state in ('planned', 'blocked')",
                f"from leaving l, {LOCK}\nwhere l.state in ('planned', 'blocked')",
            ),
        ),
        tests=guard("arming_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="sending: the lock, and then the look",
        change="lock and look in one statement",
        edits=(
            (
                DELETING,
                "    db.lock_blockers(conn, exclusive=False)\n    claimed = [",
                "    claimed = [",
            ),
            (
                DELETIONS,
                "from leaving l where l.recording = any (:recordings)\norder by l.object_key",
                f"from leaving l, {LOCK} where l.recording = any (:recordings)\norder by l.object_key",
            ),
        ),
        tests=guard("sending_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="keeping: the lock, and then the look",
        change="lock and look in one statement",
        edits=(
            (
                "jobs/importing.py",
                "    db.lock_blockers(conn, exclusive=False)\n    rows = list(q.fetched(",
                "    rows = list(q.fetched(",
            ),
            (
                "queries/recordings.sql",
                "from staging s\nwhere s.vendor = :vendor and s.run = :run and s.state = 'fetched'\norder by",
                f"from staging s, {LOCK}\nwhere s.vendor = :vendor and s.run = :run and s.state = 'fetched'\norder by",
            ),
        ),
        tests=guard("an_import_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    Mutation(
        guard="each statement sees what was committed before it",
        change="REPEATABLE READ: the look is as old as the lock",
        edits=(("db.py", "psycopg.IsolationLevel.READ_COMMITTED", "psycopg.IsolationLevel.REPEATABLE_READ"),),
        tests=guard("arming_waits_for_a_hold_that_is_being_placed_and_sees_it"),
    ),
    # --- the proof (rule 5) ---
    Mutation(
        guard="absence is proven by a full listing",
        change="by what HEAD would say: a marker hides the rest",
        edits=(
            (
                DELETING,
                "    return found\n\n\ndef _abort_uploads",
                "    hidden = {v.key for v in found if v.is_delete_marker}\n    return [v for v in found if v.key not in hidden]\n\n\ndef _abort_uploads",
            ),
        ),
        tests=sweep("a_head_that_finds_nothing_is_no_proof"),
    ),
    Mutation(
        guard="a delete marker is not nothing",
        change="markers ignored in the proof",
        edits=(
            (
                DELETING,
                "first=keys[0], last=keys[-1]) if v.key in wanted]",
                "first=keys[0], last=keys[-1]) if v.key in wanted and not v.is_delete_marker]",
            ),
        ),
        tests=sweep("every_version_and_delete_marker_goes_known_or_not"),
    ),
    Mutation(
        guard="a store's yes is no proof",
        change="its answer is believed",
        edits=((DELETING, "    left = _left(destroyer, batch)\n    # Of a key", "    left = []\n    # Of a key"),),
        tests=guard("what_the_store_still_has_keeps_its_row_and_no_vendor_is_asked"),
    ),
    Mutation(
        guard="only the batch's own keys are touched",
        change="all that the listing's range has",
        edits=((DELETING, "first=keys[0], last=keys[-1]) if v.key in wanted]", "first=keys[0], last=keys[-1])]"),),
        tests=guard("what_only_lies_between_the_keys_of_a_batch_stays"),
    ),
    Mutation(
        guard="unfinished uploads go too",
        change="not looked for",
        edits=((DELETING, "    uploads = _abort_uploads(destroyer, batch, untouchable)", "    uploads = set()"),),
        tests=sweep("an_unfinished_upload_of_a_recording_goes_too"),
    ),
    Mutation(
        guard="each key's error of a DeleteObjects is read",
        change="HTTP 200 is a yes to all",
        edits=(("media/s3.py", 'for error in reply.get("Errors", ()):', "for error in ():"),),
        tests=(
            "integration/test_destroyer.py::test_what_is_held_is_refused_with_its_name_and_the_others_go[seaweedfs]",
        ),
    ),
    Mutation(
        guard="why a store let nothing go is told",
        change="the errors' codes are dropped",
        edits=((DELETING, "codes = {key: code for (key, _), code in refused.items()}", "codes = {}"),),
        tests=sweep("a_store_that_denies_each_version_says_so_and_is_tried_again"),
    ),
    Mutation(
        guard="the row goes after the proof",
        change="scrub first",
        edits=(
            (
                DELETING,
                "    refused = destroyer.delete(known) if known else {}\n",
                "    _record_gone(conn, batch, {}, actor)\n    refused = destroyer.delete(known) if known else {}\n",
            ),
        ),
        tests=guard("what_the_store_still_has_keeps_its_row_and_no_vendor_is_asked"),
    ),
    Mutation(
        guard="what a hold has overtaken is only looked for",
        change="its version is deleted",
        edits=((DELETING, 'if r.version_id and r.verdict != "blocked"', "if r.version_id"),),
        tests=sweep("what_was_sent_before_a_hold_and_not_known_to_be_gone_is_only_looked_for"),
    ),
    Mutation(
        guard="what a hold has overtaken is only looked for",
        change="its other versions are deleted",
        edits=(
            (
                DELETING,
                'untouchable = {r.object_key for r in batch if r.verdict == "blocked"}',
                "untouchable = set()",
            ),
        ),
        tests=sweep("what_was_sent_before_a_hold_and_not_known_to_be_gone_is_only_looked_for"),
    ),
    # --- leases and fences ---
    Mutation(
        guard="a claim that was taken over records nothing",
        change="no fence",
        edits=((DELETING, "if now.get(r.recording) == r.fence]", "if r.recording in now]"),),
        tests=guard("a_worker_whose_claim_was_taken_over_records_nothing"),
    ),
    Mutation(
        guard="a worker that slept sends nothing",
        change="its lease is not looked at",
        edits=((DELETING, "if time.monotonic() - began > rules.lease_minutes * 60:", "if False:"),),
        tests=guard("a_worker_that_slept_before_it_sent_sends_nothing"),
    ),
    # --- suppression, clock, safety stop, go-live ---
    Mutation(
        guard="its tombstone stands before anything goes",
        change="no suppression",
        edits=((DELETING, "        q.suppress(conn, recordings=armed)\n", ""),),
        tests=(
            *sweep("a_deleted_recording_does_not_come_back"),
            *sweep("the_tombstone_stands_before_anything_is_sent"),
        ),
    ),
    Mutation(
        guard="the database's clock decides",
        change="Python's clock",
        edits=(
            (
                DELETIONS,
                "where eligible_at <= (select callkeeper_now()) and (eligible_at",
                "where eligible_at <= :now::timestamptz and (eligible_at",
            ),
            (
                DELETING,
                "conn, after_at=at, after=recording, limit=rules.chunk_rows, foreseen_only",
                "conn, now=datetime.now(UTC), after_at=at, after=recording, limit=rules.chunk_rows, foreseen_only",
            ),
        ),
        tests=sweep("nothing_goes_before_the_day_after_the_anniversary"),
    ),
    Mutation(
        guard="a surplus waits for a yes",
        change="everything was foreseen",
        edits=((DELETIONS, "then 'surplus' end\n", "then null::text end\n"),),
        tests=sweep("a_surplus_over_the_forecast_waits_for_a_persons_yes"),
    ),
    Mutation(
        guard="a night deletes a slice",
        change="no limit",
        edits=((DELETING, "        if len(ready) > left:", "        if False:"),),
        tests=sweep("a_backlog_goes_in_slices_the_oldest_first"),
    ),
    Mutation(
        guard="a rehearsal arms nothing",
        change="it arms",
        edits=((DELETING, 'if r.verdict == "armed"] if night.live else []', 'if r.verdict == "armed"]'),),
        tests=sweep("until_the_officers_yes_a_night_is_a_rehearsal"),
    ),
    Mutation(
        guard="a rehearsal sends nothing",
        change="it sends",
        edits=(
            (
                DELETING,
                '    if not night.live:\n        log.info("a rehearsal: nothing is sent")\n        return done\n',
                "",
            ),
        ),
        tests=guard("nothing_is_sent_and_no_vendor_asked_in_a_rehearsal_whatever_the_journal_says"),
    ),
    Mutation(
        guard="a rehearsal asks no vendor",
        change="it asks",
        edits=((DELETING, "    if not night.live:\n        return done\n", ""),),
        tests=guard("nothing_is_sent_and_no_vendor_asked_in_a_rehearsal_whatever_the_journal_says"),
    ),
    # --- the vendor ---
    Mutation(
        guard="a vendor is asked after the proof",
        change="as soon as it is sent",
        edits=(
            (
                DELETIONS,
                "from deletion where state = 'store_gone' order by 1",
                "from deletion where state in ('sending', 'store_gone') order by 1",
            ),
            (
                DELETIONS,
                "where state = 'store_gone' and vendor = :vendor",
                "where state in ('sending', 'store_gone') and vendor = :vendor",
            ),
        ),
        tests=guard("what_was_sent_and_is_not_proven_gone_is_asked_for_at_no_vendor_not_even_after_its_lease"),
    ),
    Mutation(
        guard="done takes the vendor's final answer",
        change="any answer ends it",
        edits=((DELETING, "        return not self.trouble\n", "        return True\n"),),
        tests=sweep("what_a_vendor_does_not_delete_is_an_open_line_without_a_person_in_it[instead0-vendor_refused]"),
    ),
    Mutation(
        guard="a vendor's yes is looked at",
        change="it is believed",
        edits=((DELETING, "        if gone is False:\n", "        if False:\n"),),
        tests=sweep("what_a_vendor_does_not_delete_is_an_open_line_without_a_person_in_it[instead4-vendor_pending]"),
    ),
    # --- sealing (architecture, "The trail") ---
    Mutation(
        guard="events are taken by the transactions' horizon",
        change="whatever can be seen",
        edits=(
            (
                SEALING,
                "(:last_xid::xid8, :last_event) and e.xid < :horizon::xid8\n",
                "(:last_xid::xid8, :last_event) and :horizon::xid8 is not null\n",
            ),
        ),
        tests=sealing("what_a_longer_transaction_wrote_earlier_is_sealed_when_it_ends"),
    ),
    Mutation(
        guard="one sealer at a time",
        change="the lock is not taken",
        edits=((SEALING, "select pg_advisory_lock(:lock::bigint);", "select :lock::bigint;"),),
        tests=(
            "faults/test_killed_sealer.py::test_a_sealer_that_sleeps_after_its_commit_while_another_goes_on_changes_nothing_when_it_wakes",
        ),
    ),
    Mutation(
        guard="what stands is what was signed, before more is",
        change="the tree's state is believed",
        edits=(
            (
                SEAL,
                "if tree.root(last.frontier) != said.root or len(last.frontier) != said.size.bit_count():",
                "if False:",
            ),
        ),
        tests=sealing(
            "a_trail_that_a_superuser_has_changed_is_not_signed_on[update checkpoint set frontier[1] = sha256('x') where size = 9-does not come to the root]"
        ),
    ),
    Mutation(
        guard="every leaf is counted",
        change="the last one only",
        edits=(
            (SEAL, "leaves = q.sealing_count(conn, epoch=last.epoch) if count else said.size", "leaves = said.size"),
        ),
        tests=sealing(
            "a_trail_that_a_superuser_has_changed_is_not_signed_on[delete from leaf where seq = 4-not as many leaves]"
        ),
    ),
    Mutation(
        guard="a checkpoint bears a known key's signature",
        change="any text is a checkpoint",
        edits=(
            (
                "trail/notes.py",
                "if not gap or not any(_signed(text, line, known) for line in signatures.splitlines()):",
                "if not gap:",
            ),
        ),
        tests=("unit/test_seal_notes.py::test_a_note_that_was_changed_bears_no_signature",),
    ),
    Mutation(
        guard="the anchor knows of no more than the database",
        change="it is not asked",
        edits=(
            (
                SEAL,
                "    if outside.notes.keys() - expected or outside.leaves.keys()",
                "    if not outside and outside.leaves.keys()",
            ),
        ),
        tests=epochs("after_a_restore_nothing_is_signed_until_a_person_says_so"),
    ),
    Mutation(
        guard="another cluster's transaction ids mean nothing",
        change="the cluster is not looked at",
        edits=((SEAL, "if epoch.system_identifier != moment.system_identifier:", "if False:"),),
        tests=sealing(
            "a_trail_that_a_superuser_has_changed_is_not_signed_on[update epoch set system_identifier = '1'-another cluster]"
        ),
    ),
    Mutation(
        guard="a lost leaf whose event is still here keeps its place",
        change="only its hash is taken back",
        edits=((SEALING, "left join unsealed u on u.leaf_hash = h.leaf_hash", "left join unsealed u on false"),),
        tests=epochs("a_new_epoch_takes_back_what_the_anchor_knows_and_seals_what_never_was"),
    ),
    Mutation(
        guard="nothing is put outside that does not belong there",
        change="another history is put beside",
        edits=(
            (
                SEAL,
                "    if outside.notes.keys() - expected or outside.leaves.keys()",
                "    if not outside and outside.leaves.keys()",
            ),
        ),
        tests=epochs("two_histories_are_signed_on_by_neither_command_until_a_person_says_that_they_are_two"),
    ),
    Mutation(
        guard="a checkpoint's time never goes back",
        change="the clock's is taken",
        edits=((SEAL, "    if before.at is None or now >= before.at:\n", "    if True:\n"),),
        tests=sealing("a_clock_that_was_set_back_is_told_once_and_no_checkpoints_time_goes_back"),
    ),
    Mutation(
        guard="what was sealed is append-only",
        change="no trigger on leaves and checkpoints",
        edits=((SEALED, "array['epoch', 'leaf', 'checkpoint', 'anchored']", "array['epoch', 'anchored']"),),
        tests=(
            "integration/test_database_rights.py::test_a_superuser_without_ordinary_triggers_cannot_change_what_was_sealed",
        ),
    ),
    Mutation(
        guard="nobody can delete a checkpoint outside before its term",
        change="no lock is asked for",
        edits=(("media/s3.py", "        if retain_until:\n", "        if False:\n"),),
        tests=("integration/test_anchor.py::test_what_is_put_there_is_under_a_lock_until_its_term",),
    ),
    Mutation(
        guard="the anchoring identity deletes nothing",
        change="it may hide",
        edits=(("embedded/store.py", '_MAY_ANCHOR = {"sealer": (', '_MAY_ANCHOR = {"sealer": ("DeleteObject", '),),
        tests=("integration/test_anchor.py::test_the_anchoring_identity_puts_and_reads_and_may_do_nothing_else",),
    ),
    Mutation(
        guard="a key signs only once its adding is sealed under the old one",
        change="it signs at once",
        edits=(
            (
                "jobs/sealing.py",
                "        _under_a_checkpoint(conn, keys, anchor, rules, actor, SealKeyAdded(verifier_key=str(key.verifier)))\n        keys.take_up(key)\n",
                "        keys.take_up(key)\n",
            ),
        ),
        tests=sealing("a_new_key_signs_beside_the_old_one_once_that_has_sealed_its_adding"),
    ),
    # --- the trail, the balance ---
    Mutation(
        guard="the trail is append-only",
        change="no trigger on its rows",
        edits=(
            (
                "migrations/versions/0001_first_light.py",
                "perform guard_trail(part::regclass, true);",
                "perform guard_trail(part::regclass, false);",
            ),
        ),
        tests=(
            "integration/test_database_rights.py::test_a_superuser_without_ordinary_triggers_still_cannot_change_the_trail",
        ),
    ),
    Mutation(
        guard="a state and its event change together",
        change="the event in a transaction of its own",
        edits=(
            ("trail/append.py", "    at = at or db.now(conn)\n", "    conn.commit()\n    at = at or db.now(conn)\n"),
        ),
        tests=guard("what_cannot_be_written_into_the_trail_does_not_happen"),
    ),
    Mutation(
        guard="a night's counts add up",
        change="not checked",
        edits=(
            (
                "deletions.py",
                "return all(self.difference(controller) == 0 for controller in self.controllers)",
                "return True",
            ),
        ),
        tests=guard("a_night_that_loses_a_row_does_not_balance"),
    ),
    # --- two people (rule 13) ---
    Mutation(
        guard="a second person ratifies",
        change="the same one may",
        edits=(
            ("jobs/holding.py", "    if hold.placed_by == account:\n", "    if False:\n"),
            (SCHEMA, "ratified_by text check (ratified_by <> placed_by)", "ratified_by text"),
        ),
        tests=holding("who_placed_a_hold_cannot_ratify_it_and_another_account_can"),
    ),
    Mutation(
        guard="a second person releases",
        change="the same one may",
        edits=(
            ("jobs/holding.py", "if asked is None or asked.asked_by == account:", "if asked is None:"),
            (SCHEMA, "confirmed_by text check (confirmed_by <> asked_by)", "confirmed_by text"),
        ),
        tests=holding("a_release_takes_effect_with_the_second_account_only"),
    ),
    # --- the notice as a program (docs/adr/0181) ---
    Mutation(
        guard="what could not be checked is red",
        change="only what is broken is",
        edits=(("jobs/proving.py", "RED = (Verdict.broken, Verdict.unknown)", "RED = (Verdict.broken,)"),),
        tests=proving("a_store_that_is_down_is_red_and_told_without_it"),
    ),
    Mutation(
        guard="looking changes nothing",
        change="a connection that may write",
        edits=(("jobs/proving.py", "conn.read_only = True", "conn.read_only = False"),),
        tests=proving("a_check_cannot_change_anything"),
    ),
    Mutation(
        guard="the notice's six months, whatever a row says",
        change="the row's own term only",
        edits=(("jobs/proving.py", "overdue, other = row.overdue + row.beyond,", "overdue, other = row.overdue,"),),
        tests=proving("a_longer_term_in_the_rows_does_not_make_the_promise_longer"),
    ),
    Mutation(
        guard="a check that hangs ends",
        change="no time-out",
        edits=(
            (
                "jobs/proving.py",
                "        db.queries().bound_check(look.conn, seconds=str(CHECK_SECONDS))",
                "        pass",
            ),
        ),
        tests=proving("a_check_that_hangs_is_one_that_could_not_be_made"),
    ),
    # --- ageing, the listener, the catalogue of events ---
    Mutation(
        guard="a body goes past its term only",
        change="a month too early",
        edits=(
            (
                SEALED,
                "where (m.month + interval '1 month') at time zone",
                "where (m.month + interval '0 month') at time zone",
            ),
        ),
        tests=ageing("a_month_goes_when_its_last_event_is_past_its_term_and_its_leaves_stay"),
    ),
    Mutation(
        guard="a body that was changed does not go",
        change="not compared with its leaf",
        edits=((SEALED, "when altered > 0 then 'altered' when leaves", "when leaves"),),
        tests=ageing("what_is_not_wholly_sealed_and_anchored_stays_and_is_told"),
    ),
    Mutation(
        guard="a month that lacks a body does not go",
        change="only what is there is counted",
        edits=((SEALED, " when leaves > count then 'missing'", ""),),
        tests=ageing("what_is_not_wholly_sealed_and_anchored_stays_and_is_told"),
    ),
    Mutation(
        guard="what is not anchored does not go",
        change="sealed is enough",
        edits=((SEALED, "        when unanchored > 0 then 'unanchored' end;", "        end;"),),
        tests=ageing("an_anchor_that_lags_keeps_what_lies_beyond_it"),
    ),
    Mutation(
        guard="what goes is said by its event",
        change="any event will do",
        edits=(
            (
                SEALED,
                "if (convert_from(body, 'UTF8')::jsonb - array['actor', 'at']) is distinct from",
                "if false and (convert_from(body, 'UTF8')::jsonb - array['actor', 'at']) is distinct from",
            ),
        ),
        tests=ageing("an_event_that_does_not_say_what_goes_is_refused"),
    ),
    Mutation(
        guard="the balance sheet outlives the bodies",
        change="their sums are not kept",
        edits=((SEALED, "where t.class = of_class and t.at >=", "where false and t.class = of_class and t.at >="),),
        tests=ageing("the_balance_sheet_stays_one_of_all_that_ever_came"),
    ),
    Mutation(
        guard="a listener tells only what a listener sees",
        change="whatever it likes",
        edits=((SEALED, "not in ('run.started', 'run.ended', 'task.started', 'task.ended')", "= 'never'"),),
        tests=("integration/test_database_rights.py::test_a_role_cannot_do_what_it_must_not[witness]",),
    ),
    Mutation(
        guard="what the listener missed is counted",
        change="the mark goes before the writing",
        edits=(
            (
                "trail/witness.py",
                "            try:\n                self._write(sights)\n",
                "            try:\n                [sight.mark.unlink() for sight in sights]\n                self._write(sights)\n",
            ),
        ),
        tests=("unit/test_witness.py::test_whatever_goes_wrong_in_writing_ends_there",),
    ),
    Mutation(
        guard="after a failure of the listener nobody waits",
        change="no pause",
        edits=(("trail/witness.py", "            if self._pauses():\n", "            if False:\n"),),
        tests=("unit/test_witness.py::test_a_task_waits_two_seconds_for_a_hanging_database_and_the_next_not_at_all",),
    ),
    Mutation(
        guard="a listener's time-out holds whatever the server does",
        change="the server's own only",
        edits=(
            ("db.py", "max(self.ends - monotonic(), 0.0)", "timeout"),
            ("db.py", "int(seconds * 1000)", "int(seconds * 99000)"),
        ),
        tests=("integration/test_witness.py::test_a_database_that_hangs_after_it_has_answered_keeps_nobody_longer",),
    ),
    Mutation(
        guard="a listener that is not there is seen",
        change="marks only",
        edits=(("trail/witness.py", "count = len(marks) + int(unseen)", "count = len(marks)"),),
        tests=(
            "integration/test_witness.py::test_a_listener_that_is_not_there_is_seen_by_the_seal_that_nobody_saw_begin",
        ),
    ),
    Mutation(
        guard="an event changes with a new version only",
        change="one field more",
        edits=(("trail/events.py", "    added: int\n", "    added: int\n    kept: int = 0\n"),),
        tests=("unit/test_frozen_events.py::test_an_event_does_not_change_without_a_new_version[config.applied 1]",),
    ),
    Mutation(
        guard="only the exact bytes of an event are read",
        change="anything that means the same",
        edits=(("trail/events.py", "if canonical(found.event, actor.facts(), utc(found.at)) != body:", "if False:"),),
        tests=("unit/test_frozen_events.py::test_what_callkeeper_would_have_written_otherwise_is_not_read",),
    ),
    Mutation(
        guard="a subject that was forgotten stays so",
        change="a new salt",
        edits=(
            (
                "queries/subjects.sql",
                "on conflict (ticket) do nothing",
                "on conflict (ticket) do update set salt = excluded.salt, erased_at = null",
            ),
        ),
        tests=("integration/test_subjects.py::test_what_is_forgotten_is_gone_for_ever",),
    ),
    # --- what people decide, and by whose word ---
    Mutation(
        guard="who may decide is changed by an officer",
        change="by whoever may apply",
        edits=(("controllers.py", "if changes.of_duties and not _duties", "if False and not _duties"),),
        tests=(
            "integration/test_config_apply.py::test_who_may_decide_or_hear_is_changed_by_an_officer_in_force_and_nobody_else",
        ),
    ),
    Mutation(
        guard="who signs in is known to the installation's own Airflow",
        change="the environment names the server",
        edits=(
            (
                "commands/signin.py",
                "settings.written(app.settings.home).airflow_url",
                "app.settings.airflow_url",
            ),
        ),
        tests=("integration/test_signin.py::test_nobody_signs_in_at_a_server_that_the_environment_names",),
    ),
    Mutation(
        guard="who signs in is asked about directly",
        change="through the environment's proxy",
        edits=(("commands/signin.py", "ProxyHandler({})", "ProxyHandler()"),),
        tests=("integration/test_signin.py::test_nobody_signs_in_through_a_proxy_that_the_environment_names",),
    ),
    Mutation(
        guard="a correction takes nothing out of a hold, in the catalogue",
        change="the predicate alone",
        edits=(
            (
                "jobs/importing.py",
                "held = list(q.keep_corrected(conn, recordings=corrections)) if corrections else []",
                "held: list[db.Row] = []",
            ),
        ),
        tests=holding("what_a_hold_has_covered_stays_held_when_the_vendor_corrects_it_out_of_the_hold"),
    ),
    Mutation(
        guard="a correction takes nothing out of a hold, in quarantine",
        change="the predicate alone",
        edits=(("jobs/importing.py", "for r in q.keep_redelivered(conn, vendor=vendor.name)", "for r in ()"),),
        tests=holding("what_waits_in_quarantine_under_a_hold_stays_held_when_it_is_corrected"),
    ),
    Mutation(
        guard="a narrower hold keeps the vendor's copy of what is gone here",
        change="it does not take over",
        edits=(
            (
                "jobs/holding.py",
                "        q.cover_followed(conn, before=hold.blocker, blocker=asked.predicate)\n",
                "",
            ),
        ),
        tests=holding("what_is_held_at_the_vendor_only_stays_held_there_when_the_hold_is_narrowed"),
    ),
    Mutation(
        guard="a lifted legal hold is noticed, and placed again",
        change="the flag is believed",
        edits=(
            (
                "jobs/reconciling.py",
                "if holder.is_held(row.object_key, row.version_id) is False]",
                "if holder.is_held(row.object_key, row.version_id) is None]",
            ),
        ),
        tests=(
            "integration/test_reconcile.py::test_a_legal_hold_that_was_lifted_in_the_store_is_told_and_placed_again_by_the_next_settling",
        ),
    ),
    Mutation(
        guard="no night decides by a wrong clock",
        change="any clock will do",
        edits=((DELETING, "if most > CLOCK_TOLERANCE:", "if most > 1000 * CLOCK_TOLERANCE:"),),
        tests=(
            "dags/test_delete_expired.py::test_a_night_under_a_wrong_clock_deletes_nothing_though_a_forecast_had_foreseen_it",
        ),
    ),
    Mutation(
        guard="a word about a vendor is said to exactly what was seen",
        change="to whatever is open",
        edits=(("jobs/approving.py", "if _open_lines(lines, seen.vendor).scope != seen.scope:", "if False:"),),
        tests=sweep(
            "what_is_open_at_a_vendor_that_left_the_configuration_is_asked_of_nobody_and_ends_by_a_persons_word"
        ),
    ),
    Mutation(
        guard="what a vendor left in staging goes when its term is over",
        change="it stays",
        edits=((DELETING, 'done["stranded"] = _plan_stranded(conn, rules, actor)', 'done["stranded"] = 0'),),
        tests=(
            "integration/test_import.py::test_what_a_vendor_left_in_staging_that_is_no_longer_configured_goes_when_its_term_is_over",
        ),
    ),
    Mutation(
        guard="of what was taken back in between nothing is said",
        change="the night's look is believed",
        edits=((DELETING, "rows = [r for r in rows if now.get(r.recording) == r.state]", "rows = list(rows)"),),
        tests=sweep("what_an_import_takes_back_while_a_night_decides_is_not_said_to_be_armed"),
    ),
    # --- what falls due ---
    Mutation(
        guard="that a hold has an end is in no count",
        change="it is counted",
        edits=(("jobs/watching.py", 'm.to == "privacy" and not m.officers_only', 'm.to == "privacy"'),),
        tests=watching("the_end_of_a_preservation_order_is_in_the_officers_mail_and_in_no_count"),
    ),
    Mutation(
        guard="whoever is no officer reads no end",
        change="she reads the officers' sentence",
        edits=(("jobs/watching.py", "alarm.text if deputies_told else alarm.alike", "alarm.text"),),
        tests=watching("where_the_officer_has_no_address_the_data_team_reads_that_there_is_a_matter_and_not_which"),
    ),
    Mutation(
        guard="a run that is cleared tells nothing again",
        change="it does",
        edits=(("jobs/watching.py", "    if told:\n        return 0\n", ""),),
        tests=watching("a_run_tells_once_however_often_it_is_cleared_and_another_tells_again"),
    ),
    Mutation(
        guard="a morning that did not happen is made up for",
        change="yesterday's step is lost",
        edits=(
            (
                "jobs/watching.py",
                "(last or date.min) < due - timedelta(days=step) <= today",
                "due - timedelta(days=step) == today",
            ),
        ),
        tests=watching("a_deadline_is_told_at_its_steps_and_each_morning_from_its_day_on"),
    ),
    Mutation(
        guard="what nobody could be told stays to be told",
        change="it counts as told",
        edits=(("jobs/watching.py", "    if refused is not None:\n        raise refused\n", ""),),
        tests=watching("an_address_that_is_refused_keeps_no_other_from_being_told_and_the_next_try_tells_again"),
    ),
    Mutation(
        guard="no question to the person stops a request's clock",
        change="it does",
        edits=(
            ("queries/watching.sql", "state <> 'delivered' and", "state not in ('delivered', 'identity_asked') and"),
        ),
        tests=watching("a_question_to_the_person_does_not_stop_the_clock_and_an_extension_moves_the_day"),
    ),
    # --- the verifier ---
    Mutation(
        guard="a verifier believes trusted keys only",
        change="whoever signs",
        edits=(
            (
                VERIFIER,
                '                if not by:\n                    self.broken("unknown_key"',
                '                if False:\n                    self.broken("unknown_key"',
            ),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="a retired key signs no more",
        change="it signs on",
        edits=((VERIFIER, "elif all(c.size > retired.get(k.text, c.size) for k in by):", "elif False:"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="every checkpoint's root is recomputed",
        change="only its signature counts",
        edits=(
            (
                VERIFIER,
                'elif epoch.roots[c.size] != c.root:\n                    self.broken("wrong_root"',
                'elif False:\n                    self.broken("wrong_root"',
            ),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="each body is held against its leaf",
        change="it is believed",
        edits=((VERIFIER, 'if sha256(b"\\x00" + data).digest() != leaves[seq]:', "if False:"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_folder_is_found_by_name",),
    ),
    Mutation(
        guard="a missing body is explained or found",
        change="it is passed over",
        edits=(
            (
                VERIFIER,
                "        if following is None or following[0] != seq:\n            self.broken(",
                "        if following is None or following[0] != seq:\n            (lambda *_: None)(",
            ),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_folder_is_found_by_name",),
    ),
    Mutation(
        guard="a leaf's transaction is before its checkpoint's horizon",
        change="any horizon will do",
        edits=((VERIFIER, "if xid >= horizon:", "if False:"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="leaves are in the order of their transactions",
        change="in any order",
        edits=((VERIFIER, "if (xid, id_) <= (last_xid, last_id):", "if False:"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="an expiry accounts for exactly these leaves",
        change="for as many",
        edits=(
            (
                VERIFIER,
                "if any(digest.hexdigest() == d and self.months[group] == n for n, d, _ in accounts):",
                "if any(self.months[group] == n for n, _, _ in accounts):",
            ),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="bodies expire no earlier than their term",
        change="at any time",
        edits=((VERIFIER, "return at >= ends - timedelta(days=1)", "return True"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="a restore excuses exactly what it lost",
        change="as much as one likes",
        edits=((VERIFIER, "if (self.lost, self.lost_digest.hexdigest()) != (n, digest) and not", "if False and not"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="a checkpoint from outside finds a second history",
        change="it is only read",
        edits=(
            (
                VERIFIER,
                '            elif epoch.roots[c.size] != c.root:\n                self.broken("two_histories"',
                '            elif False:\n                self.broken("two_histories"',
            ),
        ),
        tests=("unit/test_verify.py::test_two_histories_are_found_by_a_checkpoint_that_was_kept",),
    ),
    Mutation(
        guard="a checkpoint from outside finds a cut",
        change="it is only read",
        edits=(
            (
                VERIFIER,
                '            elif c.size > epoch.leaves.n:\n                self.broken("cut_tail"',
                '            elif c.size > 1 << 60:\n                self.broken("cut_tail"',
            ),
        ),
        tests=("unit/test_verify.py::test_a_cut_tail_is_found_by_a_checkpoint_that_was_kept",),
    ),
    Mutation(
        guard="an intent is committed before its effect",
        change="in the same transaction will do",
        edits=(
            (
                VERIFIER,
                "(code == _GONE and sent_by == (epoch, xid)) or (code == _ANSWERED and asked_by == (epoch, xid))",
                "False",
            ),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="a recording ends once",
        change="as often as one likes",
        edits=((VERIFIER, "            elif last == _DONE:\n", "            elif last == _DONE and False:\n"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="a night reports what its events come to",
        change="what it likes",
        edits=((VERIFIER, "if not least <= said <= most:", "if False:"),),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="an event's body has one spelling",
        change="any JSON will do",
        edits=(
            (VERIFIER, "if type(event) is not dict or _encode(event).encode() != body:", "if type(event) is not dict:"),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="a request freezes what it is about",
        change="it is only written down",
        edits=((FULFILLING, "        blockers.add(conn, blocker, actor)\n", "        pass\n"),),
        tests=("integration/test_fulfilling.py::test_the_night_destroys_nothing_that_a_person_waits_for",),
    ),
    Mutation(
        guard="intake takes the blockers' lock",
        change="it does not wait",
        edits=(
            (
                FULFILLING,
                "    db.lock_blockers(conn, exclusive=True)\n    q = db.queries()\n    _check_keys",
                "    q = db.queries()\n    _check_keys",
            ),
        ),
        tests=("integration/test_fulfilling.py::test_intake_waits_for_whoever_decides_on_deletions",),
    ),
    Mutation(
        guard="nothing but a request's own freeze lapses",
        change="any blocker may",
        edits=(
            (
                VERIFIER,
                '                self._changed.append((id_, str(event.get("blocker")), "lapse", where))\n',
                "                pass\n",
            ),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="a ticket goes by its lawful way",
        change="anywhere",
        edits=(("tickets.py", "    if after not in LAWFUL[before]:\n", "    if False:\n"),),
        tests=("unit/test_tickets.py::test_a_ticket_goes_by_its_lawful_way_only",),
    ),
    Mutation(
        guard="a search keeps to the period that is proven",
        change="it takes every call of the number",
        edits=(
            (
                "queries/tickets.sql",
                "update ticket_subject set from_at = :from_at, to_at = :to_at where",
                "update ticket_subject set from_at = null, to_at = null where",
            ),
        ),
        tests=("integration/test_fulfilling.py::test_the_search_keeps_to_the_period_in_which_the_number_was_theirs",),
    ),
    Mutation(
        guard="a search asks for every live key",
        change="for the one in use",
        edits=(
            (
                FULFILLING,
                "list(keyring.pseudonyms(one.number).values()) if one.number",
                "[keyring.pseudonym(one.number)] if one.number",
            ),
        ),
        tests=("integration/test_fulfilling.py::test_a_search_follows_a_number_under_every_live_key",),
    ),
    Mutation(
        guard="nothing is searched before identity is proven",
        change="it is",
        edits=(
            (
                FULFILLING,
                '    if row.identity == "unproven":\n        raise NotAllowed(\n',
                "    if False:\n        raise NotAllowed(\n",
            ),
        ),
        tests=("integration/test_fulfilling.py::test_before_identity_is_proven_nothing_is_searched",),
    ),
    # --- letters ---
    Mutation(
        guard="a letter without a fact is not printed",
        change="it is, with a gap",
        edits=(("letters/__init__.py", "    if lacking:\n", "    if False:\n"),),
        tests=lettering("everything_that_is_missing_is_named_at_once"),
    ),
    Mutation(
        guard="a code without words stops a letter",
        change="it is left out",
        edits=(("letters/__init__.py", '            _lacking.get()[f"words for', '            {}[f"words for'),),
        tests=lettering("a_code_without_words_stops_the_letter"),
    ),
    Mutation(
        guard="'no data' is not sent while days are missing",
        change="it is",
        edits=(
            ("letters/__init__.py", "kind is Kind.no_data and facts.missing_days", "kind is Kind.no_data and False"),
        ),
        tests=lettering("a_letter_that_would_not_be_true_is_refused"),
    ),
    Mutation(
        guard="a letter that gives less is 'partial', with its complaint right",
        change="any outcome passes for the whole",
        edits=(("letters/__init__.py", "if kind in WHOLE and any(", "if kind in WHOLE and False and any("),),
        tests=lettering("a_letter_that_would_not_be_true_is_refused"),
    ),
    Mutation(
        guard="a refusal carries the complaint right",
        change="it is left out",
        edits=(("letters/templates/sv/refused.txt", '{% include "sv/_complaint.txt" %}\n', ""),),
        tests=lettering("a_letter_that_gives_less_tells_of_complaint_and_court"),
    ),
    Mutation(
        guard="an opening for an authority is worded as one for a claim",
        change="it has words of its own",
        edits=(
            (
                "letters/words/fi.toml",
                'authority = "lakisääteisen velvoitteen tai oikeudellisen vaateen hoitaminen"',
                'authority = "viranomaisen pyyntö"',
            ),
        ),
        tests=lettering("openings_for_a_claim_an_authority_or_security_are_worded_alike"),
    ),
    Mutation(
        guard="a fact is never markup",
        change="it is read as it stands",
        edits=(("letters/blocks.py", '    return _PLAIN + text if text else ""\n', "    return text\n"),),
        tests=lettering("a_fact_is_never_read_as_markup"),
    ),
    Mutation(
        guard="what typesetting says is not repeated",
        change="its text goes on",
        edits=(
            (
                "letters/__init__.py",
                '        raise CallkeeperError("The letter could not be set.", mend=mend) from None',
                "        raise",
            ),
        ),
        tests=lettering("a_page_that_cannot_be_set_says_so_without_its_content"),
    ),
    Mutation(
        guard="the second person is another one",
        change="she may be the first",
        edits=((FULFILLING, "    if first.account == account:\n", "    if False:\n"),),
        tests=("integration/test_fulfilling.py::test_the_second_person_is_never_the_first",),
    ),
    Mutation(
        guard="an erasure asks for two people's rows",
        change="for the ticket's state",
        edits=(
            (
                FULFILLING,
                '    if two:\n        last = _yes(conn, row, "dsr_second")\n',
                "    if False:\n        pass\n",
            ),
        ),
        tests=("integration/test_fulfilling.py::test_an_erasure_takes_two_yeses_as_rows_and_no_state_stands_for_them",),
    ),
    Mutation(
        guard="exactly what was seen is approved and carried out",
        change="what there is",
        edits=((FULFILLING, "    if not scope or len({", "    if False and len({"),),
        tests=(
            "integration/test_fulfilling.py::test_a_yes_is_said_to_exactly_what_was_seen",
            "integration/test_fulfilling.py::test_what_came_after_the_yes_needs_a_new_preview",
        ),
    ),
    Mutation(
        guard="a refusal is on a listed ground",
        change="on any",
        edits=((FULFILLING, "    if right not in tickets.GROUNDS_OF[ground]:\n", "    if False:\n"),),
        tests=(
            "integration/test_fulfilling.py::test_a_refusal_is_on_a_listed_ground_and_frees_nothing_before_it_is_delivered",
        ),
    ),
    Mutation(
        guard="an erasure is approved on its ground",
        change="on none",
        edits=((FULFILLING, "    if ground is None and right is Right.erasure and seen.chosen:\n", "    if False:\n"),),
        tests=(*rights("an_erasure_is_approved_on_a_ground_of_its_own_and_nothing_else_is"),),
    ),
    Mutation(
        guard="a ticket past its term is forgotten, with its salt",
        change="its salt stays",
        edits=((FULFILLING, "        subjects.forget(conn, row.ticket)\n", "        pass\n"),),
        tests=("integration/test_fulfilling.py::test_a_ticket_past_its_term_is_forgotten_and_its_story_stays",),
    ),
    Mutation(
        guard="an opening is committed before a byte is read",
        change="after it",
        edits=((LISTENING, "    conn.commit()\n    found = _described", "    found = _described"),),
        tests=listening("the_opening_is_committed_before_a_byte_is_read"),
    ),
    Mutation(
        guard="what is expired, held, restricted or in quarantine is closed to listeners",
        change="a listener hears all",
        edits=((LISTENING, "return None if outcome.staff is StaffUse.listener else Refusal.closed", "return None"),),
        tests=(
            "unit/test_listening.py::test_the_matrix_of_purposes",
            "unit/test_listening.py::test_over_all_combinations_staff_hear_only_what_nothing_closes",
            *listening("an_expired_recording_is_closed_from_the_moment_of_its_expiry"),
            *listening("a_quarantined_recording_is_closed_to_staff"),
        ),
    ),
    Mutation(
        guard="a restriction leaves the uses of GDPR Art. 18(2)",
        change="every lawful purpose",
        edits=((LISTENING, "return None if purpose in RESTRICTED_PURPOSES else Refusal.closed", "return None"),),
        tests=("unit/test_listening.py::test_the_matrix_of_purposes",),
    ),
    Mutation(
        guard="listening for a request takes the request",
        change="the officer's word",
        edits=((LISTENING, "        if not asked_for:\n", "        if False:\n"),),
        tests=listening("listening_for_a_request_takes_an_open_one_that_is_about_the_recording"),
    ),
    Mutation(
        guard="a listening's token is its account's and its recording's",
        change="anybody's",
        edits=(
            (
                LISTENING,
                'facts is None or (facts["account"], facts["recording"]) != (account, str(recording))',
                "facts is None",
            ),
        ),
        tests=listening("a_token_is_of_one_account_one_recording_and_ten_minutes"),
    ),
    Mutation(
        guard="a listening's token is signed",
        change="it is believed",
        edits=((LISTENING, "    if not hmac.compare_digest(", "    if False and not hmac.compare_digest("),),
        tests=listening("a_token_is_of_one_account_one_recording_and_ten_minutes"),
    ),
    Mutation(
        guard="each range asks again whether it may be heard",
        change="the first did",
        edits=(
            (
                LISTENING,
                'row = _allowed(conn, recording, account=account, purpose=purpose, ticket=facts["ticket"])',
                "row = db.queries().audio_of(conn, recording=recording)",
            ),
        ),
        tests=listening("a_restriction_closes_a_listening_that_is_under_way"),
    ),
    Mutation(
        guard="a package is whole only for what is agreed on still",
        change="for what was",
        edits=(
            (
                PACKAGING,
                "    if fulfilling.agreed(conn, app.keyring, row).preview.scope != scope:\n",
                "    if False:\n",
            ),
        ),
        tests=packaging("a_scope_that_changed_while_the_package_was_made_needs_a_new_look"),
    ),
    Mutation(
        guard="what is handed out is what was imported",
        change="what there is",
        edits=(
            (
                PACKAGING,
                "    if source.sha256 is not None and digest.digest() != bytes(source.sha256):\n",
                "    if False:\n",
            ),
        ),
        tests=packaging("audio_that_is_not_what_was_imported_is_not_handed_out"),
    ),
    Mutation(
        guard="a part stands in its row before it stands in the store",
        change="only when the package is whole",
        edits=((PACKAGING, "noted = package.written(part for part, _ in written.both)", 'noted = "[]"'),),
        tests=packaging("killed_and_never_run_again_it_goes_a_day_later"),
    ),
    Mutation(
        guard="what is muted is not on the copy",
        change="it is",
        edits=(("media/copying.py", "_silence(kept, width, where, rate, mutes)", "pass"),),
        tests=packaging("what_is_muted_and_the_other_channel_are_not_on_the_copy_and_the_original_is_not_touched"),
    ),
    Mutation(
        guard="a maker that was taken for dead writes no part any more",
        change="it goes on",
        edits=((PACKAGING, "if not db.queries().note_parts(", "if None is db.queries().note_parts("),),
        tests=packaging("a_maker_that_slept_for_longer_than_a_day_writes_nothing_that_nobody_would_find"),
    ),
    Mutation(
        guard="what a damaged file lost is silence in its copy, so that a mute falls where it was heard",
        change="the rest moves up",
        edits=(("media/copying.py", "                        at = begins\n", "                        pass\n"),),
        tests=("unit/test_copying.py::test_a_mute_falls_where_a_player_plays_it_though_the_file_is_damaged_before_it",),
    ),
    Mutation(
        guard="a package whose term is over cannot be had",
        change="until it has gone",
        edits=(
            (PACKAGES, "ended_at is not null or expires_on <= helsinki_day(callkeeper_now()) as over", "false as over"),
        ),
        tests=packaging("its_term_over_it_cannot_be_had_and_the_one_destroyer_takes_it"),
    ),
    Mutation(
        guard="the night takes packages whose term is over",
        change="nobody does",
        edits=((DELETING, '    done["packages"] = package.plan_over(conn, actor)\n', ""),),
        tests=packaging("its_term_over_it_cannot_be_had_and_the_one_destroyer_takes_it"),
    ),
    Mutation(
        guard="a part is an officer's to fetch",
        change="anybody's",
        edits=(
            (
                PACKAGING,
                "    decisions.require(conn, account, OFFICERS)\n    found = _there(conn, ticket)\n    if not 1 <=",
                "    found = _there(conn, ticket)\n    if not 1 <=",
            ),
        ),
        tests=packaging("fetching_a_part_and_seeing_the_passphrase_are_events_and_officers_alone"),
    ),
    Mutation(
        guard="one maker of a package at a time",
        change="several",
        edits=((PACKAGING, "    if not q.one_package_at_a_time(conn, ticket=ticket):\n", "    if False:\n"),),
        tests=packaging("one_maker_at_a_time"),
    ),
    Mutation(
        guard="a file that was changed or reordered shows nothing",
        change="it shows what opens",
        edits=(
            ("package/page.js", "for (let n = 0; n < chunks.length; n += 1) {", "for (let n = 0; n < 0; n += 1) {"),
        ),
        tests=("integration/test_package_page.py::test_what_was_changed_cut_or_reordered_does_not_open",),
    ),
    Mutation(
        guard="what a copy leaves out is a part of the scope",
        change="ids are all of it",
        edits=(("tickets.py", "    if channel is not None or mutes:\n", "    if False:\n"),),
        tests=(
            *rights("what_the_copy_leaves_out_is_a_part_of_what_is_approved"),
            *rights("a_redaction_after_the_yes_stops_what_was_approved"),
        ),
    ),
    Mutation(
        guard="what is put right is a part of the scope",
        change="ids are all of it",
        edits=(("tickets.py", "    if corrected:\n        said", "    if False:\n        said"),),
        tests=(*rights("another_correction_is_another_scope_and_none_is_no_rectification"),),
    ),
    Mutation(
        guard="a no takes every earlier yes back",
        change="the yes stays",
        edits=((FULFILLING, " or found.decision < no:", ":"),),
        tests=(
            *rights("the_second_persons_no_takes_the_first_yes_back_for_good"),
            *rights("a_copy_is_taken_back_and_no_earlier_yes_counts"),
        ),
    ),
    Mutation(
        guard="the second yes is said to the first",
        change="to any",
        edits=((FULFILLING, "        if last.decision < first.decision:\n", "        if False:\n"),),
        tests=(*rights("a_second_yes_that_is_older_than_the_first_does_not_count"),),
    ),
    Mutation(
        guard="two yeses are two people's when they are carried out, too",
        change="one may have written both",
        edits=((FULFILLING, "        if last.account == first.account:\n", "        if False:\n"),),
        tests=(*rights("a_changed_row_in_another_persons_name_is_no_second_yes"),),
    ),
    Mutation(
        guard="more to search is frozen under the blockers' lock",
        change="without waiting",
        edits=(
            (
                FULFILLING,
                "    db.lock_blockers(conn, exclusive=True)\n    row = for_change(conn, ticket)\n    if row.state not in (State.open",
                "    row = for_change(conn, ticket)\n    if row.state not in (State.open",
            ),
        ),
        tests=(*rights("more_to_search_waits_for_whoever_decides_on_deletions"),),
    ),
    Mutation(
        guard="whose a further number is has to be proven",
        change="it is as the first one",
        edits=((FULFILLING, "        q.identity_unproven(conn, ticket=ticket)\n", "        pass\n"),),
        tests=(*rights("a_clarification_brings_more_to_search_and_freezes_it_at_once"),),
    ),
    Mutation(
        guard="all that is named is left out, or nothing",
        change="what is there",
        edits=(
            (
                FULFILLING,
                "    if lost := recordings.keys() - {r.recording for r in done}:\n",
                "    if lost := set(done) - set(done):\n",
            ),
        ),
        tests=rights("recordings_are_left_out_each_for_its_reason_or_none_is"),
    ),
    Mutation(
        guard="exactly the released package is handed over",
        change="any",
        edits=((FULFILLING, "let_go is None or let_go.scope != scope:", "let_go is None:"),),
        tests=(*rights("another_package_than_the_released_one_is_not_handed_over"),),
    ),
    Mutation(
        guard="a package is handed over once it was released",
        change="its letter's word is enough",
        edits=((FULFILLING, "        if _has_package(conn, ticket):\n", "        if False:\n"),),
        tests=(*rights("a_copy_is_made_released_as_it_is_and_handed_over"),),
    ),
    Mutation(
        guard="a copy that is waited for defers no erasure",
        change="it counts as a legal ground",
        edits=(
            (
                TICKETS,
                "b.kind <> 'access_freeze' and covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)\n        ) then",
                "covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)\n        ) then",
            ),
        ),
        tests=(*rights("a_copy_that_somebody_waits_for_defers_nothing_and_comes_first"),),
    ),
    Mutation(
        guard="what waits for a copy waits for a night, too",
        change="it is said to be deferred",
        edits=(
            (
                TICKETS,
                "b.kind <> 'access_freeze' and covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)\n        ))\n",
                "covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)\n        ))\n",
            ),
        ),
        tests=("integration/test_leading.py::test_an_erasure_waits_for_the_copy_of_the_same_person",),
    ),
    Mutation(
        guard="the trail says what state a planned erasure found",
        change="it is taken to live",
        edits=((CARRYING, 'was.get(p.recording, "live")', '"live"'),),
        tests=rights("the_trail_says_what_an_erasure_found_planned_or_blocked_already"),
    ),
    Mutation(
        guard="the trail says what state an unlawful find's yes found",
        change="it is taken to live",
        edits=(("jobs/approving.py", 'was.get(row.recording, "live")', '"live"'),),
        tests=("integration/test_approve.py::test_what_the_schedule_had_planned_is_taken_over_by_the_yes",),
    ),
    Mutation(
        guard="an erasure decides on what is in quarantine",
        change="it stays there",
        edits=(
            (
                CARRYING,
                '        *((p, "quarantined") for p in q.plan_quarantined(conn, **facts)),\n',
                "",
            ),
        ),
        tests=(*rights("a_quarantined_call_in_the_scope_is_decided_with_it"),),
    ),
    Mutation(
        guard="a restriction outlasts its ticket",
        change="it ends with it",
        edits=(
            (
                TICKETS,
                " and b.ended_at is null and b.blocker is distinct from t.standing\n",
                " and b.ended_at is null\n",
            ),
        ),
        tests=(*rights("a_restriction_outlasts_its_ticket_over_exactly_what_was_confirmed"),),
    ),
    Mutation(
        guard="a restriction is placed under the blockers' lock",
        change="without waiting",
        edits=(
            (
                CARRYING,
                'ends with the ticket as ever.\n    """\n    db.lock_blockers(conn, exclusive=True)\n',
                'ends with the ticket as ever.\n    """\n',
            ),
        ),
        tests=(*rights("a_restriction_takes_the_blockers_lock"),),
    ),
    Mutation(
        guard="the person is told before a restriction ends",
        change="nobody is",
        edits=((CARRYING, "    if standing.told_at is None:\n", "    if False:\n"),),
        tests=(
            *rights("a_restriction_is_lifted_on_the_day_of_which_the_person_was_told"),
            *rights("a_day_that_is_announced_anew_is_told_anew"),
        ),
    ),
    Mutation(
        guard="a restriction ends on the day that was told",
        change="before",
        edits=((CARRYING, "    if standing.today < standing.lifts_on:\n", "    if False:\n"),),
        tests=(*rights("a_restriction_is_lifted_on_the_day_of_which_the_person_was_told"),),
    ),
    Mutation(
        guard="a restriction that stands on has no end that was announced before",
        change="it ends all the same",
        edits=(
            (
                CARRYING,
                "    db.queries().announce_lifting(conn, ticket=ticket, lifts_on=None, reason=None)\n",
                "",
            ),
        ),
        tests=rights("a_restriction_that_stands_on_has_no_end_that_was_announced_before"),
    ),
    Mutation(
        guard="an end of which the person was told is not taken back behind her back",
        change="it is",
        edits=(
            (CARRYING, "    if standing.lifts_on is not None and standing.told_at is not None:\n", "    if False:\n"),
        ),
        tests=rights("a_restriction_that_stands_on_has_no_end_that_was_announced_before"),
    ),
    Mutation(
        guard="a restriction ends on a word later than the one that it stands on",
        change="on any",
        edits=((TICKETS, "      and y.decision > coalesce((select", "      and 0 = 0 * coalesce((select"),),
        tests=rights("a_changed_row_alone_does_not_end_a_restriction_that_stands_on"),
    ),
    Mutation(
        guard="an extension leaves the review of the restriction that stands",
        change="it takes it over",
        edits=(
            (
                TICKETS,
                "b.case_ref = t.ticket and b.ended_at is null and b.blocker is distinct from t.standing;",
                "b.case_ref = t.ticket and b.ended_at is null;",
            ),
        ),
        tests=rights("an_extension_leaves_the_review_of_the_restriction_that_stands"),
    ),
    Mutation(
        guard="a ticket is not forgotten while its restriction stands",
        change="its letters' facts go",
        edits=((TICKETS, "b where b.blocker = ticket.standing and b.ended_at is null)", "b where false)"),),
        tests=(*rights("a_ticket_is_not_forgotten_while_its_restriction_stands"),),
    ),
    Mutation(
        guard="an upheld objection ends its own restriction",
        change="it keeps what is to go",
        edits=((CARRYING, "    fulfilling.free(conn, ticket, actor)\n", ""),),
        tests=(*rights("an_objection_that_is_upheld_erases_and_keeps_out_what_comes"),),
    ),
    Mutation(
        guard="an upheld objection keeps out what is still to come",
        change="nothing is suppressed",
        edits=((CARRYING, "    if marks:\n", "    if False:\n"),),
        tests=(*rights("an_objection_that_is_upheld_erases_and_keeps_out_what_comes"),),
    ),
    Mutation(
        guard="the database suppresses a caller by two people's row",
        change="on the application's word",
        edits=(
            (
                RIGHTS,
                "    if not exists (select from decision where subject = of_ticket and action = 'dsr_second') then",
                "    if false then",
            ),
        ),
        tests=(*rights("without_two_peoples_rows_the_database_suppresses_nobody"),),
    ),
    Mutation(
        guard="the database reviews a suppression by a person's row",
        change="on the application's word",
        edits=((RIGHTS, "    if not decided_now(of_ticket, 'dsr_suppression') then", "    if false then"),),
        tests=(*rights("without_two_peoples_rows_the_database_suppresses_nobody"),),
    ),
    Mutation(
        guard="the vendor's later word does not undo a rectification",
        change="it does",
        edits=(
            ("queries/staging.sql", "where r.rectified is not null and c.recording", "where false and c.recording"),
        ),
        tests=(
            *rights("the_vendors_later_word_undoes_nothing_that_was_put_right"),
            *rights("a_line_put_right_keeps_its_company_whatever_the_vendor_says"),
        ),
    ),
    Mutation(
        guard="what a blocker covered stays covered when it is put right",
        change="it is let go",
        edits=(
            (CARRYING, "        kept = list(q.keep_rectified(conn, **facts))\n", "        kept: list[db.Row] = []\n"),
        ),
        tests=(*rights("what_a_blocker_covered_stays_covered_and_what_names_it_now_covers_it"),),
    ),
    Mutation(
        guard="nothing is put right of what is being deleted",
        change="it is",
        edits=((CARRYING, ' or there[r].state == "sending"]', "]"),),
        tests=(*rights("nothing_is_put_right_of_what_is_being_deleted"),),
    ),
    Mutation(
        guard="nobody's line is not put right to",
        change="it is",
        edits=((CARRYING, "    if owner is None:\n", "    if False:\n"),),
        tests=(*rights("a_call_on_a_day_on_which_the_line_was_nobodys_is_not_put_right_to_it"),),
    ),
    Mutation(
        guard="what was drafted of a call that is left out is not put right",
        change="it counts as if",
        edits=(
            (
                TICKETS,
                "ticket = :ticket and recording = any (:recordings) and applied_at is null;",
                "ticket = :ticket and applied_at is null and :recordings::uuid[] is not null;",
            ),
        ),
        tests=rights("what_was_drafted_of_a_call_that_is_left_out_is_not_put_right"),
    ),
    Mutation(
        guard="what is put right between a correction's check and its keeping stays so",
        change="the check's word is kept",
        edits=(
            (
                "jobs/importing.py",
                "        q.mark_correction(conn, recordings=[r.recording for r in rows if r.corrects])\n",
                "",
            ),
        ),
        tests=rights("the_vendors_word_that_was_checked_before_undoes_nothing_that_is_put_right_since"),
    ),
    Mutation(
        guard="a restriction lapses only after its end was announced",
        change="any time",
        edits=(
            (VERIFIER, '                self._changed.append((id_, str(event.get("blocker")), "lift", where))\n', ""),
        ),
        tests=("unit/test_verify.py::test_what_is_wrong_with_a_log_is_found_by_name",),
    ),
    Mutation(
        guard="one run has a ticket",
        change="every run that comes",
        edits=(
            (
                LEADING,
                "        if not taken_over and other:\n",
                "        if False:\n",
            ),
        ),
        tests=(
            "integration/test_leading.py::test_a_second_run_is_told_which_one_has_the_ticket",
            "integration/test_leading.py::test_a_run_at_work_is_not_taken_over",
        ),
    ),
    Mutation(
        guard="an answer counts in the run that has the ticket",
        change="in any run",
        edits=((LEADING, "    if row.run != run:\n", "    if False:\n"),),
        tests=("integration/test_leading.py::test_a_run_taken_over_by_a_deputy_has_no_say_any_more",),
    ),
    Mutation(
        guard="an answer counts from people with its duty",
        change="from anybody",
        edits=(
            (
                LEADING,
                "    elif not controllers.duties(conn, app.config, account).intersection(ANSWERERS[question]):\n",
                "    elif False:\n",
            ),
        ),
        tests=("integration/test_leading.py::test_an_answer_of_somebody_who_has_no_such_duty_does_not_count",),
    ),
    Mutation(
        guard="a yes repeats the scope that was shown",
        change="it says nothing",
        edits=(
            (
                LEADING,
                '    return whole if len(said) >= SCOPE_CHARACTERS and whole.hex().startswith(said) else b""\n',
                "    return whole\n",
            ),
        ),
        tests=("integration/test_leading.py::test_a_yes_repeats_the_scope_that_was_shown",),
    ),
    Mutation(
        guard="a run takes the ticket's own right",
        change="any",
        edits=((LEADING, "    if right != found.right:\n", "    if False:\n"),),
        tests=("integration/test_leading.py::test_a_run_that_may_not_begin_is_refused_in_words",),
    ),
    Mutation(
        guard="a question is asked of named people",
        change="of whoever may answer",
        edits=(("connections.py", "    if not ids:\n", "    if False:\n"),),
        tests=("dags/test_subject_request.py::test_nothing_is_asked_where_nobody_has_an_account",),
    ),
    Mutation(
        guard="a task that was marked by hand is no answer",
        change="it is one",
        edits=(
            (
                "connections.py",
                '    if not (detail.get("response_received") and who and chosen):\n',
                "    if False:\n",
            ),
        ),
        tests=("dags/test_subject_request.py::test_a_task_that_was_marked_by_hand_is_no_answer",),
    ),
    Mutation(
        guard="a disclosure's second person is another one",
        change="she may be the first",
        edits=((DISCLOSING, "    if row.asked_by == account:\n", "    if False:\n"),),
        tests=("dags/test_disclose.py::test_two_runs_by_two_accounts_make_a_package_and_a_third_hands_it_over",),
    ),
    Mutation(
        guard="a disclosure's package asks for two people's rows",
        change="for its state",
        edits=(
            (
                DISCLOSING,
                'first, other = _yes(conn, row, "disclose_ask"), _yes(conn, row, "disclose_approve")\n    if first.account == other.account:',
                "if False:",
            ),
            (DISCLOSING, " or bytes(row.scope) != other.scope:", ":"),
        ),
        tests=disclosing("a_package_takes_two_yeses_as_rows_and_no_state_stands_for_them"),
    ),
    Mutation(
        guard="a yes to a disclosure is to exactly these recordings and this recipient",
        change="to its number",
        edits=((DISCLOSING, "    if scope != bytes(row.scope):\n", "    if False:\n"),),
        tests=disclosing("a_yes_is_to_exactly_these_recordings_and_this_recipient"),
    ),
    Mutation(
        guard="what is closed to a purpose is not given for it",
        change="whatever is in the catalogue",
        edits=((DISCLOSING, "        closed += listening.may_open(outcome, purpose, who) is not None\n", ""),),
        tests=(
            *disclosing("what_is_closed_to_ordinary_use_is_given_to_no_company_and_a_hold_opens_it_to_an_authority"),
            *disclosing("what_is_past_its_term_and_held_by_nothing_is_given_to_nobody"),
        ),
    ),
    Mutation(
        guard="what may not be told is not there for anybody but officers",
        change="it is",
        edits=((DISCLOSING, "    if row is None or (row.untold and not officer):\n", "    if row is None:\n"),),
        tests=(
            *disclosing("what_the_law_forbids_to_tell_is_there_for_officers_only"),
            "dags/test_disclose.py::test_nobodys_run_does_nothing_and_what_may_not_be_told_is_not_there",
        ),
    ),
    Mutation(
        guard="what may not be told is in no letter",
        change="it is",
        edits=(
            (
                "queries/disclosures.sql",
                " and d.state = 'handed_over' and (:officer or not d.untold)",
                " and d.state = 'handed_over' and :officer is not null",
            ),
        ),
        tests=disclosing("what_the_law_forbids_to_tell_is_there_for_officers_only"),
    ),
    Mutation(
        guard="a copy is what import kept",
        change="what is in the store",
        edits=((DISCLOSING, "    if copy.sha256 != kept:\n", "    if False:\n"),),
        tests=disclosing("a_copy_that_is_not_what_import_kept_stops_the_package"),
    ),
    Mutation(
        guard="the opening is committed before a byte is read",
        change="with the package",
        edits=(
            (
                DISCLOSING,
                '    append(conn, actor, (), alike=alike)\n    conn.commit()\n    reach("disclosure.begun")\n    now = db.now(conn)\n    conn.rollback()\n',
                '    append(conn, actor, (), alike=alike)\n    reach("disclosure.begun")\n    now = db.now(conn)\n',
            ),
        ),
        tests=disclosing("each_copy_is_an_opening_before_a_byte_is_read"),
    ),
    Mutation(
        guard="a company is given no number",
        change="it is",
        edits=(
            (
                DISCLOSING,
                '    if row.recipient_kind == "authority" and r.sealed_number:\n',
                "    if r.sealed_number:\n",
            ),
        ),
        tests=disclosing("a_company_is_given_no_number"),
    ),
    Mutation(
        guard="a yes or a no is asked of the duties in force",
        change="where somebody signs in only",
        edits=(
            (
                "decisions.py",
                "    if controllers.duties_in_force(conn, account).isdisjoint(duties):\n",
                "    if False:\n",
            ),
        ),
        tests=(
            "integration/test_approve.py::test_the_yes_is_the_officers_whatever_asks_for_it_and_a_surplus_the_approvers_too",
            *rights("who_has_not_the_duty_says_no_yes_and_no_no_whatever_asks_for_it"),
        ),
    ),
    Mutation(
        guard="the promise asks two people's rows of each disclosure",
        change="its state",
        edits=(("jobs/proving.py", "    wrong = sum(not row.whole for row in rows) + ", "    wrong = "),),
        tests=(
            "integration/test_proving.py::test_a_disclosure_needs_its_reference_two_people_and_a_row_beside_its_event",
        ),
    ),
    Mutation(
        guard="the desk's door asks for a duty in [people]",
        change="a login is enough",
        edits=(("desk/seat.py", "if duties.isdisjoint(fulfilling.READERS):", "if not account:"),),
        tests=desk("a_login_without_the_duty_gets_nowhere"),
    ),
    Mutation(
        guard="what is the officer's is not the approver's",
        change="whoever has a seat may send it",
        edits=(("desk/seat.py", "if not seat.officer:", "if not seat.account:"),),
        tests=desk("the_approver_takes_nothing_in_and_sees_no_number"),
    ),
    Mutation(
        guard="a form is its own session's and its own path's",
        change="its MAC is not compared",
        edits=(("desk/forms.py", " or not hmac.compare_digest(mac, self._mac(session, path, body))", ""),),
        tests=desk("a_form_is_its_own_sessions_and_its_own_paths"),
    ),
    Mutation(
        guard="a form does its thing once",
        change="its row is not looked for",
        edits=(("desk/forms.py", "        if known:", "        if known and not app:"),),
        tests=desk("a_form_sent_twice_does_its_thing_once"),
    ),
    Mutation(
        guard="what is typed comes out escaped",
        change="it is not",
        edits=(("desk/pages.py", "autoescape=True", "autoescape=False"),),
        tests=desk("what_is_typed_comes_out_escaped_in_every_field"),
    ),
    Mutation(
        guard="a yes is to what the page showed",
        change="it is to whatever there is now",
        edits=(
            (
                "desk/acts.py",
                'if w.sent.text("scope") != fulfilling.seen(',
                'if not w.sent.text("scope") and fulfilling.seen(',
            ),
        ),
        tests=desk("a_yes_is_to_what_the_page_showed"),
    ),
    Mutation(
        guard="a listening is opened by a form, never by its address",
        change="a player's range is let through without one",
        edits=(("desk/player.py", "        if not token:\n", "        if not token and not request.headers:\n"),),
        tests=desk("a_listening_is_an_event_and_plays_by_ranges"),
    ),
    # --- letters from tickets ---
    Mutation(
        guard="no data is not said while a day is missing",
        change="it is",
        edits=((ANSWERING, "            if self.missing_days:\n", "            if False:\n"),),
        tests=answering("no_data_is_not_said_while_a_day_is_missing"),
    ),
    Mutation(
        guard="what the law forbids to tell is in no letter",
        change="its recipient is",
        edits=(
            (
                ANSWERING,
                "given = case.given(officer=kind is Kind.recipient_notice)",
                "given = case.given(officer=True)",
            ),
        ),
        tests=answering("what_the_law_forbids_to_tell_is_in_no_letter"),
    ),
    Mutation(
        guard="an opening for what may not be told is in no letter",
        change="it is",
        edits=((ANSWERS, "  and not (o.purpose = 'authority' and exists (", "  and not (false and exists ("),),
        tests=answering("what_the_law_forbids_to_tell_is_in_no_letter"),
    ),
    Mutation(
        guard="recipients are told before the letter says that they were",
        change="the letter says so anyway",
        edits=((ANSWERING, "elif kind in _TELLS_WHO_WAS_TOLD and (", "elif False and ("),),
        tests=answering("recipients_are_told_before_the_letter_says_that_they_were"),
    ),
    Mutation(
        guard="only the letter that the rows give is printed",
        change="any is",
        edits=(
            (
                ANSWERING,
                "        elif kind is not (answer := self.final):\n",
                "        elif (answer := kind) is None:\n",
            ),
        ),
        tests=answering("no_data_is_not_said_while_a_day_is_missing"),
    ),
    Mutation(
        guard="a letter that nobody printed was not sent",
        change="it may be noted",
        edits=((ANSWERING, "if not impossible and not q.answer_written(", "if False and not q.answer_written("),),
        tests=answering("a_ticket_asks_for_its_receipt_until_that_was_sent"),
    ),
    Mutation(
        guard="another's request about the number is told of only if it was proven to be theirs",
        change="any is",
        edits=(
            (ANSWERS, " and o.identity <> 'unproven'", ""),
            (ANSWERS, " and s.from_at < m.to_at and s.to_at > m.from_at", ""),
        ),
        tests=answering("other_requests_an_objections_hash_and_the_vendors_metadata_are_told"),
    ),
    Mutation(
        guard="an extension counts only if its letter went by the first due day",
        change="it counts at once",
        edits=(
            (
                "queries/watching.sql",
                "case when x.told then coalesce(t.extended_to, t.due_on) else t.due_on end",
                "coalesce(t.extended_to, t.due_on)",
            ),
        ),
        tests=watching("an_extension_counts_only_if_its_letter_went_by_the_first_due_day"),
    ),
    Mutation(
        guard="an opening stands in the register and in the trail",
        change="either will do",
        edits=(("jobs/proving.py", "sum(abs(registered[one] - told[one]) for one in openings)", "0"),),
        tests=proving("an_opening_stands_in_the_register_and_in_the_trail"),
    ),
    Mutation(
        guard="no container runs as root",
        change="whoever .env says",
        edits=(("containers/secrets.py", "        if uid == 0:\n", "        if uid < 0:\n"),),
        tests=("unit/test_compose.py::test_make_secrets_refuses_in_words_whom_the_containers_must_not_be",),
    ),
    Mutation(
        guard="a secret is made once",
        change="each time",
        edits=(
            (
                "embedded/secrets.py",
                "        if not path.exists():\n            write_private(path, make())\n",
                "        write_private(path, make())\n",
            ),
        ),
        tests=("unit/test_compose.py::test_secrets_are_the_owners_only_and_never_made_anew",),
    ),
    Mutation(
        guard="who runs the tasks is said, and once",
        change="somebody will",
        edits=(("containers/environment.py", "    if len(named) != 1:\n", "    if len(named) > 2:\n"),),
        tests=("unit/test_compose.py::test_who_runs_the_tasks_must_be_said_and_once",),
    ),
    Mutation(
        guard="what leaves Airflow's database is copied nowhere",
        change="into archive tables",
        edits=(("containers/housekeeping.py", '[*words, "--skip-archive", "--yes"]', '[*words, "--yes"]'),),
        tests=("unit/test_compose.py::test_airflows_tables_are_named_and_nothing_is_archived",),
    ),
    Mutation(
        guard="a hand-over asks again whether it was agreed to and may be given",
        change="its package stands for that",
        edits=((DISCLOSING, "    _agreed(conn, row)\n    q.disclosure_handed_over(", "    q.disclosure_handed_over("),),
        tests=(
            *disclosing("what_was_restricted_after_its_package_was_made_is_not_handed_over"),
            *disclosing("a_hand_over_takes_two_yeses_as_rows_too"),
        ),
    ),
    Mutation(
        guard="an answer is recorded, and a ticket taken over, one after the other",
        change="both at once",
        edits=(
            (LEADING, "    q.lead_alone(conn, ticket=ticket)\n", ""),
            (LEADING, "            q.let_lead_go(conn, ticket=ticket)\n", ""),
        ),
        tests=("integration/test_leading.py::test_who_takes_over_while_an_answer_is_recorded_comes_after_it",),
    ),
    Mutation(
        guard="an answer that was recorded is not said to be none",
        change="it is carried out anew",
        edits=((LEADING, "    if _waits_for(conn, found) != question:\n", "    if False:\n"),),
        tests=(
            "integration/test_leading.py::test_an_answer_whose_worker_was_killed_before_its_end_is_recorded_all_the_same",
        ),
    ),
    Mutation(
        guard="what Airflow said of a run counts for that run",
        change="for any",
        edits=((LEADING, "        if row != looked:\n", "        if False:\n"),),
        tests=(
            "integration/test_leading.py::test_what_airflow_said_of_a_run_does_not_count_for_the_one_that_came_meanwhile",
        ),
    ),
    Mutation(
        guard="a question is noted as sent once it was printed for that asking",
        change="once it was for any",
        edits=((ANSWERS, "(:since::timestamptz is null or e.at >= :since)", "(:since::timestamptz is null or true)"),),
        tests=answering("a_letter_of_an_earlier_asking_does_not_stand_for_the_later_ones"),
    ),
    Mutation(
        guard="a notice is noted as sent once it was printed for that recipient",
        change="once it was for any",
        edits=(
            (ANSWERS, "is not distinct from :disclosure::text)", "is not distinct from :disclosure::text or true)"),
        ),
        tests=answering("recipients_are_told_before_the_letter_says_that_they_were"),
    ),
    Mutation(
        guard="only an officer's word lets a quarantined call pass or go",
        change="anybody's does",
        edits=(
            (
                "jobs/quarantining.py",
                "    decisions.require(conn, account, OFFICERS)\n    call = one(conn, recording)\n    if not",
                "    call = one(conn, recording)\n    if not",
            ),
            (
                "jobs/quarantining.py",
                "    decisions.require(conn, account, OFFICERS)\n    call = one(conn, recording)\n    out",
                "    call = one(conn, recording)\n    out",
            ),
        ),
        tests=(
            "integration/test_quarantine.py::test_only_an_officers_word_lets_a_call_pass_or_go_whoever_asks_for_it",
        ),
    ),
    Mutation(
        guard="only an officer's word ends what is open at a vendor",
        change="anybody's does",
        edits=(
            (
                "jobs/approving.py",
                "    decisions.require(conn, account, OFFICERS)\n    lines = list(",
                "    lines = list(",
            ),
            (
                "jobs/approving.py",
                "    decisions.require(conn, account, OFFICERS)\n    # Whoever places",
                "    # Whoever places",
            ),
        ),
        tests=("integration/test_deleting.py::test_only_an_officers_word_ends_an_open_line_whoever_asks_for_it",),
    ),
)
