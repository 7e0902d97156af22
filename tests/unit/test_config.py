"""config/callkeeper.toml: what is right, every fault with its place, and what stops an import."""
# a row of a table is read as one line

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from callkeeper.controllers import (
    EEA_COUNTRIES,
    EEA_REGIONS,
    OPEN_ENDED,
    AsteriskVendor,
    Config,
    FindingCode,
    Severity,
    Standing,
    load_config,
    parse_config,
    preflight,
    preflight_all,
    region_allowed,
    standing,
)
from callkeeper.errors import ConfigurationError

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "callkeeper.toml"
TODAY = date(2026, 11, 24)

GOOD = """\
[store]
region = "eu-north-1"
[people]
data_team = ["data"]
privacy_officers = ["officer"]
approvers = ["approver"]
[[controllers]]
id = "punavaara"
name = "Punavaara Oy"
business_id = "1234567-1"
contact = { address = "Takomotie 1-3", phone = "010 270 8001", email = "tietosuoja@example.fi" }
languages = ["fi"]
notice_version = 2023-09-12
balancing_test = "LIA-1"
employee_notice = "HR-1"
[[controllers]]
id = "phm-group-services"
name = "PHM Group Services Oy"
business_id = "3125932-2"
contact = { address = "Takomotie 1-3", phone = "010 270 8001", email = "tietosuoja@example.fi" }
languages = ["fi", "sv"]
notice_version = 2023-09-12
balancing_test = "LIA-2"
employee_notice = "HR-2"
[[lines]]
number = "010 270 8001"
controller = "phm-group-services"
from = 2023-09-12
[[lines]]
number = "020 700 1234"
controller = "punavaara"
from = 2023-09-12
to = 2026-03-31
[[processors]]
id = "linna"
kind = "vendor"
name = "Linna Oy"
contract = "DPA-1"
valid_to = 2027-12-31
regions = ["FI"]
[[processors]]
id = "store"
kind = "other"
name = "Konesali Oy"
contract = "DPA-2"
valid_to = "until further notice"
regions = ["FI"]
[[vendors]]
id = "linna"
processor = "linna"
kind = "drop"
location = "s3://linna/calls"
"""


def changed(old: str, new: str, text: str = GOOD) -> str:
    assert old in text, "the table of broken configurations must change something"
    return text.replace(old, new, 1)


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as told:
        parse_config(text)
    return told.value.faults


def good(**processor: str) -> Config:
    """The good configuration, with some keys of the vendor's processor set."""
    text = GOOD
    for key, value in processor.items():
        text = re.sub(
            rf'(id = "linna"\nkind = "vendor"\n(?:.*\n)*?)({key} = .*\n|(?=\[\[))',
            rf"\g<1>{key} = {value}\n",
            text,
            count=1,
        )
    return parse_config(text)


def test_the_shipped_file_is_right_and_nothing_in_it_stops_an_import():
    config = load_config(SHIPPED)

    assert [c.id for c in config.controllers] == ["phm-group-services", "punavaara"]
    assert [line.number for line in config.lines] == ["+358102708001", "+358207001234", "+358800123456"]
    assert {v.id: v.kind for v in config.vendors} == {"linna": "drop", "vaihde": "asterisk"}
    assert preflight_all(config, TODAY) == []


def test_the_shipped_file_does_not_rot_with_the_calendar():
    assert preflight_all(load_config(SHIPPED), date(2126, 1, 1)) == []


