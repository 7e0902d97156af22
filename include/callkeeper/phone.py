"""Any written form of a phone number → E.164, withheld, or not a number.

Nothing is guessed: a reading that could be another number is unusable (docs/adr/0111, 0112). A number in clear lives in memory
only, so ``repr`` never shows a digit; what is stored is its pseudonym and its sealed value (callkeeper.pseudonyms).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NewType
from urllib.parse import unquote

E164 = NewType("E164", str)
"""``+``, country code and national number, digits only: ``+358401234501``."""

Kind = Literal["known", "withheld", "unusable"]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Number:
    """The other end of a call: ``known`` with its E.164 form, ``withheld`` (no number was given), or ``unusable`` (no number)."""

    kind: Kind
    e164: E164 | None = None

    def __str__(self) -> str:
        return self.e164 or self.kind

    def __repr__(self) -> str:
        return f"Number({self.kind})"


WITHHELD: Final = Number(kind="withheld")
UNUSABLE: Final = Number(kind="unusable")

# The person hid the number. In front of a number, as a display name, these count too.
_HIDDEN = frozenset(
    "anonymous anonym anonymiserad anonyymi private privat yksityinen restricted withheld blocked barred hidden secret concealed "
    "suppressed clir salainen salattu salaa estetty piilotettu hemlig hemligt dold dolt skyddad skyddat spärrad spärrat".split()
)
# The source says that it has no number. As a display name these speak of the name, not of the number behind it.
_NONE = frozenset(
    "unknown unavailable undisclosed none null nil no not available tuntematon ei saatavilla okänd okänt ej inget tillgänglig "
    "tillgängligt".split()
)
_FILLER = frozenset("number numero numeroa numeroni nummer caller callerid id cli soittaja soittajan uppringare puhelu call".split())

# What Twilio puts in place of a hidden number: the word on a telephone's keypad (ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN, UNAVAILABLE).
_KEYPAD_WORDS = frozenset({"+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"})

_LONGEST = 250  # characters; the longest text that phonenumbers reads, too

_PLAIN_FI: Final = re.compile(r"(?:\+358|0)([1-9][0-9]{4,11})|(?:00)?358([1-9][0-9]{6,11})")
_NAME_ADDR = re.compile(r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^<>"]*))\s*<(?P<address>[^<>]*)>(?P<after>.*)', re.DOTALL)
_SCHEME = re.compile(r"\s*(sips?|tel)\s*:\s*", re.IGNORECASE)
_PRIVACY = re.compile(r";\s*privacy\s*=\s*\"?(?:full|uri|id|user|header|session|critical)\b", re.IGNORECASE)
_CONTEXT = re.compile(r";\s*phone-context\s*=\s*(\+[0-9]+)", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_SEPARATORS = str.maketrans("", "", " \t\r\n-./()\N{MIDDLE DOT}")
_DIGITS = re.compile(r"\+?[0-9]+")


def normalise(text: str | None, region: str = "FI") -> Number:
    """The number that ``text`` writes, as a caller in ``region`` (ISO 3166) would mean it; never raises on any text."""
    if text is None:
        return WITHHELD
    if region == "FI" and (plain := _PLAIN_FI.fullmatch(text)):
        return Number(kind="known", e164=E164("+358" + (plain[1] or plain[2])))
    return _read(text, region)


@lru_cache(maxsize=8192)
def _read(text: str, region: str) -> Number:
    """The way for every form; ``normalise`` takes the plain Finnish ones past it, with the same result."""
    if len(text) > _LONGEST:
        return UNUSABLE
    text = _ascii(text)
    if _PRIVACY.search(text):  # Remote-Party-ID's own mark
        return WITHHELD
    if named := _NAME_ADDR.fullmatch(text):
        if _says(named["quoted"] or named["bare"] or "", _HIDDEN):
            return WITHHELD
        text = named["address"]
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :]
    country = None
    if scheme and scheme[1].lower() == "tel":
        if context := _CONTEXT.search(text):
            country = context[1]
        text = text.partition(";")[0]
    elif "@" in text or scheme:
        user, at, host = text.rpartition("@")
        if re.split(r"[;?:>]", host)[0].strip().lower().endswith(".invalid"):  # RFC 3323, 3GPP TS 24.229
            return WITHHELD
        text = (user if at else host).partition(";")[0].partition(":")[0]
        if not at and not _DIGITS.fullmatch(text):
            return UNUSABLE
    text = _ascii(unquote(text)).strip()
    if not any(c.isalnum() for c in text) or _says(text, _HIDDEN | _NONE) or text.casefold() == "n/a":
        return WITHHELD
    written = text.translate(_SEPARATORS)
    if not _DIGITS.fullmatch(written):
        return UNUSABLE
    if not written.strip("+0") or written in _KEYPAD_WORDS:
        return WITHHELD
    before, slash, after = text.rpartition("/")
    if slash and ("/" in before or len(after.translate(_SEPARATORS)) < 4):  # 0401234501/2 writes two numbers
        return UNUSABLE
    if country and not written.startswith("+"):
        written = country + written
    found = _number(written, region)
    return Number(kind="known", e164=found) if found else UNUSABLE


def _ascii(text: str) -> str:
    """Compatibility forms, any script's digits, every dash and space as plain ones; invisible marks gone."""
    if text.isascii():
        return text
    out = []
    for c in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(c)
        if category == "Nd":
            out.append(str(unicodedata.decimal(c)))
        elif category == "Pd" or c == "\N{MINUS SIGN}":
            out.append("-")
        elif category == "Zs":
            out.append(" ")
        elif category != "Cf":
            out.append(c)
    return "".join(out)


