"""The privacy desk: who gets in, what a form does, and what of it nobody may see."""

from __future__ import annotations

import logging
import re
import threading

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

import asking
from callkeeper.desk import forms
from callkeeper.desk.seat import Seat
from callkeeper.errors import NotAllowed
from callkeeper.jobs import disclosing, fulfilling
from deliver import PHM
from desk import (
    CALLER,
    HOLD,
    INTAKE,
    PREFIX,
    SECRET,
    SPELLED,
    Airflow,
    Desk,
    found,
    hidden,
    opened,
    recordings,
    scope_on,
    two_callers,
    words,
)  # fmt: skip
from installation import DAY, OFFICER, Installation

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def kept(office: Installation) -> Installation:
    """Two calls of one caller, to two companies, and one of another caller."""
    return two_callers(office)


@pytest.fixture
def officer(kept: Installation) -> Desk:
    return Desk(kept, "officer")


def session_of(account: str) -> bytes:
    return Seat(account=account, duties=frozenset(), token=f"{account}.signed").session


def routes(desk: Desk) -> list[tuple[str, str]]:
    """Each way in: its method and its path, with something where a path has a place."""
    return [
        (method, re.sub(r"\{[^}]+\}", "DSR-2026-0001", route.path))
        for route in desk.desk.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    ]


# --- who gets in ------------------------------------------------------------------------------------------------------


def test_nobody_gets_in_without_a_login(kept):
    nobody = Desk(kept, None)
    assert len(routes(nobody)) > 8
    for method, path in routes(nobody):
        answer = nobody.http.request(method, PREFIX + path)
        if method == "GET":
            assert (answer.status_code, answer.headers["location"]) == (303, f"/auth/login/?next={PREFIX}{path}"), path
        else:
            assert answer.status_code == 401, path
        assert "DSR-" not in answer.text


@pytest.mark.parametrize("token", ["officer.forged", "officer", ".signed", "officer.signed2"])
def test_a_forged_token_is_nobodys(kept, token):
    forged = Desk(kept, None, token=token)
    for method, path in routes(forged):
        assert forged.http.request(method, PREFIX + path).status_code in (303, 401, 403), path
    assert kept.events("ticket.opened") == []


@pytest.mark.parametrize("account", ["data", "auditor", "admin", "nobody"])
def test_a_login_without_the_duty_gets_nowhere(kept, account):
    ticket = opened(Desk(kept, "officer"))
    other = Desk(kept, account)
    for method, path in routes(other):
        answer = other.http.request(method, PREFIX + path)
        assert answer.status_code == 403, path
        assert ticket not in answer.text


def test_the_approver_takes_nothing_in_and_sees_no_number(kept):
    officer, approver = Desk(kept, "officer"), Desk(kept, "approver")
    ticket = found(officer)
    page = f"/tickets/{ticket}"

    for method, path in routes(approver):
        if method == "POST" and not path.endswith("/second"):
            assert approver.http.request(method, PREFIX + path).status_code == 403, path
    shown = approver.get(page)
    assert shown.status_code == 200
    assert "<form" not in shown.text
    assert not re.search(r"\d{2}:\d{2}</time>", shown.text), "she sees no timeline"
    assert approver.get("/new").status_code == 403


def test_a_duty_that_is_taken_away_closes_the_door_at_once(kept):
    kept.configure(('approvers = ["approver"]', 'approvers = ["approver", "other"]'))
    desk = Desk(kept, "other")
    assert desk.get("/").status_code == 200
    kept.configure()
    assert desk.get("/").status_code == 403


# --- forms ------------------------------------------------------------------------------------------------------------


def test_a_form_without_its_field_does_nothing(officer, kept):
    for fields in ({}, {"once": ""}, {"once": "AAAA"}, {"once": "é"}):
        answer = officer.post("/new", **INTAKE, numbers=SPELLED, **fields)
        assert answer.status_code == 403
    assert kept.events("ticket.opened") == []


