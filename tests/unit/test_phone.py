"""Every written form of a number that requirements.md, vendors.md and a real Asterisk know; docs/adr/0111 and 0112."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callkeeper import phone
from callkeeper.phone import UNUSABLE, WITHHELD, Number, normalise

# --- what is a number -------------------------------------------------------------------------------------------------

MOBILE = "+358401234501"
SPELLINGS_OF_ONE_NUMBER = [
    "+358401234501",
    "00358401234501",
    "358401234501",
    "0401234501",
    "990358401234501",
    "994358401234501",
    "999358401234501",
    "+358 (0)40 1234501",
    "+358 (0) 40-123 4501",
    "00358 (0)40 123 4501",
    "358 (0)40 123 4501",
    "(+358) 40 1234501",
    "+358(40)1234501",
    "040 123 4501",
    "040-1234501",
    "040-123 45 01",
    "040.123.4501",
    "040/1234501",
    "(040) 123 4501",
    " 0401234501\r\n",
    "\t0401234501",
    "'0401234501",
    '"0401234501"',
    "040\N{NO-BREAK SPACE}123\N{NARROW NO-BREAK SPACE}4501",
    "040\N{EN DASH}123\N{NON-BREAKING HYPHEN}4501",
    "040\N{MINUS SIGN}1234501",
    "040\N{MIDDLE DOT}1234501",
    "\N{LEFT-TO-RIGHT EMBEDDING}+358 40 1234501\N{POP DIRECTIONAL FORMATTING}",
    "\N{ZERO WIDTH NO-BREAK SPACE}0401234501",
    "\N{FULLWIDTH PLUS SIGN}358401234501",
    "\N{FULLWIDTH DIGIT ZERO}401234501",
    "٠٤٠١٢٣٤٥٠١",
    "sip:+358401234501@host;user=phone",
    "sip:0401234501@host",
    "sips:+358401234501@host:5061;transport=tls?subject=x",
    "SIP:+358401234501@[2001:db8::1]",
    "sip:+358401234501:secret@host",
    "sip:+358401234501;npdi;rn=+3584000@host;user=phone",
    "sip:0401234501;phone-context=+358@host",
    "sip:401234501;phone-context=+358@host",
    "sip:%2B358401234501@host",
    "sip:%2b358%2d40%2D1234501@host",
    "sip:+358-40-123-4501@host;user=phone",
    "sip:+358401234501",
    "0401234501@host",
    "tel:+358401234501",
    "tel:+358-40-123-4501;ext=17",
    "tel:0401234501;phone-context=+358",
    "tel:1234501;phone-context=+35840",
    "tel:0401234501;phone-context=operator.example",
    '"Nimi" <sip:0401234501@x>',
    "Nimi <sip:0401234501@x>;tag=as3f",
    "<tel:+358401234501>",
    '"" <+358401234501>',
    '"Huolto, päivystys" <+358401234501>',
    '"0401234501" <0401234501>',
    '"Kahvila "Hidden Gem"" <0401234501>',
    '"Sami Private" <0401234501>',
    '"Unknown" <0401234501>',
    '"x" <sip:+358401234501@h>;party=calling;privacy=off;screen=yes',
]


@pytest.mark.parametrize("text", SPELLINGS_OF_ONE_NUMBER)
def test_a_number_is_the_same_however_it_is_written(text: str) -> None:
    assert normalise(text) == Number(kind="known", e164=phone.E164(MOBILE))


@pytest.mark.parametrize(
    ("text", "e164"),
    [
        # as a real Asterisk wrote them; all made up, the landline and 0901112222 in ranges that nobody was given
        ("+358401234501", "+358401234501"),
        ("00358401234502", "+358401234502"),
        ("0401234503", "+358401234503"),
        ("358401234504", "+358401234504"),
        ("+358501234505", "+358501234505"),
        ("0451234506", "+358451234506"),
        ("+35891234507", "+35891234507"),
        ("00358451234508", "+358451234508"),
        ("358501234509", "+358501234509"),
        ("0501234510", "+358501234510"),
        ("+358441234511", "+358441234511"),
        ("0401234512", "+358401234512"),
        ("+46701740605", "+46701740605"),
        ("0102708001", "+358102708001"),
        ("0207001234", "+358207001234"),
        ("0800123456", "+358800123456"),
        ("0901112222", "+358901112222"),
        # Finnish service numbers
        ("+358207001234", "+358207001234"),
        ("020 700 1234", "+358207001234"),
        ("010 2708001", "+358102708001"),
        ("029 123 4567", "+358291234567"),
        ("0295 016 000", "+358295016000"),
        ("030 7001234", "+358307001234"),
        ("0300 20200", "+35830020200"),
        ("0600 123456", "+358600123456"),
        ("0700 123456", "+358700123456"),
        ("0800-1-23456", "+358800123456"),
        ("020202", "+35820202"),
        ("0100100", "+358100100"),
        ("09 4245 5500", "+358942455500"),
        # short, yet a number that the world may call
        ("116117", "+358116117"),
        ("116 117", "+358116117"),
        ("+358116117", "+358116117"),
        ("tel:116117;phone-context=+358", "+358116117"),
        # foreign
        ("0046701740605", "+46701740605"),
        ("+46 (0)70-174 06 05", "+46701740605"),
        ("99046701740605", "+46701740605"),
        ("tel:0701740605;phone-context=+46", "+46701740605"),
        ("+390612345678", "+390612345678"),
        ("+39 06 12345678", "+390612345678"),
        ("+447700900123", "+447700900123"),
        ("004520123456", "+4520123456"),
        ("+12025550123", "+12025550123"),
        ("+80012345678", "+80012345678"),
        # possible, though the library knows no such range
        ("+15551234567", "+15551234567"),
    ],
)
def test_a_number_has_its_e164_form(text: str, e164: str) -> None:
    assert str(normalise(text)) == e164


def test_a_national_form_is_read_in_the_region_given() -> None:
    assert str(normalise("070-174 06 05", "SE")) == "+46701740605"
    assert str(normalise("22 12 34 56", "NO")) == "+4722123456"
    assert str(normalise("0401234501", "FI")) == "+358401234501"


def test_a_region_that_does_not_exist_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no such region"):
        normalise("0401234501", "XX")


# --- what is none -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "   ",
        "-",
        "--",
        "?",
        '""',
        '"" <>',
        '"Huolto" <>',
        "0",
        "00",
        "0000000000",
        "+0",
        "n/a",
        "none",
        "null",
        "anonymous",
        "Anonymous",
        "ANONYMOUS",
        "Anonymous caller",
        '"Anonymous" <anonymous>',
        "sip:anonymous@anonymous.invalid",
        "<sip:Anonymous@Anonymous.Invalid:5060;user=phone>;tag=1",
        "sip:unavailable@unknown.invalid",
        "anonymous@anonymous.invalid",
        "restricted",
        "Restricted",
        "withheld",
        "Number withheld",
        "number_withheld",
        "blocked",
        "Caller-ID blocked",
        "private",
        "Private number",
        "PRIVATE CALLER",
        "hidden",
        "secret number",
        "No Caller ID",
        "Presentation prohibited",
        "CLIR",
        "unknown",
        "Unknown number",
        "unavailable",
        "not available",
        "Not disclosed",
        "salainen",
        "Salainen numero",
        "SALAINEN NUMERO",
        "salattu numero",
        "numero salattu",
        "tuntematon",
        "Tuntematon numero",
        "tuntematon soittaja",
        "estetty",
        "numeronäyttö estetty",
        "numerona\N{COMBINING DIAERESIS}ytön esto",
        "yksityinen numero",
        "piilotettu",
        "anonyymi",
        "ei numeroa",
        "numero ei saatavilla",
        "hemligt",
        "hemligt nummer",
        "Hemlig uppringare",
        "okänt",
        "okänd",
        "Okänt nummer",
        "dolt",
        "Dolt nummer",
        "skyddat nummer",
        "privat nummer",
        "inget nummer",
        "ej tillgängligt",
        "anonym",
        # the word on a telephone's keypad
        "+266696687",
        "+7378742833",
        "+2562533",
        "+8656696",
        "+86282452253",
        # a number in clear that the caller withheld
        '"Anonymous" <+358401234512>',
        "Anonymous <sip:+358401234512@operator.example>",
        '"Private" <0401234512>',
        '"Salainen numero" <0401234512>',
        '"Hemligt nummer" <0401234512>',
        '"Caller" <sip:+358401234512@h>;party=calling;privacy=full;screen=yes',
        "<sip:+358401234512@h>;privacy=uri",
        "sip:+358401234512@anonymous.invalid",
    ],
)
def test_what_says_that_there_is_no_number_is_withheld(text: str | None) -> None:
    assert normalise(text) is WITHHELD


@pytest.mark.parametrize(
    "text",
    [
        # a house's extensions, and what could be one
        "201",
        "301",
        '"Toimisto" <201>',
        "2010",
        "20100",
        "12000",
        "112",
        "+358112",
        "118100",
        # somebody, but no number
        "asukas",
        '"Asukasportaali" <asukas>',
        "sip:front-desk@portaali.example",
        "Huolto",
        "number",
        "numero",
        "s",
        "sip:192.168.1.20",
        "sip:12.3.4.5",
        "Local/0501234510@click-out",
        # digits that might be another number than they look
        "401234501",  # a spreadsheet's 0401234501, or Romania without its plus
        "1234501",
        "46701740605",
        "35812345",  # Helsinki's or Häme's own, or Finland's
        "00441234511",  # Britain, or 0 for an outside line and 044 1234511
        "994461111111",  # Azerbaijan without its plus, or Sweden behind an operator's prefix
        "99450123456",
        "0358401234501",
        "+358358401234501",
        "+0401234501",
        "++358401234501",
        "+358+401234501",
        "0401234501 0401234502",
        "0401234501/2",
        "0401234501/0451234506",
        "0401234501, 0451234506",
        "0401234501 x12",
        "#31#0401234501",
        "puh. 0401234501",
        "0800-FLOWERS",
        '"Huolto" <+3584012345',  # cut off by the length of the PBX's column
        # impossible
        "+15551234",  # lacks its area code
        "+358",
        "+3584",
        "0123",
        "+3584012345678901",
        "+999123456789",
        "+" + "1" * 40,
        "0401234501" * 100,
    ],
)
def test_what_is_no_number_or_could_be_two_is_unusable(text: str) -> None:
    assert normalise(text) is UNUSABLE


def test_results_print_no_digit_but_by_str() -> None:
    known = normalise("0401234501")

    assert [repr(n) for n in (known, WITHHELD, UNUSABLE)] == ["Number(known)", "Number(withheld)", "Number(unusable)"]
    assert [str(n) for n in (known, WITHHELD, UNUSABLE)] == [MOBILE, "withheld", "unusable"]


# --- for every text ---------------------------------------------------------------------------------------------------

# Digits as numbers have them, so that prefixes meet often.
NUMBERLIKE = st.builds(
    "".join,
    st.lists(
        st.sampled_from(["+", "0", "00", "358", "990", "994", "99", "46", "44", "40", "50", "9", "116", "117", "20"])
        | st.text("0123456789", min_size=1, max_size=7),
        min_size=1,
        max_size=6,
    ),
)
WRITTEN = (
    st.text(max_size=40)
    | NUMBERLIKE
    | st.text("+0123456789 -./()<>@;:?%\"'sipteln\N{EN DASH}\N{NO-BREAK SPACE}\N{ARABIC-INDIC DIGIT FOUR}", max_size=40)
    | NUMBERLIKE.map(lambda digits: f'"x" <sip:{digits}@h;user=phone>')
    | st.builds("tel:{};phone-context=+{}".format, NUMBERLIKE, st.text("0123456789", max_size=4))
)
REGIONS = st.sampled_from(["FI", "FI", "FI", "SE", "NO", "EE", "DE", "IT", "US"])


@given(WRITTEN, REGIONS)
@example("\ud800", "FI")
@example("sip:%ff%fe@h", "FI")
@example("+35800401234501", "FI")
@example("½040", "FI")
def test_any_text_has_an_answer_that_reads_as_itself(text: str, region: str) -> None:
    number = normalise(text, region)

    assert (number.e164 is not None) == (number.kind == "known")
    assert not any(map(str.isdigit, repr(number)))
    if number.e164:
        assert re.fullmatch(r"\+[1-9][0-9]{4,14}", number.e164)
        assert normalise(number.e164, region) == number
        assert normalise(number.e164, "FI") == number


@given(st.from_regex(r"(?:\+358|00358|358)?0?[1-9][0-9]{2,13}", fullmatch=True) | NUMBERLIKE)
@example("+3580401234501")
@example("0358401234501")
@example("003580901112222")
@example("0035812345")
def test_the_fast_way_says_what_the_numbering_plan_says(written: str) -> None:
    found = phone._ordinary(written)

    assert found is None or found == phone._by_plan(written, "FI")


PLAIN_NATIONAL = st.from_regex(r"(?!358)[1-9][0-9]{6,11}", fullmatch=True)
PREFIXES = st.sampled_from(["+358", "00358", "358", "0", "+3580", "003580", "3580"])


@given(PLAIN_NATIONAL, PREFIXES, PREFIXES)
def test_all_plain_spellings_of_a_finnish_number_agree(national: str, one: str, other: str) -> None:
    assert normalise(one + national) == normalise(other + national)
    assert normalise(one + national).e164 == "+358" + national


@given(
    st.from_regex(r"[1-9][0-9]{4,11}", fullmatch=True),
    st.sampled_from(
        ["+358{}", "00358{}", "358{}", "0{}", "990358{}", "tel:0{};phone-context=+358", "sip:+358{}@h", "x <0{}>"]
    ),
    st.sampled_from(["", " ", "-", "\N{NO-BREAK SPACE}", "\N{EN DASH}", "."]),
    st.integers(1, 4),
)
@example("358401234501", "0{}", "", 1)
@example("12345", "358{}", "", 1)
def test_a_spelling_is_read_as_its_number_or_not_at_all(national: str, spelling: str, separator: str, at: int) -> None:
    written = spelling.format(national[:at] + separator + national[at:])

    assert normalise(written).e164 in {None, "+358" + national}


@given(
    st.sampled_from(["+46701740605", "+442079460123", "+390612345678", "+4930123456", "+37251234567", "+12025550123"])
)
def test_a_foreign_number_is_the_same_behind_any_international_prefix(e164: str) -> None:
    digits = e164[1:]

    for written in ("00" + digits, "990" + digits, "00 " + digits, f"sip:00{digits}@h", f'"" <{e164}>'):
        assert normalise(written).e164 == e164


@given(NUMBERLIKE)
def test_a_hidden_name_hides_any_number_behind_it(digits: str) -> None:
    assert normalise(f'"Anonymous" <{digits}>') is WITHHELD
    assert normalise(f"sip:{digits}@anonymous.invalid") is WITHHELD
