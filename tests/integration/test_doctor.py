"""The doctor: a sound installation has nothing to mend, and each thing that is wrong is told with what mends it."""

from __future__ import annotations

import json
import os
import threading
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from click.testing import CliRunner
from pydantic import SecretStr

from callkeeper import controllers, db, pseudonyms, wiring
from callkeeper.commands.doctor import Check, Verdict, doctor, examine, skew_between
from callkeeper.embedded.ports import free_ports
from callkeeper.trail.events import Actor
from fakes.store import FakeStore

SHIPPED = (Path(__file__).resolve().parents[2] / "config" / "callkeeper.toml").read_text()
WELL = {part: {"status": "healthy"} for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")}


@pytest.fixture
def config_file(db_settings) -> Path:
    """The shipped configuration, its vendors' folders there."""
    home = db_settings.home
    (home / "vendors" / "linna").mkdir(parents=True, exist_ok=True)
    (home / "vendors" / "vaihde" / "monitor").mkdir(parents=True, exist_ok=True)
    (home / "vendors" / "vaihde" / "cdr-csv").mkdir(exist_ok=True)
    (home / "vendors" / "vaihde" / "cdr-csv" / "Master.csv").touch()
    path = home / "callkeeper.toml"
    path.write_text(SHIPPED.replace("${CALLKEEPER_HOME}", str(home)))
    return path


@pytest.fixture
def app(db_settings, config_file, owner_conn) -> wiring.App:
    """An installation whose configuration is in force and whose keys are registered."""
    own_store = "http://127.0.0.1:1"  # an own server, not AWS; nobody is there
    app = wiring.build(db_settings.model_copy(update={"config_file": config_file, "store_endpoint": own_store}))
    owner_conn.execute("truncate config_version, key cascade")
    owner_conn.commit()
    with app.connect() as conn:
        pseudonyms.register(conn, app.keyring)
        controllers.apply(conn, app.config, Actor(account="data"))
    return app


def having(app: wiring.App, **changed: object) -> wiring.App:
    return wiring.build(app.settings.model_copy(update=changed))


def checks(app: wiring.App, *areas: str) -> list[Check]:
    return list(examine(app, areas))


def failures(app: wiring.App, *areas: str) -> list[str]:
    return [check.what for check in checks(app, *areas) if check.verdict is Verdict.fail]


def only_failure(app: wiring.App, *areas: str) -> Check:
    failed = [check for check in checks(app, *areas) if check.verdict is Verdict.fail]
    assert len(failed) == 1, failed
    assert failed[0].mend, "a failure says what to mend"
    return failed[0]


@pytest.fixture
def airflow() -> Iterator[ThreadingHTTPServer]:
    """Something that answers as Airflow's health page does."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.path.partition("?")[0]
            answers = {"/api/v2/monitor/health": self.server.health, "/api/v2/dags": {"dags": self.server.dags}}
            self.send_response(200 if asked in answers else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answers.get(asked)).encode())

        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(201 if said == {"username": "callkeeper", "password": "sala"} else 401)
            self.end_headers()
            self.wfile.write(b'{"access_token": "t"}')

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    server.health, server.dags = WELL, []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def relay() -> Iterator[int]:
    """The port of a mail relay."""
    controller = Controller(Sink(), hostname="127.0.0.1", port=free_ports(["smtp"])["smtp"])
    controller.start()
    yield controller.port
    controller.stop()


# --- configuration ----------------------------------------------------------------------------------------------------


def test_a_sound_configuration_in_force_has_nothing_to_mend(app):
    found = checks(app, "configuration", "regions", "schema", "rights", "register", "clock", "keys")

    assert [c for c in found if c.verdict is not Verdict.ok] == []
    assert len(found) >= 10


def test_every_fault_of_the_configuration_is_told_and_the_rest_is_still_looked_at(app, config_file):
    text = config_file.read_text().replace("3125932-2", "3125932-1")
    config_file.write_text(text.replace('controller = "punavaara"', 'controller = "punavara"'))

    found = checks(having(app), "configuration", "schema", "register", "vendors")

    failed = [c.what for c in found if c.verdict is Verdict.fail]
    assert failed[0] == "callkeeper.toml has 3 faults."
    places = [what.split(":")[0] for what in failed[1:]]
    assert places == ["controllers[0].business_id", "lines[1].controller", "lines[2].controller"]
    assert [c.area for c in found if c.verdict is Verdict.ok] == ["schema"]


def test_a_file_of_promises_that_is_wrong_is_a_failure(app, tmp_path):
    file = tmp_path / "notice.toml"
    file.write_text("[notice]\nversion = 2023-09-12\n")

    assert "notice.toml is wrong" in failures(having(app, notice_file=file), "configuration")[0]


def test_what_stops_the_import_is_a_failure_and_what_will_a_warning(app, config_file):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    text = config_file.read_text().replace('valid_to = "until further notice"', f"valid_to = {tomorrow}", 1)
    config_file.write_text(text.replace('balancing_test = "PHM-LIA-2023-04"', ""))

    found = {(c.verdict, c.what) for c in checks(having(app), "configuration")[1:]}

    unfounded = "phm-group-services names no balancing test, so its legitimate interest is not shown."
    assert (Verdict.fail, unfounded) in found
    assert [verdict for verdict, what in found if what.startswith("linna's contract")] == [Verdict.warn]


def test_a_file_that_is_not_in_force_is_told(app, config_file):
    config_file.write_text(config_file.read_text().replace("retention_months = 6", "retention_months = 3"))

    assert "callkeeper config apply" in only_failure(having(app), "register").mend


@pytest.mark.parametrize(
    ("region", "configured", "what"),
    [
        ("eu-west-2", "eu-west-2", "The store's region eu-west-2 is not in the EU/EEA."),
        ("mars-1", "FI", "The store's region mars-1 is not in the EU/EEA."),
        ("eu-west-1", "eu-north-1", "The store is in eu-west-1, but the configuration says eu-north-1."),
    ],
)
def test_a_bucket_outside_the_eea_or_elsewhere_than_said_is_a_failure(app, config_file, region, configured, what):
    config_file.write_text(config_file.read_text().replace('region = "FI"', f'region = "{configured}"', 1))

    assert only_failure(having(app, store_endpoint="", store_region=region), "regions").what == what


# --- the database -----------------------------------------------------------------------------------------------------


def test_each_role_that_has_a_password_is_tried(app):
    wrong = having(app, db_sealer_password=SecretStr("not it"), db_ageing_password=SecretStr(""))

    told = [(c.verdict, c.what.rstrip(".").split(":")[0]) for c in checks(wrong, "database") if "callkeeper_" in c.what]

    assert told == [
        (Verdict.ok, "callkeeper_owner can connect"),
        (Verdict.fail, "callkeeper_sealer"),
        (Verdict.ok, "callkeeper_auditor can connect"),
        (Verdict.ok, "callkeeper_witness can connect"),
        (Verdict.ok, "callkeeper_app can connect"),
    ]


def test_what_the_listener_missed_is_told_until_the_next_seal_counts_it(app, tmp_path):
    assert [c.verdict for c in checks(having(app, witness_dir=tmp_path), "witness")] == [Verdict.ok]
    (tmp_path / "1764300000000000000-1-1").touch()
    (tmp_path / "pause").touch()

    (told,) = checks(having(app, witness_dir=tmp_path), "witness")
    assert (told.verdict, told.what) == (Verdict.warn, "Airflow's listener could not write 1 things that it saw.")
    (told,) = checks(having(app, db_witness_password=SecretStr("")), "witness")
    assert "no second witness" in told.what


def test_a_postgres_that_does_not_flush_is_warned_of(app):
    warned = [c.what for c in checks(app, "database") if c.verdict is Verdict.warn]

    assert "Postgres runs with fsync off." in warned  # the tests' server does, to be fast


def test_a_missing_password_of_the_tasks_role_is_a_failure(app):
    mends = [c.mend for c in checks(having(app, db_app_password=SecretStr("")), "database")]

    assert "Set CALLKEEPER_DB_APP_PASSWORD." in mends


def test_a_database_that_is_gone_fails_every_look_at_it_in_words_told_once_and_shows_no_password(app):
    areas = ("database", "schema", "rights", "register", "clock", "escrow")
    others = {f"db_{role}_password": SecretStr("") for role in db.ROLES if role != "app"}
    gone = having(app, db_port=1, **others)

    found = checks(gone, *areas)

    assert [(c.verdict, c.area) for c in found] == [(Verdict.fail, area) for area in areas]
    assert found[0].what == "The database did not answer, or went away."
    assert {c.what for c in found[1:]} == {"Not looked at, for the reason told at database."}
    assert "test-app" not in str(found)


def test_a_schema_behind_this_version_is_a_failure(app, owner_conn):
    owner_conn.execute("update schema_version set version_num = '0000'")
    owner_conn.commit()
    try:
        assert "revision 0000" in only_failure(app, "schema").what
    finally:
        owner_conn.execute("update schema_version set version_num = %s", (db.newest_revision(),))
        owner_conn.commit()


@pytest.mark.parametrize("privilege", ["update", "delete", "truncate"])
@pytest.mark.parametrize("table", ["event", "event_import", "suppression", "clock_shift"])
def test_a_right_to_change_the_trail_the_tombstones_or_the_clock_is_a_failure(app, owner_conn, table, privilege):
    owner_conn.execute(f"grant {privilege} on {table} to callkeeper_app")
    owner_conn.commit()
    try:
        assert f"{privilege.upper()} on {table}." in only_failure(app, "rights").what
    finally:
        owner_conn.execute(f"revoke {privilege} on {table} from callkeeper_app")
        owner_conn.commit()


@pytest.mark.parametrize("trigger", ["no_change", "no_truncate"])
@pytest.mark.parametrize("how", ["disable trigger", "enable trigger"])
def test_a_part_of_the_trail_without_its_triggers_always_on_is_a_failure(app, owner_conn, trigger, how):
    ask = "select relid::regclass::text as name from pg_partition_tree('event_ticket') where isleaf limit 1"
    part = owner_conn.execute(ask).fetchone().name
    owner_conn.execute(f"alter table {part} {how} {trigger}")
    owner_conn.commit()
    try:
        assert part in only_failure(app, "rights").what
    finally:
        owner_conn.execute(f"alter table {part} enable always trigger {trigger}")
        owner_conn.commit()


# --- the clock --------------------------------------------------------------------------------------------------------


def test_a_moved_clock_is_refused_outside_the_demo(app, owner_conn):
    db.move_clock(owner_conn, 3600)
    owner_conn.commit()
    try:
        assert "moved by 1:00:00" in only_failure(app, "clock").what
        assert failures(having(app, demo=True), "clock") == []
    finally:
        db.move_clock(owner_conn, 0)
        owner_conn.commit()


@pytest.mark.parametrize(("answer", "skew"), [(-5, 5), (0, 0), (1, 0), (2, 0), (7, 5)])
def test_the_wait_for_an_answer_is_no_difference_of_clocks(answer, skew):
    asked = datetime(2026, 11, 24, tzinfo=UTC)

    found = skew_between(asked, asked + timedelta(seconds=answer), asked + timedelta(seconds=2))

    assert found == timedelta(seconds=skew)


# --- keys and secrets -------------------------------------------------------------------------------------------------


def test_a_key_that_is_not_registered_is_a_failure(app, owner_conn):
    owner_conn.execute("delete from key where purpose = 'number'")
    owner_conn.commit()

    assert only_failure(app, "keys").what.startswith("1 keys on this machine are not registered")


def test_a_registered_key_that_is_not_here_is_a_failure(app, owner_conn):
    owner_conn.execute("insert into key (key_id, purpose) values ('deadbeef', 'number')")
    owner_conn.commit()

    found = only_failure(app, "keys")

    assert found.what == "1 keys of the catalogue are not on this machine: deadbeef."
    assert "escrow" in found.mend


def test_a_key_file_that_others_can_read_is_a_failure(app):
    private = app.settings.keys_dir / "number.private.json"
    private.chmod(0o640)
    try:
        assert any("number.private.json" in what for what in failures(app, "keys"))
    finally:
        private.chmod(0o600)


def test_missing_keys_are_told_with_what_to_do(app, tmp_path):
    found = [c for c in checks(having(app, keys_dir=tmp_path / "none"), "keys") if c.verdict is Verdict.fail]

    assert found
    assert all("escrow" in c.mend or "keys restore" in c.mend for c in found)


def test_escrow_is_warned_of_until_every_key_is_in_one(app, app_conn):
    before = [c.verdict for c in checks(app, "escrow")]
    pseudonyms.record_escrow(app_conn, app.keyring)
    app_conn.commit()

    assert before == [Verdict.warn]
    assert [c.verdict for c in checks(app, "escrow")] == [Verdict.ok]


def test_a_secret_that_others_can_read_is_a_failure_and_is_not_shown(app):
    folder = app.settings.secrets_dir
    folder.mkdir(mode=0o700, exist_ok=True)
    secret = folder / "vendor_linna.json"
    secret.write_text('{"password": "hunter2"}')
    os.chmod(secret, 0o644)
    try:
        found = only_failure(app, "secrets")
    finally:
        secret.unlink()

    assert "vendor_linna.json" in found.what
    assert "hunter2" not in str(found)


# --- what is around ---------------------------------------------------------------------------------------------------


def test_a_vendor_that_cannot_be_reached_is_told_and_the_others_are_looked_at(app, config_file):
    text = config_file.read_text()
    config_file.write_text(text.replace(f'"{app.settings.home}/vendors/linna"', '"/nowhere/linna"', 1))

    found = {c.what.split(":")[0].split(" ")[0]: c.verdict for c in checks(having(app), "vendors")}

    assert found == {"linna": Verdict.fail, "vaihde": Verdict.ok}


def test_no_mail_relay_is_a_warning_a_silent_one_a_failure(app, relay):
    assert [c.verdict for c in checks(app, "mail")] == [Verdict.warn]
    assert failures(having(app, smtp_host="127.0.0.1", smtp_port=relay), "mail") == []
    assert "does not answer" in only_failure(having(app, smtp_host="127.0.0.1", smtp_port=1), "mail").what


def test_no_address_of_the_officers_is_a_failure(app, relay):
    nobody = having(app, smtp_host="127.0.0.1", smtp_port=relay, mail_privacy=" ")
    assert only_failure(nobody, "mail").what.startswith("No address of the privacy officer's is set")


@pytest.mark.parametrize(
    ("password", "paused", "verdict", "what"),
    [
        (
            "sala",
            {"delete_expired": True, "reconcile": False},
            Verdict.warn,
            "Paused, and so never run: delete_expired.",
        ),
        ("sala", {"delete_expired": False, "reconcile": False}, Verdict.ok, "None of the 2 DAGs is paused."),
        ("sala", {}, Verdict.fail, "Airflow has none of callkeeper's DAGs."),
        ("wrong", {}, Verdict.warn, "Whether a DAG is paused could not be looked at: Airflow refused the account."),
        ("", {}, Verdict.warn, "Whether a DAG is paused was not looked at: there is no password for that."),
    ],
)
def test_a_paused_dag_is_told_of_and_so_is_that_nobody_could_look(app, airflow, password, paused, verdict, what):
    airflow.dags = [{"dag_id": dag, "is_paused": is_paused} for dag, is_paused in paused.items()]
    there = having(app, airflow_url=f"http://127.0.0.1:{airflow.server_port}", airflow_password=SecretStr(password))

    assert [(c.verdict, c.what) for c in checks(there, "airflow")][1:] == [(verdict, what)]


def test_airflow_that_is_well_is_ok_ill_or_away_a_failure(app, airflow):
    there = having(app, airflow_url=f"http://127.0.0.1:{airflow.server_port}/")

    assert failures(there, "airflow") == []
    airflow.health = {**WELL, "scheduler": {"status": "unhealthy"}}
    assert only_failure(there, "airflow").what == "Airflow is not well: scheduler."
    assert "does not answer" in only_failure(having(app, airflow_url="http://127.0.0.1:1"), "airflow").what


@pytest.mark.parametrize(("free_gib", "verdict"), [(50, Verdict.ok), (2, Verdict.warn), (0.5, Verdict.fail)])
def test_the_disk_is_warned_of_before_it_is_full(app, monkeypatch, free_gib, verdict):
    usage = namedtuple("usage", "total used free")(100 * 2**30, 0, int(free_gib * 2**30))
    monkeypatch.setattr("callkeeper.commands.doctor.shutil.disk_usage", lambda _: usage)

    assert [c.verdict for c in checks(app, "disk")] == [verdict]


def test_the_store_is_asked_what_is_wrong_with_it(app, settings):
    there = {name: value for name, value in settings if name.startswith("store_")}

    assert failures(having(app, **there), "store") == []
    assert "could not be looked at" not in only_failure(app, "store").what


# --- the store's identities -------------------------------------------------------------------------------------------


def with_store(app: wiring.App, store: FakeStore, destroyer: FakeStore, holder: FakeStore) -> wiring.App:
    """An installation that has keys for three identities, and these three behind them."""
    given = having(app, store_destroyer_access_key=SecretStr("d"), store_holder_access_key=SecretStr("h"))
    vars(given).update(store=store, destroyer=destroyer, holder=holder)
    return given


def test_what_the_embedded_store_keeps_apart_is_tried_and_told(app, settings):
    there = having(app, **{name: value for name, value in settings if name.startswith("store_")})
    before = {v.version_id for v in there.store.versions("doctor/")}

    found = checks(there, "identities")

    assert [(c.verdict, c.what) for c in found] == [
        (Verdict.ok, "The importer cannot delete a version."),
        (Verdict.ok, "The holder cannot delete a version."),
        (Verdict.ok, "The destroyer cannot lift a legal hold."),
        (Verdict.ok, "The destroyer cannot delete what is under a legal hold."),
        (Verdict.ok, "The destroyer can delete what is under none."),
    ]
    assert {v.version_id for v in there.store.versions("doctor/")} == before


@pytest.mark.parametrize("missing", ["destroyer", "holder"])
def test_a_store_with_one_identity_for_all_is_a_warning_that_says_which_keys(app, missing):
    other = "holder" if missing == "destroyer" else "destroyer"

    [found] = checks(having(app, **{f"store_{other}_access_key": SecretStr("a")}), "identities")

    assert found.verdict is Verdict.warn
    assert f"CALLKEEPER_STORE_{missing.upper()}_ACCESS_KEY" in found.mend
    assert other.upper() not in found.mend


def test_identities_that_may_do_everything_are_warned_of_one_by_one(app):
    store = FakeStore()

    found = {c.what: c.verdict for c in checks(with_store(app, store, store, store), "identities")}

    assert list(found.values()) == [Verdict.warn] * 3 + [Verdict.ok] * 2
    warned = [what for what, verdict in found.items() if verdict is Verdict.warn]
    assert [what.split(":")[0] for what in warned] == [
        "The importer can delete a version",
        "The holder can delete a version",
        "The destroyer can lift a legal hold",
    ]
    assert list(store.versions("doctor/")) == []


def test_a_store_whose_holds_hold_nothing_is_a_failure(app):
    class Careless(FakeStore):
        def delete(self, versions):
            for v in versions:
                self.release(v.key, v.version_id)
            return super().delete(versions)

    store = Careless()

    assert only_failure(with_store(app, store.as_importer, store, store.as_holder), "identities").what == (
        "The store deletes what is under a legal hold: no hold protects."
    )


def test_a_destroyer_that_cannot_delete_and_a_holder_that_cannot_hold_are_failures(app):
    store = FakeStore()
    helpless = with_store(app, store.as_importer, store.as_holder, store.as_holder)
    store_denied = with_store(app, store.as_importer, store.as_destroyer, store.as_destroyer)

    assert "nothing would ever go" in only_failure(helpless, "identities").what
    assert only_failure(store_denied, "identities").verdict is Verdict.fail


# --- the command ------------------------------------------------------------------------------------------------------


def run(app: wiring.App, monkeypatch, *arguments: str):
    monkeypatch.setattr("callkeeper.commands.doctor.settings.load", lambda: app.settings)
    return CliRunner().invoke(doctor, arguments)


def test_the_command_says_what_to_mend_and_exits_1_only_then(app, monkeypatch):
    good = run(app, monkeypatch, "schema", "mail")
    bad = run(having(app, db_port=1), monkeypatch, "schema")

    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "2 looked at, 0 to mend, 1 to know about." in good.output
    assert "fail  schema" in bad.output
    assert "make up" in bad.output


def test_the_command_has_a_form_for_programs(app, monkeypatch):
    told = run(having(app, db_port=1), monkeypatch, "--json", "schema", "disk")

    assert told.exit_code == 1
    assert [(c["area"], sorted(c)) for c in json.loads(told.output)] == [
        ("schema", ["area", "mend", "verdict", "what"]),
        ("disk", ["area", "mend", "verdict", "what"]),
    ]


def test_an_unknown_area_is_refused_with_those_there_are(app, monkeypatch):
    told = run(app, monkeypatch, "weather")

    assert told.exit_code == 2
    assert "configuration, regions, database" in told.output