def test_a_form_is_its_own_sessions_and_its_own_paths(officer, kept):
    field = officer.field("/new", "/new")
    ticket = opened(officer)

    assert Desk(kept, "approver").post("/new", once=field, **INTAKE, numbers=SPELLED).status_code == 403
    again = Desk(kept, None, token="officer.again")
    assert again.post("/new", once=field, **INTAKE, numbers=SPELLED).status_code == 403
    assert officer.post(f"/tickets/{ticket}/close", once=field, outcome="withdrawn").status_code == 403
    assert len(kept.events("ticket.opened")) == 1


def test_a_form_from_another_site_is_refused(officer, kept):
    fields = {"once": officer.field("/new", "/new"), **INTAKE, "numbers": SPELLED}
    answer = officer.http.post(f"{PREFIX}/new", data=fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert kept.events("ticket.opened") == []


def test_an_old_form_is_refused(officer, monkeypatch):
    field = officer.field("/new", "/new")
    monkeypatch.setattr(forms, "LASTS_SECONDS", -1)
    assert officer.post("/new", once=field, **INTAKE, numbers=SPELLED).status_code == 403


def test_a_form_sent_twice_does_its_thing_once(officer, kept):
    fields = {"once": officer.field("/new", "/new"), **INTAKE, "numbers": SPELLED}
    first, second = officer.post("/new", **fields), officer.post("/new", **fields)

    assert (first.status_code, second.status_code) == (303, 303)
    assert first.headers["location"] == second.headers["location"]
    assert len(kept.events("ticket.opened")) == 1


def test_a_form_sent_twice_at_once_does_its_thing_once(officer, kept):
    fields = {"once": officer.field("/new", "/new"), **INTAKE, "numbers": SPELLED}
    answers: list[str] = []

    def send() -> None:
        answers.append(officer.post("/new", **fields).headers["location"])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert len(set(answers)) == 1
    assert len(kept.events("ticket.opened")) == 1


def test_a_form_that_was_refused_may_be_sent_again(officer, kept):
    form = officer.field("/new", "/new")
    refused = officer.post("/new", once=form, **INTAKE, numbers="not a number")
    assert (refused.status_code, "Line 1 of the numbers" in words(refused)) == (409, True)

    assert officer.post("/new", once=form, **INTAKE, numbers=SPELLED).status_code == 303
    assert len(kept.events("ticket.opened")) == 1


def test_a_form_that_was_cut_off_says_that_nobody_knows(kept):
    form = b"0123456789abcdef"

    def cut_off() -> str:
        raise SystemExit

    with pytest.raises(SystemExit):
        forms.once(kept.app, form, "officer", cut_off)
    with pytest.raises(NotAllowed, match="cut off"):
        forms.once(kept.app, form, "officer", lambda: "/")


def test_a_form_that_is_too_long_is_refused(officer):
    answer = officer.post("/new", once=officer.field("/new", "/new"), **INTAKE, numbers="0" * 70_000)
    assert answer.status_code == 413


# --- what is typed ----------------------------------------------------------------------------------------------------


def test_what_is_typed_comes_out_escaped_in_every_field(officer):
    new = officer.get("/new").text
    names = set(re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', new)) - {"once"}
    assert {"right", "numbers", "call_from", "received", "company"} <= names
    for name in names:
        sent = INTAKE | {"numbers": SPELLED, "once": hidden(new, f"{PREFIX}/new"), name: SCRIPT}
        answer = officer.post("/new", **sent)
        assert answer.status_code in (303, 409), name
        assert "<script>alert" not in answer.text, name
        assert "<img src=x" not in answer.text, name
        new = officer.get("/new").text


def test_what_is_typed_on_a_ticket_comes_out_escaped(officer):
    ticket = opened(officer)
    page = f"/tickets/{ticket}"
    for _, path in [r for r in routes(officer) if r[0] == "POST" and "/tickets/" in r[1]]:
        action = path.replace("DSR-2026-0001", ticket)
        if f'action="{PREFIX}{action}"' not in officer.get(page).text:
            continue
        fields = dict.fromkeys(("evidence", "from", "to", "note", "question", "reason", "outcome", "recording"), SCRIPT)
        answer = officer.send(page, action, **fields)
        assert "<script>alert" not in answer.text, path
        assert "<img src=x" not in answer.text, path


@pytest.mark.parametrize(
    "path", ["/tickets/<script>alert(1)</script>", "/tickets/0409990001", "/tickets/DSR-2026-9999", "/no/such"]
)
def test_a_path_that_leads_nowhere_is_told_without_saying_it_again(officer, path):
    answer = officer.get(path)
    assert answer.status_code == 404
    assert "script>alert" not in answer.text
    assert "0409990001" not in answer.text


def test_every_answer_has_the_same_strict_headers(officer, kept):
    ticket = opened(officer)
    for path in ("/", "/new", f"/tickets/{ticket}", "/no/such", "/static/desk.css"):
        headers = officer.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "static" in path or headers["cache-control"] == "no-store"
    assert Desk(kept, None).get("/").headers["cache-control"] == "no-store"


def test_no_page_has_a_script_or_a_style_of_its_own(officer):
    ticket = found(officer)
    for path in ("/", "/new", f"/tickets/{ticket}"):
        html = officer.get(path).text
        assert not re.search(r"<style|<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|javascript:", html), path


# --- a request, from its intake on ------------------------------------------------------------------------------------


def test_a_request_is_taken_in_and_freezes(officer, kept):
    ticket = opened(officer)

    (event,) = kept.events("ticket.opened")
    assert (event["ticket"], event["actor"]["account"]) == (ticket, "officer")
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).frozen == 2
    page = words(officer.get(f"/tickets/{ticket}?said=opened"))
    assert "Find out who asks" in page
    assert "2 recordings" in page
    assert ticket in words(officer.get("/"))


def test_a_withheld_caller_is_looked_for_by_line_and_time(officer, kept):
    ticket = opened(
        officer, numbers="", call_line=["+358102708001", "", ""], call_day=[DAY.isoformat(), "", ""], call_from=["08:30", "", ""],
        call_to=["9.30", "", ""],
    )  # fmt: skip
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).frozen == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"right": ""}, "Say what is asked for."),
        ({"received": "soon"}, "as a date"),
        ({"numbers": ""}, "A request needs what is searched."),
        ({"numbers": "040 999 0001\nhello"}, "Line 2 of the numbers"),
        ({"numbers": "020 700 1234"}, "the whole switchboard"),
        ({"company": "nobody"}, "no such company"),
        ({"call_day": DAY.isoformat(), "call_line": str(PHM), "call_from": "8:00", "call_to": ""}, "its day, and from when to when"),
        ({"call_day": DAY.isoformat(), "call_line": str(PHM), "call_from": "25:00", "call_to": "26:00"}, "A time of day is none"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_words_and_what_was_typed_stays(officer, kept, fields, said):
    answer = officer.send(
        "/new",
        "/new",
        **INTAKE | {"numbers": SPELLED} | {"call_line": "", "call_day": "", "call_from": "", "call_to": ""} | fields,
    )
    assert answer.status_code == 409
    assert said in words(answer)
    assert 'value="sv"' in answer.text
    assert kept.events("ticket.opened") == []


def test_a_look_at_what_is_searched_is_an_event(officer, kept):
    ticket = opened(officer)
    page = f"/tickets/{ticket}"
    assert CALLER not in officer.get(page).text
    assert kept.events("ticket.seen") == []

    shown = officer.send(page, f"{page}/searched")
    assert CALLER in shown.text
    (event,) = kept.events("ticket.seen")
    assert (event["ticket"], event["actor"]["account"]) == (ticket, "officer")


def test_the_officer_proves_searches_and_leaves_out(officer, kept):
    ticket = found(officer)
    page = f"/tickets/{ticket}"
    shown = officer.get(page)
    which = recordings(officer, ticket)
    assert len(which) == 2
    assert "2 recordings" in words(shown)

    left = officer.send(page, f"{page}/leave-out", recording=which[0], reason="not_the_person")
    assert left.status_code == 303
    with kept.connect() as conn:
        preview = fulfilling.seen(conn, ticket)
    assert [f.state for f in preview.found].count("excluded") == 1
    assert "left out: another person speaks" in words(officer.get(page))


def test_a_refusal_is_told_on_the_tickets_own_page(officer):
    ticket = found(officer)
    page = f"/tickets/{ticket}"
    answer = officer.send(page, f"{page}/leave-out", reason="not_the_person")
    assert answer.status_code == 409
    assert "Choose at least one recording." in words(answer)
    assert ticket in answer.text


def test_a_request_is_extended_asked_about_and_closed(officer, kept):
    ticket = opened(officer)
    page = f"/tickets/{ticket}"
    assert officer.send(page, f"{page}/extend", reason="complexity").status_code == 303
    assert officer.send(page, f"{page}/ask", question="clarification").status_code == 303
    assert "The person’s answer" in words(officer.get(page))
    assert officer.send(page, f"{page}/answered").status_code == 303
    assert officer.send(page, f"{page}/close", outcome="withdrawn").status_code == 303
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).outcome == "withdrawn"
    assert "<form" not in re.sub(r"<form[^>]*/searched.*?</form>", "", officer.get(page).text, flags=re.S)


