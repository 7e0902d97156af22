"""What a ticket's letters say is what its rows are."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from asking import CALLER, LINE, OTHER, delivered, three_calls
from callkeeper import letters
from callkeeper.commands import ticket as ticket_command
from callkeeper.errors import LetterIncomplete, NotAllowed, NotFound
from callkeeper.jobs import answering, carrying_out, disclosing, fulfilling, watching
from callkeeper.letters import Addressee, Kind
from callkeeper.phone import E164
from callkeeper.tickets import Right
from deliver import Call as Delivered
from deliver import deliver
from installation import ACTOR, DAY, OFFICER, Installation, at

TODAY = date(2026, 11, 25)
Command = Callable[..., Result]


@pytest.fixture
def kept(office: Installation) -> Installation:
    three_calls(office).go_live()
    return office


def opened(office: Installation, right: Right = Right.access, **facts: Any) -> str:
    asked = {
        "numbers": [CALLER], "received_on": TODAY, "channel": "letter", "language": "en", "account": "officer",
    } | facts  # fmt: skip
    with office.connect() as conn:
        return fulfilling.open_ticket(conn, office.app.keyring, right=right, actor=OFFICER, **asked)


def found(office: Installation, right: Right = Right.access, *, days: int = 0, **facts: Any) -> str:
    """A request whose search lies before the officer: of DAY, and so many days before it."""
    period = {"from_at": at(0) - timedelta(days), "to_at": facts.pop("to_at", at(0) + timedelta(days=1))}
    ticket = opened(office, right, **facts)
    with office.connect() as conn:
        keyring = office.app.keyring
        fulfilling.prove_identity(conn, keyring, ticket, evidence="strong", **period, account="officer", actor=OFFICER)
        fulfilling.preview(conn, keyring, ticket, OFFICER)
    return ticket


def agreed(office: Installation, right: Right = Right.access, **facts: Any) -> str:
    """A request to which everybody has said yes who must."""
    ticket = found(office, right, **facts)
    with office.connect() as conn:
        scope = fulfilling.seen(conn, ticket).scope
        approval = {"scope": scope, "account": "officer", "actor": OFFICER}
        if right is Right.erasure:
            approval["ground"] = "unlawful"
        if fulfilling.approve(conn, office.app.keyring, ticket, **approval):
            fulfilling.second(conn, ticket, scope=scope, account="approver", actor=ACTOR)
    return ticket


def final(office: Installation, ticket: str) -> Kind:
    with office.connect() as conn:
        return answering.final(conn, ticket)


def due(office: Installation, ticket: str) -> tuple[Kind, ...]:
    with office.connect() as conn:
        return answering.due(conn, ticket)


def facts(office: Installation, ticket: str, kind: Kind | None = None) -> letters.Facts:
    with office.connect() as conn:
        return answering.facts(conn, office.app, ticket, kind or answering.final(conn, ticket))


def written(office: Installation, ticket: str, kind: Kind | None = None, **more: Any) -> str:
    """The letter's text."""
    with office.connect() as conn:
        kind = kind or answering.final(conn, ticket)
        return answering.write(conn, office.app, ticket, kind, actor=OFFICER, **more).text


def sent(office: Installation, ticket: str, kind: Kind) -> None:
    with office.connect() as conn:
        answering.sent(conn, ticket, kind, "letter", account="officer", actor=OFFICER)


# --- access: the whole list of Art. 15 --------------------------------------------------------------------------------


def test_an_access_letter_lists_each_recording_of_every_company_with_the_day_on_which_it_goes(kept):
    ticket = agreed(kept)

    assert final(kept, ticket) is Kind.completed_access
    told = facts(kept, ticket)
    assert [(r.started_at, r.line, r.controller, r.outcome, r.deletes) for r in told.recordings] == [
        (at(8), "020 7001234", "Punavaara Oy", "copied", date(2027, 5, 25)),
        (at(9), "010 2708001", "PHM Group Services Oy", "copied", date(2027, 5, 25)),
    ]
    assert [(r.name, r.kind) for r in told.recipients] == [("Linna Puhepalvelut Oy", "vendor")]
    assert [(s.what, s.from_day, s.to_day, s.controller) for s in told.searched] == [("040 9990001", DAY, DAY, None)]
    assert told.package_until == TODAY + timedelta(29)
    assert "Data Protection Ombudsman" in written(kept, ticket)


