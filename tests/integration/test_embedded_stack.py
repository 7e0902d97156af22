"""The embedded Postgres and store: what they keep, where they listen, and what they refuse."""

from __future__ import annotations

import email.message
import email.policy
import os
import smtplib
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from botocore.exceptions import ClientError

from callkeeper import db, wiring
from callkeeper.embedded import stack as embedded
from callkeeper.embedded.ports import free_ports, kept_ports
from callkeeper.embedded.postgres import Postgres
from callkeeper.embedded.secrets import Secrets
from callkeeper.embedded.server import Server
from callkeeper.embedded.store import PORTS, RECORDINGS, SeaweedFS
from callkeeper.embedded.supervision import Program
from callkeeper.errors import SetupFailed
from callkeeper.jobs import sealing
from callkeeper.trail.events import Actor


@pytest.fixture
def durable_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A Postgres as the stack runs it, fsync on, its folder's name with a space."""
    server = Postgres(tmp_path / "my data" / "postgres", free_ports(["p"])["p"], password="it's a ' \" secret")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[SeaweedFS]:
    """A store that a test may kill."""
    server = SeaweedFS(tmp_path / "my data" / "store", free_ports(PORTS), secrets=Secrets(tmp_path / "secrets"))
    server.start()
    yield server
    server.stop(kill=True)


def kill_all_of(server: Server) -> None:
    assert server.process is not None
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=20)
    server.process.wait()


def listeners(server: Server) -> set[str]:
    assert server.process is not None
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    return {
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def refusal(call: Any, **arguments: Any) -> int:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return int(refused.value.response["ResponseMetadata"]["HTTPStatusCode"])


def test_a_killed_postgres_comes_back_with_what_was_committed(durable_postgres: Postgres) -> None:
    with durable_postgres.connect() as conn:
        conn.execute("create table kept as select 42 as answer")

    kill_all_of(durable_postgres)
    durable_postgres.start()

    with durable_postgres.connect() as conn:
        assert conn.execute("select answer from kept").fetchone() == (42,)


def test_a_pid_file_whose_pid_went_to_another_program_does_not_stop_postgres(durable_postgres: Postgres) -> None:
    kill_all_of(durable_postgres)
    pid_file = durable_postgres.folder / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]))

    durable_postgres.start()

    assert durable_postgres.is_ready()


def test_postgres_18_writes_through_asks_for_a_password_and_logs_no_values(durable_postgres: Postgres) -> None:
    with durable_postgres.connect() as conn:
        settings = {
            name: conn.execute("select current_setting(%s)", (name,)).fetchone()[0]
            for name in ("fsync", "data_checksums", "synchronous_commit")
        }  # type: ignore[index]
        version = conn.info.server_version
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            conn.execute("select 'canary-4711'::int")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            host="127.0.0.1", port=durable_postgres.port, user="postgres", password="wrong", dbname="postgres"
        )

    assert settings == {"fsync": "on", "data_checksums": "on", "synchronous_commit": "on"}
    assert version // 10_000 == 18
    assert "canary-4711" not in durable_postgres.log.read_text()


def test_postgres_listens_on_loopback_only(postgres: Postgres) -> None:
    assert listeners(postgres) == {"127.0.0.1"}


def test_the_store_listens_on_loopback_only(seaweed: SeaweedFS) -> None:
    assert listeners(seaweed) == {"127.0.0.1"}


def test_a_killed_store_comes_back_with_its_objects_and_the_same_key(own_store: SeaweedFS) -> None:
    own_store.make_bucket()
    own_store.write_through()
    importer = own_store.client("importer")
    version = importer.put_object(Bucket=RECORDINGS, Key="rec/1", Body=b"hello, this is a call")["VersionId"]

    kill_all_of(own_store)
    own_store.start()
    own_store.make_bucket()

    kept = own_store.client("importer").get_object(Bucket=RECORDINGS, Key="rec/1", VersionId=version)
    assert kept["Body"].read() == b"hello, this is a call"
    assert own_store.writes_through()


def test_audio_is_encrypted_on_disk_without_being_asked_for(seaweed: SeaweedFS) -> None:
    plain = b"a voice that nobody may read from the disk " * 100

    stored = seaweed.client("importer").put_object(Bucket=RECORDINGS, Key="rec/plain", Body=plain)

    assert stored["ServerSideEncryption"] == "AES256"
    files = [file for file in seaweed.folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) > len(plain)
    assert not [file for file in files if b"a voice that nobody" in file.read_bytes()]


def test_the_bucket_has_versions_and_object_lock_and_no_default_rule(seaweed: SeaweedFS) -> None:
    importer = seaweed.client("importer")

    assert importer.get_bucket_versioning(Bucket=RECORDINGS)["Status"] == "Enabled"
    assert importer.get_object_lock_configuration(Bucket=RECORDINGS)["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled"
    }