# --- listening, and what the copy leaves out ---------------------------------------------------------------------------


def test_a_listening_is_an_event_and_plays_by_ranges(officer, kept):
    ticket = found(officer)
    page, (one, other) = f"/tickets/{ticket}", recordings(officer, ticket)
    audio = f"{page}/recordings/{one}/audio"
    assert officer.get(audio).status_code == 409
    assert kept.events("recording.opened") == []

    answer = officer.send(page, f"{page}/listen", recording=one)
    assert answer.status_code == 303
    (event,) = kept.events("recording.opened")
    assert (event["recording"], event["purpose"], event["ticket"]) == (one, "subject_request", ticket)
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", f"Path={PREFIX}{page}/recordings/{one}"))
    assert len(officer.http.cookies) == 2

    whole = officer.get(audio)
    assert (whole.status_code, whole.headers["cache-control"], whole.headers["accept-ranges"]) == (
        200,
        "no-store",
        "bytes",
    )
    size = len(whole.content)
    assert whole.headers["content-length"] == str(size)
    part = officer.get(audio, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.headers["content-range"]) == (206, f"bytes 10-19/{size}")
    assert part.content == whole.content[10:20]
    assert officer.get(audio, headers={"Range": "bytes=-5"}).content == whole.content[-5:]
    assert officer.get(audio, headers={"Range": f"bytes={size}-"}).status_code == 416
    assert officer.get(audio, headers={"Range": "chapters=1"}).status_code == 200
    assert len(kept.events("recording.opened")) == 1, "ranges of one listening are one opening"
    assert officer.get(f"{page}/recordings/{other}/audio").status_code == 409