def test_a_call_that_came_without_a_usable_time_is_told_of_as_such(kept):
    deliver(kept.linna, TODAY, [Delivered(id="q", start="gone", caller=CALLER)])
    kept.later(days=1)
    kept.run("tomorrow", TODAY)
    assert kept.value("select started_at is null from quarantine")
    ticket = agreed(kept)

    told = facts(kept, ticket).recordings
    assert [(r.started_at is None, r.deletes) for r in told][2:] == [(True, date(2027, 5, 27))]
    assert "time not known" in written(kept, ticket)

    erasure = agreed(kept, Right.erasure)
    with kept.connect() as conn:
        fulfilling.close(conn, ticket, "withdrawn", years=3, actor=OFFICER)
        assert carrying_out.carry_out(conn, kept.app, erasure, OFFICER) == 3
    kept.sweep()
    assert [r.started_at for r in facts(kept, erasure).recordings] == [at(8), at(9), None]
    assert "time not known" in written(kept, erasure, Kind.completed_erasure)


def test_the_days_that_are_missing_are_those_of_the_term_in_force(kept):
    ticket = found(kept, days=100)
    assert len(facts(kept, ticket, Kind.no_data).missing_days) > 60

    kept.configure(("[store]", "[terms]\nretention_months = 1\n[store]"))

    assert len(facts(kept, ticket, Kind.no_data).missing_days) <= 31


def test_each_opening_is_told_with_its_day_and_purpose_and_without_its_account(kept):
    ticket = agreed(kept)
    mine = kept.value(
        "select recording from recording where pseudonym = %s and line = %s", kept.pseudonym(CALLER), LINE
    )
    other = kept.value("select recording from recording where pseudonym = %s", kept.pseudonym(OTHER))
    for recording in (mine, other):
        kept.sql.execute(
            "insert into opening (recording, account, purpose) values (%s, 'sirpa', 'quality')", (recording,)
        )

    assert [(o.recording, o.purpose) for o in facts(kept, ticket).openings] == [(1, "quality")]
    text = written(kept, ticket)
    assert "assuring the quality" in text
    assert "sirpa" not in text


def test_what_a_copy_leaves_out_is_listed_with_its_reason(kept):
    ticket = agreed(kept)
    kept.sql.execute(
        """update ticket_recording set channel = 1, mutes = '[[65000, 80500, "other_person"]]' where controller = 'phm'"""
    )

    assert [(r.recording, r.from_ms, r.to_ms, r.reason) for r in facts(kept, ticket).redactions] == [
        (2, None, None, "not_yours"),
        (2, 65000, 80500, "other_person"),
    ]


def test_what_is_left_out_for_others_sake_makes_the_answer_a_part_of_what_was_asked(kept):
    ticket = found(kept)
    with kept.connect() as conn:
        recordings = [f.recording for f in fulfilling.seen(conn, ticket).found]
        fulfilling.leave_out(conn, kept.app.keyring, ticket, {recordings[0]: "others_rights"}, OFFICER)
        scope = fulfilling.seen(conn, ticket).scope
        fulfilling.approve(conn, kept.app.keyring, ticket, scope=scope, account="officer", actor=OFFICER)

    assert final(kept, ticket) is Kind.partial
    told = facts(kept, ticket)
    assert [r.outcome for r in told.recordings] == ["refused", "copied"]
    assert told.grounds == ("others_rights",)
    assert "Article 15(4)" in written(kept, ticket)


def test_another_persons_recording_is_not_spoken_of(kept):
    ticket = found(kept)
    with kept.connect() as conn:
        recordings = [f.recording for f in fulfilling.seen(conn, ticket).found]
        fulfilling.leave_out(conn, kept.app.keyring, ticket, {recordings[0]: "not_the_person"}, OFFICER)
        scope = fulfilling.seen(conn, ticket).scope
        fulfilling.approve(conn, kept.app.keyring, ticket, scope=scope, account="officer", actor=OFFICER)

    assert final(kept, ticket) is Kind.completed_access
    assert [r.started_at for r in facts(kept, ticket).recordings] == [at(9)]


