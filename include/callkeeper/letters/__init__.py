"""The letters to a person who asked, and to those who were given her data: fi, sv, en; a tagged PDF and plain text.

A template a letter and language (``templates/<language>/<kind>.txt``), the codes' words in ``words/<language>.toml``, one page
for all (``letter.typ``). Names and addresses come as a parameter of one print; nothing here stores anything.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from jinja2 import Environment, FileSystemLoader, Undefined

from callkeeper.clock import HELSINKI
from callkeeper.errors import CallkeeperError, LetterIncomplete, NotAllowed
from callkeeper.letters.blocks import Block, as_text, literal, parse, wrap
from callkeeper.letters.facts import (
    GIVE_LESS,
    RIGHTS,
    RIGHTS_OF,
    WHOLE,
    Addressee,
    Correction,
    Facts,
    Held,
    Kind,
    Opening,
    Recipient,
    Recording,
    Redaction,
    Search,
    Sender,
)

if TYPE_CHECKING:
    from callkeeper.controllers import Controller

__all__ = [
    "GIVE_LESS",
    "GROUNDS",
    "LANGUAGES",
    "RIGHTS",
    "RIGHTS_OF",
    "Addressee",
    "Correction",
    "Facts",
    "Held",
    "Kind",
    "Language",
    "Letter",
    "Opening",
    "Recipient",
    "Recording",
    "Redaction",
    "Search",
    "Sender",
    "day_in_words",
    "duration_in_words",
    "position_in_words",
    "render",
    "sender",
    "spoken",
    "time_in_words",
    "without_complaint_right",
    "words_of",
]

HERE = Path(__file__).parent

Language = Literal["fi", "sv", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("fi", "sv", "en")

GROUNDS: Final = (
    "manifestly_unfounded",
    "excessive",
    "not_identifiable",
    "others_rights",
    "legal_obligation",
    "legal_claims",
    "compelling_grounds",
    "data_protection_act_34",
)
"""What a refusal may rest on: GDPR Art. 12(5) twice, 11(2) with 12(2), 15(4), 17(3)(b), (e), 21(1); Tietosuojalaki 34 §."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Letter:
    """One print: a tagged PDF (PDF/UA-1), the same in plain text, and its title."""

    pdf: bytes
    text: str
    title: str


def sender(controller: Controller) -> Sender:
    """The controller as its letters name it."""
    contact = controller.contact
    return Sender(name=controller.name, address=contact.address, phone=spoken(contact.phone), email=contact.email)


def render(kind: Kind | str, language: Language, facts: Facts, addressee: Addressee | None = None) -> Letter:
    """The letter, the same bytes for the same facts.

    Raises LetterIncomplete, naming every field that is missing; NotAllowed where this letter would say what is not so.
    """
    kind = Kind(kind)
    _refuse_untrue(kind, facts)
    blocks = parse(_body(kind, language, facts))
    words = words_of(language)
    title, *body = blocks
    page = {
        "language": language,
        "title": title.text,
        "sender": [
            facts.controller.name,
            facts.controller.address,
            f"{words['labels']['phone']} {facts.controller.phone}",
            f"{words['labels']['email']} {facts.controller.email}",
        ],
        "addressee": [addressee.name, *addressee.address] if addressee else [],
        "date": day_in_words(facts.dated, language),
        "particulars": [
            [words["labels"]["ticket"], facts.ticket],
            [words["labels"]["right"], words["rights"][facts.right]],
            [words["labels"]["received"], day_in_words(facts.received_on, language)],
        ],
        "blocks": [block.data() for block in body],
        "regards": words["labels"]["regards"],
    }
    page = _plain(page)
    return Letter(pdf=_pdf(page, facts.dated), text=_text(page, title, body), title=title.text)


def without_complaint_right() -> list[str]:
    """The templates (``sv/refused``) of letters that give less and do not name authority and court; there should be none.

    ``render`` refuses them as well; this is what the morning's proof of the notice asks.
    """
    from jinja2 import nodes

    lacking = []
    for language in LANGUAGES:
        part = f"{language}/_complaint.txt"
        told = " ".join((HERE / "templates" / part).read_text(encoding="utf-8").split())
        complete = all(said in told for said in words_of(language)["complaint"].values())
        for kind in sorted(GIVE_LESS):
            written = (HERE / "templates" / language / f"{kind}.txt").read_text(encoding="utf-8")
            # On the template's first level: what stands under a condition may be left out.
            body = _environment(language).parse(written).body
            included = [
                n.template.value for n in body if isinstance(n, nodes.Include) and isinstance(n.template, nodes.Const)
            ]
            if not complete or part not in included:
                lacking.append(f"{language}/{kind}")
    return lacking


