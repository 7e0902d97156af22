"""Who was given what: the register of disclosures.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"

DISCLOSURES = """
create table disclosure (
    disclosure text primary key check (disclosure ~ '^DIS-[0-9]{4}-[0-9]{4,}$'),
    recipient_kind text not null check (recipient_kind in ('authority', 'group_company')),
    recipient text references controller,
    sealed_recipient bytea,
    purpose text not null,
    statute text,
    sealed_reference bytea,
    untold boolean not null default false,
    state text not null default 'drafted' check (state in ('drafted', 'asked', 'approved', 'made', 'handed_over', 'withdrawn')),
    scope bytea,
    asked_by text not null,
    asked_at timestamptz not null default callkeeper_now(),
    approved_by text,
    made_at timestamptz,
    handed_over_at timestamptz,
    ended_at timestamptz,
    check ((recipient_kind = 'group_company') = (recipient is not null)),
    check (recipient_kind <> 'authority' or statute is not null),
    check (approved_by is null or approved_by <> asked_by)
);
comment on table disclosure is 'What was given to an authority or a company of the group: to whom, for what, by which law, by two people''s word.';
comment on column disclosure.untold is 'The law forbids for now to tell the person; it shows to nobody but those who decide.';

create table disclosure_recording (
    disclosure text not null references disclosure,
    recording uuid not null,
    controller text not null,
    sha256 bytea,
    bytes bigint,
    primary key (disclosure, recording)
);
create index disclosure_recording_recording on disclosure_recording (recording);
grant select, insert, update on disclosure, disclosure_recording to callkeeper_app;
"""


def upgrade() -> None:
    # psycopg itself: several statements at once, and no reading of % and : as parameters
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(DISCLOSURES)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