def test_other_requests_an_objections_hash_and_the_vendors_metadata_are_told(kept):
    earlier = found(kept)
    opened(kept)  # nobody has proven whose: it is not told
    kept.suppress("caller", kept.pseudonym(CALLER), date(2027, 11, 25))

    told = facts(kept, agreed(kept))
    assert [(h.kind, h.reference, h.until) for h in told.also_held] == [
        ("request", earlier, None),
        ("objection", None, date(2027, 11, 25)),
        ("vendor_metadata", None, None),
    ]


@pytest.mark.parametrize("kind", ["investigation", "authority_preservation", "legal_claim"])
def test_every_hold_is_a_legal_ground_and_worded_alike(kept, kind):
    ticket = agreed(kept)
    held = kept.block(line=LINE, from_at=at(0))
    kept.sql.execute("update blocker set kind = %s where blocker = %s", (kind, held))

    assert [r.deletes for r in facts(kept, ticket).recordings] == ["legal_ground", date(2027, 5, 25)]
    text = written(kept, ticket)
    assert "once the legal ground for keeping it ends" in " ".join(text.split())
    assert "K-1" not in text
    assert kind.replace("_", " ") not in text


def test_what_is_past_its_term_goes_after_the_request(kept):
    ticket = agreed(kept)
    kept.later(days=200)

    assert {r.deletes for r in facts(kept, ticket).recordings} == {"after_request"}


# --- nothing found ------------------------------------------------------------------------------------------------------


def test_no_data_is_not_said_while_a_day_is_missing(kept):
    nobody = E164("+358409990009")
    kept.sql.execute(
        "insert into delivery_day (vendor, day, state) values ('linna', %s, 'open')", (DAY - timedelta(1),)
    )
    ticket = agreed(kept, numbers=[nobody], days=1)

    assert final(kept, ticket) is Kind.days_missing
    assert facts(kept, ticket).missing_days == (DAY - timedelta(1),)
    with pytest.raises(NotAllowed, match="is the letter days_missing"):
        written(kept, ticket, Kind.no_data)

    kept.sql.execute(
        "update delivery_day set state = 'lost', closed_by = 'data', close_reason = 'vendor' where day = %s",
        (DAY - timedelta(1),),
    )
    assert final(kept, ticket) is Kind.no_data
    assert facts(kept, ticket).lost_days == (DAY - timedelta(1),)
    assert "no longer can: 23 November 2026" in " ".join(written(kept, ticket).split())


def test_a_day_is_missing_as_long_as_one_vendor_has_not_delivered_it(kept):
    kept.sql.execute("insert into delivery_day (vendor, day, state, closed_by, close_reason) values ('linna', %s, 'lost', 'data', 'x')", (DAY - timedelta(1),))  # fmt: skip
    kept.sql.execute(
        'insert into vendor select * from jsonb_populate_record((select v from vendor v), \'{"vendor": "other"}\')'
    )
    ticket = agreed(kept, numbers=[E164("+358409990009")], days=1)

    assert facts(kept, ticket).missing_days == (DAY - timedelta(1), DAY)
    assert facts(kept, ticket).lost_days == ()


def overtaken(office: Installation) -> list[str]:
    with office.connect() as conn:
        return [m.text for m in watching.look(conn).matters if "promised word" in m.text]


def test_whoever_was_told_that_days_are_missing_is_promised_word_and_the_morning_reminds_of_it(kept):
    ticket = agreed(kept, numbers=[E164("+358409990009")], to_at=at(0) + timedelta(days=2))
    carried_out(kept, ticket)
    delivered(kept, ticket)
    assert kept.value("select outcome from ticket") == "days_missing"
    assert overtaken(kept) == []

    tomorrow = DAY + timedelta(1)
    deliver(kept.linna, tomorrow, [Delivered(id="d", start=at(8, day=tomorrow), caller=OTHER)])
    kept.later(days=1)
    kept.run("tomorrow", tomorrow)

    assert [ticket in text and "the days have come in" in text for text in overtaken(kept)] == [True]
    opened(kept, numbers=[E164("+358409990009")], received_on=tomorrow)
    assert overtaken(kept) == []