def test_an_object_is_written_once(seaweed: SeaweedFS) -> None:
    importer = seaweed.client("importer")
    importer.put_object(Bucket=RECORDINGS, Key="rec/once", Body=b"first", IfNoneMatch="*")

    assert refusal(importer.put_object, Bucket=RECORDINGS, Key="rec/once", Body=b"second", IfNoneMatch="*") == 412
    assert importer.get_object(Bucket=RECORDINGS, Key="rec/once")["Body"].read() == b"first"


def test_a_held_version_cannot_be_deleted_by_anybody_and_the_destroyer_cannot_lift_the_hold(seaweed: SeaweedFS) -> None:
    importer, destroyer, holder = (seaweed.client(name) for name in ("importer", "destroyer", "holder"))
    put = importer.put_object(Bucket=RECORDINGS, Key="rec/held", Body=b"x", ObjectLockLegalHoldStatus="ON")
    version = {"Bucket": RECORDINGS, "Key": "rec/held", "VersionId": put["VersionId"]}

    assert {
        refusal(seaweed.client(name).delete_object, **version) for name in ("admin", "importer", "destroyer", "holder")
    } == {403}
    assert refusal(destroyer.put_object_legal_hold, **version, LegalHold={"Status": "OFF"}) == 403

    holder.put_object_legal_hold(**version, LegalHold={"Status": "OFF"})
    assert destroyer.delete_object(**version)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert not destroyer.list_object_versions(Bucket=RECORDINGS, Prefix="rec/held").get("Versions")


def test_only_the_destroyer_deletes_a_version(seaweed: SeaweedFS) -> None:
    put = seaweed.client("importer").put_object(Bucket=RECORDINGS, Key="rec/mine", Body=b"x")
    version = {"Bucket": RECORDINGS, "Key": "rec/mine", "VersionId": put["VersionId"]}

    assert refusal(seaweed.client("importer").delete_object, **version) == 403
    assert refusal(seaweed.client("holder").delete_object, **version) == 403
    assert refusal(seaweed.client("importer").delete_object, Bucket=RECORDINGS, Key="rec/mine") == 403


def test_the_inner_ports_of_the_store_ask_for_a_signature(seaweed: SeaweedFS) -> None:
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{seaweed.ports['filer']}/buckets/{RECORDINGS}/", timeout=5)

    assert refused.value.code == 401


def test_what_is_secret_is_readable_by_its_owner_only(seaweed: SeaweedFS, durable_postgres: Postgres) -> None:
    secret = [*seaweed.secrets.folder.iterdir(), *seaweed.folder.parent.glob("*identities*")]

    assert len(secret) >= 9
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert {
        stat.S_IMODE(path.stat().st_mode) for path in (seaweed.secrets.folder, seaweed.folder, durable_postgres.folder)
    } == {0o700}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o750)

    Secrets(shared).get("password")

    assert stat.S_IMODE(shared.stat().st_mode) == 0o750
    assert stat.S_IMODE((shared / "password").stat().st_mode) == 0o600


def test_secrets_and_ports_are_kept(tmp_path: Path) -> None:
    ports = kept_ports(tmp_path / "ports.json", ["a", "b"])
    secret = Secrets(tmp_path / "secrets").get("password")

    more = kept_ports(tmp_path / "ports.json", ["a", "b", "c"])

    assert {name: more[name] for name in ports} == ports
    assert len(set(more.values())) == 3
    assert Secrets(tmp_path / "secrets").get("password") == secret


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack without Airflow (which the acceptance tests start), in a folder whose name needs quoting everywhere."""
    folder = tmp_path_factory.mktemp("stack") / "my 100% var"
    try:
        embedded.up(folder, with_airflow=False, say=lambda line: None)
        yield folder
    finally:
        embedded.down(folder, say=lambda line: None)


def running(home: Path) -> dict[str, Program]:
    return {program.name: program for program in embedded.status(home) if program.is_running}


def session_of(home: Path) -> list[psutil.Process]:
    """Every process of the stack: what is in its supervisor's session, and what descends from it."""
    session = int((home / "stack" / "supervisord.pid").read_text())
    members = [process for process in psutil.process_iter() if os.getsid(process.pid) == session]
    return [*members, *(child for process in members for child in process.children(recursive=True))]


def test_up_starts_everything_and_again_changes_nothing(home: Path) -> None:
    before, ports = running(home), (home / "stack" / "ports.json").read_text()
    files = {path: path.read_bytes() for path in [home / "callkeeper.env", *(home / "secrets").iterdir()]}

    embedded.up(home, with_airflow=False, say=lambda line: None)

    assert set(before) == {"postgres", "store", "mail"}
    assert running(home) == before
    assert (home / "stack" / "ports.json").read_text() == ports
    assert {path: path.read_bytes() for path in files} == files