def test_a_listening_is_nobody_elses(officer, kept):
    ticket = found(officer)
    page, (one, _) = f"/tickets/{ticket}", recordings(officer, ticket)
    officer.send(page, f"{page}/listen", recording=one)
    token = officer.http.cookies["callkeeper_listening"]
    kept.configure(('privacy_officers = ["officer"]', 'privacy_officers = ["officer", "deputy"]'))
    for account, status in (("approver", 403), ("deputy", 409)):
        other = Desk(kept, account)
        other.http.cookies.set("callkeeper_listening", token)
        assert other.get(f"{page}/recordings/{one}/audio").status_code == status


def test_what_is_wrong_with_a_part_of_a_page_is_told_in_its_place(officer, kept):
    ticket = found(officer)
    page = f"/tickets/{ticket}"
    field = officer.field(page, f"{page}/listen")
    gone = "00000000-0000-0000-0000-000000000000"
    answer = officer.http.post(
        f"{PREFIX}{page}/listen", data={"once": field, "recording": gone}, headers={"HX-Request": "true"}
    )
    assert (answer.status_code, "<html" in answer.text) == (404, False)
    assert "There is no audio" in words(answer)


def test_what_a_copy_leaves_out_is_said_by_range(officer, kept):
    ticket = found(officer)
    page, (one, _) = f"/tickets/{ticket}", recordings(officer, ticket)
    ranges = {"mute_from": ["0:00", "", ""], "mute_to": ["0:01,5", "", ""], "mute_reason": ["other_person", "", ""]}
    assert officer.send(page, f"{page}/mute", recording=one, channel="", **ranges).status_code == 303
    with kept.connect() as conn:
        (cut,) = [f for f in fulfilling.seen(conn, ticket).found if f.mutes]
    assert (str(cut.recording), cut.mutes[0].to_ms, cut.mutes[0].reason) == (one, 1500, "other_person")
    shown = officer.get(page)
    assert "1 range muted" in words(shown)
    assert 'value="0:01.500"' in shown.text

    for wrong in ({"mute_from": "soon"}, {"mute_reason": ""}, {"channel": "9"}, {"recording": "x"}):
        fields = {
            "recording": one,
            "channel": "",
            "mute_from": "0:00",
            "mute_to": "0:01",
            "mute_reason": "secret",
        } | wrong
        assert officer.send(page, f"{page}/mute", **fields).status_code == 409, wrong


