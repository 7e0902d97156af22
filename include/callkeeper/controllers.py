"""Who is responsible for which line, by which contracts, and where: the model of ``config/callkeeper.toml``.

The file is validated as a whole and every fault is told at once, each with its place. ``apply`` brings it into the
tables and keeps what stood there before; it never touches a recording. ``preflight`` says, without asking anybody,
whether a vendor may be imported from today.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from callkeeper import db
from callkeeper.errors import ConfigurationError, NotAllowed
from callkeeper.phone import E164, normalise
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, ConfigApplied

# --- Where data may be ------------------------------------------------------------------------------------------------

_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
EEA_COUNTRIES = frozenset(f"{_EU} IS LI NO".split())

EEA_REGIONS: Mapping[str, str] = {
    # Amazon Web Services (Genesys Cloud and Amazon Connect use the same names)
    "eu-central-1": "DE", "eu-north-1": "SE", "eu-south-1": "IT", "eu-south-2": "ES", "eu-west-1": "IE",
    "eu-west-3": "FR", "eusc-de-east-1": "DE",
    # Microsoft Azure
    "austriaeast": "AT", "belgiumcentral": "BE", "denmarkeast": "DK", "francecentral": "FR", "francesouth": "FR",
    "germanynorth": "DE", "germanywestcentral": "DE", "italynorth": "IT", "northeurope": "IE", "norwayeast": "NO",
    "norwaywest": "NO", "polandcentral": "PL", "spaincentral": "ES", "swedencentral": "SE", "swedensouth": "SE",
    "westeurope": "NL",
    # Google Cloud
    "europe-central2": "PL", "europe-north1": "FI", "europe-north2": "SE", "europe-southwest1": "ES",
    "europe-west1": "BE", "europe-west10": "DE", "europe-west12": "IT", "europe-west3": "DE", "europe-west4": "NL",
    "europe-west8": "IT", "europe-west9": "FR",
    # Twilio
    "ie1": "IE",
}  # fmt: skip
"""A provider's region and the EEA country where it stands."""

_OUTSIDE_REGIONS: Mapping[str, str] = {
    # European by name only: London and Zürich
    "eu-central-2": "CH", "eu-west-2": "GB", "europe-west2": "GB", "europe-west6": "CH", "switzerlandnorth": "CH",
    "switzerlandwest": "CH", "uksouth": "GB", "ukwest": "GB",
    "au1": "AU", "us1": "US", "uk": "GB",
}  # fmt: skip
_OUTSIDE_SHAPES = re.compile(
    r"(us|ca|mx|sa|ap|me|af|il|cn)(-gov|-iso[a-z]?)?-(north|south|east|west|central)+-\d"  # AWS
    r"|(us|northamerica|southamerica|asia|australia|me|africa)-(north|south|east|west|central)+\d+"  # Google Cloud
    r"|(north|south|east|west|central)*us\d?"  # Azure
)
_ISO_3166 = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
_COUNTRIES = frozenset(_ISO_3166.split())


class Standing(StrEnum):
    inside = "inside"
    outside = "outside"
    unknown = "unknown"


def standing(place: str) -> Standing:
    """Whether a country (two letters), ``EU``, ``EEA`` or a provider's region is in the EU/EEA.

    Source: the notice ("Emme siirrä henkilötietoja EU:n tai ETA:n ulkopuolelle"). An adequacy decision (United Kingdom,
    Switzerland) makes a transfer lawful, but it stays a transfer, and the notice promises none. Countries: ISO 3166-1;
    regions: the providers' public lists.
    """
    name = place.strip()
    if name.upper() in EEA_COUNTRIES or name.upper() in {"EU", "EEA"} or name.lower() in EEA_REGIONS:
        return Standing.inside
    if name.upper() in _COUNTRIES or name.lower() in _OUTSIDE_REGIONS or _OUTSIDE_SHAPES.fullmatch(name.lower()):
        return Standing.outside
    return Standing.unknown


def region_allowed(place: str) -> bool:
    """Whether personal data may be at this place. What is not known is refused."""
    return standing(place) is Standing.inside


# --- The file's sections ----------------------------------------------------------------------------------------------

OPEN_ENDED = date.max
"""``valid_to`` of a contract that is in force until further notice (toistaiseksi voimassa)."""