def test_callkeeper_finds_its_database_and_store_by_the_written_settings(home: Path) -> None:
    settings = embedded.Stack(home).settings

    with db.connect(settings) as conn:
        assert db.now(conn).tzinfo is not None
    assert embedded.Stack(home).store.credentials("importer") == (
        settings.store_access_key.get_secret_value(),
        settings.store_secret_key.get_secret_value(),
    )
    assert embedded.Stack(home).store.writes_through()


def test_the_trail_is_sealed_and_anchored_with_the_written_settings_and_keys_of_its_own(home: Path) -> None:
    app = wiring.build(embedded.Stack(home).settings)

    with app.connect("sealer") as conn:
        done = sealing.run(conn, app.seal_keys, app.anchor, app.sealing_rules(), Actor(account="test"))

    assert done.events >= 1
    assert app.anchor.standing().newest == (done.epoch, done.size)
    assert app.settings.trail_keys_dir == home / "trail-keys"
    assert app.anchor.vault.check_vault() == ()


def test_a_line_that_a_person_wrote_into_the_settings_stays(home: Path) -> None:
    file = home / "callkeeper.env"
    file.write_text(file.read_text() + "CALLKEEPER_MAIL_TO='them@example.com'\n")

    embedded.Stack(home).configure()

    assert embedded.Stack(home).settings.mail_to == "them@example.com"


def test_a_mail_is_caught_with_its_letters_unharmed(home: Path) -> None:
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = "Yön tase", "a@localhost", "b@localhost"
    message.set_content("Löytyi: 7")

    with smtplib.SMTP("127.0.0.1", embedded.Stack(home).ports["mail"]) as smtp:
        smtp.send_message(message)

    (caught,) = (home / "mail").glob("*.eml")
    read = email.message_from_bytes(caught.read_bytes(), policy=email.policy.default)
    assert (read["Subject"], read.get_content().strip()) == ("Yön tase", "Löytyi: 7")
    assert stat.S_IMODE(caught.stat().st_mode) == 0o600


def test_every_program_of_the_stack_listens_on_loopback_only(home: Path) -> None:
    addresses = {
        (connection.laddr.ip, process.name())
        for process in session_of(home)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert {ip for ip, _ in addresses} == {"127.0.0.1"}
    assert len({name for _, name in addresses}) >= 3


def test_nothing_secret_in_the_home_can_be_read_by_others(home: Path) -> None:
    loose = [
        path
        for path in home.rglob("*")
        if stat.S_IMODE(path.stat().st_mode) & 0o077 and (home / "stack" / "store") not in path.parents
    ]
    secrets = {path.read_text() for path in (home / "secrets").iterdir() if path.name != "supervisor_password"}

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert loose == []
    kept_in_clear = [
        path
        for path in (home / "stack").glob("*")
        if path.is_file() and any(secret in path.read_text(errors="replace") for secret in secrets)
    ]
    assert [path.name for path in kept_in_clear] == ["store-identities.json"]


def test_two_ups_at_a_time_are_refused_in_words(home: Path) -> None:
    with embedded.Stack(home).locked(), pytest.raises(SetupFailed, match="Another"):
        embedded.up(home, with_airflow=False, say=lambda line: None)


def test_after_the_supervisor_alone_was_killed_up_ends_what_it_left_and_starts_again(home: Path) -> None:
    left = running(home)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], cwd=home / "stack")
    psutil.Process(int((home / "stack" / "supervisord.pid").read_text())).kill()

    embedded.up(home, with_airflow=False, say=lambda line: None)

    assert not [program.pid for program in left.values() if psutil.pid_exists(program.pid or 0)]
    assert set(running(home)) == set(left)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_after_everything_was_killed_up_brings_it_back_with_nothing_lost(home: Path) -> None:
    stack = embedded.Stack(home)
    with stack.postgres.connect() as conn:
        conn.execute("create table probe as select 7 as kept")
    stored = stack.store.client("importer").put_object(Bucket=RECORDINGS, Key="rec/probe", Body=b"kept")

    family = session_of(home)
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=20)
    embedded.up(home, with_airflow=False, say=lambda line: None)

    with stack.postgres.connect() as conn:
        assert conn.execute("select kept from probe").fetchone() == (7,)
    kept = stack.store.client("importer").get_object(Bucket=RECORDINGS, Key="rec/probe", VersionId=stored["VersionId"])
    assert kept["Body"].read() == b"kept"


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    stack = embedded.Stack(tmp_path / "var")
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", stack.ports["mail"]))
        taker.listen()
        with pytest.raises(SetupFailed, match="chosen for mail, is taken"):
            embedded.up(tmp_path / "var", with_airflow=False, say=lambda line: None)

    assert running(tmp_path / "var") == {}


def test_down_ends_every_process_and_keeps_the_data(home: Path) -> None:
    family = session_of(home)

    embedded.down(home, say=lambda line: None)

    assert len(family) >= 4
    assert not [process for process in family if process.is_running()]
    assert running(home) == {}
    assert (home / "stack" / "postgres" / "PG_VERSION").read_text().strip() == "18"