def test_what_is_wrong_is_noted_sealed_and_shown_by_its_name_alone(officer, kept):
    ticket = found(officer, right="rectification")
    page, (one, _) = f"/tickets/{ticket}", recordings(officer, ticket)
    right = {"recording": one, "value": "", "day": "", "time": "", "line": ""}
    assert (
        officer.send(page, f"{page}/correct", **right | {"what": "number", "value": "040 999 0007"}).status_code == 303
    )
    shown = officer.get(page)
    assert "put right: the caller’s number" in words(shown)
    assert "9990007" not in shown.text
    assert (
        officer.send(
            page, f"{page}/correct", **right | {"what": "time", "day": DAY.isoformat(), "time": "8:05"}
        ).status_code
        == 303
    )
    for wrong in (
        {"what": "number", "value": "x"},
        {"what": "time", "day": DAY.isoformat()},
        {"what": "line", "line": "+3580"},
        {"what": ""},
    ):
        assert officer.send(page, f"{page}/correct", **right | wrong).status_code == 409, wrong


# --- letters ----------------------------------------------------------------------------------------------------------


def test_a_letter_has_its_addressee_on_that_print_alone(officer, kept, caplog):
    caplog.set_level(logging.DEBUG)
    ticket = opened(officer)
    page = f"/tickets/{ticket}"
    to = {"name": "Maija Meikäläinen", "address": "Mannerheimintie 1\n00100 Helsinki"}
    pdf = officer.send(page, f"{page}/letter", kind="receipt", **{"as": "pdf"}, **to)
    assert (pdf.status_code, pdf.headers["content-type"], pdf.content[:5]) == (200, "application/pdf", b"%PDF-")
    assert pdf.headers["content-disposition"] == f'attachment; filename="{ticket}-receipt.pdf"'
    text = officer.send(page, f"{page}/letter", kind="receipt", **{"as": "text"}, **to)
    assert "Maija Meikäläinen" in text.text

    events = kept.events("letter.written")
    assert [e["kind"] for e in events] == ["receipt", "receipt"]
    assert "Meik" not in str(events)
    assert "Meik" not in caplog.text
    sent = officer.send(page, f"{page}/letter-sent", kind="receipt", channel="letter")
    assert sent.status_code == 303
    assert "Receipt, " in words(officer.get(page))


