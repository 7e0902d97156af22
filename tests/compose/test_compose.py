"""docker-compose.yaml, run: from nothing to a day's work on Celery workers, killed in its middle, and down without a trace.

On the user's engine and the real images where an engine answers; else (Linux, root, Debian) on an engine of our own with
stand-in images. The tests follow each other: each takes the stack as the one before left it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import stand_ins
from engine import COMPOSE, PROJECT, Engine, NoEngine, engine

from callkeeper.clock import HELSINKI
from callkeeper.containers import secrets
from callkeeper.demo import play
from callkeeper.demo.api import Airflow, signed_in
from callkeeper.demo.drop import make_old_days
from callkeeper.embedded.secrets import write_private
from callkeeper.trail import verify

IMPORT = "import_recordings"
IMAGE = "callkeeper-test:1"
DOWN = ("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "60")
KILLED_CALLS = 200
"""Enough that a kill meets the import in its middle."""
PATIENCE_SECONDS = 420
STARTED = time.monotonic()
T = TypeVar("T")


@dataclass(frozen=True)
class Composed:
    """The stack of the test: a project of its own, a data folder of its own."""

    engine: Engine
    data: Path
    project: str
    env: Path
    port: int
    killed_days: tuple[date, date]

    def compose(self, *words: str, profiles: str = "celery,mail", seconds: float = 900) -> str:
        files = ("--file", "docker-compose.yaml", "--file", "tests/compose/play.yaml")
        options = ("--project-name", self.project, "--project-directory", str(PROJECT), "--env-file", str(self.env))
        own = Engine({**self.engine.env, "COMPOSE_PROFILES": profiles}, self.engine.folder)
        return own.run(str(COMPOSE), *options, *files, *words, seconds=seconds).stdout

    def services(self) -> dict[str, dict[str, object]]:
        """Each service's container, stopped ones too."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {found["Service"]: found for found in map(json.loads, lines)}

    def until_well(self) -> dict[str, dict[str, object]]:
        def well() -> dict[str, dict[str, object]] | None:
            found = self.services()
            bad = [
                name
                for name, s in found.items()
                if s["State"] != "exited" and (s["State"] != "running" or s["Health"] not in ("", "healthy"))
            ]
            stopped = [name for name, s in found.items() if s["State"] == "exited" and s["ExitCode"] != 0]
            return None if bad or stopped else found

        try:
            return until(well, "every service is well")
        except AssertionError:
            raise AssertionError(
                f"{self.services()}\n{self.compose('logs', '--tail', '40', '--no-color')[-12000:]}"
            ) from None

    def airflow(self, account: str):
        password = (self.data / "secrets" / f"airflow_{account}_password").read_text()
        return signed_in(f"http://127.0.0.1:{self.port}", account, password)


def until(found: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    end = time.monotonic() + seconds
    while not (it := found()):
        assert time.monotonic() < end, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.5)
    return it


def said(what: str) -> None:
    sys.stdout.write(f"  {time.monotonic() - STARTED:6.1f} s  {what}\n")
    sys.stdout.flush()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    # Where it is named, our own engine's folder stays for the next time; else it goes. So does a stack (hold.py).
    kept, stays = os.environ.get("CALLKEEPER_TEST_ENGINE"), os.environ.get("CALLKEEPER_TEST_STACK")
    folder = Path(kept).resolve() if kept else tmp_path_factory.mktemp("engine")
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as ending:
        if not kept:
            ending.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            found = ending.enter_context(engine(folder))
        except NoEngine as why:
            pytest.skip(f"the compose file was not run: {why}")
        if found.is_ours:
            said(f"no engine answers here: one of our own. {stand_ins.NOT_SHOWN}")
            stand_ins.make(found, images())
            said("stand-in images are made")
        else:
            said("the engine that answers here, and the real images")
        if stays and (Path(stays) / "data").exists():
            yield _as_left(found, Path(stays))
            return
        stack = _prepared(found, Path(stays) if stays else tmp_path_factory.mktemp("compose"))
        if not stays:
            ending.callback(shutil.rmtree, stack.data, ignore_errors=True)
            ending.callback(found.docker, "image", "rm", "--force", IMAGE)
            ending.callback(stack.compose, *DOWN)
        ending.callback(_keep_logs, stack)
        stack.compose("build", "airflow-init")
        said("the image is built")
        try:
            stack.compose("up", "--detach", "--no-build")
        except AssertionError as wrong:
            raise AssertionError(f"{wrong}\n{stack.compose('logs', '--tail', '60', '--no-color')[-12000:]}") from None
        said("the stack is starting")
        yield stack


