"""Letters to recipients (GDPR Art. 19): of which disclosure one tells; what went between two times is found without reading all.

Revision ID: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"

NOTICES = """
alter table ticket_delivery add column disclosure text references disclosure;
comment on column ticket_delivery.disclosure is 'Of a notice to a recipient: what had been given to it.';

-- What went between a request's receipt and its intake is counted; the journal grows in the order in which things went.
create index deletion_gone on deletion using brin (store_gone_at) with (autosummarize = on);
"""


def upgrade() -> None:
    # psycopg itself: several statements at once, and no reading of % and : as parameters
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(NOTICES)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
