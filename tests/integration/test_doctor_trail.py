"""The doctor's look at the trail: keys, the last signature, the anchor, the guards."""

from __future__ import annotations

import pytest

from callkeeper import wiring
from callkeeper.commands.doctor import Check, Verdict, examine
from trail import seal


def checks(app: wiring.App, *areas: str) -> list[Check]:
    return list(examine(app, areas))


def failures(app: wiring.App, *areas: str) -> list[str]:
    return [check.what for check in checks(app, *areas) if check.verdict is Verdict.fail]


def test_a_trail_that_is_signed_and_anchored_has_nothing_to_mend_and_silence_is_told(sealed_office):
    assert [c.verdict for c in checks(sealed_office.app, "trail")][-1] is Verdict.warn  # never signed yet
    seal(sealed_office)
    assert {c.verdict for c in checks(sealed_office.app, "trail", "anchor")} == {Verdict.ok}

    with sealed_office.unguarded():
        sealed_office.sql.execute("update checkpoint set at = at - interval '3 hours'")
    (told,) = failures(sealed_office.app, "trail")
    assert "last signed 3 hours ago" in told


def test_a_missing_or_open_sealing_key_is_told(sealed_office):
    (key,) = sealed_office.settings.trail_keys_dir.iterdir()
    key.chmod(0o644)
    assert any("others" in what for what in failures(sealed_office.app, "trail"))
    key.unlink()
    sealed_office.change_settings()
    (told,) = failures(sealed_office.app, "trail")
    assert "no key that signs" in told


@pytest.mark.parametrize("table", ["leaf", "checkpoint", "epoch", "anchored"])
def test_a_seal_without_its_guards_is_told(sealed_office, table):
    with sealed_office.unguarded():
        assert any(table in what for what in failures(sealed_office.app, "rights"))
    assert failures(sealed_office.app, "rights") == []
