"""Letters: complete or not at all, true, alike in three languages, and readable by everybody."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, nodes

import letter_samples as samples
from callkeeper import letters
from callkeeper.errors import CallkeeperError, LetterIncomplete, NotAllowed
from callkeeper.letters import Addressee, Facts, Kind
from callkeeper.letters.blocks import Block, literal, parse

TEMPLATES = Path(letters.__file__).parent / "templates"
OMBUDSMAN = {"fi": "tietosuojavaltuutettu", "sv": "dataombudsmannen", "en": "Data Protection Ombudsman"}
COURT = {"fi": "tuomioistuimen käsiteltäväksi", "sv": "föra saken till domstol", "en": "take the matter to court"}
CASES = [(language, name) for language in letters.LANGUAGES for name in samples.CASES]
SECRET = (
    "säilyttämismäärä",
    "pakkokeino",
    "poliisi",
    "esitutkin",
    "polis",
    "tvångsmedel",
    "förundersökning",
    "bevarande",
)


def text(kind: Kind, language: letters.Language, **facts: object) -> str:
    return letters.render(kind, language, dataclasses.replace(samples.BASE, **facts)).text


@cache
def printed(language: letters.Language, name: str) -> letters.Letter:
    kind, facts = samples.case(name, language)
    return letters.render(kind, language, facts, samples.AINO)


def flowing(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# --- the golden files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "name"), CASES)
def test_a_letter_reads_as_its_golden_file(language, name):
    made = printed(language, name).text

    golden = samples.GOLDEN / language / f"{name}.txt"
    assert made == golden.read_text(encoding="utf-8"), "if it is meant: python tests/letter_samples.py"


def test_there_is_no_golden_file_without_its_case():
    assert {path for *_, path in samples.everything()} == set(samples.GOLDEN.rglob("*.txt"))


def test_every_letter_has_a_case_and_a_template_in_each_language():
    assert {kind for kind, _ in samples.CASES.values()} == set(Kind)
    for language in letters.LANGUAGES:
        assert {path.stem for path in (TEMPLATES / language).glob("[!_]*.txt")} == set(Kind)


def test_the_languages_have_words_for_the_same_codes():
    words = {
        language: {(group, code) for group, of in letters.words_of(language).items() for code in of}
        for language in letters.LANGUAGES
    }
    assert words["fi"] == words["sv"] == words["en"]
    assert set(letters.words_of("fi")["grounds"]) == set(letters.GROUNDS)
    assert set(letters.words_of("fi")["rights"]) == set(letters.RIGHTS)


def test_the_languages_ask_for_the_same_facts():
    for path in (TEMPLATES / "fi").glob("*.txt"):
        asked = {language: _facts_of(TEMPLATES / language / path.name) for language in letters.LANGUAGES}
        assert asked["fi"] == asked["sv"] == asked["en"], path.name


def _facts_of(template: Path) -> list[str]:
    """Every fact that the template names, and everything that it does with one, in order of name."""
    tree = Environment(autoescape=True).parse(template.read_text(encoding="utf-8"))
    names = [node.name for node in tree.find_all(nodes.Name)]
    fields = [f".{node.attr}" for node in tree.find_all(nodes.Getattr)]
    return sorted(names + fields + [f"|{node.name}" for node in tree.find_all(nodes.Filter)])


# --- what every letter carries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "name"), CASES)
def test_every_letter_carries_controller_contact_ticket_right_and_both_days(language, name):
    facts, made = samples.case(name, language)[1], flowing(printed(language, name).text)

    day = {"fi": "6.11.2026", "sv": "6 november 2026", "en": "6 November 2026"}[language]
    today = {"fi": "27.11.2026", "sv": "27 november 2026", "en": "27 November 2026"}[language]
    carried = ("Punavaara Oy", "Takomotie 1-3", "010 270 8001", "tietosuoja@phmgroup.com", "DSR-2026-0007", day, today)
    assert [one for one in carried if one not in made] == []
    assert letters.words_of(language)["rights"][facts.right] in made


@pytest.mark.parametrize(("language", "name"), [c for c in CASES if samples.CASES[c[1]][0] in letters.GIVE_LESS])
def test_a_letter_that_gives_less_tells_of_complaint_and_court(language, name):
    made = flowing(printed(language, name).text)

    assert OMBUDSMAN[language] in made
    assert COURT[language] in made
    assert "tietosuoja@om.fi" in made


@pytest.mark.parametrize("kind", [Kind.completed_erasure, Kind.erasure_resumed])
def test_an_open_line_at_the_vendor_is_told_with_the_complaint_right(kind):
    facts = samples.ERASED | {"right": "erasure", "recordings": samples.recordings("erased")}

    assert OMBUDSMAN["en"] in flowing(text(kind, "en", **facts | {"vendor_open": True}))
    assert OMBUDSMAN["en"] not in flowing(text(kind, "en", **facts))


def test_a_template_that_lost_the_complaint_right_is_found_and_not_printed(monkeypatch):
    assert letters.without_complaint_right() == []

    monkeypatch.setattr(letters, "GIVE_LESS", letters.GIVE_LESS | {Kind.receipt})

    assert letters.without_complaint_right() == ["fi/receipt", "sv/receipt", "en/receipt"]
    with pytest.raises(LetterIncomplete, match="the complaint right and the judicial remedy"):
        text(Kind.receipt, "sv", due_on=date(2026, 12, 7))


def test_a_refusal_by_section_34_offers_the_ombudsman():
    refused = {"right": "access"}
    assert "annetaan tietosuojavaltuutetulle" in flowing(
        text(Kind.refused, "fi", grounds=("data_protection_act_34",), **refused)
    )
    assert "annetaan tietosuojavaltuutetulle" not in flowing(
        text(Kind.refused, "fi", grounds=("excessive",), **refused)
    )


def test_the_access_letter_answers_all_of_article_15():
    made = flowing(printed("en", "completed_access").text)

    asked = {
        "confirmation": "We confirm that we process personal data concerning you",
        "15(1)(a) purposes": "customer care, for assuring the quality of customer service, for verifying transactions and for staff training",
        "15(1)(b) categories": "the audio recording of the call, its date, time and length, and the caller's telephone number",
        "15(1)(c) recipients": "Linna Puhepalvelut Oy",
        "15(1)(d) period": "To be erased: 4 December 2026",
        "15(1)(e) rights": "rectification or erasure of your data or restriction of the processing, and the right to object",
        "15(1)(f) complaint": "Data Protection Ombudsman",
        "15(1)(g) source": "from the people speaking",
        "15(1)(h) decisions": "not used for automated decision-making or profiling",
        "15(2) transfers": "not transferred outside the EU or EEA",
        "15(3) copy": "The first copy is free of charge",
        "15(4) redactions": "the sound is muted from 1:05 to 1:20",
        "C-579/21 openings": "Played: 5 June 2026, 10:12 Purpose: assuring the quality of customer service",
        "the vendor's portal": "in the recording service's own system, so that is not included here",
        "what else is held": "Data protection request DSR-2026-0003",
    }
    assert [article for article, words in asked.items() if words not in made] == []


# --- never a word of a preservation order -----------------------------------------------------------------------------


def test_no_template_and_no_word_speaks_of_an_authoritys_order():
    written = [*TEMPLATES.rglob("*.txt"), *(TEMPLATES.parent / "words").glob("*.toml")]
    found = [(path.name, word) for path in written for word in SECRET if word in path.read_text("utf-8").lower()]
    assert found == []


def test_no_fact_can_name_a_hold():
    named = {field.name for record in _records() for field in dataclasses.fields(record)}
    assert [name for name in named if re.search("hold|block|case|preserv", name)] == []


def _records():
    return [getattr(letters, name) for name in letters.__all__ if dataclasses.is_dataclass(getattr(letters, name))]


@pytest.mark.parametrize("language", letters.LANGUAGES)
def test_a_deferral_is_worded_alike_whatever_the_ground(language):
    facts = {"right": "erasure", "missing_days": (), "recordings": samples.recordings("deferred")}
    made = {text(Kind.erasure_deferred, language, **facts, grounds=grounds) for grounds in (None, *((g,) for g in letters.GROUNDS))}  # fmt: skip
    assert len(made) == 1


@pytest.mark.parametrize("language", letters.LANGUAGES)
def test_openings_for_a_claim_an_authority_or_security_are_worded_alike(language):
    purposes = letters.words_of(language)["purposes"]
    assert purposes["legal_claim"] == purposes["authority"] == purposes["security"]


def test_without_recipients_nobody_is_told_that_there_were_none():
    """One that must not be told of is left out of the facts: the letter then says nothing, rather than what is not so."""
    made = flowing(
        text(Kind.completed_erasure, "en", right="erasure", recordings=samples.recordings("erased"), **samples.ERASED)
    )
    assert "disclosed" not in made


# --- incomplete, or untrue --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", letters.LANGUAGES)
@pytest.mark.parametrize("name", [name for name, (_, facts) in samples.CASES.items() if set(facts) - {"reasons"}])
def test_a_letter_without_one_of_its_facts_names_it(language, name):
    kind, facts = samples.case(name, language)
    unused = {"reasons", "lost_days", "right", "vendor_openings_unseen", "suppressed_until"}
    if not (name.startswith("recipient_notice") and name.endswith("rectification")) and kind is Kind.recipient_notice:
        unused |= {"corrections"}

    if not facts.recordings:
        unused |= {"package_until"}

    for lost in set(samples.CASES[name][1]) - unused:
        with pytest.raises(LetterIncomplete, match=lost) as incomplete:
            letters.render(kind, language, dataclasses.replace(facts, **{lost: None}))
        assert lost in incomplete.value.fields


def test_everything_that_is_missing_is_named_at_once():
    with pytest.raises(LetterIncomplete) as incomplete:
        text(Kind.extension, "fi")
    assert incomplete.value.fields == ("due_on", "extension_reason", "extended_to")


@pytest.mark.parametrize("field", ["name", "address", "phone", "email"])
def test_a_controller_that_cannot_be_reached_sends_no_letter(field):
    controller = dataclasses.replace(samples.PUNAVAARA, **{field: " "})
    with pytest.raises(LetterIncomplete, match=rf"controller\.{field}"):
        text(Kind.portability, "sv", right="portability", controller=controller)


def test_a_recordings_missing_outcome_is_named_with_its_place():
    with pytest.raises(LetterIncomplete, match=r"recordings\[2\]\.outcome"):
        text(Kind.partial, "fi", right="restriction", recordings=samples.recordings("restricted", None), grounds=("excessive",), recipients=())  # fmt: skip


def test_a_code_without_words_stops_the_letter():
    with pytest.raises(LetterIncomplete, match="words for grounds 'because'"):
        text(Kind.refused, "en", grounds=("because",))
    with pytest.raises(LetterIncomplete, match="words for asked 'blood_group'"):
        text(Kind.clarification, "en", asked=("blood_group",), answer_by=date(2026, 12, 6))


def test_words_of_the_officer_are_told_as_they_are():
    asked = ("Which of your two companies made the call?",)
    assert asked[0] in flowing(text(Kind.clarification, "en", asked=asked, answer_by=date(2026, 12, 6)))


@pytest.mark.parametrize(
    ("kind", "facts", "why"),
    [
        (Kind.no_data, {"searched": samples.SEARCHED, "missing_days": (date(2026, 11, 2),)}, "days_missing"),
        (Kind.completed_erasure, {"right": "access"}, "does not answer"),
        (Kind.portability, {"right": "erasure"}, "does not answer"),
        (
            Kind.completed_erasure,
            samples.ERASED | {"right": "erasure", "recordings": samples.recordings("erased", "refused")},
            "partial",
        ),
        (
            Kind.extension,
            {"due_on": date(2026, 11, 26), "extended_to": date(2027, 2, 8), "extension_reason": "complexity"},
            "first due day",
        ),
        (
            Kind.restriction_lifting,
            {
                "right": "restriction",
                "recordings": samples.recordings(None),
                "lifts_on": date(2026, 11, 27),
                "lift_reason": "asked",
            },
            "before it is lifted",
        ),
    ],
)
def test_a_letter_that_would_not_be_true_is_refused(kind, facts, why):
    with pytest.raises(NotAllowed, match=why):
        text(kind, "fi", **facts)


# --- facts are no markup, and stay where they belong ------------------------------------------------------------------


@pytest.mark.parametrize("evil", ["# Title", "## heading", "- item", "| cell | cell |", "a\n\n# b", "#let x = 1", "*b* _i_ $x$ @y <z>", "{{ ticket }}", "\x02\x04|"])  # fmt: skip
def test_a_fact_is_never_read_as_markup(evil):
    (block,) = parse(literal(evil))
    assert block.kind == "paragraph"
    made = letters.render(
        Kind.cannot_identify,
        "en",
        dataclasses.replace(samples.BASE, reasons=(evil,)),
        Addressee(name=evil, address=(evil, evil)),
    )
    assert " ".join(block.text.split()) in flowing(made.text)


@given(fact=st.text(max_size=60), before=st.sampled_from(["", "Reason: ", "- ", "| ", "# "]))
def test_whatever_a_fact_is_it_stays_in_its_place(fact, before):
    body = f"{before}{literal(fact)}" + (" |" if before == "| " else "")

    blocks = parse(f"one\n\n{body}\n\ntwo")

    assert [blocks[0].text, blocks[-1].text] == ["one", "two"]
    kind = {"- ": "list", "| ": "table", "# ": "title"}.get(before, "paragraph")
    assert [block.kind for block in blocks[1:-1]] == ([kind] if body else [])
    assert all(len(block.rows) <= 1 and all(len(row) == 1 for row in block.rows) for block in blocks)


def test_tables_lists_and_paragraphs_are_told_apart():
    assert parse("# T\n\none\ntwo\n\n- a\n- b\n\n- c\n| x | y |\n| 1 |  |\n## h\nthree") == [
        Block(kind="title", text="T"),
        Block(kind="paragraph", text="one two"),
        Block(kind="list", rows=[["a"], ["b"]]),
        Block(kind="list", rows=[["c"]]),
        Block(kind="table", rows=[["x", "y"], ["1", ""]]),
        Block(kind="heading", text="h"),
        Block(kind="paragraph", text="three"),
    ]


def test_nothing_of_a_letter_shows_in_a_repr():
    kind, facts = samples.case("completed_access", "fi")
    shown = repr((facts, samples.AINO, *facts.searched, *facts.recordings, letters.render(kind, "fi", facts)))
    assert not re.search("040 123|Aino|Linna|puhe", shown)


def test_the_addressee_is_only_on_the_print_that_was_given_it():
    facts = dataclasses.replace(samples.BASE, right="portability")
    with_name = letters.render("portability", "fi", facts, samples.AINO)
    without = letters.render("portability", "fi", facts)
    assert "Aino Esimerkki" in with_name.text
    assert "Aino" not in without.text
    assert not any("Aino" in path.read_text("utf-8") for path in TEMPLATES.rglob("*.txt"))


def test_a_page_that_cannot_be_set_says_so_without_its_content(monkeypatch):
    import typst

    def broken(*_, **__):
        raise typst.TypstError("expected content, found 0401234501")

    monkeypatch.setattr("typst.compile", broken)
    with pytest.raises(CallkeeperError, match=r"^The letter could not be set\.") as wrong:
        text(Kind.portability, "fi", right="portability")
    assert "0401234501" not in str(wrong.value)


@pytest.mark.parametrize("name", ["Юлия Иванова", "Nguyễn Thị Ánh", "محمد علي", "Žofia Łęcka"])
def test_a_name_may_be_of_many_scripts(name):
    facts = dataclasses.replace(samples.BASE, right="portability")
    assert name in letters.render("portability", "fi", facts, Addressee(name=name)).text


@pytest.mark.parametrize("name", ["李伟", "Aino 😀"])
def test_a_script_that_the_font_lacks_is_asked_for_in_latin_letters(name):
    facts = dataclasses.replace(samples.BASE, right="portability")
    with pytest.raises(CallkeeperError, match="write it in Latin letters") as wrong:
        letters.render("portability", "fi", facts, Addressee(name=name))
    assert name not in str(wrong.value)


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "name"), CASES)
def test_the_pdf_is_tagged_titled_and_says_what_the_text_says(language, name):
    from pypdf import PdfReader

    made = printed(language, name)

    pdf = PdfReader(io.BytesIO(made.pdf))
    root = pdf.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"].startswith(language)
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert pdf.metadata.title == made.title
    assert b"pdfuaid:part" in made.pdf
    tags = list(_tags(root["/StructTreeRoot"]))
    assert {"Document", "P"} <= set(tags)
    assert ("TH" in tags) == ("Table" in tags)
    said = "\n".join(page.extract_text() for page in pdf.pages)
    assert set(re.findall(r"\w+", made.text)) - set(re.findall(r"\w+", said)) == set()


@pytest.mark.parametrize(("language", "name"), CASES)
def test_the_pdf_is_sound_and_each_piece_of_a_page_has_its_place_in_the_tree(language, name):
    """By pikepdf, which is qpdf: syntax, marked content, headings in order, tables with heads, fonts inside, nothing that acts."""
    import pikepdf

    with pikepdf.open(io.BytesIO(printed(language, name).pdf)) as pdf:
        assert pdf.check_pdf_syntax() == []
        tree = _tree(pdf.Root.StructTreeRoot)
        levels = [int(str(tag)[2:]) for tag, _, _ in tree if re.fullmatch(r"/H\d", str(tag))]
        assert [str(tag) for tag, _, _ in tree].count("/Title") == 1
        assert levels == [] or levels[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        parents = {(str(tag), str(parent)) for tag, parent, _ in tree}
        assert {p for t, p in parents if t in ("/TH", "/TD")} <= {"/TR"}
        assert {p for t, p in parents if t == "/LBody"} <= {"/LI"}
        placed = {piece for _, _, pieces in tree for piece in pieces}
        for page in pdf.pages:
            marked, loose = _marked(pikepdf.parse_content_stream(page))
            assert loose == 0
            assert {(page.obj.objgen, piece) for piece in marked} <= placed
            assert "/Annots" not in page.obj
            for font in page.obj.Resources.Font.values():
                (inner,) = font.DescendantFonts if "/DescendantFonts" in font else (font,)
                assert any(str(key).startswith("/FontFile") for key in dict(inner.FontDescriptor))
                assert "/ToUnicode" in font
        assert not {"/OpenAction", "/AA", "/JavaScript", "/AcroForm"} & set(pdf.Root.keys())


def _marked(operations) -> tuple[set[int], int]:
    """The pieces of a page that are in the tree's hands, and how often text is set outside of any and of what is mere decoration."""
    inside, pieces, loose = [], set(), 0
    for operands, operator in operations:
        if (name := str(operator)) in ("BDC", "BMC"):
            known = operands[1] if len(operands) > 1 else {}
            inside.append("/MCID" in known or str(operands[0]) == "/Artifact")
            pieces |= {int(known["/MCID"])} if "/MCID" in known else set()
        elif name == "EMC":
            inside.pop()
        elif name in ("Tj", "TJ", "'", '"'):
            loose += not any(inside)
    return pieces, loose


