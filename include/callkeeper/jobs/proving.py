"""The notice as a program: each promise is asked of live data, and answered kept, broken or not yet applicable, with its figure.

A check that cannot be made is an answer of its own, ``unknown``, as red as a broken promise: what nobody could look at was not
kept. Nothing is changed by looking. Figures are counts, days and names of the configuration; no recording, no number, no
account and no case is named, and every hold is a legal ground like any other (requirements, section 2).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import Any, Protocol

from pydantic import TypeAdapter

from callkeeper import db, letters
from callkeeper.clock import day_bounds_utc, helsinki_day
from callkeeper.controllers import Config, region_allowed
from callkeeper.errors import CallkeeperError, ConfigurationError, NotFound, StoreConflict
from callkeeper.jobs.holding import RATIFY_DAYS
from callkeeper.jobs.listening import LAWFUL_PURPOSES, PURPOSES
from callkeeper.jobs.pages import counted as _n
from callkeeper.jobs.pages import day_in_words, number, render, time_in_words
from callkeeper.jobs.reconciling import FINDINGS
from callkeeper.jobs.reporting import put_pair
from callkeeper.media import Backups, Store
from callkeeper.notice import Notice, Promise
from callkeeper.notify import Message
from callkeeper.phone import normalise
from callkeeper.retention import OVERDUE_AFTER
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, NoticeProven

SCHEMA = "callkeeper.notice_proof/1"
NOTICE_MONTHS = 6
"""The notice's own number ("poistetaan automaattisesti 6 kuukauden jälkeen"), whatever a recording's row says."""
RECONCILED_WITHIN = timedelta(hours=30)
"""Reconciliation is at 05:00 each day; what is older has missed a morning."""
SEALED_WITHIN = timedelta(hours=2)
"""The trail is sealed each hour, a heartbeat at least; a second hour is for one that failed and was run again."""
OPEN_AT_VENDOR_DAYS = 14
"""From there on the vendor's copy is no longer "deleted after six months" (docs/adr/0182)."""
LOOK_BACK_DAYS = 7
"""Openings, disclosures and fields of so many days are judged: one wrong one is told for a week, not for years."""
FEATURES: Mapping[str, tuple[str, ...]] = {
    "transcription": ("transcript", "speech_to_text", "stt", "utterance"),
    "analytics": ("sentiment", "emotion", "analytic", "keyword", "topic", "summary", "score"),
    "voiceprint": ("voiceprint", "biometric", "speaker_id"),
}
"""By which words a field's name shows that a vendor's extra feature is on."""
CHECK_SECONDS = 900
_HASH_BYTES = 32
_SEALED_BYTES = 64
"""A sealed value's header, nonce and tag alone have more; no number in clear has half as much."""


class Verdict(StrEnum):
    """What a promise comes to."""

    kept = "kept"
    broken = "broken"
    unknown = "unknown"
    """It could not be looked at: as red as a broken one."""
    not_yet = "not_yet"
    """There is nothing yet that the promise is about."""


