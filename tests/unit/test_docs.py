"""Docs that can rot are made from the code, and compared with it here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from callkeeper import roles
from callkeeper.jobs import fulfilling

PROJECT = Path(__file__).resolve().parents[2]


def _generator():
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_made_pages_say_what_the_code_says():
    stale = [path.name for path, text in _generator().pages().items() if not path.exists() or path.read_text() != text]
    assert not stale, f"run `python docs/generate.py`: {stale}"


def test_every_setting_has_a_meaning():
    from callkeeper.settings import Settings

    assert all(field.description for field in Settings.model_fields.values())


def test_the_menu_shows_the_desk_to_exactly_those_whom_it_lets_in():
    shown = {role for role, rights in roles.PERMISSIONS.items() if ("can_read", "Plugins") in rights}

    assert shown == {roles.OF_DUTY[duty] for duty in fulfilling.READERS}