_OPEN_ENDED_WORDS = "until further notice"
_VARIABLE = "${CALLKEEPER_HOME}"
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def _identifier(text: str) -> str:
    if len(text) > 40 or not _ID.fullmatch(text):
        raise ValueError('is no id: small letters, digits and single hyphens, at most 40, as in "phm-group-services"')
    return text


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise ValueError("is no account name: letters, digits and . _ @ - only")
    return text


def _business_id(text: str) -> str:
    """Y-tunnus: seven digits, a hyphen and a check digit (weights 7 9 10 5 8 4 2, modulo 11; Tax Administration)."""
    if not re.fullmatch(r"\d{7}-\d", text, re.ASCII):
        raise ValueError('is no Finnish business id: seven digits, a hyphen and a check digit, as in "3125932-2"')
    left = sum(int(digit) * weight for digit, weight in zip(text[:7], (7, 9, 10, 5, 8, 4, 2), strict=True)) % 11
    if left == 1 or int(text[-1]) != (11 - left) % 11:
        raise ValueError(
            "is no Finnish business id: its check digit does not fit the others; look for a mistyped digit"
        )
    return text


def _number(text: str) -> E164:
    number = normalise(text)
    if number.e164 is None:  # the text is not repeated: it may be somebody's number, typed by mistake
        raise ValueError(
            'is no phone number that callkeeper understands; write it as "010 270 8001" or "+358 10 270 8001"'
        )
    return number.e164


def _phone(text: str) -> str:
    _number(text)
    return text


def _mail(text: str) -> str:
    if not _MAIL.fullmatch(text):
        raise ValueError("is no e-mail address")
    return text


def _place(text: str) -> str:
    if standing(text) is Standing.unknown:
        raise ValueError(
            f'"{text}" is no place that callkeeper knows, so it is refused; write a country\'s two letters ("FI") '
            f'or a region ("eu-north-1"){_suggestion(text, [*EEA_COUNTRIES, *EEA_REGIONS])}'
        )
    return text


def _last_day(given: object) -> object:
    return OPEN_ENDED if given == _OPEN_ENDED_WORDS else given


def _location(text: str) -> str:
    plain = text.replace(_VARIABLE, "/home")
    if "$" in plain or "~" in plain:
        raise ValueError(f"only {_VARIABLE} can stand for a folder in it")
    url = urlsplit(plain)
    if url.password is not None:
        raise ValueError("holds a password; put it in the secrets folder, in vendor_<id>.json")
    if url.scheme not in {"", "file", "s3", "sftp"} or (not url.scheme and not plain.startswith("/")):
        raise ValueError(f'is neither a whole path ("/srv/calls", "{_VARIABLE}/calls") nor a URL of s3, sftp or file')
    return text


def _timezone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError(f'"{text}" is no time zone{_suggestion(text, available_timezones())}')
    return text


