"""The store's identities, from the stack to a task: each through an Airflow connection of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from callkeeper.embedded import airflow
from callkeeper.embedded.secrets import Secrets
from callkeeper.settings import Settings
from callkeeper.wiring import App

IDENTITIES = ("", "destroyer_", "holder_")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The connections that the stack gives its programs, in this process."""
    keys = {
        f"store_{identity}{part}_key": SecretStr(f"{identity or 'importer_'}{part}")
        for identity in IDENTITIES
        for part in ("access", "secret")
    }
    keys |= {f"anchor_{part}_key": SecretStr(f"anchor_{part}") for part in ("access", "secret")}
    settings = Settings(
        home=tmp_path, store_endpoint="http://127.0.0.1:1", db_sealer_password=SecretStr("sealers"), **keys
    )
    for name, value in airflow.environment(settings, Secrets(tmp_path / "secrets"), airflow_port=1).items():
        if name.startswith("AIRFLOW_CONN_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("CALLKEEPER_HOME", str(tmp_path / "another home"))
    return monkeypatch


def keys_of(app: App) -> list[str]:
    """The access keys that the three sides of the store are asked with."""
    return [
        side._s3._request_signer._credentials.access_key  # type: ignore[attr-defined]  # an S3Store, all three
        for side in (app.store, app.destroyer, app.holder)
    ]


def test_a_task_asks_the_store_as_who_it_should_be(environment: pytest.MonkeyPatch) -> None:
    from callkeeper import connections

    app = connections.app()

    assert keys_of(app) == ["importer_access", "destroyer_access", "holder_access"]
    assert app.settings.store_destroyer_secret_key.get_secret_value() == "destroyer_secret"
    assert app.settings.store_holder_secret_key.get_secret_value() == "holder_secret"


def test_without_connections_of_their_own_all_are_the_importer(environment: pytest.MonkeyPatch) -> None:
    from callkeeper import connections

    for identity in ("DESTROYER", "HOLDER"):
        environment.delenv(f"AIRFLOW_CONN_CALLKEEPER_STORE_{identity}")

    assert keys_of(connections.app()) == ["importer_access"] * 3


def test_a_task_seals_as_the_sealer_and_anchors_as_the_anchoring_identity(
    environment: pytest.MonkeyPatch,
) -> None:
    from callkeeper import connections

    app = connections.app()

    assert app.settings.db_sealer_password.get_secret_value() == "sealers"
    assert app.anchor.vault._s3._request_signer._credentials.access_key == "anchor_access"  # type: ignore[attr-defined]
