"""Any written form of a phone number → E.164, withheld, or not a number.

Nothing is guessed: what could be another number is unusable (docs/adr/0111). What says that there is no number is
withheld (docs/adr/0112). A number in clear lives in memory only: ``repr`` never shows a digit, and what is stored is
its pseudonym and its sealed value (callkeeper.pseudonyms).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NewType
from urllib.parse import unquote

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

E164 = NewType("E164", str)
"""``+``, country code and national number, at most 15 digits: ``+358…``."""

Kind = Literal["known", "withheld", "unusable"]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Number:
    """The other end of a call: ``known`` by its E.164 form, ``withheld`` (none given), or ``unusable`` (no number)."""

    kind: Kind
    e164: E164 | None = None

    def __str__(self) -> str:
        return self.e164 or self.kind

    def __repr__(self) -> str:
        return f"Number({self.kind})"


WITHHELD: Final = Number(kind="withheld")
UNUSABLE: Final = Number(kind="unusable")


def normalise(text: str | None, region: str = "FI") -> Number:
    """The number that ``text`` writes, read as in ``region`` (ISO 3166); never raises, whatever the text."""
    if text is None:
        return WITHHELD
    if region == "FI" and (known := _ordinary(text) or _ordinary(text.translate(_SPACING))):
        return Number(kind="known", e164=known)
    return _read(text, region)


_ORDINARY: Final = re.compile(r"(?:\+3580?|0)(?!358)([1-9][0-9]{4,11})|(?:00)?3580?(?!358)([1-9][0-9]{6,11})")
_SPACING: Final = str.maketrans("", "", " -.()")


def _ordinary(written: str) -> E164 | None:
    """A Finnish number in an ordinary spelling, 20 times faster than ``_by_plan``, which says the same."""
    found = _ORDINARY.fullmatch(written)
    return E164("+358" + (found[1] or found[2])) if found else None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The caller hid the number. As a display name in front of a number these count too.
_HIDDEN = _words("""
    anonymous private restricted withheld blocked barred hidden secret concealed suppressed prohibited confidential clir
    anonyymi yksityinen salainen salattu estetty piilotettu esto numeronesto numeronäytönesto
    anonym privat hemlig hemligt dold dolt skyddad skyddat spärrad spärrat
""")
# The source has no number to give. As a display name these speak of the name, not of the number behind it.
_NONE = _words("""
    unknown unavailable undisclosed none null nil no not available disclosed
    tuntematon ei saatavilla okänd okänt inget ej tillgänglig tillgängligt
""")
_FILLER = _words("""
    number numero numeron numeroa nummer id caller callerid cli call identity presentation näyttö näytön numeronäyttö
    numeronäytön soittaja soittajan uppringare