BROKEN = [
    ('"eu-north-1"', '"eu-nort-1"', 'store.region: "eu-nort-1" is no place that callkeeper knows, so it is refused; write a country\'s two letters ("FI") or a region ("eu-north-1"); did you mean "eu-north-1"? (line 2)'),
    ('data_team = ["data"]\n', "", "people.data_team: is missing (line 3)"),
    ('data_team = ["data"]', "data_team = []", "people.data_team: must not be empty (line 4)"),
    ('["data"]', '"data"', "people.data_team: must be a list, in [ ] (line 4)"),
    ('["data"]', '["matti meikäläinen"]', "people.data_team[0]: is no account name: letters, digits and . _ @ - only (line 4)"),
    ('["data"]', '["officer"]', 'people.data_team: "officer" may hear recordings by another duty; the data team never does (line 4)'),
    ('["approver"]', '["officer"]', "people.approvers: the officer cannot approve her own decisions: name another account (line 6)"),
    ('id = "store"', 'id = "The Store"', 'processors[1].id: is no id: small letters, digits and single hyphens, at most 40, as in "phm-group-services" (line 42)'),
    ('"1234567-1"', '"1234567-2"', "controllers[0].business_id: is no Finnish business id: its check digit does not fit the others; look for a mistyped digit (line 10)"),
    ('"1234567-1"', '"FI12345671"', 'controllers[0].business_id: is no Finnish business id: seven digits, a hyphen and a check digit, as in "3125932-2" (line 10)'),
    ('phone = "010 270 8001"', 'phone = "call us"', 'controllers[0].contact.phone: is no phone number that callkeeper understands; write it as "010 270 8001" or "+358 10 270 8001" (line 11)'),
    ('"tietosuoja@example.fi"', '"tietosuoja"', "controllers[0].contact.email: is no e-mail address (line 11)"),
    ('languages = ["fi"]', 'languages = ["fi", "se"]', 'controllers[0].languages[1]: "se" is not one of fi, sv, en (line 12)'),
    ("notice_version = 2023-09-12", 'notice_version = "soon"', "controllers[0].notice_version: must be a date, as 2026-01-31 without quotes (line 13)"),
    ("notice_version", "notice_versoin", 'controllers[0].notice_versoin: is no key that callkeeper knows here; did you mean "notice_version"? (line 13)'),
    ('name = "Punavaara Oy"', 'name = " "', "controllers[0].name: must not be empty (line 9)"),
    ('id = "store"', 'id = "linna"', 'processors[1].id: "linna" is taken by processors[0] (line 42)'),
    ('controller = "punavaara"', 'controller = "punavara"', 'lines[1].controller: "punavara" is not one of the controllers (punavaara, phm-group-services); did you mean "punavaara"? (line 31)'),
    ('number = "020 700 1234"', 'number = "020 700 I234"', 'lines[1].number: is no phone number that callkeeper understands; write it as "010 270 8001" or "+358 10 270 8001" (line 30)'),
    ('number = "020 700 1234"', "number = 207001234", "lines[1].number: must be text, in quotes (line 30)"),
    ('"020 700 1234"', '"+358102708001"', 'lines[1]: is designated twice on 2023-09-12: to "phm-group-services" by lines[0] already (line 29)'),
    ("to = 2026-03-31", "to = 2023-09-11", "lines[1].to: 2023-09-11 is before its first day, 2023-09-12 (line 33)"),
    ('contract = "DPA-1"\n', "", "processors[0].contract: is missing (line 34)"),
    ('contract = "DPA-1"', 'contract = ""', "processors[0].contract: must not be empty (line 38)"),
    ("valid_to = 2027-12-31", 'valid_to = "for ever"', 'processors[0].valid_to: must be a date, as 2026-01-31 without quotes, or "until further notice" (line 39)'),
    ("valid_to = 2027-12-31", "valid_to = 2027-12-31\ngrace_days = 15", "processors[0].grace_days: must be less than or equal to 14 (line 40)"),
    ("valid_to = 2027-12-31", 'valid_to = 2027-12-31\nstopped = "no"', "processors[0].stopped: must be true or false, without quotes (line 40)"),
    ('regions = ["FI"]', "regions = []", "processors[0].regions: must not be empty (line 40)"),
    ('regions = ["FI"]', 'regions = ["FI"]\nsub_processors = [{ name = "Tuki Oy", country = "Suomi" }]', 'processors[0].sub_processors[0].country: "Suomi" is no place that callkeeper knows, so it is refused; write a country\'s two letters ("FI") or a region ("eu-north-1") (line 41)'),
    ('processor = "linna"', 'processor = "lina"', 'vendors[0].processor: there is no contract: "lina" is not one of the processors (linna, store); did you mean "linna"? (line 50)'),
    ('processor = "linna"', 'processor = "store"', 'vendors[0].processor: "store" is a processor of kind "other"; calls come only from one of kind "vendor" (line 50)'),
    ('kind = "drop"', 'kind = "ftp"', 'vendors[0].kind: "ftp" is not one of drop, asterisk (line 51)'),
    ('kind = "drop"\n', "", "vendors[0].kind: is missing (line 48)"),
    ('kind = "drop"', 'kind = "drop"\ncdr = "Master.csv"', "vendors[0].cdr: is no key that callkeeper knows here (line 52)"),
    ('"s3://linna/calls"', '"calls"', 'vendors[0].location: is neither a whole path ("/srv/calls", "${CALLKEEPER_HOME}/calls") nor a URL of s3, sftp or file (line 52)'),
    ('"s3://linna/calls"', '"ftp://linna/calls"', 'vendors[0].location: is neither a whole path ("/srv/calls", "${CALLKEEPER_HOME}/calls") nor a URL of s3, sftp or file (line 52)'),
    ('"s3://linna/calls"', '"${HOME}/calls"', "vendors[0].location: only ${CALLKEEPER_HOME} can stand for a folder in it (line 52)"),
    ('"s3://linna/calls"', '"sftp://linna:hunter2@sftp.example.fi/calls"', "vendors[0].location: holds a password; put it in the secrets folder, in vendor_<id>.json (line 52)"),
    ("[store]", "[terms]\nretention_months = 12\n[store]", "terms.retention_months: is longer than the 6 months that the notice promises; a longer term needs another notice first (line 2)"),
    ("[store]", "[terms]\nretention_months = true\n[store]", "terms.retention_months: must be a whole number, without quotes (line 2)"),
    ("[store]", '[policy]\nother_party = "pseudonyms"\n[store]', 'policy.other_party: "pseudonyms" is not one of pseudonym, discard, store; did you mean "pseudonym"? (line 2)'),
    ("[store]", "[polcy]\n[store]", 'polcy: is no key that callkeeper knows here; did you mean "policy"? (line 1)'),
    ('[store]\nregion = "eu-north-1"\n', "", "store: is missing"),
    ('[store]\nregion = "eu-north-1"\n', 'store = "FI"\n', "store: must be a section; write [store] above it (line 1)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "fault"), BROKEN, ids=[fault.split(": ")[0] + f"-{n}" for n, (*_, fault) in enumerate(BROKEN)]
)
def test_a_broken_configuration_is_told_by_one_message_with_its_place(old, new, fault):
    assert faults_of(changed(old, new)) == (fault,)


def test_every_fault_is_told_at_once_in_the_order_of_the_file():
    text = changed('"eu-north-1"', '"mars"')
    text = changed('"1234567-1"', '"1234567-2"', text)
    text = changed('controller = "punavaara"', 'controller = "punavara"', text)
    text = changed('processor = "linna"', 'processor = "store"', text)

    places = [fault.split(": ")[0] for fault in faults_of(text)]

    assert places == ["store.region", "controllers[0].business_id", "lines[1].controller", "vendors[0].processor"]


def test_broken_toml_is_told_with_line_and_column():
    assert faults_of('[store]\nregion = "eu-north-1\n') == ("Illegal character '\\n' (at line 2, column 21)",)


def test_a_number_typed_by_mistake_is_not_repeated_in_the_message():
    told = "\n".join(faults_of(changed('number = "020 700 1234"', 'number = "040 123 45678901234"')))

    assert "lines[1].number" in told
    assert not re.search(r"040|45678", told)


def test_a_missing_file_says_where_it_should_be(tmp_path):
    with pytest.raises(ConfigurationError, match="CALLKEEPER_CONFIG_FILE"):
        load_config(tmp_path / "callkeeper.toml")


def test_a_file_that_is_not_utf8_is_refused_in_words_and_a_byte_order_mark_is_not(tmp_path):
    latin, marked = tmp_path / "latin.toml", tmp_path / "marked.toml"
    latin.write_bytes(changed("Punavaara Oy", "Päärakennus Oy").encode("latin-1"))
    marked.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())

    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_config(latin)
    assert load_config(marked) == parse_config(GOOD)