def test_a_call_that_comes_in_after_the_answer_is_told_in_the_morning(kept):
    ticket = agreed(kept, Right.restriction, to_at=at(0) + timedelta(days=2))
    carried_out(kept, ticket)
    delivered(kept, ticket)

    tomorrow = DAY + timedelta(1)
    deliver(kept.linna, tomorrow, [Delivered(id="d", start=at(8, day=tomorrow), caller=CALLER)])
    kept.later(days=1)
    kept.run("tomorrow", tomorrow)

    assert [ticket in text and "1 call that it searched for" in text for text in overtaken(kept)] == [True]


# --- letters on the way -----------------------------------------------------------------------------------------------


def test_a_ticket_asks_for_its_receipt_until_that_was_sent(kept):
    ticket = opened(kept)

    assert due(kept, ticket) == (Kind.receipt,)
    with pytest.raises(NotAllowed, match="never printed"):
        sent(kept, ticket, Kind.receipt)
    written(kept, ticket, Kind.receipt)
    sent(kept, ticket, Kind.receipt)

    assert due(kept, ticket) == ()
    with kept.connect() as conn:
        assert [(s.kind, s.account, s.channel) for s in answering.letters_sent(conn, ticket)] == [
            ("receipt", "officer", "letter")
        ]
    assert [(e["kind"], e["channel"]) for e in kept.events("letter.sent")] == [("receipt", "letter")]


def test_who_is_asked_twice_gets_two_letters(kept):
    ticket = opened(kept)
    for _ in range(2):
        with kept.connect() as conn:
            fulfilling.ask(conn, ticket, "identity", OFFICER)
        assert Kind.identity in due(kept, ticket)
        written(kept, ticket, Kind.identity)
        sent(kept, ticket, Kind.identity)
        assert Kind.identity not in due(kept, ticket)
        with kept.connect() as conn:
            fulfilling.answered(conn, ticket, OFFICER)
        kept.later(hours=1)


@pytest.mark.parametrize("kind", [Kind.identity, Kind.clarification])
def test_a_letter_of_an_earlier_asking_does_not_stand_for_the_later_ones(kept, kind):
    ticket = opened(kept)
    with kept.connect() as conn:
        fulfilling.ask(conn, ticket, kind, OFFICER)
        written(kept, ticket, kind)
        sent(kept, ticket, kind)
        fulfilling.answered(conn, ticket, OFFICER)
        # Later than any other test's: the trail keeps theirs, under the same reference.
        kept.later(hours=9)
        fulfilling.ask(conn, ticket, kind, OFFICER)

    with pytest.raises(NotAllowed, match="never printed, or not since"):
        sent(kept, ticket, kind)
    written(kept, ticket, kind)
    sent(kept, ticket, kind)


def test_a_letter_that_the_tickets_state_does_not_ask_for_is_not_printed(kept):
    ticket = found(kept)

    for kind, said in ((Kind.completed_access, "Nobody has decided"), (Kind.identity, "does not ask for"), (Kind.extension, "does not ask for")):  # fmt: skip
        with pytest.raises(NotAllowed, match=said):
            written(kept, ticket, kind)
    with pytest.raises(NotFound):
        written(kept, "DSR-2026-0099", Kind.receipt)
    assert kept.events("letter.written") == []


def test_an_answer_is_not_noted_as_sent_it_is_delivered(kept):
    with pytest.raises(NotAllowed, match="answer itself"):
        sent(kept, agreed(kept), Kind.completed_access)


def test_a_letter_that_lacks_a_fact_is_not_printed_and_leaves_no_event(kept):
    ticket = agreed(kept)
    kept.sql.execute("update ticket_subject set from_at = null, to_at = null")

    with pytest.raises(LetterIncomplete, match="searched"):
        written(kept, ticket)
    assert kept.events("letter.written") == []


