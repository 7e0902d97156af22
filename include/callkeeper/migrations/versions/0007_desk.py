"""The officer's page: forms that were sent, so that one sent twice does its thing once.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"

DESK = """
create table desk_form (
    form bytea primary key check (octet_length(form) = 16),
    account text not null,
    sent_at timestamptz not null default now(),
    leads_to text
);
comment on table desk_form is 'Forms of the page that were sent, for a day: by their own random number, never with what was in them.';
comment on column desk_form.leads_to is 'Where the browser was sent when it was done; null: it was begun, and nobody knows whether it was done.';
grant select, insert, update, delete on desk_form to callkeeper_app;
"""


def upgrade() -> None:
    # psycopg itself: several statements at once, and no reading of % and : as parameters
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(DESK)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
