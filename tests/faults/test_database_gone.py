"""Database or store gone in mid-run: an error in words, nothing half-written, and the next run ends as it should."""

from __future__ import annotations

import pytest

from callkeeper.embedded.store import SeaweedFS
from callkeeper.errors import DatabaseUnavailable, StoreUnavailable
from callkeeper.jobs import fetching, importing
from night import end_state, prepare, tally

MODULES = {"stage": importing, "check": importing, "fetch": fetching, "keep": importing}


def disturb(patch: pytest.MonkeyPatch, step: str, happen) -> None:
    """Lets something happen when the import first comes to the step."""
    left = [step]

    def reach(name: str) -> None:
        if name in left:
            left.remove(name)
            happen()

    patch.setattr(MODULES[step.split(".")[0]], "reach", reach)


@pytest.mark.parametrize(
    "step",
    ["stage.copied", "stage.before_commit", "check.before_commit", "fetch.stored", "fetch.before_commit", "keep.written",
     "keep.after_commit"],
)  # fmt: skip
def test_the_database_may_go_at_any_step(office, step):
    prepare(office)
    office.run("undisturbed")
    whole = end_state(office) | {"tally": tally(office, "undisturbed")}
    office.reset()
    prepare(office)

    def terminate() -> None:
        ended = office.rows(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'callkeeper_app'"
        )
        assert ended

    with pytest.MonkeyPatch.context() as patch:
        disturb(patch, step, terminate)
        with pytest.raises(DatabaseUnavailable) as gone:
            office.run("undisturbed")

    assert str(gone.value).startswith("The database did not answer, or went away. Is it running")
    assert gone.value.retry
    assert office.run("undisturbed").balanced
    assert end_state(office) | {"tally": tally(office, "undisturbed")} == whole


def test_the_store_may_go_in_the_middle_and_what_was_fetched_before_is_kept(office, seaweed: SeaweedFS):
    prepare(office)
    office.run("night")
    whole = end_state(office)
    office.reset()
    prepare(office)

    # UUIDs are random, and so is which calls the first batch holds.
    fetched = "select count(*) from staging where state = 'fetched'"
    before: list[int] = []

    def stop() -> None:
        before.append(office.value(fetched))
        seaweed.stop(kill=True)

    with pytest.MonkeyPatch.context() as patch:
        disturb(patch, "fetch.after_commit", stop)
        with pytest.raises(StoreUnavailable) as gone:
            office.run("night")
    seaweed.start()

    assert "does not answer" in str(gone.value)
    assert gone.value.retry
    assert office.value(fetched) == before[0] > 0, "the batch before"
    assert office.rows("select * from import_run where run_key = 'night' and ended_at is not null") == []
    assert office.run("night").balanced
    assert end_state(office) == whole
