"""The configuration on its way into the tables: what differs, what is kept, and that nothing is ever deleted by it."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from callkeeper import controllers, db
from callkeeper.commands.config import group
from callkeeper.controllers import Change, FieldChange, parse_config
from callkeeper.errors import ConfigurationError, NotAllowed
from callkeeper.trail.events import Actor

SHIPPED = (Path(__file__).resolve().parents[2] / "config" / "callkeeper.toml").read_text()
ACTOR = Actor(account="data", rule="test")

EVERY_TABLE = ("config_version", "controller", "line", "processor", "vendor", "recording", "event")


def edited(*edits: tuple[str, str], text: str = SHIPPED) -> controllers.Config:
    for old, new in edits:
        assert old in text, "an edit must change something"
        text = text.replace(old, new, 1)
    return parse_config(text)


def without(section: str, marker: str) -> str:
    """The shipped file without the one entry of the section that has the marker in it."""
    entries = [entry for entry in SHIPPED.split("\n\n") if entry.startswith(f"[[{section}]]") and marker in entry]
    assert len(entries) == 1
    return SHIPPED.replace(entries[0], "")


def rows(conn, table: str) -> int:
    return conn.execute(f"select count(*) from {table}").fetchone()[0]


def events(conn) -> list[dict[str, object]]:
    found = conn.execute("select body from event where class = 'config' order by id").fetchall()
    return [json.loads(bytes(row.body)) for row in found]


def live_lines(conn) -> list[tuple[object, ...]]:
    ask = (
        "select number, controller, valid_from, valid_to from line where removed_at is null order by number, valid_from"
    )
    return [tuple(row) for row in conn.execute(ask)]


@pytest.fixture(autouse=True)
def _an_empty_register(owner_conn):
    owner_conn.execute("truncate config_version, recording cascade")
    owner_conn.commit()


@pytest.fixture
def applied(app_conn):
    """The shipped configuration, in force."""
    return controllers.apply(app_conn, parse_config(SHIPPED), ACTOR)


def a_live_recording(conn, *, line: str, controller: str, started_at: str) -> None:
    columns = {
        "recording": uuid.uuid4(), "controller": controller, "vendor": "linna", "line": line, "direction": "inbound",
        "started_at": started_at, "duration_ms": 1000, "caller_state": "withheld", "identity": uuid.uuid4().bytes,
        "revision": b"r", "sealed_ref": b"s", "object_key": "rec/x", "version_id": "v", "sha256": b"h",
        "size_bytes": 1, "audio_ms": 1000, "codec": "opus", "channels": 1, "sample_rate_hz": 8000,
        "legal_hold": False, "delivery": 1, "retention_months": 6,
    }  # fmt: skip
    names, values = ", ".join(columns), ", ".join(f"%({name})s" for name in columns)
    conn.execute(f"insert into recording ({names}) values ({values})", columns)
    conn.commit()


def test_the_first_configuration_fills_the_register_and_leaves_its_event(app_conn):
    changes = controllers.apply(app_conn, parse_config(SHIPPED), ACTOR)

    assert changes.count("changed") == changes.count("removed") == 0
    assert [(c.section, c.key) for c in changes.changes if c.section == "lines"] == [
        ("lines", "+358102708001 from 2023-09-12"),
        ("lines", "+358207001234 from 2023-09-12"),
        ("lines", "+358800123456 from 2023-09-12"),
    ]
    assert live_lines(app_conn) == [
        ("+358102708001", "phm-group-services", date(2023, 9, 12), None),
        ("+358207001234", "punavaara", date(2023, 9, 12), None),
        ("+358800123456", "punavaara", date(2023, 9, 12), None),
    ]
    punavaara = app_conn.execute("select * from controller where controller = 'punavaara'").fetchone()
    assert (punavaara.languages, punavaara.notice_version, punavaara.balancing_test, punavaara.contact["phone"]) == (
        ["fi", "sv", "en"],
        date(2023, 9, 12),
        "PHM-LIA-2023-05",
        "010 270 8001",
    )
    linna = app_conn.execute("select * from processor where processor = 'linna'").fetchone()
    assert (linna.kind, linna.valid_to, linna.grace_days, linna.stopped, linna.regions, linna.sub_processors) == (
        "vendor",
        date.max,
        14,
        False,
        ["FI"],
        [{"name": "Linna Konesalit Oy", "country": "FI"}],
    )
    assert app_conn.execute("select vendor, kind, location from vendor order by 1").fetchall() == [
        ("linna", "drop", "${CALLKEEPER_HOME}/vendors/linna"),
        ("vaihde", "asterisk", "${CALLKEEPER_HOME}/vendors/vaihde"),
    ]
    told = events(app_conn)[-1]
    assert (told["action"], told["config_version"]) == ("config.applied", changes.version)
    assert (told["added"], told["changed"], told["removed"]) == (len(changes.changes), 0, 0)
    assert told["actor"] == {"account": "data", "config": changes.version, "rule": "test"}


def test_applying_the_same_again_changes_nothing_and_tells_nothing(app_conn, applied):
    before = {table: rows(app_conn, table) for table in EVERY_TABLE}

    again = controllers.apply(app_conn, parse_config("# another comment\n" + SHIPPED), ACTOR)

    assert not again
    assert again.version == applied.version
    assert {table: rows(app_conn, table) for table in EVERY_TABLE} == before


def test_what_differs_is_told_field_by_field_and_nothing_is_changed_by_telling(app_conn, applied):
    new = edited(
        ("retention_months = 6 ", "retention_months = 3 "),
        ('balancing_test = "PHM-LIA-2023-05"', 'balancing_test = "PHM-LIA-2026-01"'),
        ("grace_days = 14\nstopped = false", "grace_days = 7\nstopped = true"),
    )

    changes = controllers.diff(app_conn, new)

    assert changes.changes == (
        Change(section="terms", key="", how="changed", fields=(FieldChange(name="retention_months", old=6, new=3),)),
        Change(
            section="controllers",
            key="punavaara",
            how="changed",
            fields=(FieldChange(name="balancing_test", old="PHM-LIA-2023-05", new="PHM-LIA-2026-01"),),
        ),
        Change(
            section="processors",
            key="linna",
            how="changed",
            fields=(FieldChange(name="grace_days", old=14, new=7), FieldChange(name="stopped", old=False, new=True)),
        ),
    )
    assert changes.version == applied.version
    assert rows(app_conn, "config_version") == 1
    assert not controllers.diff(app_conn, parse_config(SHIPPED))


def test_what_leaves_the_file_is_marked_as_removed_and_its_history_stays(app_conn, applied):
    new = parse_config(without("lines", "0800 123456"))

    changes = controllers.apply(app_conn, new, ACTOR)

    assert changes.changes == (Change(section="lines", key="+358800123456 from 2023-09-12", how="removed"),)
    assert "+358800123456" not in [number for number, *_ in live_lines(app_conn)]
    gone = app_conn.execute("select removed_at, config_version from line where number = '+358800123456'").fetchone()
    assert gone.removed_at is not None
    assert gone.config_version == changes.version
    kept = app_conn.execute(
        "select version, strpos(body, '+358800123456') > 0 from config_version order by 1"
    ).fetchall()
    assert kept == [(applied.version, True), (changes.version, False)]
    untouched = app_conn.execute("select distinct config_version from controller").fetchall()
    assert untouched == [(applied.version,)]


def test_a_line_that_changes_hands_keeps_whose_it_was_before(app_conn, applied):
    number = 'number = "020 700 1234"\n'
    new = edited((f'{number}controller = "punavaara"', f'{number}controller = "phm-group-services"'))

    controllers.apply(app_conn, new, ACTOR)

    history = app_conn.execute(
        "select controller, removed_at is null as live from line where number = '+358207001234' order by line"
    ).fetchall()
    assert history == [("punavaara", False), ("phm-group-services", True)]


def test_a_line_ended_and_given_on_in_one_step_overlaps_nowhere(app_conn, applied):
    here = 'number = "020 700 1234"\ncontroller = "punavaara"\nfrom = 2023-09-12\n'
    there = '[[lines]]\nnumber = "020 700 1234"\ncontroller = "phm-group-services"\nfrom = 2026-04-01\n'
    new = edited((here, f"{here}to = 2026-03-31\n{there}"))

    controllers.apply(app_conn, new, ACTOR)

    assert live_lines(app_conn)[1:3] == [
        ("+358207001234", "punavaara", date(2023, 9, 12), date(2026, 3, 31)),
        ("+358207001234", "phm-group-services", date(2026, 4, 1), None),
    ]


def test_what_comes_back_is_live_again(app_conn, applied):
    gone = parse_config(without("vendors", 'id = "vaihde"'))
    controllers.apply(app_conn, gone, ACTOR)
    assert app_conn.execute("select removed_at is not null from vendor where vendor = 'vaihde'").fetchone() == (True,)

    back = controllers.apply(app_conn, parse_config(SHIPPED), ACTOR)

    assert [(c.section, c.key, c.how) for c in back.changes] == [("vendors", "vaihde", "added")]
    assert app_conn.execute("select removed_at from vendor where vendor = 'vaihde'").fetchone() == (None,)
    assert rows(app_conn, "config_version") == 3


def test_live_recordings_on_lines_that_stop_being_designated_are_counted_and_left_alone(app_conn, applied):
    last_second_of_march, april = "2026-03-31T20:59:59Z", ("2026-03-31T21:00:00Z", "2026-04-02T09:00:00Z")
    for started_at in (last_second_of_march, *april):
        a_live_recording(app_conn, line="+358207001234", controller="punavaara", started_at=started_at)
    a_live_recording(app_conn, line="+358102708001", controller="phm-group-services", started_at="2026-04-02T09:00:00Z")
    new = edited((
        'number = "020 700 1234"\ncontroller = "punavaara"\nfrom = 2023-09-12\n',
        'number = "020 700 1234"\ncontroller = "punavaara"\nfrom = 2023-09-12\nto = 2026-03-31\n',
    ))  # fmt: skip

    asked = controllers.diff(app_conn, new).recordings_left
    done = controllers.apply(app_conn, new, ACTOR).recordings_left

    assert asked == done == 2
    assert app_conn.execute("select count(*) from recording").fetchone() == (4,)


def test_no_row_is_ever_deleted_whatever_leaves_the_file(app_conn, applied):
    before = {table: rows(app_conn, table) for table in EVERY_TABLE}
    bare = SHIPPED[: SHIPPED.index("[[lines]]")]

    controllers.apply(app_conn, parse_config(bare), ACTOR)

    after = {table: rows(app_conn, table) for table in EVERY_TABLE}
    assert all(after[table] >= before[table] for table in EVERY_TABLE)
    assert app_conn.execute("select count(*) from vendor where removed_at is null").fetchone() == (0,)


@pytest.mark.parametrize(
    "edit",
    [
        ('privacy_officers = ["officer"]', 'privacy_officers = ["officer", "friend"]'),
        ('approvers = ["approver"]', 'approvers = ["approver", "data"]'),
        ('listeners = ["listener"]', 'listeners = ["listener", "friend"]'),
    ],
)
def test_who_may_decide_or_hear_is_changed_by_an_officer_in_force_and_nobody_else(app_conn, applied, edit):
    new = edited(edit)

    for account in ("data", "friend", "approver", None):
        with pytest.raises(NotAllowed, match="who may decide"):
            controllers.apply(app_conn, new, Actor(account=account))
    assert rows(app_conn, "config_version") == 1

    controllers.apply(app_conn, new, Actor(account="deputy"))

    assert rows(app_conn, "config_version") == 2


def test_two_that_apply_at_once_make_one_version(app_conn, db_settings):
    told_before = len(events(app_conn))
    app_conn.rollback()

    def one(_: int) -> bool:
        with db.connect(db_settings) as conn:
            return bool(controllers.apply(conn, parse_config(SHIPPED), ACTOR))

    with ThreadPoolExecutor(4) as pool:
        changed = list(pool.map(one, range(4)))

    assert sorted(changed) == [False, False, False, True]
    assert rows(app_conn, "config_version") == 1
    assert len(events(app_conn)) == told_before + 1


@pytest.fixture
def command(db_settings, tmp_path, monkeypatch):
    """Runs `callkeeper config …` on a file of its own; whoever signs in is the account that was given."""
    file = tmp_path / "callkeeper.toml"
    file.write_text(SHIPPED)

    def run(*arguments: str, edit: tuple[str, str] = ("", "")):
        file.write_text(file.read_text().replace(*edit, 1))
        return CliRunner().invoke(group, arguments)

    found = db_settings.model_copy(update={"config_file": file})
    monkeypatch.setattr("callkeeper.commands.config.settings.load", lambda: found)
    monkeypatch.setattr("callkeeper.commands.signin.sign_in", lambda app, account, roles: account)
    return run


def test_check_says_that_a_file_is_right_what_stops_the_import_and_every_fault(command):
    good = command("check")
    stopped = command("check", edit=('remote_support = ["FI", "EE"]', 'remote_support = ["FI", "IN"]'))
    broken = command("check", edit=("3125932-2", "3125932-3"))

    assert (good.exit_code, good.output) == (0, "callkeeper.toml is right.\n")
    assert stopped.exit_code == 1
    assert "Stops the import: linna has remote support from IN, outside the EU/EEA" in stopped.output
    assert isinstance(broken.exception, ConfigurationError)
    assert broken.exception.faults[0].startswith("controllers[0].business_id: ")


def test_diff_then_apply_then_nothing_differs(command, app_conn):
    first = command("diff")
    applied = command("apply", "--as", "data", "--yes")
    same = command("diff")
    notice = command("diff", edit=('valid_to = "until further notice"', "valid_to = 2099-12-31"))
    again = command("apply", "--as", "officer", "--yes")

    assert (first.exit_code, applied.exit_code, same.exit_code, notice.exit_code, again.exit_code) == (2, 0, 0, 2, 0)
    assert "+ lines +358102708001 from 2023-09-12" in first.output
    assert "nothing yet" in first.output
    assert "is in force" in applied.output
    assert "Nothing differs" in same.output
    assert "~ processors linna\n    valid_to: until further notice -> 2099-12-31" in notice.output
    assert app_conn.execute("select applied_by from config_version order by version").fetchall() == [
        ("data",),
        ("officer",),
    ]


def test_the_data_team_applies_a_line_and_not_a_duty(command, app_conn, applied):
    duty = command("apply", "--as", "data", "--yes", edit=('approvers = ["approver"]', 'approvers = ["data"]'))
    assert isinstance(duty.exception, NotAllowed)

    line = command("apply", "--as", "data", "--yes", edit=('approvers = ["data"]', 'approvers = ["approver"]'))
    assert line.exit_code == 0
    longer = ('valid_to = "until further notice"', "valid_to = 2099-12-31")
    assert command("apply", "--as", "data", "--yes", edit=longer).exit_code == 0
    assert rows(app_conn, "config_version") == 2


def test_apply_asks_first_and_changes_nothing_without_a_yes(command, app_conn):
    told = command("apply", "--as", "data")

    assert told.exit_code == 1
    assert "Bring this into force?" in told.output
    assert rows(app_conn, "config_version") == 0


def test_nothing_is_half_written_when_the_event_cannot_be(app_conn, monkeypatch):
    def broken(*_: object) -> int:
        raise RuntimeError

    monkeypatch.setattr(controllers, "append", broken)

    with pytest.raises(RuntimeError):
        controllers.apply(app_conn, parse_config(SHIPPED), ACTOR)
    app_conn.rollback()

    assert rows(app_conn, "config_version") == rows(app_conn, "controller") == rows(app_conn, "line") == 0