def test_a_line_that_changes_hands_the_day_after_is_no_overlap():
    text = changed(
        '"020 700 1234"\ncontroller = "punavaara"\nfrom = 2023-09-12\nto = 2026-03-31\n',
        """"020 700 1234"
controller = "punavaara"
from = 2023-09-12
to = 2026-03-31
[[lines]]
number = "0207001234"
controller = "phm-group-services"
from = 2026-04-01
""",
    )

    config = parse_config(text)

    assert config.controller_of("+358207001234", date(2026, 3, 31)) == "punavaara"
    assert config.controller_of("+358207001234", date(2026, 4, 1)) == "phm-group-services"
    assert config.controller_of("+358207001234", date(2023, 9, 11)) is None
    assert config.controller_of("+358207009999", date(2026, 4, 1)) is None


def test_the_last_day_of_a_line_is_still_its_own():
    entry = '[[lines]]\nnumber = "0207001234"\ncontroller = "phm-group-services"\nfrom = 2026-03-31\n[[processors]]'

    assert faults_of(changed("[[processors]]", entry)) == (
        'lines[2]: is designated twice on 2026-03-31: to "punavaara" by lines[1] already (line 34)',
    )


def test_terms_and_policy_have_the_defaults_of_the_notice():
    config = parse_config(GOOD)

    assert config.terms.model_dump() == {
        "retention_months": 6,
        "quarantine_days": 14,
        "tickets_years": 3,
        "deletion_evidence_years": 3,
        "openings_years": 2,
        "packages_days": 30,
        "backups_days": 30,
    }
    assert config.policy.other_party == "pseudonym"
    assert config.processors[0].grace_days == 14


