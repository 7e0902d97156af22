"""What falls due in the morning: what is told, when, to whom, and what nobody else may read of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from callkeeper import controllers
from callkeeper.blockers import Predicate
from callkeeper.clock import HELSINKI
from callkeeper.embedded.ports import free_ports
from callkeeper.errors import MailUnavailable
from callkeeper.jobs import disclosing, fulfilling, holding, watching
from callkeeper.jobs.holding import Facts
from callkeeper.notify import Message
from callkeeper.phone import E164
from callkeeper.tickets import Right
from deliver import Call, deliver
from installation import ACTOR, DAY, NOW, Installation, at

CALLER = "+358401234501"
PEOPLE = ('approvers = ["approver"]', 'deputies = ["deputy"]\napprovers = ["approver"]')
FACTS = Facts(authority="Helsingin poliisilaitos", reference="5530/R/1/26", ground="a threat in a call")
MORNING = replace(ACTOR, dag="watch_deadlines", run="scheduled__1")


@dataclass
class Postbox:
    """A notifier that keeps what it is given, and refuses some addresses."""

    sent: list[tuple[str, Message]] = field(default_factory=list)
    refuses: tuple[str, ...] = ()

    def send(self, message: Message, *, to: str = "") -> None:
        if to in self.refuses:
            raise MailUnavailable("refused")
        self.sent.append((to, message))


@pytest.fixture
def office(fresh_office: Installation) -> Installation:
    """An officer, a deputy, an approver; nobody was told anything yet."""
    fresh_office.configure(PEOPLE)
    return fresh_office


def look(office: Installation, **more: bool) -> watching.Digest:
    with office.connect() as conn:
        return watching.look(conn, **more)


def told(office: Installation, to: str = "privacy") -> list[str]:
    return [m.text for m in look(office).matters if m.to == to]


def tell(office: Installation, box: Postbox | None, run: str = "scheduled__1") -> int:
    with office.connect() as conn:
        return watching.tell(
            conn,
            box,
            watching.look(conn),
            replace(MORNING, run=run),
            link="https://x",
            privacy="officer@x",
            escalation="ceo@x",
        )


def placed(office: Installation, kind: str = "investigation", **dates: date) -> str:
    with office.connect() as conn:
        named = Predicate(pseudonyms=holding.of_numbers(office.app.keyring, (CALLER,)))
        case_ref, _ = holding.draft(
            conn, office.app.keyring, kind=kind, facts=FACTS, predicate=named, account="officer", actor=ACTOR, wide=True
        )
    act(office, "place", case_ref, "officer", **dates)
    return case_ref


def act(office: Installation, action: str, case_ref: str, account: str, **dates: date) -> None:
    with office.connect() as conn:
        duties = controllers.duties(conn, office.app.config, account)
        who = replace(ACTOR, account=account)
        holding.act(
            conn, case_ref, action, account=account, duties=duties, actor=who, holder=office.app.holder, **dates
        )


def morning(office: Installation, day: date) -> None:
    office.set_clock(datetime(day.year, day.month, day.day, 7, tzinfo=HELSINKI))


def quarantined(office: Installation) -> None:
    """A call whose file does not fit its duration, waiting since the night of NOW."""
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER, ms=3100)])
    office.run("import")
    assert office.value("select count(*) from quarantine") == 1


# --- when a deadline is told ------------------------------------------------------------------------------------------

DUE = date(2026, 12, 10)


@pytest.mark.parametrize(
    ("today", "last", "expected"),
    [
        (date(2026, 12, 2), date(2026, 12, 1), False),
        (date(2026, 12, 3), date(2026, 12, 2), True),
        (date(2026, 12, 4), date(2026, 12, 3), False),
        (date(2026, 12, 4), date(2026, 12, 2), True),  # the morning of the step did not happen
        (date(2026, 12, 4), None, True),  # nobody was ever told
        (date(2026, 12, 2), None, False),
        (date(2026, 12, 10), date(2026, 12, 10), True),
        (date(2026, 12, 12), date(2026, 12, 11), True),
    ],
)
def test_a_deadline_is_told_at_its_steps_and_each_morning_from_its_day_on(today, last, expected):
    assert watching.comes_up(DUE, (7, 3, 1), today=today, last=last) is expected


def test_a_day_is_said_in_words_near_to_it():
    said = [watching.in_days(DUE + timedelta(days=n), DUE) for n in (-3, -1, 0, 1, 7)]
    assert said == ["3 days ago", "yesterday", "today", "tomorrow", "in 7 days"]


# --- what is told -----------------------------------------------------------------------------------------------------


def test_a_calm_morning_has_nothing_to_tell(office):
    assert look(office).matters == ()
    assert watching.note(look(office)) == "**2026-11-25: nothing falls due**"


def test_a_hold_waits_for_its_second_person_each_morning_until_it_has_one(office):
    case_ref = placed(office)
    assert told(office) == [
        f"{case_ref} was placed on 25 November 2026: a second person ratifies it by 28 November 2026."
    ]

    office.set_clock(NOW + timedelta(days=4))
    assert [t for t in told(office) if "no second person has ratified" in t] == told(office)

    act(office, "ratify", case_ref, "approver")
    assert told(office) == []


def test_a_review_is_told_a_week_before_and_late_each_morning(office):
    case_ref = placed(office, review_on=date(2026, 12, 20))
    act(office, "ratify", case_ref, "approver")
    seen = {}
    for day in (date(2026, 12, 12), date(2026, 12, 13), date(2026, 12, 14), date(2026, 12, 21)):
        morning(office, day)
        seen[day.day] = told(office)
        tell(office, Postbox(), f"scheduled__{day}")

    assert seen == {
        12: [],
        13: [f"{case_ref}: its review is on 20 December 2026, in 7 days."],
        14: [],
        21: [f"{case_ref}: its review is 1 days overdue. Extend or release it; until then it stays."],
    }


def requested(office: Installation, right: Right = Right.erasure) -> str:
    """A request that reached the company on 25 November: due on 28 December (requirements, section 3)."""
    with office.connect() as conn:
        return fulfilling.open_ticket(
            conn, office.app.keyring, right=right, received_on=NOW.date(), channel="email", language="fi", numbers=[E164(CALLER)],
            account="officer", actor=ACTOR,
        )  # fmt: skip


def test_a_request_is_told_at_14_7_3_and_1_days_and_each_morning_from_its_day_on(office):
    ticket = requested(office)
    mornings = {}
    for n in range(35):
        day = date(2026, 11, 26) + timedelta(days=n)
        morning(office, day)
        if found := told(office):
            mornings[f"{day:%d.%m.}"] = found
        tell(office, Postbox(), f"scheduled__{day}")

    assert list(mornings) == ["14.12.", "21.12.", "25.12.", "27.12.", "28.12.", "29.12.", "30.12."]
    assert mornings["14.12."] == [f"{ticket}, erasure: due on 28 December 2026, in 14 days."]
    assert mornings["28.12."] == [f"{ticket}, erasure: due on 28 December 2026, today."]
    assert mornings["29.12."] == [f"{ticket}, erasure: was due on 28 December 2026, yesterday."]


def test_a_late_request_goes_to_whoever_is_told_when_nobody_acts_and_an_answered_one_to_nobody(office):
    ticket = requested(office)
    morning(office, date(2026, 12, 28))
    assert told(office, "escalation") == []
    morning(office, date(2026, 12, 30))
    assert told(office, "escalation") == [
        f"{ticket}: its answer was due on 28 December 2026, 2 days ago, and nobody has given it."
    ]

    office.sql.execute("update ticket set state = 'delivered'")
    assert look(office).matters == ()


def test_a_question_to_the_person_does_not_stop_the_clock_and_an_extension_moves_the_day(office):
    ticket = requested(office)
    morning(office, date(2026, 12, 21))
    office.sql.execute("update ticket set state = 'identity_asked'")
    assert told(office) == [
        f"{ticket}, erasure: due on 28 December 2026, in 7 days. The person was asked; the day stays."
    ]

    office.sql.execute("update ticket set state = 'open', extended_to = '2027-02-25', extension_reason = 'complexity'")
    office.sql.execute(
        "insert into ticket_delivery (ticket, kind, account, channel) values (%s, 'extension', 'officer', 'letter')",
        (ticket,),
    )
    assert told(office) == []
    morning(office, date(2027, 2, 22))
    assert told(office) == [f"{ticket}, erasure: extended to 25 February 2027, in 3 days."]


def test_an_extension_counts_only_if_its_letter_went_by_the_first_due_day(office):
    ticket = requested(office)
    office.sql.execute("update ticket set extended_to = '2027-02-25', extension_reason = 'complexity'")
    morning(office, date(2026, 12, 21))
    assert told(office) == [
        f"{ticket}: its extension does not count before its letter is sent, by 28 December 2026, in 7 days: `callkeeper ticket letter {ticket} extension`.",
        f"{ticket}, erasure: due on 28 December 2026, in 7 days.",
    ]

    morning(office, date(2026, 12, 29))
    office.sql.execute(
        "insert into ticket_delivery (ticket, kind, account, channel) values (%s, 'extension', 'officer', 'letter')",
        (ticket,),
    )
    assert told(office) == [
        f"{ticket}: its extension was not told by 28 December 2026, yesterday, so it does not count.",
        f"{ticket}, erasure: was due on 28 December 2026, yesterday.",
    ]
    assert told(office, "escalation") != []


def test_a_freeze_for_somebody_whom_nobody_has_proven_to_be_it_is_looked_at_again(office):
    ticket = requested(office, Right.access)
    morning(office, date(2026, 12, 22))
    review = (
        f"{ticket}: nobody has proven who asks, and what it keeps is looked at again on 25 December 2026, in 3 days."
    )
    assert review in told(office)

    office.sql.execute("update ticket set identity = 'strong', identity_at = now(), identity_by = 'officer'")
    assert review not in told(office)


def test_restrictions_and_objections_have_a_day_of_review_too(office):
    ticket = requested(office, Right.restriction)
    office.sql.execute("update ticket set identity = 'strong', identity_at = now(), identity_by = 'officer'")
    office.sql.execute("update blocker set review_on = '2026-12-02'")
    office.suppress("caller", b"m" * 32, date(2026, 11, 24))

    assert told(office) == [
        f"{ticket}: what it keeps is looked at again on 2 December 2026, in 7 days.",
        "1 number under an objection, to be looked at again on 24 November 2026, yesterday: numbers change hands.",
    ]


def test_a_package_that_nobody_has_handed_over_is_told_before_it_goes(office):
    ticket = requested(office, Right.portability)
    office.sql.execute(
        "insert into package (package, ticket, expires_on) values (gen_random_uuid(), %s, '2026-12-02')", (ticket,)
    )
    assert told(office) == [f"{ticket}: its package was not handed over, and goes on 2 December 2026, in 7 days."]

    office.sql.execute("update package set delivered_at = now()")
    assert told(office) == []


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 12, 1), []),
        (
            date(2026, 12, 2),
            ["linna, punavaara: 1 call to decide on by 9 December 2026, in 7 days: `callkeeper quarantine list`."],
        ),
        (
            date(2026, 12, 10),
            [
                "linna, punavaara: 1 call undecided beyond the term, the first since 9 December 2026, yesterday: `callkeeper quarantine list`."
            ],
        ),
    ],
)
def test_quarantine_is_told_before_its_fourteen_days_are_over(office, day, expected):
    quarantined(office)
    office.sql.execute("update quarantine set decide_by = %s", (datetime(2026, 12, 9, 2, 15, tzinfo=HELSINKI),))
    morning(office, day)

    assert [m.text for m in look(office).matters if m.section is watching.Section.quarantine] == expected


def test_what_is_overdue_is_told_where_nights_are_live_and_by_the_night_where_they_rehearse(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8)), Call(id="b", start=at(9))])
    office.run("import")
    morning(office, date(2027, 5, 28))
    rehearsing = told(office)
    office.go_live()

    assert rehearsing == []
    assert told(office) == [
        "punavaara: 2 recordings more than 48 hours past the term and not blocked, the oldest since 25 May 2027."
    ]


def test_a_vendors_window_is_told_before_it_closes_and_after(office):
    office.sql.execute(
        "insert into delivery_day (vendor, day, state) values ('linna', '2026-11-01', 'absent'), ('linna', '2026-11-02', 'open'),"
        " ('linna', '2026-11-03', 'complete'), ('linna', '2026-11-20', 'open')"
    )
    morning(office, date(2026, 11, 28))
    assert told(office) == []
    morning(office, date(2026, 11, 29))
    assert told(office) == ["linna: 1 November 2026 not complete, and kept there until 1 December 2026, in 2 days."]
    morning(office, date(2026, 12, 2))
    assert told(office) == [
        "linna: 2 November 2026 not complete, and kept there until 2 December 2026, today.",
        "linna: 1 November 2026 not complete, and no longer kept there: a person declares it lost, `callkeeper days list`.",
    ]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 12, 1), ["ends on 2026-12-31, in 30 days"]),
        (date(2026, 12, 2), []),
        (date(2027, 1, 5), ["ended on 2026-12-31: a broken promise. Import stops in 10 days."]),
        (date(2027, 1, 20), ["its grace of 14 days is over"]),
    ],
)
def test_a_contract_is_told_at_its_steps_and_each_morning_of_its_grace(office, day, expected):
    office.configure(PEOPLE, ("valid_to = 2030-12-31", "valid_to = 2026-12-31"))
    morning(office, day - timedelta(days=1))
    tell(office, Postbox(), "scheduled__yesterday")
    morning(office, day)

    found = told(office)

    assert len(found) == len(expected)
    assert all(part in text for part, text in zip(expected, found, strict=True))


def test_a_basis_that_is_missing_is_told_each_morning(office):
    office.configure(PEOPLE, ('balancing_test = "LIA-1"', 'balancing_test = ""'))
    assert [m.late for m in look(office).matters if "punavaara names no balancing test" in m.text] == [True]


# --- who is told, and how often ---------------------------------------------------------------------------------------


def test_nothing_to_tell_sends_nothing_and_the_trail_knows_that_it_was_looked(office):
    box = Postbox()

    assert tell(office, box) == 0
    assert box.sent == []
    assert [(e["matters"], e["late"]) for e in office.events("deadlines.told")] == [(0, 0)]


def test_a_run_tells_once_however_often_it_is_cleared_and_another_tells_again(office):
    placed(office)
    box = Postbox()

    sent = [tell(office, box), tell(office, box), tell(office, box, "manual__2")]

    assert sent == [1, 0, 1]
    assert [to for to, _ in box.sent] == ["officer@x", "officer@x"]
    assert box.sent[0][1].subject == "callkeeper deadlines 2026-11-25: 1 for you"


def test_the_officer_and_her_deputies_have_it_through_a_real_relay(office):
    took: list[Envelope] = []

    class Relay:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802  # aiosmtpd's name
            took.append(envelope)
            return "250 OK"

    port = free_ports(["relay"])["relay"]
    placed(office)
    requested(office)
    office.set_clock(NOW + timedelta(days=19))
    office.change_settings(smtp_host="127.0.0.1", smtp_port=port)
    relay = Controller(Relay(), hostname="127.0.0.1", port=port)
    relay.start()
    try:
        with office.connect() as conn:
            digest = watching.look(conn)
            watching.tell(
                conn,
                office.app.notifier,
                digest,
                MORNING,
                link="https://x",
                privacy="officer@x.fi, deputy@x.fi",
                escalation="",
            )
    finally:
        relay.stop()

    officers, above = took
    assert officers.rcpt_tos == ["officer@x.fi", "deputy@x.fi"]
    assert above.rcpt_tos == [office.settings.mail_to]
    text = message_from_bytes(officers.content, policy=default).get_content().replace("\r\n", "\n")
    assert text.startswith(
        "What falls due, is late, or is about to be lost, on the morning of 14 December 2026. A line with ! is late."
    )
    assert (
        "Requests:\n  - DSR-2026-0001, erasure: due on 28 December 2026, in 14 days.\n\nLegal grounds:\n  ! H-2026-0001 was placed"
        in text
    )


def test_an_address_that_is_refused_keeps_no_other_from_being_told_and_the_next_try_tells_again(office):
    placed(office)
    office.set_clock(NOW + timedelta(days=7))
    box = Postbox(refuses=("officer@x",))

    with pytest.raises(MailUnavailable):
        tell(office, box)

    assert [to for to, _ in box.sent] == ["ceo@x"]
    assert office.events("deadlines.told") == []


def test_without_a_relay_what_was_not_told_stays_to_be_told(office):
    act(office, "ratify", placed(office, review_on=date(2026, 12, 2)), "approver")
    before = told(office)
    assert (tell(office, None), office.events("deadlines.told")) == (0, [])
    office.later(days=1)

    assert len(before) == len(told(office)) == 1


# --- what others may not read -----------------------------------------------------------------------------------------


def drafted(office: Installation, **more: bool) -> str:
    """A disclosure to the police."""
    with office.connect() as conn:
        return disclosing.draft(
            conn, office.app.keyring, recipient_kind="authority", recipient="Helsingin poliisilaitos", purpose="authority",
            statute="Pakkokeinolaki 8:23", reference="5530/R/1/26", years=3, account="officer", actor=ACTOR,
            recordings=[row.recording for row in office.rows("select recording from recording")], **more,
        )  # fmt: skip


def test_a_disclosure_that_nobody_ends_is_told_after_14_days_and_a_secret_one_to_officers_only(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER)])
    office.run("import")
    asked, draft, untold = drafted(office), drafted(office), drafted(office, untold=True)
    office.sql.execute("update disclosure set state = 'asked' where disclosure <> %s", (draft,))

    def disclosures(**more: bool) -> dict[str, bool]:
        """Of which disclosures is told, and whether only officers may know."""
        section = watching.Section.disclosures
        return {m.text.partition(":")[0]: m.officers_only for m in look(office, **more).matters if m.section is section}

    office.later(days=13)
    assert disclosures() == {}
    office.later(days=14)
    assert disclosures() == {asked: False, draft: True, untold: True}
    assert disclosures(deputies_told=False) == {asked: False}
    assert look(office).counts()["disclosures"] == 1
    assert "poliisi" not in str(told(office))
    with office.connect() as conn:
        disclosing.withdraw(conn, asked, years=3, actor=ACTOR)
    assert asked not in disclosures()


def preserved(office: Installation) -> str:
    """A preservation order whose end is near, and whose review is far."""
    case_ref = placed(office, "authority_preservation", review_on=date(2027, 6, 1))
    act(office, "ratify", case_ref, "approver")
    morning(office, date(2027, 2, 20))
    return case_ref


def test_the_end_of_a_preservation_order_is_in_the_officers_mail_and_in_no_count(office):
    case_ref = preserved(office)
    box = Postbox()

    tell(office, box)

    ((to, mail),) = box.sent
    assert (to, f"{case_ref}: its ground ends in 5 days. Extend or release it." in mail.text) == ("officer@x", True)
    assert "preservation" not in mail.text
    digest = look(office)
    assert digest.counts() == {"late": 0}
    assert watching.note(digest) == "**2027-02-20: nothing falls due**"
    assert [(e["matters"], e["late"]) for e in office.events("deadlines.told")] == [(0, 0)]


def test_whoever_is_told_when_nobody_acts_reads_one_sentence_for_an_end_and_a_review(office):
    preserved(office)
    morning(office, date(2027, 2, 26))
    end = told(office, "escalation")
    office.reset()
    office.configure(PEOPLE)
    act(office, "ratify", placed(office, review_on=date(2026, 12, 1)), "approver")
    morning(office, date(2026, 12, 20))

    assert (
        end
        == told(office, "escalation")
        == ["H-2026-0001: nobody has extended or released it in time. It stays in force."]
    )


def test_where_the_officer_has_no_address_the_data_team_reads_that_there_is_a_matter_and_not_which(office):
    preserved(office)
    texts = [m.text for m in look(office, deputies_told=False).matters]
    assert texts == ["The hold register has a matter for the privacy officer: `callkeeper holds`."]


def test_no_number_reference_or_reason_comes_out(office):
    quarantined(office)
    placed(office, review_on=date(2026, 11, 26))
    requested(office, Right.access)
    office.set_clock(NOW + timedelta(days=20))
    box = Postbox()
    tell(office, box)
    out = (
        "".join(m.subject + m.text for _, m in box.sent)
        + watching.note(look(office))
        + json.dumps(office.events("deadlines.told"))
    )

    assert [m for _, m in box.sent if "Quarantine" in m.text]
    for secret in ("401234501", "poliisi", "5530", "threat", "investigation", "linna/", "rec/"):
        assert secret not in out