Id = Annotated[str, AfterValidator(_identifier)]
Account = Annotated[str, AfterValidator(_account)]
Place = Annotated[str, AfterValidator(_place)]
Text = Annotated[str, Field(min_length=1)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
Days = Annotated[int, Field(strict=True, ge=1)]
Years = Annotated[int, Field(strict=True, ge=1, le=10)]
Language = Literal["fi", "sv", "en"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, serialize_by_alias=True)


class Terms(Section):
    """How long things are kept. Each is an upper bound that the notice or the law gives; shorter is allowed."""

    retention_months: Annotated[int, Field(strict=True, ge=1, le=6)] = 6
    """Recordings (notice: "poistetaan automaattisesti 6 kuukauden jälkeen")."""
    quarantine_days: Annotated[int, Field(strict=True, ge=1, le=14)] = 14
    tickets_years: Years = 3
    deletion_evidence_years: Years = 3
    openings_years: Years = 2
    packages_days: Annotated[int, Field(strict=True, ge=1, le=30)] = 30
    backups_days: Days = 30
    """Age of the oldest database backup: as long as it is there, so is what was deleted since."""


class Policy(Section):
    other_party: Literal["pseudonym", "discard", "store"] = "pseudonym"
    """The called party's number on outbound calls, which the notice does not list."""


class StorePlace(Section):
    """Where the recordings' bucket stands, and everything that is copied from it."""

    region: Place
    replica_regions: tuple[Place, ...] = ()
    log_regions: tuple[Place, ...] = ()


class People(Section):
    """Accounts in Airflow, by duty. Two people means two accounts (architecture, rule 13)."""

    data_team: tuple[Account, ...] = Field(min_length=1)
    privacy_officers: tuple[Account, ...] = Field(min_length=1)
    deputies: tuple[Account, ...] = ()
    approvers: tuple[Account, ...] = Field(min_length=1)
    auditors: tuple[Account, ...] = ()


class Contact(Section):
    address: Text
    phone: Annotated[str, AfterValidator(_phone)]
    email: Annotated[str, AfterValidator(_mail)]


class Controller(Section):
    """A company that decides over its calls (rekisterinpitäjä); ``listeners`` may play its recordings only."""

    id: Id
    name: Text
    business_id: Annotated[str, AfterValidator(_business_id)]
    contact: Contact
    languages: tuple[Language, ...] = Field(min_length=1)
    notice_version: date
    balancing_test: str = ""
    """Reference of the balancing test (GDPR Art. 6(1)(f)). Import stops without, deletion doesn't: it may be empty."""
    employee_notice: str = ""
    """Reference of the notice to the staff (Laki yksityisyyden suojasta työelämässä 759/2004)."""
    listeners: tuple[Account, ...] = ()


class Line(Section):
    """A designated service number and whose it is, from the first to the last day, both included."""

    number: Annotated[E164, AfterValidator(_number)]
    controller: str
    valid_from: date = Field(alias="from")
    valid_to: date | None = Field(None, alias="to")

    def on(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


class SubProcessor(Section):
    name: Text
    country: Place


class Processor(Section):
    """A company that handles the calls for the controllers, bound by a contract (GDPR Art. 28)."""

    id: Id
    kind: Literal["vendor", "other"]
    name: Text
    contract: Text
    valid_to: Annotated[date, BeforeValidator(_last_day)]
    grace_days: Annotated[int, Field(strict=True, ge=0, le=14)] = 14
    stopped: Annotated[bool, Field(strict=True)] = False
    """A person's word: nothing more is imported, grace or no grace."""
    regions: tuple[Place, ...] = Field(min_length=1)
    remote_support: tuple[Place, ...] = ()
    """Countries that its staff reach the data from: a look from outside is a transfer too (EDPB Guidelines 05/2021)."""
    sub_processors: tuple[SubProcessor, ...] = ()
    extra_features_off: tuple[Id, ...] = ()
    """Features that the vendor sells and that must stay off (transcription, analytics)."""


class _Vendor(Section):
    id: Id
    processor: str
    location: Annotated[str, AfterValidator(_location)]
    """A folder, or an s3://, sftp:// or file:// URL; ``${CALLKEEPER_HOME}`` stands for the stack's folder."""
    retention_days: Days | None = None
    """How long the vendor keeps a recording before it purges it; none: for ever."""

    def at(self, home: Path) -> Self:
        """The same vendor with ``${CALLKEEPER_HOME}`` filled in, the only variable: no secret can end up in it."""
        return self.model_copy(update={"location": self.location.replace(_VARIABLE, str(home))})


class DropVendor(_Vendor):
    """A delivery a day, with its manifest, in a folder, a bucket or on an SFTP server."""

    kind: Literal["drop"]


class AsteriskVendor(_Vendor):
    """An Asterisk or FreePBX exchange: its call detail file and its tree of recordings."""

    kind: Literal["asterisk"]
    cdr: Text = "cdr-csv/Master.csv"
    """The call detail file, under ``location``."""
    recordings: Text = "monitor"
    """The recordings' tree, under ``location``."""
    cdr_timezone: TimeZone = "UTC"
    name_timezone: TimeZone = "Europe/Helsinki"


Vendor = Annotated[DropVendor | AsteriskVendor, Field(discriminator="kind")]


class Config(Section):
    """``config/callkeeper.toml``, whole and checked."""

    terms: Terms = Terms()
    policy: Policy = Policy()
    store: StorePlace
    people: People
    controllers: tuple[Controller, ...] = Field(min_length=1)
    lines: tuple[Line, ...] = ()
    processors: tuple[Processor, ...] = ()
    vendors: tuple[Vendor, ...] = ()

    def vendor(self, vendor: str) -> DropVendor | AsteriskVendor:
        """The vendor of that id. Raises ConfigurationError if there is none."""
        known = {v.id: v for v in self.vendors}
        if vendor not in known:
            raise ConfigurationError(
                "There is no such vendor in the configuration.", mend=f"Known: {', '.join(known) or 'none'}."
            )
        return known[vendor]

    def controller_of(self, number: str, day: date) -> str | None:
        """Whose designated line the number (E.164) was on that Helsinki day; None: nobody's."""
        return next((line.controller for line in self.lines if line.number == number and line.on(day)), None)

    @property
    def body(self) -> str:
        """The configuration as JSON, the same text for the same meaning, whatever the order of the file's entries."""
        document = self.model_dump(mode="json")
        for section, key in _KEYS.items():
            document[section].sort(key=lambda entry, key=key: tuple(entry[k] for k in key))
        return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.body.encode()).digest()


_KEYS: Mapping[str, tuple[str, ...]] = {
    "controllers": ("id",),
    "lines": ("number", "from"),
    "processors": ("id",),
    "vendors": ("id",),
}
"""What tells the entries of a section apart."""

# --- Reading the file, and every fault in it --------------------------------------------------------------------------

_Loc = tuple[str | int, ...]
S = TypeVar("S", bound=Section)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fault:
    loc: _Loc
    what: str


_MODELS: Mapping[str, type[Section]] = {
    "": Config, "terms": Terms, "policy": Policy, "store": StorePlace, "people": People, "controllers": Controller,
    "contact": Contact, "lines": Line, "processors": Processor, "sub_processors": SubProcessor, "drop": DropVendor,
    "asterisk": AsteriskVendor,
}  # fmt: skip


def load_config(path: Path) -> Config:
    """The configuration in the file. Raises ConfigurationError with every fault of it, each with its place."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path.name} is not UTF-8 text.", mend="Save it as UTF-8.") from None
    except OSError as wrong:
        reason = type(wrong).__name__
        raise ConfigurationError(
            f"{path} cannot be read ({reason}).", mend="Put it there, or set CALLKEEPER_CONFIG_FILE."
        ) from None
    return parse_config(text, name=path.name)


def parse_config(text: str, *, name: str = "callkeeper.toml") -> Config:
    """The configuration in the text. Raises ConfigurationError with every fault of it, each with its place."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigurationError(f"{name} is no TOML.", mend="Nothing of it was taken.", faults=(str(wrong),)) from None
    faults: list[_Fault] = []
    config = None
    try:
        config = Config.model_validate(document)
    except ValidationError as wrong:
        faults += _field_faults(wrong)
    faults += _contradictions(document)
    if config is not None and not faults:
        return config
    lines = _line_numbers(text)
    placed = sorted(((_line_number(lines, fault.loc), fault) for fault in faults), key=itemgetter(0))
    told = dict.fromkeys(f"{_spelled(f.loc)}: {f.what}" + (f" (line {n})" if n else "") for n, f in placed)
    count = "1 fault" if len(told) == 1 else f"{len(told)} faults"
    raise ConfigurationError(f"{name} has {count}.", mend="Nothing of it was taken.", faults=tuple(told)) from None


def _field_faults(wrong: ValidationError) -> list[_Fault]:
    """pydantic's errors in our words, without those that only follow from another."""
    errors = [(e["type"], _place_of(e["loc"]), e) for e in wrong.errors(include_url=False)]
    meant = {
        (*loc[:-1], near) for kind, loc, e in errors if kind == "extra_forbidden" and (near := _known_key(e["loc"]))
    }
    return [
        _Fault(loc=(*loc, "kind") if kind.startswith("union_tag") else loc, what=_worded(kind, e))
        for kind, loc, e in errors
        # a mistyped key is not missing as well, and a list whose entries are faulty is not empty as well
        if not (kind == "missing" and loc in meant)
        and not (kind == "too_short" and any(other[: len(loc)] == loc != other for _, other, _ in errors))
    ]


def _place_of(loc: _Loc) -> _Loc:
    """The place in the file: pydantic names a vendor's kind on the way to its keys, the file doesn't."""
    return loc[:2] + loc[3:] if loc[:1] == ("vendors",) else loc


def _parent(loc: _Loc) -> str:
    return next((part for part in reversed(loc[:-1]) if isinstance(part, str)), "")


def _known_key(loc: _Loc) -> str | None:
    keys = [field.alias or key for key, field in _MODELS[_parent(loc)].model_fields.items()]
    return next(iter(difflib.get_close_matches(str(loc[-1]), keys, 1)), None)


def _worded(kind: str, error: ErrorDetails) -> str:
    loc, context = error["loc"], error.get("ctx", {})
    match kind:
        case "missing" | "union_tag_not_found":
            return "is missing"
        case "extra_forbidden":
            near = _known_key(loc)
            return "is no key that callkeeper knows here" + (f'; did you mean "{near}"?' if near else "")
        case "union_tag_invalid":
            return _none_of(context["tag"], ["drop", "asterisk"])
        case "literal_error":
            return _none_of(error["input"], re.findall(r"'([^']*)'", context["expected"]))
        case "value_error":
            return str(context["error"])
        case "tuple_type":
            return f"must be a list; write [[{loc[0]}]] above each" if len(loc) == 1 else "must be a list, in [ ]"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"must be a section; write [{loc[0]}] above it"
        case "string_type":
            return "must be text, in quotes"
        case "int_type":
            return "must be a whole number, without quotes"
        case "bool_type":
            return "must be true or false, without quotes"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "date_type" | "date_parsing" | "date_from_datetime_parsing" | "date_from_datetime_inexact":
            words = f', or "{_OPEN_ENDED_WORDS}"' if _parent(loc) == "processors" else ""
            return f"must be a date, as 2026-01-31 without quotes{words}"
        case "less_than_equal" if loc == ("terms", "retention_months"):
            return "is longer than the 6 months that the notice promises; a longer term needs another notice first"
        case _:
            return error["msg"].replace("Input should be", "must be")


def _contradictions(document: Mapping[str, Any]) -> Iterator[_Fault]:
    """What no single entry can know: ids that come twice, references to nothing, days that overlap, duties that clash.

    Entries that are faulty themselves are left out, except that their ids count as known.
    """
    ids: dict[str, list[str]] = {}
    for section in ("controllers", "processors", "vendors"):
        ids[section] = [str(entry["id"]) for entry in _tables(document, section) if "id" in entry]
        seen: set[str] = set()
        for index, entry in enumerate(_tables(document, section)):
            if (name := str(entry.get("id"))) in seen:
                yield _Fault(
                    loc=(section, index, "id"),
                    what=f'"{name}" is taken by {_spelled((section, ids[section].index(name)))}',
                )
            seen.add(name)

    yield from _contradicting_lines(_sound(Line, document, "lines"), ids["controllers"])

    kinds = {str(entry.get("id")): entry.get("kind") for entry in reversed(_tables(document, "processors"))}
    for index, entry in enumerate(_tables(document, "vendors")):
        if not isinstance(processor := entry.get("processor"), str):
            continue
        place: _Loc = ("vendors", index, "processor")
        if processor not in kinds:
            yield _Fault(
                loc=place, what=f"there is no contract: {_none_of(processor, ids['processors'], 'the processors')}"
            )
        elif kinds[processor] == "other":
            yield _Fault(
                loc=place,
                what=f'"{processor}" is a processor of kind "other"; calls come only from one of kind "vendor"',
            )

    listeners = [account for c in _sound(Controller, document, "controllers").values() for account in c.listeners]
    for people in _sound(People, {"people": [document.get("people")]}, "people").values():
        sees = {*people.privacy_officers, *people.deputies, *listeners}
        for account in people.data_team:
            if account in sees:
                yield _Fault(
                    loc=("people", "data_team"),
                    what=f'"{account}" may hear recordings by another duty; the data team never does',
                )
        if len({*people.privacy_officers, *people.deputies, *people.approvers}) < 2:
            yield _Fault(
                loc=("people", "approvers"), what="the officer cannot approve her own decisions: name another account"
            )


def _contradicting_lines(lines: Mapping[int, Line], controllers: Sequence[str]) -> Iterator[_Fault]:
    for index, line in lines.items():
        if line.controller not in controllers:
            yield _Fault(
                loc=("lines", index, "controller"), what=_none_of(line.controller, controllers, "the controllers")
            )
        if line.valid_to and line.valid_to < line.valid_from:
            yield _Fault(loc=("lines", index, "to"), what=f"{line.valid_to} is before its first day, {line.valid_from}")
            continue
        for before, other in lines.items():
            overlap = line.valid_from <= (other.valid_to or date.max) and other.valid_from <= (
                line.valid_to or date.max
            )
            if before < index and other.number == line.number and overlap:
                day = max(line.valid_from, other.valid_from)
                yield _Fault(
                    loc=("lines", index),
                    what=f'is designated twice on {day}: to "{other.controller}" by lines[{before}] already',
                )


def _tables(document: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    found = document.get(section)
    return [entry if isinstance(entry, dict) else {} for entry in found] if isinstance(found, list) else []


def _sound(model: type[S], document: Mapping[str, Any], section: str) -> dict[int, S]:
    """The entries of a section that have no fault of their own, by their place."""
    found = {}
    for index, entry in enumerate(_tables(document, section)):
        with contextlib.suppress(ValidationError):  # its faults are told already
            found[index] = model.model_validate(entry)
    return found


def _spelled(loc: _Loc) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _suggestion(text: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(text, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _none_of(text: object, known: Sequence[str], what: str = "") -> str:
    choice = f"{what} ({', '.join(known)})" if what else ", ".join(known)
    return f'"{text}" is not one of {choice}{_suggestion(str(text), known)}'


_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([\w-]+)\s*=")


def _line_numbers(text: str) -> Mapping[_Loc, int]:
    """On which line of the file each section, entry and key begins; a reader's help, so odd spellings may be missed."""
    found: dict[_Loc, int] = {}
    entries: Counter[str] = Counter()
    here: _Loc = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            first, *rest = header[2].split(".")
            if header[1] == "[[" and not rest:
                entries[first] += 1
            here = (first, entries[first] - 1, *rest) if entries[first] else (first, *rest)
            found.setdefault(here, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*here, assignment[1]), number)
    return found


def _line_number(lines: Mapping[_Loc, int], loc: _Loc) -> int:
    """The line of the place, or of what it is in; 0 for what is nowhere."""
    return next((lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in lines), 0)


# --- May a vendor be imported from today? -----------------------------------------------------------------------------


class Severity(StrEnum):
    stops_import = "stops_import"
    warning = "warning"


class FindingCode(StrEnum):
    """What the preflight can find; with its subject it stands in the trail."""

    contract_ends_in_60_days = "contract_ends_in_60_days"
    contract_ends_in_30_days = "contract_ends_in_30_days"
    contract_ends_in_7_days = "contract_ends_in_7_days"
    contract_expired = "contract_expired"
    """Within the grace: a broken promise each night, yet a vendor's 7-day window must not lose evidence."""
    contract_past_grace = "contract_past_grace"
    processor_stopped = "processor_stopped"
    region_outside = "region_outside"
    remote_support_outside = "remote_support_outside"
    sub_processor_outside = "sub_processor_outside"
    balancing_test_missing = "balancing_test_missing"
    notice_not_in_force = "notice_not_in_force"
    employee_notice_missing = "employee_notice_missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What the preflight found of ``subject``, an id of the configuration; ``what`` is for people."""

    severity: Severity
    code: FindingCode
    subject: str
    what: str
    mend: str

    @property
    def message(self) -> str:
        return f"{self.what} {self.mend}"


def preflight(config: Config, vendor: str, today: date) -> list[Finding]:
    """Why nothing may be imported from the vendor today, and what will soon be a reason (requirements, §1).

    ``today`` is a Helsinki day. The calls pass the vendor's own processor and every one of kind "other" (store, mail,
    group services), so all of them count. Only import asks this; deletion at the vendor never stops.
    """
    findings = [
        *_place_findings(
            "store", "store", [config.store.region, *config.store.replica_regions, *config.store.log_regions]
        )
    ]
    for processor in config.processors:
        if processor.kind == "other" or processor.id == config.vendor(vendor).processor:
            findings += _processor_findings(processor, today)
    for controller in config.controllers:
        findings += _legal_basis_findings(controller, today)
    return findings


def preflight_all(config: Config, today: date) -> list[Finding]:
    """The findings of every vendor, each told once."""
    found = {(f.code, f.subject, f.what): f for v in config.vendors for f in preflight(config, v.id, today)}
    return list(found.values())


def _stop(code: FindingCode, subject: str, what: str, mend: str) -> Finding:
    return Finding(severity=Severity.stops_import, code=code, subject=subject, what=what, mend=mend)


def _warn(code: FindingCode, subject: str, what: str, mend: str) -> Finding:
    return Finding(severity=Severity.warning, code=code, subject=subject, what=what, mend=mend)


def _processor_findings(processor: Processor, today: date) -> Iterator[Finding]:
    name, code = processor.id, FindingCode
    if processor.stopped:
        yield _stop(
            code.processor_stopped,
            name,
            f"{name} was stopped by a person.",
            "Set stopped = false once that is settled.",
        )
    days = (processor.valid_to - today).days
    renew = "Renew it and write its new end as valid_to."
    ended = f"{name}'s contract {processor.contract} ended on {processor.valid_to}"
    if -days > processor.grace_days:
        what = f"{ended}, and its grace of {processor.grace_days} days is over."
        yield _stop(code.contract_past_grace, name, what, renew)
    elif days < 0:
        left = processor.grace_days + days
        what = f"{ended}: a broken promise. Import stops in {left + 1} days."
        yield _warn(code.contract_expired, name, what, renew)
    elif soon := next((n for n in (7, 30, 60) if days <= n), None):
        what = f"{name}'s contract {processor.contract} ends on {processor.valid_to}, in {days} days."
        yield _warn(code(f"contract_ends_in_{soon}_days"), name, what, renew)
    yield from _place_findings(name, "regions", processor.regions)
    yield from _place_findings(name, "remote_support", processor.remote_support)
    yield from _place_findings(name, "sub_processors", [sub.country for sub in processor.sub_processors])


_PLACE_WORDS: Mapping[str, tuple[FindingCode, str]] = {
    "store": (FindingCode.region_outside, "keeps recordings in"),
    "regions": (FindingCode.region_outside, "handles calls in"),
    "remote_support": (FindingCode.remote_support_outside, "has remote support from"),
    "sub_processors": (FindingCode.sub_processor_outside, "has a sub-processor in"),
}


def _place_findings(subject: str, role: str, places: Iterable[str]) -> Iterator[Finding]:
    code, words = _PLACE_WORDS[role]
    for place in places:
        if not region_allowed(place):
            what = f"{subject} {words} {place}, outside the EU/EEA, where the notice promises that nothing goes."
            yield _stop(code, subject, what, "Move it inside the EU/EEA, then write where it is now.")


def _legal_basis_findings(controller: Controller, today: date) -> Iterator[Finding]:
    name, code = controller.id, FindingCode
    if not controller.balancing_test:
        what = f"{name} names no balancing test, so its legitimate interest is not shown."
        yield _stop(code.balancing_test_missing, name, what, "Write its reference as balancing_test.")
    if controller.notice_version > today:
        what = f"{name}'s notice is in force only from {controller.notice_version} on."
        yield _stop(code.notice_not_in_force, name, what, "Write the version that is in force as notice_version.")
    if not controller.employee_notice:
        what = f"{name} names no notice to its employees, who are on the calls too."
        yield _warn(code.employee_notice_missing, name, what, "Write its reference as employee_notice.")


# --- Into the tables --------------------------------------------------------------------------------------------------

OFFICERS = ("privacy_officers", "deputies")
"""Who decides, and who alone says who may."""
SECONDERS = (*OFFICERS, "approvers")
"""Who may be the second person: another account, always."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    name: str
    old: object
    new: object


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One entry (``key``) of a section, or a section that has no entries (``key`` empty)."""

    section: str
    key: str
    how: Literal["added", "changed", "removed"]
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What differs between the file and what was last applied.

    ``version`` is the configuration in force, None before the first. ``recordings_left`` counts the live recordings on
    lines that stop being designated for their day: they stay where they are, with their controller and their term.
    """

    changes: tuple[Change, ...]
    version: int | None
    recordings_left: int

    def __bool__(self) -> bool:
        return bool(self.changes)

    def count(self, how: Literal["added", "changed", "removed"]) -> int:
        return sum(change.how == how for change in self.changes)

    @property
    def of_duties(self) -> bool:
        """Whether it changes who may decide, or hear recordings: that takes an officer, once a configuration is in force."""
        return self.version is not None and any(
            change.section == "people" or any(f.name == "listeners" and f.new != (f.old or []) for f in change.fields)
            for change in self.changes
        )


def diff(conn: db.Connection, config: Config) -> Changes:
    """What ``apply`` would change, field by field; changes nothing."""
    last = db.queries().config_last(conn)
    changes = tuple(_differences(json.loads(last.body) if last else {}, json.loads(config.body)))
    lines_differ = any(change.section == "lines" for change in changes)
    left = db.queries().config_recordings_left(conn, body=config.body) if lines_differ else 0
    return Changes(changes=changes, version=last.version if last else None, recordings_left=left)


def apply(conn: db.Connection, config: Config, actor: Actor) -> Changes:
    """Brings the configuration into the tables, with its event, and commits; a second time it changes nothing.

    What is no longer in the file is marked as removed, never deleted; no recording is touched. Raises NotAllowed where
    duties change and the account is no officer's or deputy's by the configuration in force.
    """
    ask = db.queries()
    ask.config_lock(conn)
    changes = diff(conn, config)
    last = ask.config_last(conn)
    if changes.of_duties and not _duties(last, config, actor.account).intersection(OFFICERS):
        conn.rollback()
        raise NotAllowed(
            "This changes who may decide, or hear recordings.",
            mend="The privacy officer or a deputy, as they are in force now, applies it.",
        )
    if last is None or bytes(last.digest) != config.digest:
        who = actor.account or "/".join(filter(None, (actor.dag, actor.task))) or "callkeeper"
        version = ask.config_add_version(conn, applied_by=who, digest=config.digest, body=config.body)
        for section in ("controllers", "lines", "processors", "vendors"):  # each refers to those before it only
            for verb in ("remove", "put"):  # a line changes hands: away from the old one before it comes to the new one
                getattr(ask, f"config_{verb}_{section}")(conn, body=config.body, version=version)
        event = ConfigApplied(
            config_version=version,
            digest=config.digest.hex(),
            added=changes.count("added"),
            changed=changes.count("changed"),
            removed=changes.count("removed"),
        )
        append(conn, dataclasses.replace(actor, config=version), [event])
        changes = dataclasses.replace(changes, version=version)
    conn.commit()
    return changes


def duties(conn: db.Connection, config: Config, account: str) -> frozenset[str]:
    """An account's duties in [people] as applied last: whoever edits the file does not thereby give themselves one.

    Before the first application, the file's: for doors and sign-ins. An effect asks ``duties_in_force``.
    """
    found = _duties(db.queries().config_last(conn), config, account)
    conn.rollback()
    return found


def duties_in_force(conn: db.Connection, account: str) -> frozenset[str]:
    """The duties that the configuration in force gives an account, in the caller's transaction; before the first, nobody has one."""
    applied = db.queries().config_last(conn)
    people = json.loads(applied.body)["people"] if applied else {}
    return frozenset(duty for duty, accounts in people.items() if account in accounts)


def months_in_force(conn: db.Connection) -> int:
    """How many months recordings are kept, as applied last, in the caller's transaction; the notice's before the first application."""
    applied = db.queries().config_last(conn)
    months: int = json.loads(applied.body)["terms"]["retention_months"] if applied else Terms().retention_months
    return months


def listens_to(conn: db.Connection, account: str) -> frozenset[str]:
    """The companies whose recordings the configuration in force lets an account play; before the first, none."""
    applied = db.queries().config_last(conn)
    companies = json.loads(applied.body)["controllers"] if applied else ()
    return frozenset(c["id"] for c in companies if account in c.get("listeners", ()))


def accounts(conn: db.Connection, config: Config, duties: Iterable[str]) -> tuple[str, ...]:
    """The accounts that have one of these duties, by the same [people]; each once, in the order of the duties."""
    applied = db.queries().config_last(conn)
    conn.rollback()
    people = _people(applied, config)
    return tuple(dict.fromkeys(account for duty in duties for account in people.get(duty, ())))


def _duties(applied: db.Row | None, config: Config, account: str | None) -> frozenset[str]:
    return frozenset(duty for duty, accounts in _people(applied, config).items() if account in accounts)


def _people(applied: db.Row | None, config: Config) -> Mapping[str, Sequence[str]]:
    return json.loads(applied.body)["people"] if applied else config.people.model_dump()


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for section in Config.model_fields:
        before, after = _entries(section, old.get(section)), _entries(section, new.get(section))
        for key in dict.fromkeys([*after, *before]):
            if key not in after:
                yield Change(section=section, key=key, how="removed")
                continue
            was, is_now = before.get(key, {}), after[key]
            fields = tuple(
                FieldChange(name=name, old=was.get(name), new=is_now.get(name))
                for name in dict.fromkeys([*is_now, *was])
                if was.get(name) != is_now.get(name)
            )
            if key not in before:
                yield Change(section=section, key=key, how="added", fields=fields)
            elif fields:
                yield Change(section=section, key=key, how="changed", fields=fields)


def _entries(section: str, value: Any) -> dict[str, dict[str, Any]]:
    if value is None:
        return {}
    if section not in _KEYS:
        return {"": value}
    return {" from ".join(str(entry[part]) for part in _KEYS[section]): entry for entry in value}