def _refuse_untrue(kind: Kind, facts: Facts) -> None:
    if facts.right not in RIGHTS_OF.get(kind, RIGHTS):
        raise NotAllowed(f"The letter {kind} does not answer a request of {facts.right}.")
    if kind is Kind.no_data and facts.missing_days:
        raise NotAllowed(
            "Days of the period that was searched have not come in, so nobody can say that there is nothing.",
            mend="Send days_missing.",
        )
    if kind in WHOLE and any(r.outcome not in (None, *WHOLE[kind]) for r in facts.recordings or ()):
        raise NotAllowed(
            f"Not every recording is {WHOLE[kind][0]}, so this gives less than was asked.", mend="Send partial."
        )
    if kind is Kind.extension and facts.due_on and facts.dated > facts.due_on:
        raise NotAllowed("An extension is told by the first due day, and that is past.", mend="Answer the request.")
    if kind is Kind.restriction_lifting and facts.lifts_on and facts.lifts_on <= facts.dated:
        raise NotAllowed("A restriction's end is told before it is lifted.", mend="Choose a later day.")


# --- the body, from its template --------------------------------------------------------------------------------------

_lacking: ContextVar[dict[str, None]] = ContextVar("lacking")


class _Lacking(Undefined):
    """A fact that a template asks for and nobody gave: noted, so that all of them are told at once."""

    def _note(self) -> str:
        where = getattr(self._undefined_obj, "where", "")
        _lacking.get()[f"{where}.{self._undefined_name}" if where else str(self._undefined_name)] = None
        return ""

    def __str__(self) -> str:
        return self._note()

    def __bool__(self) -> bool:
        return bool(self._note())

    def __len__(self) -> int:
        return len(self._note())

    def __iter__(self) -> Any:
        return iter(self._note())

    def __eq__(self, _: object) -> bool:
        return bool(self._note())

    __hash__ = None  # type: ignore[assignment]


def _body(kind: Kind, language: Language, facts: Facts) -> str:
    lacking: dict[str, None] = {}
    token = _lacking.set(lacking)
    try:
        known = _known("", facts)
        for name, value in vars(known).items():
            if name in ("ticket", "right") and not value:
                lacking[name] = None
        for part in dataclasses.fields(facts.controller):
            if not getattr(facts.controller, part.name).strip():
                lacking[f"controller.{part.name}"] = None
        template = _environment(language).get_template(f"{language}/{kind}.txt")
        body = template.render(vars(known) | {"w": words_of(language), "kind": kind.value})
    finally:
        _lacking.reset(token)
    if kind in GIVE_LESS and not all(
        said in " ".join(body.split()) for said in words_of(language)["complaint"].values()
    ):
        lacking["the complaint right and the judicial remedy"] = None
    if lacking:
        raise LetterIncomplete(kind, tuple(lacking))
    return body


def _known(where: str, value: Any) -> Any:
    """The facts with everything left out that is None or blank, so that asking for it is asking for what is missing."""
    if dataclasses.is_dataclass(value):
        known = {
            field.name: _known(f"{where}.{field.name}".lstrip("."), fact)
            for field in dataclasses.fields(value)
            if (fact := getattr(value, field.name)) is not None and not (isinstance(fact, str) and not fact.strip())
        }
        return SimpleNamespace(**known, where=where) if where else SimpleNamespace(**known)
    if isinstance(value, tuple):
        return [_known(f"{where}[{n}]", one) for n, one in enumerate(value, 1)]
    return value


T = TypeVar("T")


@cache
def _environment(language: Language) -> Environment:
    words = words_of(language)

    def given(say: Callable[..., Any]) -> Callable[..., Any]:
        return lambda fact, *rest: fact if isinstance(fact, Undefined) else say(fact, *rest)

    def word(code: str, group: str) -> str:
        if code not in words[group]:
            _lacking.get()[f"words for {group} {code!r}" if code.isidentifier() else f"words for {group}"] = None
        return str(words[group].get(code, ""))

    def said(text: str, group: str) -> str:
        """A code's words, or words as they were given; never a code without words."""
        return word(text, group) if text in words[group] or text.isidentifier() else text

    def some(found: Sequence[T], name: str) -> Sequence[T]:
        if not found:
            _lacking.get()[name] = None
        return found

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=_Lacking,
        finalize=lambda fact: str(fact) if isinstance(fact, Undefined) else literal(fact),
        autoescape=False,  # noqa: S701  # no HTML: every fact passes `literal`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # an included part ends its line
    )
    filters: dict[str, Callable[..., Any]] = {
        "day": lambda day: day_in_words(day, language),
        "days": lambda days: ", ".join(_ranges(days, language)),
        "span": lambda search: _span(search.from_day, search.to_day, language),
        "time": lambda at: time_in_words(at, language),
        "duration": duration_in_words,
        "position": position_in_words,
        "word": word,
        "said": said,
        "some": some,
    }
    made.filters |= {name: given(say) for name, say in filters.items()}
    return made