def _keep_logs(stack: Composed) -> None:
    """For who wants to see what happened: CALLKEEPER_TEST_LOGS names a file."""
    file = os.environ.get("CALLKEEPER_TEST_LOGS")
    if file and (logs := stack.compose("logs", "--no-color", "--timestamps")):
        Path(file).write_text(logs)


def images() -> dict[str, str]:
    """The images that docker-compose.yaml names, by the stand-in's name."""
    text = (PROJECT / "docker-compose.yaml").read_text()
    named = dict(re.findall(r"image: (postgres|redis|chrislusf/seaweedfs)(:\S+)", text))
    base = re.search(r"AIRFLOW_IMAGE:-(\S+)\}", text)
    assert base
    return {
        "airflow": base[1],
        "postgres": f"postgres{named['postgres']}",
        "redis": f"redis{named['redis']}",
        "seaweedfs": f"chrislusf/seaweedfs{named['chrislusf/seaweedfs']}",
    }


def _prepared(found: Engine, folder: Path) -> Composed:
    """Everything that `make secrets` makes, in a folder of the test's; and the vendors' deliveries."""
    data = folder / "data"
    uid, port = os.geteuid() or secrets.IMAGES_USER, _free_port()
    last = (datetime.now(HELSINKI) - timedelta(hours=2, minutes=20)).date() - timedelta(days=1)
    # Two days of deliveries before the first that the nights take up: those runs are killed.
    killed = (last - timedelta(days=3), last - timedelta(days=2))
    (data / "home").mkdir(parents=True, mode=0o700)
    write_private(data / "home" / "callkeeper.env", f"CALLKEEPER_IMPORT_FIRST_DAY='{last}'\nCALLKEEPER_DEMO='true'\n")
    secrets.make(data, uid=uid, port=port)
    play._make_vendors(data, [last])
    make_old_days(data / "vendors" / "linna", [*killed, last - timedelta(days=1)], seed=7, calls_per_day=KILLED_CALLS)
    # The last of old days has what the demonstration's own has: it is not delivered.
    shutil.rmtree(data / "vendors" / "linna" / str(last - timedelta(days=1)))
    for path in (data / "vendors").rglob("*"):
        os.chown(path, uid, 0, follow_symlinks=False)
    said_in_env = (PROJECT / ".env.example").read_text()
    values = {
        "CALLKEEPER_UID": str(uid),
        "CALLKEEPER_DATA": str(data),
        "CALLKEEPER_PORT": str(port),
        "CALLKEEPER_IMAGE": IMAGE,
    }
    for name, value in values.items():
        said_in_env = re.sub(rf"^{name}=.*$", f"{name}={value}", said_in_env, flags=re.MULTILINE)
    env = folder / "test.env"
    # COMPOSE_PROFILES is the command's, which some tests change.
    write_private(env, re.sub(r"^COMPOSE_PROFILES=.*$", "", said_in_env, flags=re.MULTILINE))
    project = f"callkeeper-test-{os.getpid()}"
    (folder / "stack.json").write_text(json.dumps([project, port, *map(str, killed)]))
    return Composed(found, data, project, env, port, killed)


def _as_left(found: Engine, folder: Path) -> Composed:
    """The stack that an earlier run has left up."""
    project, port, *killed = json.loads((folder / "stack.json").read_text())
    first, second = map(date.fromisoformat, killed)
    return Composed(found, folder / "data", project, folder / "test.env", port, (first, second))


# --- up -----------------------------------------------------------------------------------------------------------------


def test_every_service_comes_up_well(composed: Composed):
    found = composed.until_well()

    said("every service is well")
    assert set(found) == {
        "postgres", "redis", "store", "mail", "airflow-init", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor",
        "airflow-triggerer", "airflow-worker", "airflow-housekeeping",
    }  # fmt: skip
    assert (found["airflow-init"]["State"], found["airflow-init"]["ExitCode"]) == ("exited", 0)


def test_init_has_looked_with_the_doctor_and_is_safe_to_run_again(composed: Composed):
    again = composed.compose("run", "--rm", "-T", "--no-deps", "airflow-init")

    assert "Airflow's database is ready" in again
    assert "ok    identities" in again
    assert "STOP" not in again