def test_each_recipient_is_told_of_by_a_notice_of_its_own_or_could_not_be(officer, kept):
    first, other = (handed_over(kept) for _ in range(2))
    kept.go_live()
    ticket = asking.agreed(kept)
    asking.carry_out(kept, ticket)
    kept.sweep()
    page = f"/tickets/{ticket}"
    shown = words(officer.get(page))
    assert all(f"Notice to a recipient of {which}" in shown for which in (first, other))

    notice = {"kind": "recipient_notice"}
    assert officer.send(page, f"{page}/letter", **notice, **{"as": "pdf"}).status_code == 409
    pdf = officer.send(page, f"{page}/letter", **notice, disclosure=first, **{"as": "pdf"})
    assert pdf.content[:5] == b"%PDF-"
    assert officer.send(page, f"{page}/letter-sent", **notice, disclosure=first, channel="email").status_code == 303
    shown = words(officer.get(page))
    assert (f"of {first}" in shown, f"of {other}" in shown) == (False, True)
    assert officer.send(page, f"{page}/letter-sent", **notice, disclosure=other, channel="").status_code == 409
    assert (
        officer.send(page, f"{page}/letter-sent", **notice, disclosure=other, channel="impossible").status_code == 303
    )

    assert "Notice to a recipient of" not in words(officer.get(page))
    assert [(e["kind"], e["channel"]) for e in kept.events("letter.sent")] == [
        ("recipient_notice", "email"),
        ("recipient_not_told", "other"),
    ]


def test_no_other_letter_could_not_be_sent(officer, kept):
    ticket = opened(officer)
    page = f"/tickets/{ticket}"
    officer.send(page, f"{page}/letter", kind="receipt", **{"as": "pdf"})

    assert officer.send(page, f"{page}/letter-sent", kind="receipt", channel="impossible").status_code == 409
    assert kept.events("letter.sent") == []


def handed_over(kept: Installation) -> str:
    """CALLER's calls were handed to the police."""
    recordings = kept.rows("select recording from recording where pseudonym = %s", kept.pseudonym(CALLER))
    with kept.connect() as conn:
        which = disclosing.draft(
            conn, kept.app.keyring, recipient_kind="authority", recipient="Helsingin poliisilaitos", purpose="authority",
            statute="Pakkokeinolaki 8:23", reference="5530/R/1/26", recordings=[r.recording for r in recordings], account="officer",
            years=3, actor=OFFICER,
        )  # fmt: skip
    kept.sql.execute(
        "update disclosure set state = 'handed_over', asked_by = 'officer', approved_by = 'approver', channel = 'courier', "
        "handed_over_by = 'officer', handed_over_at = callkeeper_now() where disclosure = %s", (which,),
    )  # fmt: skip
    return str(which)


# --- two people, through Airflow --------------------------------------------------------------------------------------


@pytest.fixture
def airflow(kept: Installation, monkeypatch: pytest.MonkeyPatch) -> Airflow:
    return Airflow(kept, monkeypatch)


def test_an_erasure_takes_two_people_on_the_page(officer, kept, airflow):
    approver = Desk(kept, "approver")
    ticket = found(officer, right="erasure")
    page = f"/tickets/{ticket}"
    scope = scope_on(officer, ticket)

    assert (
        officer.send(page, f"{page}/decide", choice="approve", erasure_ground="objected", scope=scope).status_code
        == 303
    )
    assert "Yours was the first" in words(officer.get(page))
    assert ticket in words(approver.get("/"))
    shown = words(approver.get(page))
    assert (
        "officer approved exactly this, because the person objects, and nothing outweighs it (Art. 17(1)(c)):" in shown
    )
    assert scope in shown
    assert approver.send(page, f"{page}/second", choice="yes", scope=scope).status_code == 303

    assert [a[:3] for a in airflow.answers] == [("decide", "Approve", "officer"), ("second", "Approve", "approver")]
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).state == "carried_out"
    assert kept.value("select count(*) from deletion where trigger = 'erasure_approved'") == 2


@pytest.mark.parametrize("ground", ["", "legal_claims", CALLER])
def test_an_erasure_without_its_ground_is_refused_on_the_page(officer, kept, airflow, ground):
    ticket = found(officer, right="erasure")
    page = f"/tickets/{ticket}"
    answer = officer.send(
        page, f"{page}/decide", choice="approve", erasure_ground=ground, scope=scope_on(officer, ticket)
    )
    assert (answer.status_code, airflow.answers) == (409, [])
    assert "Say on which ground it is erased." in words(answer)
    assert CALLER not in answer.text