IN_WORDS = {
    Verdict.kept: "kept",
    Verdict.broken: "broken",
    Verdict.unknown: "could not be checked",
    Verdict.not_yet: "not yet applicable",
}
RED = (Verdict.broken, Verdict.unknown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One check's answer. ``figure``: what was counted, in short; ``says``: a sentence; ``mend``: what to do, if red."""

    verdict: Verdict
    figure: str
    says: str
    mend: str = ""

    @property
    def red(self) -> bool:
        return self.verdict in RED


@dataclass(frozen=True, kw_only=True, slots=True)
class Proven:
    """A promise as the notice has it, and its answer."""

    promise: Promise
    answer: Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """One morning's answers. ``at``: the database's present, or the real time where the database did not answer."""

    schema: str = SCHEMA
    at: datetime
    day: date
    run: str | None
    notice: date
    code: str
    config_version: int | None
    answers: tuple[Proven, ...]

    def count(self, verdict: str) -> int:
        return sum(proven.answer.verdict == verdict for proven in self.answers)

    def names(self, verdict: str) -> tuple[str, ...]:
        """The ids of the promises that came to this."""
        return tuple(proven.promise.id for proven in self.answers if proven.answer.verdict == verdict)

    @property
    def red(self) -> tuple[Proven, ...]:
        return tuple(proven for proven in self.answers if proven.answer.red)

    @property
    def word(self) -> str:
        """The morning in one word, for a subject line."""
        return "ALARM" if self.red else "kept"

    @property
    def sums(self) -> str:
        return ", ".join(f"{self.count(v)} {words}" for v, words in IN_WORDS.items() if self.count(v) or v == "kept")


class Sources(Protocol):
    """Where the evidence is looked for; nothing connects before it is asked to."""

    def connect(self) -> AbstractContextManager[db.Connection]: ...

    @property
    def store(self) -> Store: ...

    @property
    def backups(self) -> Backups | None:
        """The backups' place; None where none is configured."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a check may ask. ``config`` is the configuration in force, as it was applied; None before the first."""

    conn: db.Connection
    sources: Sources
    notice: Notice
    config: Config | None
    now: datetime

    @property
    def today(self) -> date:
        return helsinki_day(self.now)

    @property
    def since(self) -> datetime:
        return day_bounds_utc(self.today - timedelta(days=LOOK_BACK_DAYS))[0]

    @property
    def in_force(self) -> Config:
        if self.config is None:
            raise ConfigurationError("No configuration is in force.", mend="`callkeeper config apply`.")
        return self.config

    def bodies(self, event_class: str) -> list[dict[str, Any]]:
        """The events of a class in the days that are judged."""
        rows = db.queries().prove_events(self.conn, event_class=event_class, since=self.since)
        return [json.loads(bytes(row.body)) for row in rows]


Check = Callable[[Look, Promise], Answer]


def prove(sources: Sources, notice: Notice, *, code: str, run: str | None = None) -> Proof:
    """Asks every promise; changes nothing, and raises only where the notice's file names a check that there is not."""
    if missing := sorted({p.evidence for p in notice.promises} - set(CHECKS)):
        raise ConfigurationError(
            f"There is no check of this name: {', '.join(missing)}.", mend=f"Known: {', '.join(sorted(CHECKS))}."
        )
    version = None
    try:
        with sources.connect() as conn:
            conn.read_only = True  # looking changes nothing, whatever a check asks
            now, applied = db.now(conn), db.queries().config_last(conn)
            conn.rollback()
            version = applied.version if applied else None
            config = Config.model_validate_json(applied.body) if applied else None
            look = Look(conn=conn, sources=sources, notice=notice, config=config, now=now)
            answers = tuple(Proven(promise=p, answer=_ask(look, p)) for p in notice.promises)
    except CallkeeperError as wrong:
        now, lost = datetime.now(UTC), _unknown(wrong.what, wrong.mend)
        answers = tuple(Proven(promise=p, answer=lost) for p in notice.promises)
    return Proof(
        at=now,
        day=helsinki_day(now),
        run=run,
        notice=notice.notice.version,
        code=code,
        config_version=version,
        answers=answers,
    )


def _ask(look: Look, promise: Promise) -> Answer:
    """One check's answer, whatever happens in it; its transaction is rolled back."""
    try:
        with db.worded():
            db.queries().bound_check(look.conn, seconds=str(CHECK_SECONDS))
            try:
                return CHECKS[promise.evidence](look, promise)
            finally:
                look.conn.rollback()
    except CallkeeperError as wrong:
        return _unknown(wrong.what, wrong.mend)
    except Exception as wrong:  # noqa: BLE001  # one check must not end the others
        # What the error says may be anything, so only its kind is told.
        return _unknown(f"The check failed ({type(wrong).__name__}).", "This is a fault of callkeeper: report it.")


def _kept(figure: str, says: str) -> Answer:
    return Answer(verdict=Verdict.kept, figure=figure, says=says)


def _broken(figure: str, says: str, mend: str) -> Answer:
    return Answer(verdict=Verdict.broken, figure=figure, says=says, mend=mend)


def _unknown(what: str, mend: str) -> Answer:
    says = f"This could not be checked, and so it does not count as kept. {what}"
    return Answer(verdict=Verdict.unknown, figure="no answer", says=says, mend=mend)


def _not_yet(says: str, figure: str = "–") -> Answer:
    return Answer(verdict=Verdict.not_yet, figure=figure, says=says)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# --- who, for what, and why -------------------------------------------------------------------------------------------


def notice_in_force(look: Look, _: Promise) -> Answer:
    """Every controller's notice in force is the one that the promises were written after."""
    rows = [row for row in db.queries().prove_controllers(look.conn) if row.in_force]
    if not rows:
        return _not_yet("No controller is in the register yet.")
    written = look.notice.notice.version
    other = [row.controller for row in rows if row.notice_version != written]
    if other:
        return _broken(
            f"{len(other)} of {len(rows)} controllers",
            f"{_some(other)} has another notice in force than that of {day_in_words(written)}, of which these are the promises.",
            "Bring docs/notice-fi.txt and config/notice.toml up to that notice, or correct notice_version.",
        )
    return _kept(
        day_in_words(written), f"All {_n(len(rows), 'controller')} of the register name the notice of that day."
    )


def controllers_of_recordings(look: Look, promise: Promise) -> Answer:
    """Every living recording has a controller in force; whom the notice names by business id is in the register."""
    rows = list(db.queries().prove_controllers(look.conn))
    if not rows:
        return _not_yet("No controller is in the register yet.")
    gone = [row.controller for row in rows if not row.in_force]
    named = set(re.findall(r"\b\d{7}-\d\b", " ".join(promise.quotes)))
    lacking = named - {row.business_id for row in rows if row.in_force}
    figure = ", ".join(f"{row.controller} {number(row.recordings)}" for row in rows)
    if gone:
        lost = sum(row.recordings for row in rows if not row.in_force)
        says = f"{_n(lost, 'recording')} belong to a controller that is no longer in the register: {_some(gone)}."
        return _broken(
            figure, says, "Put the controller back into config/callkeeper.toml until its last recording has gone."
        )
    if lacking:
        return _broken(
            figure, "The controller that the notice names is not in the register.", "Name it in [[controllers]]."
        )
    return _kept(figure, "Each living recording belongs to a controller of the register; these are their counts.")


def contact_of_the_notice(look: Look, promise: Promise) -> Answer:
    """Every controller's telephone and e-mail are those of the notice."""
    rows = [row for row in db.queries().prove_controllers(look.conn) if row.in_force]
    if not rows:
        return _not_yet("No controller is in the register yet.")
    words = " ".join(promise.quotes)
    mails = set(re.findall(r"[^@\s]+@[^@\s]+\.\w+", words))
    phones = {normalise(found).e164 for found in re.findall(r"Puh\.\s*([\d ]+)", words)}
    other = [row.controller for row in rows if row.email not in mails or normalise(row.phone).e164 not in phones]
    figure = f"{len(rows) - len(other)} of {len(rows)} controllers"
    if other:
        return _broken(
            figure,
            f"{_some(other)} has another telephone number or e-mail address in the register than the notice gives.",
            "Correct `contact` in config/callkeeper.toml, or the notice.",
        )
    return _kept(figure, "The register has the telephone number and the e-mail address of the notice.")


def openings_and_purposes(look: Look, _: Promise) -> Answer:
    """Every opening stands in the register and in the trail, and has one of the purposes that whoever opened has."""
    rows = list(db.queries().prove_openings(look.conn, since=look.since))
    registered: Counter[tuple[str, Any, Any]] = Counter((str(row.recording), row.account, row.purpose) for row in rows)
    told: Counter[tuple[str, Any, Any]] = Counter()
    for e in look.bodies("opening"):
        told[str(e.get("recording")), e.get("actor", {}).get("account"), e.get("purpose")] += 1
    openings: Counter[tuple[str, Any, Any]] = Counter(registered | told)
    if not openings:
        return _not_yet(f"Nobody has opened a recording in the last {LOOK_BACK_DAYS} days.", "0 openings")
    config = look.in_force
    listeners = {account for c in config.controllers for account in c.listeners}
    deciders = {*config.people.privacy_officers, *config.people.deputies}
    purposes: Counter[str] = Counter()
    wrong = sum(row.purpose == "subject_request" and row.ticket is None for row in rows)
    # The second person of a disclosure may be an approver, who opens nothing otherwise.
    disclosing = {(str(row.recording), row.account, row.purpose) for row in rows if row.disclosing}
    for opening, n in openings.items():
        _recording, account, purpose = opening
        known = purpose in PURPOSES or purpose in LAWFUL_PURPOSES
        purposes[str(purpose) if known else "no known purpose"] += n
        allowed = listeners | deciders if purpose in PURPOSES else deciders if purpose in LAWFUL_PURPOSES else set()
        wrong += n if account not in allowed and opening not in disclosing else 0
    people = len({account for _, account, _ in openings})
    figure = f"{_n(openings.total(), 'opening')} by {_n(people, 'person', 'people')}"
    by_purpose = ", ".join(f"{purpose.replace('_', ' ')} {n}" for purpose, n in purposes.most_common())
    said = []
    if wrong:
        said.append(
            f"{_n(wrong, 'opening')} had no purpose of the notice or the law, not one of whoever opened, or no request that it was for: {by_purpose}."
        )
    if once := sum(abs(registered[one] - told[one]) for one in openings):
        said.append(f"{_n(once, 'opening')} are in the register or in the trail only.")
    if said:
        mend = "Tell the privacy officer; the trail has each opening (class opening) with its account."
        return _broken(figure, f"In {LOOK_BACK_DAYS} days: {' '.join(said)}", mend)
    return _kept(
        figure,
        f"In {LOOK_BACK_DAYS} days, by purpose: {by_purpose}. What is opened in a vendor's own portal is not seen here.",
    )


def balancing_tests(look: Look, _: Promise) -> Answer:
    """Every controller names its balancing test, and a notice that is in force."""
    rows = [row for row in db.queries().prove_controllers(look.conn) if row.in_force]
    if not rows:
        return _not_yet("No controller is in the register yet.")
    without = [row.controller for row in rows if not row.balancing_test]
    early = [row.controller for row in rows if row.notice_version > look.today]
    figure = f"{len(rows) - len({*without, *early})} of {len(rows)} controllers"
    if without or early:
        said = [f"{_some(without)} names no balancing test."] if without else []
        said += [f"The notice of {_some(early)} is not in force yet."] if early else []
        mend = "Write the reference as balancing_test, and the version in force as notice_version; then `callkeeper config apply`."
        return _broken(figure, " ".join(said), mend)
    staff = sum(bool(row.employee_notice) for row in rows)
    return _kept(
        figure, f"Each names its balancing test and a notice in force; {staff} of them a notice to their staff as well."
    )


# --- what is recorded, and what is kept -------------------------------------------------------------------------------


def lines_of_recordings(look: Look, _: Promise) -> Answer:
    """No living recording is of an undesignated line, and of no such call the audio was fetched."""
    row = db.queries().prove_lines(look.conn)
    if not row.recordings and not row.fetched:
        return _not_yet("No recording is here yet.", "0 recordings")
    figure = f"{number(row.undesignated)} of {_n(row.recordings, 'recording')} undesignated"
    if row.undesignated:
        says = f"{_n(row.undesignated, 'recording')} are of a line that the register does not designate, or not for their day."
        return _broken(
            figure,
            says,
            "Mend the register if it is wrong (`callkeeper config`); else `callkeeper approve unlawful`: they go in the next night.",
        )
    if row.fetched:
        says = f"The audio of {_n(row.fetched, 'quarantined call')} was fetched though the line is nobody's."
        return _broken(
            figure,
            says,
            "A fault of ours: report it. Reject the calls: `callkeeper quarantine reject`, reason line_undesignated.",
        )
    return _kept(figure, "Each living recording is of a line that the register designates for its day.")


def columns_stored(look: Look, _: Promise) -> Answer:
    """Of a call no other columns are stored than the notice allows, and there is no table that nobody has explained."""
    rows = list(db.queries().prove_columns(look.conn))
    stored = look.notice.stored
    odd = [f"{row.table_name}.{row.column_name}" for row in rows if not stored.allows(row.table_name, row.column_name)]
    calls = [row for row in rows if row.table_name in stored.calls]
    tables = {row.table_name for row in rows}
    figure = f"{len(calls)} columns of {_n(len(stored.calls & tables), 'table')} of calls"
    if odd:
        odd = sorted({name if name.split(".")[0] in stored.calls else name.split(".")[0] for name in odd})
        return _broken(
            figure,
            f"Stored, and named by nobody: {_some(odd)}.",
            "Say in config/notice.toml [stored] what it holds and why the notice allows it, or take it away.",
        )
    return _kept(
        figure,
        f"Each is on the allow-list, and so is each of the {len(tables)} tables. Beside what the notice names there are direction and line, "
        "and what tells calls, audio and terms apart.",
    )


def customer_register(look: Look, _: Promise) -> Answer:
    """No column names a customer, no other table, server, publication or role is joined to the database."""
    rows = list(db.queries().prove_ways_out(look.conn))
    # A role may have a person's name.
    ways = [f"{row.kind} {row.name}" if row.kind != "role" else "a role that may connect" for row in rows]
    figure = _n(len(ways), "way", "ways") + " to another register"
    if ways:
        return _broken(
            figure,
            f"The database can be joined with another one: {_some(ways)}.",
            "Find out who made it (psql: \\dn, \\du), and take it away; tell the privacy officer.",
        )
    return _kept(
        figure,
        "No column names a customer; no foreign server, publication, table or role of another system is at the database.",
    )


# --- who else gets it, and where --------------------------------------------------------------------------------------


def disclosures_outside(look: Look, _: Promise) -> Answer:
    """Every disclosure that was handed over has its recipient, purpose, statute, reference and two people, and its event in the trail.

    Those that the law forbids to tell are looked at as any other, and not counted.
    """
    rows = list(db.queries().prove_disclosures(look.conn, since=look.since))
    told = {e["disclosure"] for e in look.bodies("disclosure") if e["action"] == "disclosure.handed_over"}
    wrong = sum(not row.whole for row in rows) + len(told ^ {row.disclosure for row in rows})
    n = sum(not row.untold for row in rows)
    figure = _n(n, "disclosure")
    if wrong:
        says = (
            f"{_n(wrong, 'disclosure')} of {LOOK_BACK_DAYS} days without a recipient, purpose, statute, reference or second "
            "person, or in the register or in the trail only."
        )
        return _broken(
            figure, says, "Tell the privacy officer: `callkeeper disclosure list`; the trail has each of them."
        )
    if not n:
        return _not_yet(f"Nothing was disclosed in the last {LOOK_BACK_DAYS} days.", "0 disclosures")
    return _kept(
        figure, f"In {LOOK_BACK_DAYS} days, each with its recipient, purpose, statute, reference and two people."
    )


def contracts_in_force(look: Look, _: Promise) -> Answer:
    """Every processor's contract is in force, and every vendor that calls are from has one."""
    q = db.queries()
    rows, unbound = list(q.prove_processors(look.conn)), [r.vendor for r in q.prove_vendors_unbound(look.conn)]
    if not rows and not unbound:
        return _not_yet("No processor is in the register yet.")
    expired = [row.processor for row in rows if row.valid_to < look.today]
    figure = f"{len(rows) - len(expired)} of {_n(len(rows), 'contract')} in force"
    if expired or unbound:
        said = [f"The contract has ended: {_some(expired)}."] if expired else []
        said += [f"Calls are here from a vendor that no processor answers for: {_some(unbound)}."] if unbound else []
        return _broken(
            figure, " ".join(said), "Renew it, write it into config/callkeeper.toml, and `callkeeper config apply`."
        )
    first = min(row.valid_to for row in rows)
    when = "none of them ends" if first == date.max else f"the next ends on {day_in_words(first)}"
    return _kept(figure, f"Each processor has a contract in force; {when}.")


def extra_features_off(look: Look, _: Promise) -> Answer:
    """No vendor delivers what an extra feature makes that must be off."""
    q = db.queries()
    off = {row.processor: row.extra_features_off for row in q.prove_processors(look.conn)}
    fields = list(q.prove_dropped_fields(look.conn, since=look.since))
    if not off:
        return _not_yet("No processor is in the register yet.")
    on = sorted(
        {
            f"{feature} at {row.vendor}"
            for row in fields
            for feature in off.get(row.processor, ())
            if any(word in row.field.lower() for word in FEATURES.get(feature, (feature,)))
        }
    )
    figure = f"{_n(len(fields), 'field')} dropped"
    if on:
        return _broken(
            figure,
            f"In {LOOK_BACK_DAYS} days fields came whose names say that a feature is on: {_some(on)}. Their values were dropped.",
            "Have the vendor switch it off: it handles more than is necessary.",
        )
    return _kept(
        figure,
        f"In {LOOK_BACK_DAYS} days {_n(len(fields), 'field')} came beyond the allow-list, and lost their values at the door; none is of a "
        "feature that must be off.",
    )


def regions_in_use(look: Look, _: Promise) -> Answer:
    """The bucket's region, asked of the store, and every place of the register are in the EU/EEA."""
    store = look.in_force.store
    actual = look.sources.store.region()
    places = [("the bucket, by the store's own word", actual)] if actual else []
    places += [("the store", store.region)]
    places += [("a copy of the store", place) for place in store.replica_regions]
    places += [("the store's logs", place) for place in store.log_regions]
    for row in db.queries().prove_processors(look.conn):
        places += [(row.processor, place) for place in row.regions]
        places += [(f"the support of {row.processor}", place) for place in row.remote_support]
        places += [(f"a sub-processor of {row.processor}", place) for place in row.sub_processors]
    outside = [f"{whose}: {place}" for whose, place in places if not region_allowed(place)]
    figure = f"{', '.join(sorted({place for _, place in places}))}"
    if outside:
        return _broken(
            figure, f"Outside the EU/EEA, or unknown: {_some(outside)}.", "Move it, then write where it is now."
        )
    said = f"The store says that its bucket is in {actual}. "
    if not actual:
        said = f"The store is a server that names no region; by the configuration in force it is in {store.region}. "
    return _kept(figure, f"{said}All {len(places)} places are in the EU/EEA.")


# --- how it is protected ----------------------------------------------------------------------------------------------


def numbers_sealed(look: Look, _: Promise) -> Answer:
    """No number is in clear: keyed hash, sealed value, keys of objects without one."""
    row = db.queries().prove_numbers(look.conn, hash_bytes=_HASH_BYTES, sealed_bytes=_SEALED_BYTES)
    if not row.calls:
        return _not_yet("No call is here yet.", "0 calls")
    faults = {
        "pseudonyms that are no keyed hash": row.no_hash,
        "pseudonyms under a key that is not in use": row.no_key,
        "sealed values too short to be sealed": row.readable,
        "numbers of callers that withheld theirs": row.withheld,
        "called numbers that could be read": row.called if look.in_force.policy.other_party != "store" else 0,
        "objects whose key is more than a day and a random id": row.named,
        "calls on a line that was never ours, in clear": row.strange_lines,
    }
    wrong = [f"{number(n)} {what}" for what, n in faults.items() if n]
    figure = f"{_n(row.calls, 'call')}, {number(row.sealed)} sealed numbers"
    if wrong:
        return _broken(figure, f"Not as it should be: {_some(wrong)}.", "Tell the privacy officer, and report it.")
    return _kept(
        figure,
        f"{number(row.pseudonyms)} pseudonyms are keyed hashes under a key in use, {number(row.sealed)} numbers are sealed, none is in clear.",
    )


def database_rights(look: Look, _: Promise) -> Answer:
    """No role that works can change the trail, the tombstones or the clock, and every part of the trail has its triggers."""
    q = db.queries()
    too_much = [f"{row.privilege} on {row.name}" for row in q.doctor_forbidden(look.conn)]
    too_much += [row.name for row in q.prove_other_roles(look.conn)]
    unguarded = [row.name for row in q.doctor_unguarded(look.conn)]
    figure = f"{_n(len(too_much), 'right')} too many, {_n(len(unguarded), 'part')} unguarded"
    if too_much or unguarded:
        said = [f"A role may do what it must not: {_some(too_much)}."] if too_much else []
        said += [f"Without its triggers: {_some(unguarded)}."] if unguarded else []
        return _broken(
            figure, " ".join(said), "Look who changed it, and take it back: until then the trail proves nothing."
        )
    return _kept(figure, "Roles that work can add to the trail and no more; triggers hold superusers back as well.")


def trail_sealed(look: Look, _: Promise) -> Answer:
    """The newest checkpoint is fresh, and so is the newest that stands outside the database."""
    row = db.queries().prove_trail(look.conn)
    mend = "Look whether seal_audit runs, and what its log says; `callkeeper seal status`."
    if row.sealed_at is None:
        if row.since is None or look.now - row.since < SEALED_WITHIN:
            return _not_yet("Nothing has been sealed yet.", "0 checkpoints")
        return _broken("0 checkpoints", "The trail has events, and was never sealed.", mend)
    figure = f"{_n(row.size, 'event')} in tree {row.epoch}, sealed at {time_in_words(row.sealed_at)}"
    if row.at - row.sealed_at > SEALED_WITHIN:
        return _broken(
            figure,
            f"The newest checkpoint is {_hours(row.at - row.sealed_at)} old: since then nothing was sealed.",
            mend,
        )
    if row.anchored_to is None or row.at - row.anchored_to > SEALED_WITHIN:
        since = f"for {_hours(row.at - row.anchored_to)}" if row.anchored_to else "yet"
        return _broken(figure, f"No checkpoint has come to stand outside the database {since}.", mend)
    return _kept(figure, f"What was sealed up to {time_in_words(row.anchored_to)} stands outside the database as well.")


def _hours(span: timedelta) -> str:
    return _n(int(span.total_seconds() // 3600), "hour")


def duties_apart(look: Look, _: Promise) -> Answer:
    """Nobody has two duties that must be apart."""
    config = look.in_force
    people = config.people
    who: dict[str, set[str]] = {
        "data team": set(people.data_team),
        "privacy officers and deputies": {*people.privacy_officers, *people.deputies},
        "approvers": set(people.approvers),
        "auditors": set(people.auditors),
        "listeners": {account for c in config.controllers for account in c.listeners},
    }
    deciders, approvers = "privacy officers and deputies", "approvers"
    apart = [("data team", deciders), ("data team", "listeners")]
    apart += [("auditors", other) for other in ("data team", deciders, approvers)]
    both = [f"{a} and {b}" for a, b in combinations(who, 2) if ({(a, b), (b, a)} & set(apart)) and who[a] & who[b]]
    seconds = len(who[deciders] | who[approvers])
    figure = ", ".join(f"{duty} {len(accounts)}" for duty, accounts in who.items())
    if both or seconds < 2:
        said = [f"Somebody has two duties that must be apart: {_some(both)}."] if both else []
        said += ["What takes two people can be done by one account alone."] if seconds < 2 else []
        return _broken(
            figure, " ".join(said), "Give the duty to another account in [people], then `callkeeper config apply`."
        )
    return _kept(
        figure,
        "By the configuration in force nobody runs the nights and hears recordings, or audits what they have done; two people are two accounts.",
    )


# --- how long ---------------------------------------------------------------------------------------------------------


def oldest_recording(look: Look, _: Promise) -> Answer:
    """Nothing that no blocker keeps is here 48 hours after its term, by its row's clock or by the notice's own six months."""
    row = db.queries().prove_retention(look.conn, months=NOTICE_MONTHS, by=look.now - OVERDUE_AFTER)
    overdue, other = row.overdue + row.beyond, row.in_journal + row.quarantined + row.staged
    if overdue or other or row.longer:
        said = []
        if overdue:
            since = f", the oldest due since {time_in_words(row.oldest_due)}" if row.overdue else ""
            said.append(f"{_n(overdue, 'recording')} are here more than 48 hours after their term{since}.")
        if other:
            said.append(
                f"{_n(other, 'call')} in quarantine, staging or the journal are here more than 48 hours after theirs."
            )
        if row.longer:
            said.append(f"{_n(row.longer, 'recording')} have a term of more than six months.")
        figure = f"{number(overdue + other)} overdue" if overdue + other else f"{number(row.longer)} with a longer term"
        return _broken(
            figure,
            " ".join(said),
            "`callkeeper reports show` and the runbook of delete_expired: what stopped the night, or waits for a yes.",
        )
    if not row.recordings:
        return _not_yet("No recording is here yet.", "0 recordings")
    if row.oldest_due is None:
        return _kept("0 overdue", "Each of the recordings that are here is kept by a legal ground.")
    return _kept(
        f"0 overdue of {number(row.recordings)}",
        f"The oldest recording that nothing blocks may go from {time_in_words(row.oldest_due)} on.",
    )


_UNEXPLAINED = ("stray", "orphans_planned")
"""What the reconciliation takes calmly on first sight, and is a copy that nobody can account for all the same."""


def copies_explained(look: Look, _: Promise) -> Answer:
    """The last reconciliation is fresh, balanced, and found no version of an object that no row explains."""
    row = db.queries().prove_copies(look.conn)
    if row.ended_at is None:
        if row.since is None or look.now - row.since < RECONCILED_WITHIN:
            return _not_yet("Catalogue and store have not been compared yet.")
        return _broken(
            "never compared",
            "Recordings are here, and catalogue and store were never compared.",
            "Is the DAG reconcile paused?",
        )
    counts = row.counts or {}
    objects = counts.get("objects", 0)
    odd = {code: counts[code] for code, of in FINDINGS.items() if counts.get(code) and (of.red or code in _UNEXPLAINED)}
    figure = f"{_n(objects, 'object')}, {_n(sum(odd.values()), 'finding')}"
    if odd or not row.balanced:
        what = "; ".join(f"{number(n)} {FINDINGS[code].means}" for code, n in odd.items()) or "it does not balance"
        return _broken(
            figure,
            f"The reconciliation of {time_in_words(row.ended_at)}: {what}.",
            "Its mail and the runbook of reconcile say what to do.",
        )
    if look.now - row.ended_at > RECONCILED_WITHIN:
        return _broken(
            f"{_hours(look.now - row.ended_at)} old",
            f"The last comparison of catalogue and store ended at {time_in_words(row.ended_at)}: since then nobody has looked.",
            "Look why the DAG reconcile did not run.",
        )
    return _kept(figure, f"Each version of each object had its row at {time_in_words(row.ended_at)}.")


def open_at_vendors(look: Look, _: Promise) -> Answer:
    """No vendor's copy is open for longer than two weeks."""
    row = db.queries().prove_open_at_vendors(look.conn, before=look.now - timedelta(days=OPEN_AT_VENDOR_DAYS))
    if not row.open and not row.done:
        return _not_yet("Nothing has been deleted yet.", "0 deletions")
    figure = f"{number(row.open)} open, {number(row.done)} done"
    if row.late:
        says = f"{_n(row.late, 'copy', 'copies')} at a vendor are open for more than {OPEN_AT_VENDOR_DAYS} days, the oldest since {time_in_words(row.since)}."
        return _broken(
            figure,
            says,
            "Talk to the vendor; `callkeeper deletions list`, and `settle` once you know that the copy is gone.",
        )
    since = f", the oldest since {time_in_words(row.since)}" if row.open else ""
    return _kept(figure, f"None is open for more than {OPEN_AT_VENDOR_DAYS} days{since}.")


def age_of_backups(look: Look, _: Promise) -> Answer:
    """The oldest backup where backups lie is not older than the configuration says."""
    backups = look.sources.backups
    if backups is None:
        return _not_yet(
            "No place of backups is named (CALLKEEPER_BACKUPS_LOCATION), so how old the oldest is cannot be seen from here."
        )
    most = look.in_force.terms.backups_days
    found = backups.ages()
    if not found:
        return _not_yet("The place of the backups is empty.", "0 backups")
    # The files' times are real ones, whatever the database's clock was moved to.
    oldest = min(found)
    days = (datetime.now(UTC) - oldest).days
    figure = f"{_n(len(found), 'backup')}, the oldest {_n(days, 'day')}"
    if days > most:
        return _broken(
            figure,
            f"The oldest backup is of {time_in_words(oldest)}: beyond the {most} days after which what was deleted is in none.",
            "Delete it, and mend what should have.",
        )
    return _kept(figure, f"None is older than the {most} days of the configuration.")


def nothing_has_risen(look: Look, _: Promise) -> Answer:
    """Nothing is here again though its tombstone stands."""
    q = db.queries()
    suppressed, risen = q.prove_suppression(look.conn, today=look.today), q.count_risen_rows(look.conn).n
    figure = f"{number(risen)} risen, {_n(suppressed.recordings, 'tombstone')}"
    if risen:
        return _broken(
            figure,
            f"{_n(risen, 'call')} are in the database again after their deletion.",
            "`callkeeper restore-check --apply`, then look how they came in.",
        )
    if not suppressed.recordings:
        return _not_yet("Nothing has been deleted yet.", "0 tombstones")
    return _kept(figure, "None of what was deleted is in catalogue, quarantine or staging again.")


def holds_in_order(look: Look, _: Promise) -> Answer:
    """Whatever blocks has a day of review that is not past, and was ratified in time; every kind counts alike."""
    row = db.queries().prove_holds(look.conn, today=look.today, ratify_days=RATIFY_DAYS)
    if not row.blockers:
        return _not_yet("Nothing is kept beyond its term, and nothing blocks.", "0 legal grounds")
    faults = {
        "past their day of review": row.review_overdue,
        "past their end": row.past_end,
        f"without a second person's word for more than {RATIFY_DAYS} days": row.unratified,
        "not confirmed by the store": row.not_effective,
    }
    wrong = [f"{number(n)} {what}" for what, n in faults.items() if n]
    figure = f"{_n(row.blockers, 'legal ground')}, {_n(row.kept_longer, 'recording')} kept longer"
    if wrong:
        return _broken(
            figure,
            f"Legal grounds in force: {_some(wrong)}. What they keep stays.",
            "The privacy officer: `callkeeper holds`; ratify, extend or release.",
        )
    return _kept(figure, "Each was ratified in time, and none is past its day of review.")


# --- the rights of the people on the calls ----------------------------------------------------------------------------


def requests_in_time(look: Look, _: Promise) -> Answer:
    """No open request is past its due day, and none of the last days was answered after it; an extension counts if it was told in time."""
    rows = list(db.queries().prove_requests(look.conn, since=look.since))
    if not rows:
        return _not_yet("No request is open.", "0 requests")
    waiting, late = [row for row in rows if row.open], [row for row in rows if row.day > row.due_on]
    figure = f"{_n(len(waiting), 'open request')}, {number(len(late))} late"
    if late:
        says = f"{_n(len(late), 'request')} are past the day on which they were due, or were answered after it, the oldest since {day_in_words(late[0].due_on)}."
        if untold := sum(row.untold for row in late):
            says += f" Of {number(untold)} an extension was not told by the first due day, so it does not count."
        return _broken(figure, says, "The privacy officer answers, or tells of an extension by the first due day.")
    if not waiting:
        return _kept(figure, f"Those of the last {LOOK_BACK_DAYS} days were answered in time.")
    return _kept(figure, f"The next is due on {day_in_words(waiting[0].due_on)}.")


def objections_heeded(look: Look, _: Promise) -> Answer:
    """What is objected to, or to be restricted, is frozen; nothing came in of a number whose objection was upheld; no review is overdue."""
    q = db.queries()
    row, asked = q.prove_suppression(look.conn, today=look.today), q.prove_unfrozen(look.conn)
    if not row.callers and not asked.open:
        return _not_yet("No objection has been upheld yet, and none is open.", "0 objections")
    came = q.prove_objections(look.conn, today=look.today).recordings
    figure = f"{_n(asked.open, 'open request')}, {_n(row.callers, 'upheld objection')}, {number(came)} calls kept since"
    said = []
    if asked.unfrozen:
        said.append(
            f"{_n(asked.unfrozen, 'request')} to restrict, or objections, freeze nothing though nobody has decided on them."
        )
    if came:
        said.append(f"{_n(came, 'recording')} were kept of numbers whose objection was upheld.")
    if row.review_overdue:
        said.append(f"{_n(row.review_overdue, 'objection')} are past their day of review.")
    if said:
        return _broken(
            figure,
            " ".join(said),
            "The privacy officer looks at them; report it if calls were kept, or nothing is frozen.",
        )
    return _kept(
        figure, "What is open is frozen, no call was kept of upheld ones since, and none is past its day of review."
    )


def letters_name_the_authority(look: Look, _: Promise) -> Answer:
    """Each letter that gives less than was asked names authority and remedy, in every language; and answers that gave less were such letters."""
    lacking = letters.without_complaint_right()
    answers = list(db.queries().prove_answers(look.conn, since=look.since, kinds=sorted(letters.GIVE_LESS)))
    other = sum(not row.written for row in answers)
    figure = f"{_n(len(letters.GIVE_LESS) * len(letters.LANGUAGES), 'letter')}, {number(len(lacking))} without"
    if lacking:
        return _broken(
            figure,
            f"These do not name them: {', '.join(lacking)}.",
            "Somebody has changed the templates of the letters: mend them. None of these was printed meanwhile.",
        )
    if other:
        return _broken(
            f"{number(other)} of {_n(len(answers), 'answer')} not shown",
            f"In {LOOK_BACK_DAYS} days {_n(other, 'answer')} gave less than was asked, and no letter of them was printed here: nobody can show what it told.",
            "The privacy officer prints it (`callkeeper ticket letter`) and sends it.",
        )
    said = (
        f" Each of the {_n(len(answers), 'answer')} of {LOOK_BACK_DAYS} days that gave less was printed so."
        if answers
        else ""
    )
    return _kept(figure, f"Without them no such letter is printed.{said}")


CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        notice_in_force, controllers_of_recordings, contact_of_the_notice, openings_and_purposes, balancing_tests,
        lines_of_recordings, columns_stored, customer_register, disclosures_outside, contracts_in_force, extra_features_off,
        regions_in_use, numbers_sealed, database_rights, trail_sealed, duties_apart, oldest_recording, copies_explained,
        open_at_vendors, age_of_backups, nothing_has_risen, holds_in_order, requests_in_time, objections_heeded,
        letters_name_the_authority,
    )
}  # fmt: skip
"""The checks by the names that ``config/notice.toml`` calls them by."""


# --- what is told -----------------------------------------------------------------------------------------------------

_PROOF = TypeAdapter(Proof)


def as_json(proof: Proof) -> bytes:
    """The proof as canonical JSON: sorted ASCII keys, no spaces, no floats, a line's end."""
    body = _PROOF.dump_python(proof, mode="json") | {"counts": {v.value: proof.count(v) for v in Verdict}}
    return (json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode()


def as_html(proof: Proof) -> bytes:
    """The proof as one page that needs nothing else: no network, no script; it prints."""
    return render("notice_proof.html", proof=proof, verdicts=list(Verdict), in_words=IN_WORDS).encode()


def write(store: Store, proof: Proof) -> str:
    """Puts the proof into the store, JSON and HTML; the JSON's SHA-256 in hex. Raises StoreUnavailable or StoreRefused.

    A second proof of the same day takes the next name: what stands under a name stays.
    """
    contents = {"json": as_json(proof), "html": as_html(proof)}
    return put_pair(store, f"reports/notice/{proof.day}/proof", contents)["json"]["sha256"]


def record(conn: db.Connection, proof: Proof, actor: Actor, *, sha256: str | None) -> None:
    """Writes the proof's event, with the hash of what stands in the store (None: nothing does); commits."""
    event = NoticeProven(
        notice=str(proof.notice),
        counts={v.value: proof.count(v) for v in Verdict},
        broken=proof.names("broken"),
        unknown=proof.names("unknown"),
        digest=sha256,
    )
    append(conn, actor, [event])
    conn.commit()


def recall(conn: db.Connection, store: Store, day: date) -> Proof:
    """The last proof of a day, as it stands in the store. Raises NotFound, or StoreConflict if the trail knows no such one."""
    first, after = day_bounds_utc(day)
    known = {row.digest for row in db.queries().proven_digests(conn, first=first, after=after)}
    conn.rollback()
    found = [v for v in store.versions(f"reports/notice/{day}/") if v.key.endswith(".json") and not v.is_delete_marker]
    if not found:
        raise NotFound(f"There is no proof of {day} in the store.", mend="The DAG prove_notice keeps one each morning.")
    last = max(found, key=lambda v: (len(v.key), v.key))  # proof, proof-2, …, proof-10
    with store.open(last.key, last.version_id) as body:
        content = body.read()
    if hashlib.sha256(content).hexdigest() not in known:
        raise StoreConflict("The proof in the store is not one that the trail knows.", mend="Look who put it there.")
    return _PROOF.validate_json(content)


def lines(proof: Proof) -> Iterator[str]:
    """What somebody has to do, a sentence a promise."""
    for proven in proof.red:
        yield f"{proven.promise.title}: {IN_WORDS[proven.answer.verdict]}. {proven.answer.says} {proven.answer.mend}"


def note(proof: Proof) -> str:
    """The proof as a note on its run: Markdown."""
    return "\n".join([f"**{proof.day}: {proof.word}**, {proof.sums}", "", *(f"- {line}" for line in lines(proof))])


def message(proof: Proof, *, link: str) -> Message:
    """The mail to the data team and the privacy officer, with what is red. ``link`` leads to the runbook."""
    return Message(
        subject=f"callkeeper notice {proof.day}: {proof.word}, {len(proof.red)} of {len(proof.answers)} promises need somebody",
        text=render("notice_proof.txt", proof=proof, in_words=IN_WORDS, link=link),
    )
