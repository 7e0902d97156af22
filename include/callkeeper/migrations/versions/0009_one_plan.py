"""What a predicate covers is planned once a session: nine branches, of which most fall away at their start, took longer to plan than to run.

Revision ID: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"

ONE_PLAN = """
-- A plan for any predicate has a branch that reads all of a company's: workers started for it would cost each search 7 ms.
alter function matched(blocker) set plan_cache_mode = force_generic_plan;
alter function matched(blocker) set max_parallel_workers_per_gather = 0;
"""


def upgrade() -> None:
    # psycopg itself: several statements at once, and no reading of % and : as parameters
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(ONE_PLAN)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