def test_the_first_is_never_the_second(officer, kept, airflow):
    ticket = found(officer, right="erasure")
    page = f"/tickets/{ticket}"
    scope = scope_on(officer, ticket)
    officer.send(page, f"{page}/decide", choice="approve", erasure_ground="objected", scope=scope)

    assert f'action="{PREFIX}{page}/second"' not in officer.get(page).text
    answer = officer.post(
        f"{page}/second",
        once=forms.Forms(SECRET).write(session_of("officer"), f"{page}/second"),
        choice="yes",
        scope=scope,
    )
    assert answer.status_code == 409
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).state == "approved"


def test_a_second_persons_no_lays_it_before_the_officer_again(officer, kept, airflow):
    ticket = found(officer, right="erasure")
    page = f"/tickets/{ticket}"
    officer.send(page, f"{page}/decide", choice="approve", erasure_ground="objected", scope=scope_on(officer, ticket))
    assert Desk(kept, "approver").send(page, f"{page}/second", choice="no").status_code == 303
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).state == "previewed"


def test_a_yes_is_to_what_the_page_showed(officer, kept, airflow):
    ticket = found(officer, right="erasure")
    page, scope = f"/tickets/{ticket}", scope_on(officer, ticket)
    form = officer.field(page, f"{page}/decide")
    officer.send(page, f"{page}/leave-out", recording=recordings(officer, ticket)[0], reason="not_the_person")

    answer = officer.post(f"{page}/decide", once=form, choice="approve", erasure_ground="objected", scope=scope)
    assert answer.status_code == 409
    assert "has changed since the page was shown" in words(answer)
    assert airflow.answers == []


def test_a_refusal_keeps_its_reasons_out_of_airflow(officer, kept, airflow):
    ticket = found(officer, right="erasure")
    page = f"/tickets/{ticket}"
    reasons = "Riita on kesken."
    answer = officer.send(page, f"{page}/decide", choice="refuse", ground="legal_claims", reasons=reasons)
    assert answer.status_code == 303, words(answer)
    assert reasons not in str(airflow.answers)
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).state == "refused"
        assert fulfilling.noted_reasons(conn, kept.app.keyring, ticket) == reasons
    assert officer.send(page, f"{page}/release", choice="release").status_code == 303
    assert officer.send(page, f"{page}/deliver", channel="letter").status_code == 303
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).outcome == "refused"


def test_a_copy_is_made_fetched_released_and_delivered(officer, kept, airflow):
    ticket = found(officer)
    page = f"/tickets/{ticket}"
    assert officer.send(page, f"{page}/decide", choice="approve", scope=scope_on(officer, ticket)).status_code == 303
    shown = words(officer.get(page))
    assert "Opens itself in a browser" in shown

    part = officer.send(page, f"{page}/package", n="1")
    assert (part.status_code, part.headers["cache-control"]) == (200, "no-store")
    assert "<html" in part.text[:400]
    assert CALLER not in part.text
    passphrase = officer.send(page, f"{page}/passphrase")
    assert "Passphrase:" in words(passphrase)
    assert [len(kept.events(action)) for action in ("package.taken", "passphrase.seen")] == [1, 1]
    assert officer.send(page, f"{page}/package", n="99").status_code == 404

    assert officer.send(page, f"{page}/release", choice="release").status_code == 303
    assert officer.send(page, f"{page}/deliver", channel="visit").status_code == 303
    with kept.connect() as conn:
        over = fulfilling.show(conn, ticket)
    assert (over.state, over.outcome) == ("closed", "fulfilled")


# --- holds and disclosures are written down here ----------------------------------------------------------------------