def _says(text: str, words: frozenset[str]) -> bool:
    """Whether the text is one of the words, with nothing but filler around it."""
    said = set(_WORD.findall(text.casefold()))
    return not said.isdisjoint(words) and said <= words | _FILLER | _NONE


def _number(written: str, region: str) -> E164 | None:
    """``written`` is digits, maybe behind a plus. None if it is no number, or could be two."""
    from phonenumbers import country_code_for_region, is_valid_short_number_for_region, parse
    from phonenumbers.phonemetadata import PhoneMetadata

    if written[0] == "+":
        return _international(written, valid=False)
    home = PhoneMetadata.metadata_for_region(region, None)
    if home is None:
        return None
    code, trunk = str(country_code_for_region(region)), home.national_prefix or ""
    abroad = re.compile(home.international_prefix or "(?!)").match(written)
    if written.startswith(trunk) and not (abroad and written.startswith("00")):
        if trunk or not abroad:
            return _international(f"+{code}{written.removeprefix(trunk)}", valid=not trunk)
    if abroad:
        there = "+" + written[abroad.end() :]
        if found := _international(there, valid=True):
            return None if _international("+" + written, valid=True) else found
        outside_line = trunk and _international(f"+{code}{written[2:]}", valid=True)  # a zero to get out of the house first
        return None if outside_line or not written.startswith("00") else _international(there, valid=False)
    if written.startswith(code) and len(written) >= len(code) + 7:  # longer than any number dialled without its area code
        return _international("+" + written, valid=False)
    if len(written) == 6 and is_valid_short_number_for_region(parse(written, region), region):
        return E164(f"+{code}{written}")
    return None


def _international(written: str, *, valid: bool) -> E164 | None:
    from phonenumbers import (
        NumberParseException,
        PhoneNumberFormat,
        ValidationResult,
        format_number,
        is_possible_number_with_reason,
        is_valid_number,
        parse,
    )

    try:
        number = parse(written, None)
    except NumberParseException:
        return None
    # not is_possible_number, which takes a number without its area code too
    if is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE or (valid and not is_valid_number(number)):
        return None
    return E164(format_number(number, PhoneNumberFormat.E164))
