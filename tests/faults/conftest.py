"""A world in memory around a real Postgres, for the tests of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from callkeeper.embedded.postgres import Postgres
from callkeeper.settings import Settings
from faults.world import World, opened


@pytest.fixture(scope="module")
def world(
    db_settings: Settings, database: str, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation whose store and vendor are in memory, its steps and edges places where things can go wrong."""
    with postgres.connect(database) as superuser:
        superuser.execute("set search_path = callkeeper")
        with opened(db_settings, superuser, tmp_path_factory.mktemp("world")) as world:
            yield world