def test_name_and_address_are_in_the_print_and_nowhere_else(kept):
    ticket = opened(kept)
    addressee = Addressee(name="Aino Kanarialintu", address=("Häkkitie 5", "00100 Helsinki"))

    text = written(kept, ticket, Kind.receipt, addressee=addressee)

    assert "Aino Kanarialintu\nHäkkitie 5\n00100 Helsinki" in text
    (event,) = kept.events("letter.written")
    assert {k: v for k, v in event.items() if k in ("ticket", "kind", "language")} == {
        "ticket": ticket, "kind": "receipt", "language": "en",
    }  # fmt: skip
    tables = kept.rows("select relid::regclass::text as name from pg_stat_user_tables where schemaname = 'callkeeper'")
    for table in tables:
        assert not kept.value(f"select exists (select from {table.name} t where t::text ilike '%%kanarialintu%%' or t::text ilike '%%häkkitie%%')")  # fmt: skip


@pytest.mark.parametrize("language", letters.LANGUAGES)
def test_a_letter_is_in_the_tickets_language(kept, language):
    ticket = agreed(kept, language=language)

    authority = {"fi": "tietosuojavaltuutettu", "sv": "dataombudsmannen", "en": "Data Protection Ombudsman"}[language]
    assert authority.lower() in written(kept, ticket).lower()


# --- to whom it was given, and erasure --------------------------------------------------------------------------------


def given(office: Installation, *, untold: bool = False, company: str | None = None) -> str:
    """What there is on LINE was handed over: to the police, or to a company of the group."""
    to = {"recipient_kind": "group_company", "recipient": company, "purpose": "quality"} if company else {
        "recipient_kind": "authority", "recipient": "Helsingin poliisilaitos", "purpose": "authority", "statute": "Pakkokeinolaki 8:23",
        "reference": "5530/R/1/26", "untold": untold,
    }  # fmt: skip
    mine = office.rows(
        "select recording from recording where line = %s and pseudonym = %s", LINE, office.pseudonym(CALLER)
    )
    with office.connect() as conn:
        keyring, officer = office.app.keyring, {"years": 3, "account": "officer", "actor": OFFICER}
        which = disclosing.draft(conn, keyring, recordings=[r.recording for r in mine], **officer, **to)
        office.sql.execute(
            "update disclosure set state = 'handed_over', asked_by = 'officer', approved_by = 'approver', channel = 'courier', "
            "handed_over_by = 'officer', handed_over_at = %s where disclosure = %s", (at(7), which),
        )  # fmt: skip
    return str(which)


def erased(office: Installation, right: Right = Right.erasure, **facts: Any) -> str:
    """A request of which everything went in the night."""
    ticket = agreed(office, right, **facts)
    with office.connect() as conn:
        carrying_out.carry_out(conn, office.app, ticket, OFFICER)
    office.sweep()
    return ticket


def test_authorities_and_companies_that_got_it_are_told_of_with_the_day(kept):
    given(kept)
    given(kept, company="phm")

    told = facts(kept, agreed(kept))

    assert [(r.name, r.kind, r.day) for r in told.recipients[1:]] == [
        ("Helsingin poliisilaitos", "authority", DAY),
        ("PHM Group Services Oy", "group_company", DAY),
    ]
    assert "disclosure" in [h.kind for h in told.also_held]


def test_what_the_law_forbids_to_tell_is_in_no_letter(kept):
    which = given(kept, untold=True)
    ticket = agreed(kept)
    mine = kept.value("select recording from ticket_recording where controller = 'punavaara'")
    for disclosure in (which, None):
        kept.sql.execute(
            "insert into opening (recording, account, purpose, disclosure) values (%s, 'officer', 'authority', %s)",
            (mine, disclosure),
        )

    told = facts(kept, ticket)

    assert [r.kind for r in told.recipients] == ["vendor"]
    assert (told.openings, [h.kind for h in told.also_held]) == ((), ["vendor_metadata"])
    text = written(kept, ticket)
    for word in ("poliisi", "Pakkokeino", "authority (", "legal claim"):
        assert word not in text


def test_an_erasures_letter_lists_what_the_rows_know_no_more(kept):
    ticket = erased(kept)

    assert kept.value("select count(*) from recording where pseudonym = %s", kept.pseudonym(CALLER)) == 0
    assert final(kept, ticket) is Kind.completed_erasure
    told = facts(kept, ticket)
    assert [(r.started_at, r.duration_s, r.line, r.outcome) for r in told.recordings] == [
        (at(8), 1, "020 7001234", "erased"),
        (at(9), 1, "010 2708001", "erased"),
    ]
    assert (told.vendor_open, told.backups_until) == (False, TODAY + timedelta(30))
    assert "24 November 2026, 08:00" in written(kept, ticket)