def test_only_the_home_folder_is_filled_in_where_a_vendor_is():
    vaihde = load_config(SHIPPED).vendor("vaihde")

    assert isinstance(vaihde, AsteriskVendor)
    assert vaihde.at(Path("/srv/callkeeper")) == vaihde.model_copy(
        update={"location": "/srv/callkeeper/vendors/vaihde"}
    )


def test_the_same_meaning_has_the_same_digest_however_it_is_written():
    one = parse_config(GOOD)
    lines = GOOD[GOOD.index("[[lines]]") : GOOD.index("[[processors]]")]
    first, second = (f"[[lines]]{entry}" for entry in lines.split("[[lines]]")[1:])
    other = parse_config(changed("010 270 8001", "+358102708001", GOOD.replace(lines, second + first)))
    third = parse_config(changed("2026-03-31", "2026-04-01"))

    assert one.digest == parse_config("# a comment\n" + GOOD).digest
    assert one.lines != other.lines
    assert [line.number for line in other.lines] == ["+358207001234", "+358102708001"]
    assert one.digest != third.digest


# --- places -----------------------------------------------------------------------------------------------------------


def test_the_eea_is_the_27_and_three_more():
    assert len(EEA_COUNTRIES) == 30
    assert {"FI", "SE", "IE", "GR", "HR", "IS", "LI", "NO"} <= EEA_COUNTRIES
    assert EEA_COUNTRIES.isdisjoint({"GB", "CH", "US"})
    assert set(EEA_REGIONS.values()) <= EEA_COUNTRIES


@pytest.mark.parametrize(
    "place", ["FI", "fi", "NO", "EU", "EEA", "eu-north-1", "EU-WEST-1", "northeurope", "europe-north1", "ie1"]
)
def test_places_inside_are_allowed(place):
    assert region_allowed(place)


@pytest.mark.parametrize(
    "place",
    ["eu-west-2", "eu-central-2", "europe-west2", "europe-west6", "uksouth", "switzerlandnorth", "UK", "GB", "CH", "US",
     "us-east-1", "ca-central-1", "ap-southeast-2", "us-gov-west-1", "us-central1", "asia-northeast1", "eastus2", "us1"],
)  # fmt: skip
def test_places_outside_are_known_and_refused_whatever_their_name_says(place):
    assert standing(place) is Standing.outside
    assert not region_allowed(place)


@pytest.mark.parametrize("place", ["", "eu", "eu-west-9", "eu-north", "europe", "Suomi", "XX", "onprem", "FI "])
def test_what_is_not_known_is_not_guessed(place):
    expected = {"eu": Standing.inside, "FI ": Standing.inside}.get(place, Standing.unknown)

    assert standing(place) is expected


# --- preflight --------------------------------------------------------------------------------------------------------


