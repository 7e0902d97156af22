"""The trail and the notice, as an auditor has them: a folder from the demonstration, and a verifier that knows nothing of it."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from callkeeper.demo.auditor import VERDICT
from callkeeper.trail import verify
from demonstration import callkeeper, numbers_of_callers

DAGS = ("import_recordings", "delete_expired", "reconcile")


@pytest.fixture(scope="module")
def bundle(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trail as it stands now, exported anew."""
    folder = tmp_path_factory.mktemp("auditor") / "bundle"
    assert callkeeper(home, "seal").returncode == 0
    told = callkeeper(home, "audit", "export", str(folder))
    assert told.returncode == 0, told.stderr
    return folder


@pytest.fixture(scope="module")
def verifier_key(home: Path) -> str:
    return callkeeper(home, "audit", "key").stdout.split()[0]


def verified(bundle: Path, key: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """The verifier alone: one file in an empty folder, no environment, no path to callkeeper."""
    alone = tmp_path / "verify.py"
    shutil.copy(verify.__file__, alone)
    return subprocess.run(
        [sys.executable, "-I", str(alone), str(bundle), "--key", key, "--json"],
        capture_output=True, text=True, cwd=tmp_path, env={}, timeout=120, check=False,
    )  # fmt: skip


def events(bundle: Path) -> list[dict[str, object]]:
    lines = [
        line
        for file in sorted(bundle.glob("*/events-*.txt.gz"))
        for line in gzip.decompress(file.read_bytes()).split(b"\n")
    ]
    return [json.loads(line.split(b" ", 4)[4]) for line in lines if line]


def test_the_demonstration_ends_with_a_verified_trail_and_the_notice(home: Path):
    assert "\nVERIFIED" in (home / VERDICT).read_text()
    page = (home / "reports" / "notice.html").read_text()
    assert "Henkilötietojesi rekisterinpitäjä on" in page
    assert "The notice of" in (home / "demo.out").read_text()


def test_a_stranger_verifies_it_all(bundle: Path, verifier_key: str, tmp_path: Path):
    done = verified(bundle, verifier_key, tmp_path)
    verdict = json.loads(done.stdout)

    assert done.returncode == 0, done.stdout
    assert verdict["verified"] is True
    assert (
        verdict["meaning"]["ended"] >= 58,
        verdict["meaning"]["nights"] >= 2,
        verdict["meaning"]["imports"] >= 4,
    ) == (True,) * 3


def test_no_number_of_a_caller_leaves_the_house_in_it(home: Path, bundle: Path):
    files = {file.name: file.read_bytes() for file in bundle.rglob("*") if file.is_file()}
    text = b"\n".join(
        gzip.decompress(body) if name.endswith(".gz") else body for name, body in files.items() if name != "leaves.bin"
    )

    assert [number for number in numbers_of_callers(home) if number in text] == []


def test_one_figure_changed_in_one_event_is_found(bundle: Path, verifier_key: str, tmp_path: Path):
    forged = tmp_path / "forged"
    shutil.copytree(bundle, forged)
    file = sorted(forged.glob("1/events-*.txt.gz"))[0]
    text = gzip.decompress(file.read_bytes())
    assert b'"kept":' in text
    file.write_bytes(gzip.compress(text.replace(b'"versions_removed":1', b'"versions_removed":0', 1)))

    done = verified(forged, verifier_key, tmp_path)

    assert done.returncode == 1
    assert json.loads(done.stdout)["counts"]["changed_body"] == 1


def test_each_run_ended_in_its_seal_and_was_seen_by_the_listener(home: Path, bundle: Path, airflow: httpx.Client):
    runs, seals = set(), []
    for dag in DAGS:
        for run in airflow.get(f"/api/v2/dags/{dag}/dagRuns", params={"limit": 100}).json()["dag_runs"]:
            if run["state"] != "success":
                continue
            runs.add((dag, run["dag_run_id"]))
            task = airflow.get(f"/api/v2/dags/{dag}/dagRuns/{run['dag_run_id']}/taskInstances/seal").json()
            seals.append(task["state"])
    told = [(e["action"], e["actor"].get("dag"), e["actor"].get("run")) for e in events(bundle)]

    assert len(runs) >= 5
    assert set(seals) == {"success"}
    unseen = runs - {(dag, run) for action, dag, run in told if action == "run.started"}
    missed = sum(int(e["count"]) for e in events(bundle) if e["action"] == "witness.missed")
    marks = len(list((home / "witness").glob("[0-9]*")))
    assert len(unseen) <= missed + marks, "what the second witness could not write is counted"


def test_a_sample_is_drawn_again_from_its_seed(home: Path):
    first, again, other = (
        callkeeper(home, "audit", "sample", "--seed", seed, "-n", "5").stdout for seed in ("7", "7", "8")
    )

    assert first == again != other
