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
    purpose text not null check (purpose in ('authority', 'customer_care', 'quality', 'verification', 'training')),
    statute text,
    sealed_facts bytea,
    untold boolean not null default false,
    state text not null default 'drafted' check (state in ('drafted', 'asked', 'approved', 'made', 'handed_over', 'withdrawn')),
    scope bytea not null,
    drafted_by text not null,
    drafted_at timestamptz not null default callkeeper_now(),
    asked_by text,
    asked_at timestamptz,
    asked_run text,
    approved_by text,
    approved_at timestamptz,
    made_at timestamptz,
    handed_over_by text,
    handed_over_at timestamptz,
    channel text check (channel in ('in_person', 'courier', 'secure_transfer')),
    ended_at timestamptz,
    erase_on date,
    erased_at timestamptz,
    check ((recipient_kind = 'group_company') = (recipient is not null)),
    check ((recipient_kind = 'authority') = (purpose = 'authority')),
    check ((recipient_kind = 'authority') = (statute is not null)),
    check (recipient_kind = 'authority' or not untold),
    constraint two_people check (approved_by is null or approved_by <> asked_by),
    constraint two_people_before_anything check (state not in ('approved', 'made', 'handed_over') or (asked_by is not null and approved_by is not null)),
    check ((state = 'handed_over') = (handed_over_at is not null)),
    check ((handed_over_at is null) = (channel is null))
);
comment on table disclosure is 'What was given to an authority or a company of the group: to whom, for what, by which law, by two people''s word.';
comment on column disclosure.sealed_facts is 'The authority''s name and its reference, sealed and bound to the disclosure; gone with its term.';
comment on column disclosure.untold is 'The law forbids for now to tell the person; it shows to nobody but the officer and her deputies.';

create table disclosure_recording (
    disclosure text not null references disclosure,
    recording uuid not null,
    controller text not null,
    sha256 bytea,
    bytes bigint,
    primary key (disclosure, recording)
);
create index disclosure_recording_recording on disclosure_recording (recording);
comment on table disclosure_recording is 'Which recordings; with the checksum and size of the copy, once it is made.';
grant select, insert, update on disclosure, disclosure_recording to callkeeper_app;

-- A package is a copy for the person who asked, or for the recipient of a disclosure.
alter table package alter column ticket drop not null, add column disclosure text references disclosure,
    add constraint package_of_one check (num_nonnulls(ticket, disclosure) = 1);
create index package_disclosure on package (disclosure);
alter table package add column ended_at timestamptz;
comment on column package.ended_at is 'Since when it can no longer be had: its parts are in the journal, on their way out.';
alter table opening add column disclosure text references disclosure;
"""


def upgrade() -> None:
    # psycopg itself: several statements at once, and no reading of % and : as parameters
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(DISCLOSURES)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