""")
# What Twilio and some networks send for ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN, UNAVAILABLE and NO CALLER ID: the word
# on a telephone's keypad. UNAVAILABLE would pass for a number in Chengdu.
_KEYPAD_WORDS = _words("+266696687 +7378742833 +2562533 +8656696 +8566696 +86282452253 +464")

_LONGEST = 250
"""Characters. What is longer is no number, and not worth keeping in the cache."""

_NAME_ADDR = re.compile(r"(?P<name>.*)<(?P<address>[^<>]*)>[^<>]*", re.DOTALL)
_URI = re.compile(r"\s*(sips?|tel)\s*:(.*)", re.IGNORECASE | re.DOTALL)
_PRIVACY = re.compile(r';\s*privacy\s*=\s*"?(?:full|uri|id|user|header|session|critical)\b', re.IGNORECASE)
_CONTEXT = re.compile(r";\s*phone-context\s*=\s*(\+[0-9]+)", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_SEPARATORS = str.maketrans("", "", " \t\r\n-./()\N{MIDDLE DOT}")
_DIGITS = re.compile(r"\+?[0-9]+")


@lru_cache(maxsize=8192)
def _read(text: str, region: str) -> Number:
    """The way for every form; ``normalise`` takes ordinary Finnish ones past it. ValueError: no such region."""
    if len(text) > _LONGEST:
        return UNUSABLE
    text = _plain(text)
    if _PRIVACY.search(text):  # Remote-Party-ID's own mark, beside a number in clear
        return WITHHELD
    if named := _NAME_ADDR.fullmatch(text):
        if _says(named["name"], _HIDDEN):
            return WITHHELD
        text = named["address"]
    context = None
    uri = _URI.fullmatch(text)
    if uri or "@" in text:
        if found := _CONTEXT.search(text):
            context = found[1]
        user, at, host = (uri[2] if uri else text).rpartition("@")
        if re.split("[;:?]", host, maxsplit=1)[0].strip().lower().endswith(".invalid"):  # RFC 3323; 3GPP TS 24.229
            return WITHHELD
        if not at and uri and uri[1].lower() != "tel" and "." in host:  # a SIP address of a host, not of a user
            return UNUSABLE
        text = re.split("[;:]", user if at else host, maxsplit=1)[0]
    text = _plain(unquote(text)).strip(" \t\r\n\"'")
    if not any(map(str.isalnum, text)) or _says(text, _HIDDEN | _NONE) or text.casefold() == "n/a":
        return WITHHELD
    written = text.translate(_SEPARATORS)
    if not _DIGITS.fullmatch(written):
        return UNUSABLE
    if not written.strip("+0") or written in _KEYPAD_WORDS:
        return WITHHELD
    before, slash, after = text.rpartition("/")
    if slash and ("/" in before or len(after.translate(_SEPARATORS)) < 4):  # 040…501/2 writes two numbers
        return UNUSABLE
    if context and written[0] != "+":
        written = context + written
    known = (_ordinary(written) if region == "FI" else None) or _by_plan(written, region)
    return Number(kind="known", e164=known) if known else UNUSABLE


def _plain(text: str) -> str:
    """Compatibility forms, any script's digits, every dash and space as ASCII's; invisible marks gone."""
    if text.isascii():
        return text
    plain = []
    for c in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(c)
        if category == "Nd":
            plain.append(str(unicodedata.decimal(c)))
        elif category == "Pd" or c == "\N{MINUS SIGN}":
            plain.append("-")
        elif category == "Zs":
            plain.append(" ")
        elif category != "Cf":
            plain.append(c)
    return "".join(plain)


def _says(text: str, words: frozenset[str]) -> bool:
    """Whether the text is one of the words or more, with nothing but filler around."""
    said = set(_WORD.findall(text.casefold()))
    return not said.isdisjoint(words) and said <= _HIDDEN | _NONE | _FILLER


def _by_plan(written: str, region: str) -> E164 | None:
    """The number of ``written`` (digits, maybe behind a plus); None if it is none, or could be another."""
    from phonenumbers import PhoneNumber, country_code_for_region, is_valid_short_number_for_region
    from phonenumbers.phonemetadata import PhoneMetadata

    home = PhoneMetadata.metadata_for_region(region, None)
    if home is None:
        raise ValueError("There is no such region in the numbering plans.")
    if written[0] == "+":
        return _possible(written)
    code, trunk = country_code_for_region(region), home.national_prefix or ""
    if abroad := re.match(home.international_prefix or "(?!)", written):
        there = "+" + written[abroad.end() :]
        if abroad[0] != "00":  # an operator's prefix (990, 994, 999) looks like a country code that lost its plus
            return _possible(there) if _valid(there) and not _valid("+" + written) else None
        # else it may be 0 for an outside line, then a number at home
        return _possible(there) if _valid(there) or not _valid(f"+{code}{written[2:]}") else None
    if trunk and written.startswith(trunk):
        return _possible(f"+{code}{written.removeprefix(trunk)}")
    if not trunk and _valid(f"+{code}{written}"):
        return _possible(f"+{code}{written}")
    if written.startswith(str(code)) and len(written) >= 10:  # longer than what is dialled without an area code
        return _possible("+" + written)
    if len(written) == 6:  # 116117 and its like; what is shorter might be a house's extension
        short = PhoneNumber(country_code=code, national_number=int(written))
        return _possible(f"+{code}{written}") if is_valid_short_number_for_region(short, region) else None
    return None


def _possible(international: str) -> E164 | None:
    """Possible, not valid: ranges open before a pinned library knows them, and a person must be found all the same."""
    from phonenumbers import (
        PhoneNumberFormat,
        ValidationResult,
        format_number,
        is_possible_number_with_reason,
        national_significant_number,
    )

    number = _parsed(international)
    # not is_possible_number(), which takes a number without its area code, too
    if number is None or is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    e164 = E164(format_number(number, PhoneNumberFormat.E164))
    if len(e164) > 16 or _parsed(e164) != number:  # a zero too many would be read otherwise the next time
        return None
    national = national_significant_number(number)
    if national.startswith(str(number.country_code)) and not _valid(e164) and _valid("+" + national):
        return None  # the country code twice
    return e164


def _valid(international: str) -> bool:
    from phonenumbers import is_valid_number

    number = _parsed(international)
    return number is not None and is_valid_number(number)


def _parsed(international: str) -> PhoneNumber | None:
    from phonenumbers import NumberParseException, parse

    try:
        return parse(international, None)
    except NumberParseException:
        return None
