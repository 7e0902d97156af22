"""The manifests that docs/vendors.md shows are read as it says."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

from callkeeper.clock import HELSINKI
from callkeeper.vendors import MediaStatus
from callkeeper.vendors.fields import MEDIA_FIELDS, RECORD_FIELDS
from callkeeper.vendors.manifest import HEAD_FIELDS

DAY = date(2026, 11, 24)
PAGE = (Path(__file__).parents[3] / "docs" / "vendors.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_json_example_is_a_good_delivery(folder: Any) -> None:
    folder.put("manifest.json", example("json"))

    first, second = folder.vendor.list_day(DAY, HELSINKI)

    assert (first.faults, first.unknown_fields, first.status) == ((), (), MediaStatus.available)
    assert (second.faults, second.unknown_fields, second.status) == ((), (), MediaStatus.pending)
    assert folder.vendor.day_status(DAY, HELSINKI) == "complete"


def test_the_csv_example_says_the_same_as_the_json_example(folder: Any) -> None:
    folder.put("manifest.json", example("json"))
    by_json = [(c.identity, c.started_at, str(c.other_party), c.status) for c in folder.vendor.list_day(DAY, HELSINKI)]
    (folder.day / "manifest.json").unlink()
    folder.put("manifest.csv", example("csv"))

    by_csv = [(c.identity, c.started_at, str(c.other_party), c.status) for c in folder.vendor.list_day(DAY, HELSINKI)]

    assert by_csv == by_json
    assert all(c.faults == () for c in folder.vendor.list_day(DAY, HELSINKI))


def test_the_page_names_every_field_that_is_let_in() -> None:
    shown = json.loads(example("json"))

    assert shown.keys() == HEAD_FIELDS
    assert shown["records"][0].keys() == RECORD_FIELDS
    assert shown["records"][0]["media"].keys() == MEDIA_FIELDS