def test_when_all_was_told_the_ticket_forgets_which_calls_they_were(kept):
    ticket = erased(kept)

    with kept.connect() as conn:
        answering.forget(conn, kept.app.keyring, ticket)
        conn.commit()

    with pytest.raises(LetterIncomplete, match="recordings"):
        written(kept, ticket)


def test_before_the_night_there_is_no_answer(kept):
    ticket = agreed(kept, Right.erasure)
    with kept.connect() as conn:
        carrying_out.carry_out(conn, kept.app, ticket, OFFICER)

    with pytest.raises(NotAllowed, match="still on their way"):
        final(kept, ticket)
    assert due(kept, ticket) == ()


@pytest.mark.parametrize("kind", ["investigation", "authority_preservation", "legal_claim", "complaint"])
def test_a_deferral_is_told_both_times_and_never_why(kept, kind):
    held = kept.block(line=LINE, from_at=at(0))
    kept.sql.execute("update blocker set kind = %s where blocker = %s", (kind, held))
    ticket = erased(kept)

    assert final(kept, ticket) is Kind.erasure_deferred
    text = " ".join(written(kept, ticket).split())
    assert [r.outcome for r in facts(kept, ticket).recordings] == ["deferred", "erased"]
    assert "for the time being there is a legal ground" in text
    for word in ("K-1", "preservation", "investigation", "police"):
        assert word not in text

    delivered(kept, ticket)
    assert due(kept, ticket) == ()
    kept.sql.execute("update blocker set ended_at = callkeeper_now()")
    kept.later(days=1)
    kept.sweep("second")

    assert due(kept, ticket) == (Kind.erasure_resumed,)
    assert "have now been erased" in " ".join(written(kept, ticket, Kind.erasure_resumed).split())


def test_what_waits_for_a_copy_is_not_said_to_be_kept_by_a_legal_ground(kept):
    opened(kept)  # somebody wants a copy
    ticket = erased(kept)

    with pytest.raises(NotAllowed, match="2 of its recordings are still on their way"):
        written(kept, ticket, Kind.erasure_deferred)


def test_recipients_are_told_before_the_letter_says_that_they_were(kept):
    which, hidden = given(kept), given(kept, untold=True)
    ticket = erased(kept)

    assert due(kept, ticket) == (Kind.recipient_notice, Kind.completed_erasure)
    with pytest.raises(NotAllowed, match=f"nobody has told {which}\\."):
        written(kept, ticket)
    with pytest.raises(NotAllowed, match="Name the disclosure"):
        written(kept, ticket, Kind.recipient_notice)
    notice = " ".join(written(kept, ticket, Kind.recipient_notice, disclosure=which).split())
    assert "On 24 November 2026 we disclosed call recordings to you (reference DIS-2026-0001)" in notice
    assert notice.count("24 November 2026, 08:00") == 1
    assert "09:00" not in notice
    with kept.connect() as conn:
        note = {"channel": "letter", "account": "officer", "actor": OFFICER}
        # The notice that was printed is another recipient's.
        with pytest.raises(NotAllowed, match="never printed"):
            answering.sent(conn, ticket, Kind.recipient_notice, disclosure=hidden, **note)
        answering.sent(conn, ticket, Kind.recipient_notice, disclosure=which, **note)
        assert answering.notices_due(conn, ticket) == (hidden,)
        answering.sent(conn, ticket, Kind.recipient_notice, disclosure=hidden, impossible=True, **note)

    assert due(kept, ticket) == (Kind.completed_erasure,)
    assert [(e["kind"], e["disclosure"]) for e in kept.events("letter.sent")] == [
        ("recipient_notice", which),
        ("recipient_not_told", hidden),
    ]
    assert [(r.name, r.told) for r in facts(kept, ticket).recipients] == [("Helsingin poliisilaitos", True)]
    assert "we have informed them" in " ".join(written(kept, ticket).split())


def test_a_recipient_that_could_not_be_told_is_told_of_so(kept):
    which = given(kept, company="phm")
    ticket = erased(kept)
    with kept.connect() as conn:
        answering.sent(conn, ticket, "recipient_notice", "other", disclosure=which, impossible=True, account="officer", actor=OFFICER)  # fmt: skip

    assert "it has not been possible to inform them" in " ".join(written(kept, ticket).split())