def test_no_container_is_root_or_has_a_right_of_roots(composed: Composed):
    for service, found in composed.services().items():
        if found["State"] != "running":
            continue
        status = composed.compose("exec", "-T", service, "cat", "/proc/1/status")
        uid = re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)
        rights = re.search(r"^CapEff:\s+(\w+)", status, re.MULTILINE)
        assert uid
        assert rights
        assert (service, int(uid[1]) == 0, int(rights[1], 16)) == (service, False, 0)


def test_only_airflows_port_is_seen_and_only_on_this_machine(composed: Composed):
    seen = {
        (service, port["URL"], port["PublishedPort"])
        for service, found in composed.services().items()
        for port in found["Publishers"] or ()
        if port["PublishedPort"]
    }

    assert seen == {("airflow-apiserver", "127.0.0.1", composed.port)}


def test_no_secret_is_in_a_containers_settings_or_in_a_log(composed: Composed):
    ids = [str(found["ID"]) for found in composed.services().values()]
    shown = composed.engine.docker("inspect", *ids) + composed.compose("logs", "--no-color")
    values = {path.name: path.read_text() for path in (composed.data / "secrets").iterdir()}

    assert [name for name, value in values.items() if not name.endswith("_access_key") and value in shown] == []


# --- a day --------------------------------------------------------------------------------------------------------------


def test_the_demonstrations_day_goes_through_the_workers(composed: Composed):
    told = composed.compose("run", "--rm", "-T", "--no-deps", "play", "day")
    sys.stdout.write(told)

    said("the day: import, rehearsal, hold, night, reconciliation, seal, offline verification, prove")
    assert "60 due: 58 done, 1 blocked, 1 open at vendor" in told
    assert "VERIFIED, to these sizes" in told
    assert ": 19 kept, 1 broken, " in told
    with composed.airflow("data") as airflow:
        runs = airflow.scheduled(IMPORT)
        assert [run["state"] for run in runs] == ["success"]
        tasks = airflow.get(f"/dags/{IMPORT}/dagRuns/{runs[0]['dag_run_id']}/taskInstances", limit=100)[
            "task_instances"
        ]
    worker = str(composed.services()["airflow-worker"]["ID"])
    assert {task["hostname"] for task in tasks if task["hostname"]} == {worker[:12]}


def test_a_tasks_log_can_be_read_from_the_api_server(composed: Composed):
    with composed.airflow("data") as airflow:
        run = airflow.scheduled(IMPORT)[-1]["dag_run_id"]
        answer = airflow.http.get(f"/api/v2/dags/{IMPORT}/dagRuns/{run}/taskInstances/balance/logs/1")

    assert answer.status_code == 200
    assert "kept" in answer.text


def test_a_request_goes_to_its_end(composed: Composed):
    told = composed.compose("run", "--rm", "-T", "--no-deps", "play", "request")
    sys.stdout.write(told)

    said("an access request, from the question to the delivered package")
    assert "closed, fulfilled" in told


def test_the_desk_shows_the_officer_what_waits(composed: Composed):
    with composed.airflow("officer") as airflow:
        page = airflow.http.get("/callkeeper/")

    assert page.status_code == 200
    assert re.search(r"DSR-\d{4}-\d{4}", page.text)