def found(config: Config, today: date = TODAY) -> list[tuple[str, str, str]]:
    return [(f.severity.value, f.code.value, f.subject) for f in preflight(config, "linna", today)]


@pytest.mark.parametrize(
    ("days_after_the_end", "expected"),
    [
        (-61, []),
        (-60, [("warning", "contract_ends_in_60_days", "linna")]),
        (-31, [("warning", "contract_ends_in_60_days", "linna")]),
        (-30, [("warning", "contract_ends_in_30_days", "linna")]),
        (-8, [("warning", "contract_ends_in_30_days", "linna")]),
        (-7, [("warning", "contract_ends_in_7_days", "linna")]),
        (0, [("warning", "contract_ends_in_7_days", "linna")]),
        (1, [("warning", "contract_expired", "linna")]),
        (14, [("warning", "contract_expired", "linna")]),
        (15, [("stops_import", "contract_past_grace", "linna")]),
    ],
)
def test_a_contract_is_warned_of_then_in_grace_then_stops_the_import(days_after_the_end, expected):
    config = good(valid_to="2027-12-31")

    assert found(config, date(2027, 12, 31) + timedelta(days=days_after_the_end)) == expected


def test_a_contract_until_further_notice_never_ends_by_itself():
    config = good(valid_to='"until further notice"')

    assert config.processors[0].valid_to == OPEN_ENDED
    assert found(config, date(2999, 1, 1)) == []


def test_a_person_may_stop_a_processor_at_once():
    assert found(good(stopped="true")) == [("stops_import", "processor_stopped", "linna")]


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("regions", '["FI", "eu-west-2"]', FindingCode.region_outside),
        ("remote_support", '["FI", "IN"]', FindingCode.remote_support_outside),
        ("sub_processors", '[{ name = "Support Inc", country = "US" }]', FindingCode.sub_processor_outside),
    ],
)
def test_a_place_outside_the_eea_stops_the_import(key, value, code):
    findings = preflight(good(**{key: value}), "linna", TODAY)

    assert [(f.severity, f.code) for f in findings] == [(Severity.stops_import, code)]
    assert "outside the EU/EEA" in findings[0].message


@pytest.mark.parametrize(
    "section",
    ['region = "us-east-1"', 'region = "FI"\nreplica_regions = ["eu-west-2"]', 'region = "FI"\nlog_regions = ["CH"]'],
)
def test_a_store_copy_or_log_outside_the_eea_stops_the_import(section):
    config = parse_config(changed('region = "eu-north-1"', section))

    assert found(config) == [("stops_import", "region_outside", "store")]


def test_another_processors_contract_counts_too_but_not_another_vendors():
    text = changed('valid_to = "until further notice"', "valid_to = 2026-01-31")
    other_kind = parse_config(text)
    other_vendor = parse_config(changed('kind = "other"', 'kind = "vendor"', text))

    assert found(other_kind) == [("stops_import", "contract_past_grace", "store")]
    assert found(other_vendor) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('balancing_test = "LIA-1"\n', "", ("stops_import", "balancing_test_missing", "punavaara")),
        ('balancing_test = "LIA-1"', 'balancing_test = " "', ("stops_import", "balancing_test_missing", "punavaara")),
        (
            "notice_version = 2023-09-12",
            "notice_version = 2026-11-25",
            ("stops_import", "notice_not_in_force", "punavaara"),
        ),
        ('employee_notice = "HR-1"\n', "", ("warning", "employee_notice_missing", "punavaara")),
    ],
)
def test_the_import_stops_without_a_legal_basis(old, new, expected):
    assert found(parse_config(changed(old, new))) == [expected]


def test_a_finding_of_several_vendors_is_told_once():
    text = changed(
        "[[vendors]]",
        '[[vendors]]\nid = "toinen"\nprocessor = "linna"\nkind = "drop"\nlocation = "/srv/calls"\n[[vendors]]',
    )

    codes = [f.code for f in preflight_all(parse_config(changed('regions = ["FI"]', 'regions = ["US"]', text)), TODAY)]

    assert codes == [FindingCode.region_outside]


def test_an_unknown_vendor_is_a_clear_error():
    with pytest.raises(ConfigurationError, match="Known: linna"):
        preflight(good(), "vaihde", TODAY)
