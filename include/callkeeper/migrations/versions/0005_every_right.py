"""Every right: what outlasts its ticket, what is put right, where a run stands.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"

RIGHTS = """
alter table ticket
    add column stretches integer not null default 0 check (stretches >= 0),
    add column question text check (question in ('decide', 'second', 'release', 'deliver')),
    add column standing uuid references blocker,
    add column lifts_on date,
    add column asked text[] check (asked <@ array['numbers', 'period', 'calls', 'which', 'what_is_wrong', 'situation']),
    add column lift_reason text check (lift_reason in ('accurate', 'corrected', 'decided', 'not_needed', 'asked')),
    add constraint ticket_lifting check ((lifts_on is null) = (lift_reason is null));
comment on column ticket.run is 'The Airflow run that carries the ticket now; an answer given to any other does not count.';
comment on column ticket.stretches is 'How many runs have carried it; the next is <ticket>--<stretches + 1>.';
comment on column ticket.question is 'What the run has asked a person, and waits for.';
comment on column ticket.asked is 'What the person was asked to make clear, as codes.';
comment on column ticket.standing is 'The restriction that outlasts the ticket, until it is lifted (GDPR Art. 18(3)).';

create table ticket_correction (
    ticket text not null references ticket,
    recording uuid not null,
    what text not null check (what in ('number', 'time', 'line', 'statement')),
    sealed_before bytea,
    sealed_after bytea,
    applied_at timestamptz,
    primary key (ticket, recording, what)
);
comment on table ticket_correction is 'What a rectification puts right (GDPR Art. 16): sealed, bound to the ticket, gone with it.';
grant select, insert, update, delete on ticket_correction to callkeeper_app;

alter table recording add column rectified text references ticket;
comment on column recording.rectified is 'The request that put this row right: the vendor''s own word does not undo it.';
"""


def upgrade() -> None:
    # psycopg itself: several statements at once, and no reading of % and : as parameters
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(RIGHTS)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
