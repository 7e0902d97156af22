"""`make mutations` takes minutes: that its table still fits the tree is seen here."""

from __future__ import annotations

from pathlib import Path

import pytest

import callkeeper
from mutations.table import MUTATIONS

PACKAGE = Path(callkeeper.__file__).parent
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.guard}: {m.change}")
def test_a_mutation_still_changes_something_and_its_tests_are_there(mutation):
    assert mutation.wrong(PACKAGE) == []
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (TESTS / file).read_text()
