"""What is wrong from outside: each a clear error in words, a retry only where it helps, and nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from callkeeper import db, wiring
from callkeeper import settings as all_settings
from callkeeper.errors import (
    CallkeeperError,
    ConfigurationError,
    DatabaseUnavailable,
    KeyMissing,
    StoreRefused,
    StoreUnavailable,
    VendorUnavailable,
    WrongCredentials,
)
from callkeeper.media.s3 import S3Store
from callkeeper.settings import Settings
from callkeeper.vendors.drop import Drop
from deliver import Call, deliver
from installation import DAY, at, counts


def call(identity: str = "r1", **changes) -> Call:
    return Call(**{"id": identity, "start": at(9), **changes})


def nothing_was_written(office) -> bool:
    return all(
        office.rows(f"select from {table}") == [] for table in ("staging", "quarantine", "recording", "deletion")
    ) and not office.events("recording.kept", "recording.quarantined", "deletion.planned", "day.listed")


def run_with(office, **changed: object) -> None:
    """One night with other settings, the store's client included."""
    office.settings = office.settings.model_copy(update=changed)
    office.app = wiring.build(office.settings)
    office.run()


# --- configuration and settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[store\nregion = 1", "line 1"),
        ('[store]\nregion = "FI"\nregions = []', r"store.regions"),
        ("", "controllers"),
    ],
)
def test_a_broken_configuration_is_told_with_its_place(office, text, told):
    office.settings.config_file.write_text(text)

    with pytest.raises(ConfigurationError, match=told):
        run_with(office)
    assert nothing_was_written(office)


def test_a_configuration_that_is_not_there_is_told(office):
    office.settings.config_file.unlink()

    with pytest.raises(ConfigurationError, match=r"callkeeper\.toml"):
        run_with(office)


