"""Every trouble that the destroyer can write has words for people."""

from __future__ import annotations

import ast
import inspect
import re

from callkeeper import db
from callkeeper.jobs import deleting
from callkeeper.troubles import TROUBLES, UNKNOWN, trouble


def _written() -> set[str]:
    """The codes in the destroyer: what `trouble=` is given, what `_trouble` returns, and what the night's count adds."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(deleting))):
        if isinstance(node, ast.keyword) and node.arg == "trouble":
            found |= {c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant)}
        if isinstance(node, ast.FunctionDef) and node.name == "_trouble":
            returned = [r.value for r in ast.walk(node) if isinstance(r, ast.Return)]
            found |= {c.value for r in returned for c in ast.walk(r) if isinstance(c, ast.Constant)}
    found |= set(re.findall(r"coalesce\(trouble, '(\w+)'\)", db.queries().count_night.sql)) | {"not_armed"}
    found |= set(re.findall(r"trouble = '(\w+)'", db.queries().note_vendor_gone.sql))
    # the vendor's two answers that leave a line open, of which the code is made; and nothing
    return found - {"", None, "vendor_"} | {"vendor_refused", "vendor_unsupported"}


def test_the_troubles_that_are_written_are_the_troubles_that_are_described():
    assert _written() == set(TROUBLES)


def test_a_code_that_nobody_has_described_says_so():
    assert trouble("made_up_later") is UNKNOWN