def test_a_hold_is_drafted_and_its_facts_are_sealed(officer, kept):
    answer = officer.send("/drafts", "/hold", **HOLD | {"numbers": SPELLED, "wide": "yes"})
    assert answer.status_code == 303, words(answer)
    shown = words(officer.get(answer.headers["location"].removeprefix(PREFIX)))
    assert "H-2026-0001 is written down" in shown
    assert "Helsingin" not in shown
    assert "poliisi" not in str(kept.rows("select * from hold"))

    refused = officer.send("/drafts", "/hold", **HOLD | {"numbers": "x"})
    assert (refused.status_code, "Line 1 of the numbers" in words(refused)) == (409, True)
    assert "Helsingin poliisi" in refused.text, "what was typed stays"
    assert Desk(kept, "approver").get("/drafts").status_code == 403


def test_a_disclosure_is_drafted(officer, kept):
    to = {
        "to": "authority",
        "recipient": "Helsingin poliisi",
        "statute": "Pakkokeinolaki 8:23",
        "demand": "5500/R/1/26",
        "purpose": "",
    }
    which = str(kept.value("select recording from recording where pseudonym <> %s limit 1", kept.pseudonym(CALLER)))
    answer = officer.send("/drafts", "/disclosure", **to, case="", given=which)
    assert answer.status_code == 303, words(answer)
    assert "DIS-2026-0001 is written down" in words(officer.get(answer.headers["location"].removeprefix(PREFIX)))
    for wrong in ({"to": ""}, {"to": "phm", "purpose": ""}, {"statute": ""}, {"given": "x"}):
        assert officer.send("/drafts", "/disclosure", **to | {"case": "", "given": which} | wrong).status_code == 409, (
            wrong
        )


@pytest.mark.parametrize("made", ["<script>alert(1)</script>", "H-1", "0409990001"])
def test_an_address_puts_no_words_on_the_page(officer, made):
    page = officer.get("/drafts", params={"made": made}).text
    assert "is written down" not in page
    assert "alert(1)" not in page


def test_an_airflow_that_does_not_answer_is_told_in_words(officer, kept):
    ticket = found(officer, right="erasure")
    page = f"/tickets/{ticket}"
    silent = Desk(kept, "officer", api="http://127.0.0.1:9")
    answer = silent.send(
        page, f"{page}/decide", choice="approve", erasure_ground="objected", scope=scope_on(silent, ticket)
    )
    assert answer.status_code == 503
    assert "Airflow does not answer." in words(answer)


def test_the_page_is_loaded_anew_once_the_ticket_has_moved(officer):
    ticket = found(officer)
    page = f"/tickets/{ticket}"
    same = officer.get(f"{page}/progress?was=previewed.-.-")
    assert (same.status_code, "hx-refresh" in same.headers) == (204, False)
    assert officer.get(f"{page}/progress?was=seconded.-.-").headers["hx-refresh"] == "true"


def test_nothing_that_was_typed_is_in_an_address_a_title_or_a_log(officer, kept, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    # Whatever other tests have done to it: it says each address that is asked for.
    caplog.set_level(logging.DEBUG, logger="httpx")
    monkeypatch.setattr(logging.getLogger("httpx"), "disabled", False)
    ticket = found(officer)
    page = f"/tickets/{ticket}"
    titles = [re.search(r"<title>(.*?)</title>", officer.get(p).text)[1] for p in ("/", "/new", page)]  # type: ignore[index]
    officer.post("/new", once="x", **INTAKE, numbers=SPELLED)
    for digits in ("9990001", "999 0001"):
        assert digits not in caplog.text
        assert not any(digits in title for title in titles)
    said = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert any(f"{PREFIX}{page}" in line for line in said)


def test_a_fault_tells_its_kind_to_the_log_and_nothing_to_the_page(officer, monkeypatch, caplog):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(CALLER)

    monkeypatch.setattr(fulfilling, "register", fails)
    answer = officer.get("/")
    assert answer.status_code == 500
    assert CALLER not in answer.text
    assert "RuntimeError" in caplog.text
    assert isinstance(officer.http, TestClient)