def test_each_wrong_setting_is_told_by_its_name_and_not_by_its_value(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CALLKEEPER_DB_PORT", "0409990001")
    monkeypatch.setenv("CALLKEEPER_IMPORT_LANES", "many-0409990001")

    with pytest.raises(ConfigurationError) as wrong:
        all_settings.load(home=tmp_path, import_chunk_rows=0)

    assert [fault.split(":")[0] for fault in wrong.value.faults] == [
        "CALLKEEPER_IMPORT_LANES",
        "CALLKEEPER_IMPORT_CHUNK_ROWS",
    ]
    assert "0409990001" not in str(wrong.value)


def test_missing_keys_are_told(office):
    with pytest.raises(KeyMissing, match="keyring"):
        run_with(office, keys_dir=office.folder / "nowhere")
    assert nothing_was_written(office)


# --- the database -----------------------------------------------------------------------------------------------------


def test_a_wrong_password_of_the_database_is_no_outage(office):
    with pytest.raises(WrongCredentials, match="The database refused the role or its password") as wrong:
        run_with(office, db_app_password=SecretStr("wrong-0409990001"))

    assert not wrong.value.retry
    assert "0409990001" not in str(wrong.value)


def test_a_database_that_is_not_there_is_worth_a_retry(office):
    with pytest.raises(DatabaseUnavailable) as gone:
        run_with(office, db_port=1)
    assert gone.value.retry


def test_a_database_without_room_for_us_is_told_as_full(office):
    office.sql.execute("alter role callkeeper_app connection limit 0")
    try:
        with pytest.raises(DatabaseUnavailable, match="out of disk, memory or connections") as full:
            run_with(office)
    finally:
        office.sql.execute("alter role callkeeper_app connection limit -1")
    assert full.value.retry


def test_a_disk_that_is_full_is_told_as_full():
    assert "out of disk" in str(db.reworded(psycopg.errors.DiskFull("could not write 0409990001")))


def test_a_failing_statement_is_told_without_its_values(office):
    office.sql.execute("alter table staging add constraint refuses check (vendor = 'nobody')")
    deliver(office.linna, DAY, [call("0409990001")])
    try:
        with pytest.raises(db.DatabaseError, match="23514 CheckViolation staging refuses"):
            office.run()
    finally:
        office.sql.execute("alter table staging drop constraint refuses")
    assert nothing_was_written(office)
    assert counts(office.run()) == {"found": 1, "kept": 1}


# --- the vendor -------------------------------------------------------------------------------------------------------


def test_a_vendors_share_that_is_not_mounted_is_worth_a_retry(office):
    shutil.rmtree(office.linna)

    with pytest.raises(VendorUnavailable, match="share mounted") as gone:
        office.run()
    assert gone.value.retry
    assert nothing_was_written(office)


def test_a_vendors_bucket_on_a_closed_port_is_worth_a_retry(office):
    _at_bucket(office, endpoint="http://127.0.0.1:1", key="key", secret="secret")

    with pytest.raises(VendorUnavailable, match="linna did not answer"):
        office.run()
    assert nothing_was_written(office)
    assert office.day_state() == "open"


def test_a_vendors_bucket_that_does_not_know_us_is_no_outage(office, seaweed):
    _at_bucket(office, endpoint=seaweed.endpoint, key="nobody-0409990001", secret="wrong")

    with pytest.raises(WrongCredentials, match="linna refused us") as wrong:
        office.run()
    assert not wrong.value.retry
    assert "0409990001" not in str(wrong.value)
    assert nothing_was_written(office)


@pytest.fixture(autouse=True)
def _no_options_left(office):
    yield
    (office.settings.secrets_dir / "vendor_linna.json").unlink(missing_ok=True)


def _at_bucket(office, *, endpoint: str, key: str, secret: str) -> None:
    office.settings.secrets_dir.mkdir(exist_ok=True)
    (office.settings.secrets_dir / "vendor_linna.json").write_text(
        f'{{"key": "{key}", "secret": "{secret}", "endpoint_url": "{endpoint}",'
        ' "config_kwargs": {"retries": {"total_max_attempts": 1}}}'
    )
    office.configure((f"{office.folder}/linna", "s3://vendor/drop"))


def test_a_vendor_that_fails_in_the_middle_leaves_the_others_pending_and_the_run_can_go_on(office, monkeypatch):
    deliver(office.linna, DAY, [call(f"r{n}") for n in range(12)])
    opened, asked = Drop.open, []

    def fails_after_three(self, ref):
        asked.append(ref)
        if len(asked) > 3:
            raise VendorUnavailable("The vendor linna did not answer.")
        return opened(self, ref)

    with monkeypatch.context() as patch:
        patch.setattr(Drop, "open", fails_after_three)
        with pytest.raises(VendorUnavailable):
            office.run()
    assert len(asked) == 3 + 5, "five in a row, then it is left alone"
    assert office.value("select count(*) from staging where state = 'fetched'") == 3
    assert counts(office.run()) == {"found": 12, "kept": 12}


# --- the store --------------------------------------------------------------------------------------------------------


def store_with(office, **changed: str) -> None:
    s = office.settings
    given = {
        "endpoint": s.store_endpoint,
        "region": s.store_region,
        "bucket": s.store_bucket,
        "access_key": s.store_access_key.get_secret_value(),
        "secret_key": s.store_secret_key.get_secret_value(),
    }
    vars(office.app)["store"] = S3Store(**(given | changed))


@pytest.mark.parametrize(
    ("case", "error", "words", "retry"),
    [
        ("an unknown key", WrongCredentials, "does not know these credentials", False),
        ("a wrong secret", WrongCredentials, "does not know these credentials", False),
        ("an identity that may only read", StoreRefused, "does not let us write", False),
        ("no such bucket", CallkeeperError, "bucket", False),
        ("a closed port", StoreUnavailable, "does not answer", True),
    ],
)
def test_a_store_that_does_not_take_audio_says_why_and_the_run_goes_on_once_it_does(
    office, seaweed, case, error, words, retry
):
    reader, readers_secret = seaweed.credentials("holder")
    changed = {
        "an unknown key": {"access_key": "nobody"},
        "a wrong secret": {"secret_key": "wrong"},
        "an identity that may only read": {"access_key": reader, "secret_key": readers_secret},
        "no such bucket": {"bucket": "nowhere"},
        "a closed port": {"endpoint": "http://127.0.0.1:1"},
    }[case]
    deliver(office.linna, DAY, [call("r1"), call("r2")])
    whole = office.app.store
    store_with(office, **changed)

    with pytest.raises(error, match=words) as refused:
        office.run()

    assert refused.value.retry is retry
    assert office.rows("select from recording") == []
    assert office.value("select count(*) from staging where state = 'listed'") == 2
    vars(office.app)["store"] = whole
    assert office.versions() == []
    assert counts(office.run()) == {"found": 2, "kept": 2}


def test_settings_that_are_complete_are_taken(tmp_path: Path):
    assert isinstance(all_settings.load(home=tmp_path), Settings)