def _tree(element, parent="", page=None) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Each element's tag, its parent's, and the pieces of which page it is made of."""
    import pikepdf

    tag = str(element.get("/S", ""))
    page = element.get("/Pg", page)
    found: list = [(tag, parent, pieces := [])] if tag else []
    kids = element.get("/K", [])
    for kid in kids if isinstance(kids, list | pikepdf.Array) else [kids]:
        if isinstance(kid, int):
            pieces.append((page.objgen, kid))
        elif "/MCID" in kid:
            pieces.append((kid.get("/Pg", page).objgen, int(kid.MCID)))
        elif "/S" in kid:
            found += _tree(kid, tag, page)
    return found


def _tags(element) -> list[str]:
    kids = element.get("/K", [])
    kids = kids.get_object() if hasattr(kids, "get_object") else kids
    found = [str(element["/S"]).lstrip("/")] if "/S" in element else []
    for kid in kids if isinstance(kids, list) else [kids]:
        kid = kid.get_object() if hasattr(kid, "get_object") else kid
        if isinstance(kid, dict):
            found += _tags(kid)
    return found


def test_the_same_facts_give_the_same_bytes():
    kind, facts = samples.case("completed_access", "sv")
    assert letters.render(kind, "sv", facts).pdf == letters.render(kind, "sv", facts).pdf


def test_a_thousand_recordings_make_a_letter():
    many = samples.recordings("erased") * 1000
    made = text(Kind.completed_erasure, "fi", right="erasure", recordings=many, **samples.ERASED)
    assert "\n1000 " in made


def test_the_configurations_controllers_can_send():
    from callkeeper import controllers

    config = controllers.load_config(Path(__file__).parents[2] / "config" / "callkeeper.toml")
    made = [letters.sender(controller) for controller in config.controllers]
    assert made[1].name == "Punavaara Oy"
    assert re.fullmatch(r"[0-9 ]+", made[1].phone)


def test_facts_need_what_every_letter_carries():
    with pytest.raises(TypeError):
        Facts(controller=samples.PUNAVAARA, ticket="DSR-2026-0007", right="access")