# --- the other rights -------------------------------------------------------------------------------------------------


def carried_out(office: Installation, ticket: str) -> str:
    with office.connect() as conn:
        carrying_out.carry_out(conn, office.app, ticket, OFFICER)
    return ticket


def test_a_rectifications_letter_says_what_was_and_what_is_and_speaks_of_nothing_else(kept):
    which = given(kept, company="phm")
    ticket = found(kept, Right.rectification)
    with kept.connect() as conn:
        keyring = kept.app.keyring
        first = fulfilling.seen(conn, ticket).found[0].recording
        fulfilling.correct(conn, keyring, ticket, first, "time", at(8, 30), OFFICER)
        fulfilling.correct(conn, keyring, ticket, first, "number", OTHER, OFFICER)
        fulfilling.correct(conn, keyring, ticket, first, "statement", "It was not me.", OFFICER)
        scope = fulfilling.seen(conn, ticket).scope
        if fulfilling.approve(conn, keyring, ticket, scope=scope, account="officer", actor=OFFICER):
            fulfilling.second(conn, ticket, scope=scope, account="approver", actor=ACTOR)
    carried_out(kept, ticket)

    assert final(kept, ticket) is Kind.completed_rectification
    told = facts(kept, ticket)
    assert [(r.started_at, r.outcome) for r in told.recordings] == [(at(8, 30), "corrected")]
    assert [(c.recording, c.what, c.before, c.after) for c in told.corrections] == [
        (1, "number", "040 9990001", "040 9990002"),
        (1, "statement", None, None),
        (1, "time", "24 November 2026, 08:00", "24 November 2026, 08:30"),
    ]
    with pytest.raises(NotAllowed, match="nobody has told"):
        written(kept, ticket)
    assert "08:30" in written(kept, ticket, Kind.recipient_notice, disclosure=which)


def test_a_restrictions_letter_has_its_review_and_its_end_is_told_before(kept):
    ticket = carried_out(kept, agreed(kept, Right.restriction))

    assert final(kept, ticket) is Kind.completed_restriction
    assert facts(kept, ticket).review_on == kept.value("select review_on from blocker where ended_at is null and case_ref = %s and recordings is not null", ticket)  # fmt: skip
    assert "have restricted the processing" in " ".join(written(kept, ticket).split())
    with kept.connect() as conn:
        carrying_out.announce_lifting(
            conn, ticket, TODAY + timedelta(14), "not_needed", account="officer", actor=OFFICER
        )
    assert Kind.restriction_lifting in due(kept, ticket)
    assert "will be lifted on 9 December 2026" in " ".join(written(kept, ticket, Kind.restriction_lifting).split())
    sent(kept, ticket, Kind.restriction_lifting)
    assert Kind.restriction_lifting not in due(kept, ticket)


def test_an_upheld_objections_letter_says_until_when_calls_are_not_kept(kept):
    ticket = erased(kept, Right.objection)

    assert final(kept, ticket) is Kind.completed_objection
    assert facts(kept, ticket).suppressed_until == date(2027, 11, 25)
    assert "this is in force until 25 November 2027" in " ".join(written(kept, ticket).split())


@pytest.mark.parametrize("right", [Right.erasure, Right.rectification, Right.restriction])
def test_nothing_found_is_said_for_every_right(kept, right):
    ticket = found(kept, right, numbers=[E164("+358409990009")])

    assert final(kept, ticket) is Kind.no_data
    assert "No call recordings were found" in written(kept, ticket)


# --- a no -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "ground", "kind"),
    [
        (Right.access, "excessive", Kind.refused),
        (Right.access, "not_identifiable", Kind.cannot_identify),
        (Right.erasure, "legal_claims", Kind.refused),
        (Right.objection, "compelling_grounds", Kind.refused),
        (Right.portability, "not_applicable", Kind.portability),
    ],
)
def test_a_refusals_letter_has_its_ground_the_officers_words_and_the_authority(kept, right, ground, kind):
    ticket = opened(kept, right)
    with kept.connect() as conn:
        refusal = {"reasons": "We have looked.\n\nTwice.", "account": "officer", "actor": OFFICER}
        fulfilling.refuse(conn, kept.app.keyring, ticket, ground, **refusal)

    assert due(kept, ticket) == (kind,)
    text = written(kept, ticket)
    assert "Data Protection Ombudsman" in text
    if kind is not Kind.portability:
        assert "We have looked.\n\nTwice." in text


