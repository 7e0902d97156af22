"""Real servers for the tests, started when the first test asks for one and stopped at the end."""

from __future__ import annotations

import itertools
import os
import secrets as random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

import browser
from callkeeper import db
from callkeeper.embedded.ports import free_ports
from callkeeper.embedded.postgres import Postgres
from callkeeper.embedded.secrets import Secrets
from callkeeper.embedded.store import BUCKETS, PORTS, RECORDINGS, REGION, SeaweedFS
from callkeeper.pseudonyms import Keyring
from callkeeper.settings import Settings
from installation import Installation

# A developer's own stack must not leak into the tests' settings; what is the tests' own stays.
for variable in [name for name in os.environ if name.startswith(("CALLKEEPER_", "AIRFLOW_CONN_CALLKEEPER"))]:
    if not variable.startswith("CALLKEEPER_TEST_"):
        del os.environ[variable]

_PASSWORDS = {role: f"test-{role}" for role in db.ROLES}
_TEMPLATE = "callkeeper_template"
_number = itertools.count(1)


def _test_settings(home: Path, port: int, database: str, **more: Any) -> Settings:
    passwords = {f"db_{role}_password": secret for role, secret in _PASSWORDS.items()}
    return Settings(home=home, keys_dir=home / "keys", db_port=port, db_name=database, **passwords, **more)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres server, its roles made, and a migrated database to copy from."""
    folder = tmp_path_factory.mktemp("postgres")
    server = Postgres(folder / "data", free_ports(["postgres"])["postgres"], password=random.token_hex(8), fsync=False)
    server.start()
    try:
        with server.connect() as superuser:
            db.ensure_roles(superuser, _PASSWORDS, _TEMPLATE)
        db.migrate(_test_settings(folder, server.port, _TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[str]:
    """The name of a freshly migrated, empty callkeeper database of this test module's own."""
    name = f"callkeeper_test_{next(_number)}"
    with postgres.connect() as superuser:
        superuser.execute(
            sql.SQL("create database {} template {} owner callkeeper_owner strategy file_copy").format(
                *map(sql.Identifier, (name, _TEMPLATE))
            )
        )
        # A copy has the tables but not the rights on the database itself.
        db.ensure_roles(superuser, _PASSWORDS, name)
    yield name
    with postgres.connect() as superuser:
        superuser.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3 server with the recordings' bucket and the anchor's."""
    folder = tmp_path_factory.mktemp("store")
    # Small volumes, for there is a bucket a test: an anchor cannot be emptied.
    server = SeaweedFS(folder / "data", free_ports(PORTS), secrets=Secrets(folder / "secrets"), volume_mib=64)
    server.start()
    try:
        for bucket in BUCKETS:
            server.make_bucket(bucket)
        yield server
    finally:
        # Its orderly stop takes a quarter of a minute, for data that are thrown away.
        server.stop(kill=True)


@pytest.fixture(scope="module")
def settings(
    postgres: Postgres, database: str, seaweed: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of this module's database, the store's three identities and a keyring of its own."""
    home = tmp_path_factory.mktemp("home")
    keys = {
        f"store_{setting}{part}_key": key
        for identity, setting in (("importer", ""), ("destroyer", "destroyer_"), ("holder", "holder_"))
        for part, key in zip(("access", "secret"), seaweed.credentials(identity), strict=True)
    }
    Keyring.create(home / "keys")
    return _test_settings(
        home,
        postgres.port,
        database,
        store_endpoint=seaweed.endpoint,
        store_region=REGION,
        store_bucket=RECORDINGS,
        **keys,
    )


@pytest.fixture(scope="module")
def db_settings(postgres: Postgres, database: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of this module's database and a keyring, where no store is needed (its start costs four seconds)."""
    home = tmp_path_factory.mktemp("home")
    Keyring.create(home / "keys")
    return _test_settings(home, postgres.port, database)


@pytest.fixture
def app_conn(db_settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the tasks' role; what is not committed is rolled back."""
    with db.connect(db_settings) as conn:
        yield conn


@pytest.fixture
def owner_conn(db_settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the role that migrates."""
    with db.connect(db_settings, "owner") as conn:
        yield conn


@pytest.fixture
def office(settings: Settings, database: str, postgres: Postgres, tmp_path: Path) -> Iterator[Installation]:
    """An installation with a configuration in force, a vendor's folder, the clock at a night's run, nothing imported."""
    with postgres.connect(database) as superuser:
        superuser.execute("set search_path = callkeeper")
        yield Installation(settings, superuser, tmp_path)


@pytest.fixture
def fresh_office(office: Installation, seaweed: SeaweedFS) -> Installation:
    """An installation whose trail and bucket are empty too: for what is counted over all time."""
    for row in office.rows("select relid::regclass::text as part from pg_partition_tree('event') where isleaf"):
        if office.value(f"select exists (select from {row.part})"):
            office.sql.execute(f"alter table {row.part} disable trigger all")
            office.sql.execute(f"truncate {row.part}")
            for guard in ("no_change", "no_truncate"):
                office.sql.execute(f"alter table {row.part} enable always trigger {guard}")
    _empty(seaweed)
    return office


@pytest.fixture
def sealed_office(fresh_office: Installation, seaweed: SeaweedFS) -> Installation:
    """A fresh one with keys that sign, an empty anchor of its own, and nothing sealed yet."""
    # Nobody can empty one, which is what it is for.
    bucket = f"callkeeper-anchor-{random.token_hex(6)}"
    seaweed.make_bucket(bucket)
    access_key, secret_key = seaweed.credentials("admin")
    fresh_office.begin_trail(bucket, access_key, secret_key)
    return fresh_office


def _empty(seaweed: SeaweedFS) -> None:
    client = seaweed.client()
    for page in client.get_paginator("list_object_versions").paginate(Bucket=RECORDINGS):
        for entry in page.get("Versions", []):
            which = {"Bucket": RECORDINGS, "Key": entry["Key"], "VersionId": entry["VersionId"]}
            client.put_object_legal_hold(**which, LegalHold={"Status": "OFF"})
            client.delete_object(**which)
        for entry in page.get("DeleteMarkers", []):
            client.delete_object(Bucket=RECORDINGS, Key=entry["Key"], VersionId=entry["VersionId"])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says at the end, in one plain sentence, that no page was tried in a browser where there is none."""
    for report in terminalreporter.stats.get("skipped", ()):
        if browser.MISSING in str(report.longrepr):
            terminalreporter.write_line(browser.MISSING)
            return