@cache
def words_of(language: Language) -> Mapping[str, Any]:
    return tomllib.loads((HERE / "words" / f"{language}.toml").read_text(encoding="utf-8"))


# --- days, times ------------------------------------------------------------------------------------------------------

_MONTHS: Final[Mapping[str, str]] = {
    "sv": "januari februari mars april maj juni juli augusti september oktober november december",
    "en": "January February March April May June July August September October November December",
}


def day_in_words(day: date, language: Language) -> str:
    """``3.6.2026`` in Finnish, ``3 juni 2026``, ``3 June 2026``."""
    if language == "fi":
        return f"{day.day}.{day.month}.{day.year}"
    return f"{day.day} {_MONTHS[language].split()[day.month - 1]} {day.year}"


def time_in_words(at: datetime, language: Language) -> str:
    """In Helsinki's time, to the minute, as a clock on the wall shows it."""
    here = at.astimezone(HELSINKI)
    clock = {"fi": f" klo {here.hour}.{here:%M}", "sv": f" kl. {here.hour}.{here:%M}", "en": f", {here:%H:%M}"}
    return day_in_words(here.date(), language) + clock[language]


def _ranges(days: Sequence[date], language: Language) -> list[str]:
    """Days that follow each other as one range."""
    runs: list[list[date]] = []
    for day in sorted(set(days)):
        if runs and day.toordinal() == runs[-1][-1].toordinal() + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return [_span(r[0], r[-1], language) for r in runs]


def _span(first: date, last: date, language: Language) -> str:
    """``1.–2.8.2026``, ``1–2 August 2026``: what both days share is said once."""
    if first == last:
        return day_in_words(first, language)
    begun = day_in_words(first, language)
    if first.year == last.year:
        begun = begun.removesuffix(str(first.year)).strip()
        if first.month == last.month:
            begun = f"{first.day}." if language == "fi" else str(first.day)
    return f"{begun}{'–' if ' ' not in begun else ' – '}{day_in_words(last, language)}"


def duration_in_words(seconds: int) -> str:
    hours, minutes, left = seconds // 3600, seconds // 60 % 60, seconds % 60
    return " ".join(f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (left, "s")) if n) or "0 s"


def position_in_words(ms: int) -> str:
    """``1:05``: minutes and seconds from the recording's beginning."""
    return f"{ms // 60_000}:{ms // 1000 % 60:02d}"


def spoken(number: str) -> str:
    """A Finnish number in the groups in which people write it; any other as it is."""
    from phonenumbers import NumberParseException, PhoneNumberFormat, format_number
    from phonenumbers import parse as parse_number

    try:
        parsed = parse_number(number, "FI")
    except NumberParseException:
        return number
    home = PhoneNumberFormat.NATIONAL if parsed.country_code == 358 else PhoneNumberFormat.INTERNATIONAL
    return format_number(parsed, home)


# --- the page and the text --------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Every text on one line, without control characters."""
    if isinstance(value, str):
        return literal(value)[1:].replace("\x04", "|")
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _text(page: Mapping[str, Any], title: Block, body: Sequence[Block]) -> str:
    parts = [
        "\n".join(page["sender"]),
        "\n".join(page["addressee"]),
        page["date"],
        as_text([title]),
        "\n".join(line for name, value in page["particulars"] for line in wrap(f"{name}: {value}")),
        as_text(body),
        page["regards"],
        page["sender"][0],
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


_LAST_LETTER: Final = 0x24FF
"""Beyond it are the scripts and pictures that the page's fonts do not have."""


def _pdf(page: Mapping[str, Any], day: date) -> bytes:
    import typst

    try:
        made = typst.compile(
            (HERE / "letter.typ").read_bytes(),
            format="pdf",
            pdf_standards="ua-1",
            sys_inputs={"data": json.dumps(page)},
            ignore_system_fonts=True,
            timestamp=int(datetime.combine(day, time(), UTC).timestamp()),
        )
    except typst.TypstError:  # its text may hold what the letter does
        mend = "This is a fault of callkeeper: report it."
        if any(ord(c) > _LAST_LETTER for c in json.dumps(page, ensure_ascii=False)):
            mend = "A name or a reason has characters that the letter's font lacks: write it in Latin letters."
        raise CallkeeperError("The letter could not be set.", mend=mend) from None
    assert isinstance(made, bytes)
    return made