def test_the_officers_words_are_in_no_event(kept):
    ticket = opened(kept)
    with kept.connect() as conn:
        refusal = {"reasons": "kanarialintu", "account": "officer", "actor": OFFICER}
        fulfilling.refuse(conn, kept.app.keyring, ticket, "excessive", **refusal)
    written(kept, ticket)

    assert "kanarialintu" not in str(kept.events())


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(kept, monkeypatch) -> Command:
    monkeypatch.setattr("callkeeper.settings.load", lambda: kept.settings)
    monkeypatch.setattr("callkeeper.commands.signin.sign_in", lambda app, account, duties: account)

    def run(*words: str, typed: str | None = None) -> Result:
        done = CliRunner(env={"COLUMNS": "200"}).invoke(ticket_command.group, [*words, "--as", "officer"], input=typed)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


def test_an_officer_prints_a_letter_and_types_the_address_for_that_print(command, kept, tmp_path):
    ticket, paper = opened(kept), tmp_path / "receipt.pdf"

    done = command("letter", ticket, "--out", str(paper), "--address", typed="Aino Esimerkki\nMallikatu 5\n\n")

    assert done.output.splitlines()[-1] == f"We have received your request: {paper}, {paper.with_suffix('.txt')}"
    assert paper.read_bytes().startswith(b"%PDF")
    assert "Aino Esimerkki\nMallikatu 5" in paper.with_suffix(".txt").read_text()
    assert stat.S_IMODE(paper.stat().st_mode) == stat.S_IMODE(paper.with_suffix(".txt").stat().st_mode) == 0o600
    with pytest.raises(NotAllowed, match="is there already"):
        command("letter", ticket, "--out", str(paper))


def test_an_address_comes_from_a_file_and_never_from_the_command_line(command, kept, tmp_path):
    ticket = opened(kept)
    (tmp_path / "to").write_text("Aino Esimerkki\n\nMallikatu 5\n")

    command("letter", ticket, "receipt", "--out", str(tmp_path / "a.pdf"), "--address-file", str(tmp_path / "to"))
    assert "Aino Esimerkki\nMallikatu 5" in (tmp_path / "a.txt").read_text()
    assert command("letter", ticket, "receipt", "Aino", "--out", str(tmp_path / "b.pdf")).exit_code == 2


def test_a_sent_letter_is_noted_and_what_is_left_is_said(command, kept, tmp_path):
    ticket = opened(kept)
    with kept.connect() as conn:
        fulfilling.ask(conn, ticket, "identity", OFFICER)
    with pytest.raises(NotAllowed, match="It asks for receipt, identity"):
        command("letter", ticket, "--out", str(tmp_path / "a.pdf"))
    command("letter", ticket, "receipt", "--out", str(tmp_path / "a.pdf"))

    done = command("sent", ticket, "receipt", "--channel", "email")

    assert done.output == f"{ticket}: receipt was sent. It still asks for: identity.\n"


def test_a_recipients_notice_is_printed_and_noted_at_the_command_line(command, kept, tmp_path):
    which, other = given(kept), given(kept, company="phm")
    ticket = erased(kept)
    with pytest.raises(NotAllowed, match=f"It asks for {which}, {other}"):
        command("letter", ticket, "recipient_notice", "--out", str(tmp_path / "a.pdf"))

    command("letter", ticket, "recipient_notice", "--disclosure", which, "--out", str(tmp_path / "a.pdf"))
    command("sent", ticket, "recipient_notice", "--disclosure", which, "--channel", "email")
    done = command("sent", ticket, "recipient_notice", "--disclosure", other, "--impossible", "--channel", "other")

    assert done.output == f"{ticket}: recipient_notice was sent. It still asks for: completed_erasure.\n"
    assert f"reference {which}" in " ".join((tmp_path / "a.txt").read_text().split())