def test_the_trail_verifies_on_another_machine(composed: Composed):
    key = composed.compose("run", "--rm", "-T", "--no-deps", "callkeeper", "audit", "key").split()[0]
    bundle = composed.data / "home" / "audit"
    done = subprocess.run(
        [sys.executable, "-I", verify.__file__, str(bundle), "--key", key], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


# --- what breaks in its middle --------------------------------------------------------------------------------------------


def _mid_import(airflow: Airflow, run: str, day: date) -> None:
    """An import of that day, its audio being fetched."""
    airflow.start(IMPORT, run, {"day": day.isoformat(), "vendor": "linna"})
    until(lambda: "fetch" in airflow.running(IMPORT, run), f"{run} fetches")


def _kept(composed: Composed, run: str) -> str:
    with composed.airflow("data") as airflow:
        state = airflow.wait(IMPORT, run, seconds=PATIENCE_SECONDS)
        note = str(airflow.run(IMPORT, run)["note"])
    assert state == "success", note
    return note


def test_a_worker_that_is_killed_in_mid_run_costs_nothing(composed: Composed):
    with composed.airflow("data") as airflow:
        _mid_import(airflow, "killed-worker", composed.killed_days[0])
    composed.compose("kill", "airflow-worker")
    said("the worker is killed")
    composed.compose("start", "airflow-worker")

    assert f"{KILLED_CALLS} kept" in _kept(composed, "killed-worker")
    with composed.airflow("data") as airflow:
        tasks = airflow.get(f"/dags/{IMPORT}/dagRuns/killed-worker/taskInstances", limit=100)["task_instances"]
    # It was met in its middle.
    assert max(task["try_number"] for task in tasks if "fetch" in task["task_id"]) > 1
    said("its run has ended right")


def test_a_database_that_is_killed_in_mid_run_costs_nothing(composed: Composed):
    with composed.airflow("data") as airflow:
        _mid_import(airflow, "killed-postgres", composed.killed_days[1])
    composed.compose("kill", "postgres")
    said("Postgres is killed")
    time.sleep(5)
    composed.compose("start", "postgres")
    composed.until_well()

    assert f"{KILLED_CALLS} kept" in _kept(composed, "killed-postgres")
    said("its run has ended right")


# --- the house --------------------------------------------------------------------------------------------------------------


def test_airflows_house_is_kept(composed: Composed):
    old = composed.data / "logs" / "dag_id=gone" / "attempt=1.log"
    old.parent.mkdir()
    old.write_text("long ago\n")
    uid = (composed.data / "logs").stat().st_uid
    for path in (old, old.parent):
        os.chown(path, uid, 0)
        os.utime(path, (0, 0))
    told = composed.compose(
        "exec", "-T", "airflow-housekeeping", "python", "-m", "callkeeper.containers.housekeeping", "--now"
    )

    assert "1 log files were older" in told
    assert not old.parent.exists()


def test_a_backup_is_two_dumps_that_can_be_read(composed: Composed):
    composed.compose("run", "--rm", "-T", "backup")
    dumps = sorted((composed.data / "backups").glob("*.dump"))

    assert [dump.name.split("-")[0] for dump in dumps] == ["airflow", "callkeeper"]
    listed = composed.compose(
        "run", "--rm", "-T", "--no-deps", "--entrypoint", "pg_restore", "backup", "--list", f"/backups/{dumps[1].name}"
    )
    assert "TABLE callkeeper recording" in listed


def test_without_redis_and_workers_the_scheduler_runs_the_tasks(composed: Composed):
    composed.compose("rm", "--stop", "--force", "airflow-worker", "redis")
    composed.compose("up", "--detach", "--no-build", profiles="local,mail")
    found = composed.until_well()

    assert {"redis", "airflow-worker"}.isdisjoint(found)
    with composed.airflow("data") as airflow:
        airflow.until_parsed("watch_deadlines")
        airflow.unpause("watch_deadlines")
        airflow.start("watch_deadlines", "local", {})
        assert airflow.wait("watch_deadlines", "local", seconds=PATIENCE_SECONDS) == "success"
    said("the profile `local`: well, and a run has ended")


def test_a_dump_comes_back_as_the_runbook_says(composed: Composed):
    dump = next((composed.data / "backups").glob("callkeeper-*.dump")).name
    programs = [name for name in composed.services() if name.startswith("airflow-") and name != "airflow-init"]
    composed.compose("stop", *programs, profiles="local,mail")
    brought = (
        "export PGPASSWORD=$(cat /run/secrets/postgres_password) PGHOST=postgres PGUSER=postgres; dropdb callkeeper;"
        f" pg_restore --create --exit-on-error --dbname=postgres /backups/{dump}"
    )
    composed.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "backup", "-euc", brought)
    again = composed.compose("run", "--rm", "-T", "--no-deps", "airflow-init", profiles="local,mail")
    found = composed.compose("run", "--rm", "-T", "--no-deps", "callkeeper", "restore-check")

    assert "STOP" not in again
    assert "Nothing has risen: this database knows of every deletion." in found
    said("a dump is back, and nothing has risen")


# --- down ---------------------------------------------------------------------------------------------------------------


def test_down_leaves_nothing_but_the_data(composed: Composed):
    _keep_logs(composed)
    composed.compose(*DOWN)
    named = f"label=com.docker.compose.project={composed.project}"

    said("down")
    assert composed.engine.docker("ps", "--all", "--quiet", "--filter", named) == ""
    assert composed.engine.docker("network", "ls", "--quiet", "--filter", named) == ""
    assert composed.engine.docker("volume", "ls", "--quiet", "--filter", named) == ""
    assert (composed.data / "postgres" / "18").exists()
