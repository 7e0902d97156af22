"""The product as its users have it: the command line, on a stack of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg

from callkeeper import settings, wiring
from callkeeper.embedded.stack import Stack

PROJECT = Path(__file__).resolve().parents[1]


def callkeeper(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in ``home``, with nothing of whoever runs the tests."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CALLKEEPER_", "AIRFLOW"))}
    env |= {"CALLKEEPER_HOME": str(home), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "callkeeper.cli", *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=PROJECT,
        timeout=900,
        check=False,
    )


def numbers_of_callers(home: Path) -> set[bytes]:
    """Every number of a caller that the vendors delivered, as the digits that all its spellings share."""
    found: set[bytes] = set()
    for file in (home / "vendors").rglob("*"):
        texts = [file.name]
        if file.suffix in (".json", ".csv"):
            texts.append(file.read_text(errors="replace"))
        for text in texts:
            found |= {
                m.group(1).encode() for m in re.finditer(r"(?:\+?358|00358|\b0)(4[045]\d{7}|50\d{7})(?!\d)", text)
            }
    return found


def leaks_in_files(home: Path, needles: Iterable[bytes]) -> list[str]:
    """The files and object keys that hold one: logs of tasks and services (and the addresses in them), mails, reports, whatever was left."""
    wanted = list(needles)
    found, logs = [], 0
    for file in [*home.rglob("*"), *(home / "stack").rglob("*.log"), *(home / "stack").rglob("*log*/*")]:
        inside = file.relative_to(home).parts
        a_log = ".log" in file.name or "log" in file.parent.name
        theirs = inside[0] in ("vendors", "secrets", "keys") or inside[:2] in (
            ("stack", "postgres"),
            ("stack", "store"),
        )
        if file.is_file() and (a_log or not theirs):
            text = file.read_bytes()
            logs += a_log
            found += [str(file.relative_to(home)) for needle in wanted if needle in text]
    assert logs, "the logs were read"
    app = wiring.build(settings.load(home=home))
    for version in app.store.versions(""):
        found += ["an object's key" for needle in wanted if needle in version.key.encode()]
    return found


def leaks_in_databases(stack: Stack, needles: Iterable[bytes]) -> list[str]:
    """The tables that hold one, in Airflow's database and in ours; bytes are looked into as well."""
    wanted = list(needles)
    return [
        table for name in ("airflow", "callkeeper") for table, text in _tables(stack, name) for n in wanted if n in text
    ]


def _tables(stack: Stack, database: str) -> Iterator[tuple[str, bytes]]:
    """Each table's content, as COPY writes it; and each of its bytea values, which that writes as hex."""
    password = stack.secrets.get("postgres_password")
    port = stack.ports["postgres"]
    with psycopg.connect(host="127.0.0.1", port=port, user="postgres", password=password, dbname=database) as conn:
        tables = conn.execute(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        searched = 0
        for schema, table in tables:
            which = psycopg.sql.SQL("copy (select * from {}) to stdout").format(psycopg.sql.Identifier(schema, table))
            with conn.cursor() as cursor, cursor.copy(which) as copy:
                content = b"".join(bytes(block) for block in copy)
            searched += len(content)
            yield table, content
            for row in re.findall(rb"\\\\x([0-9a-f]+)", content):
                yield f"{table} (bytes)", bytes.fromhex(row.decode())
    assert searched > 10_000, "the tables were read"


def night(data: httpx.Client, name: str) -> dict[str, Any]:
    """One more night of deletions, by hand, and how its run ended. Its colour is its own: it may have other things to tell."""
    nights = "/api/v2/dags/delete_expired/dagRuns"
    data.post(nights, json={"dag_run_id": name, "logical_date": None, "conf": {}}).raise_for_status()
    end = time.monotonic() + 300
    while (run := data.get(f"{nights}/{name}").raise_for_status().json())["state"] not in ("success", "failed"):
        assert time.monotonic() < end, f"{name} has not ended in 300 s"
        time.sleep(0.3)
    return dict(run)
