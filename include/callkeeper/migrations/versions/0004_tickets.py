"""Answer the person: tickets, what is searched for them, their deliveries and packages; openings of audio.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"

TICKETS = """
create table ticket (
    ticket text primary key check (ticket ~ '^DSR-[0-9]{4}-[0-9]{4,}$'),
    access_right text not null check (access_right in
        ('access', 'rectification', 'erasure', 'restriction', 'objection', 'portability')),
    state text not null default 'open' check (state in ('open', 'identity_asked', 'clarification_asked', 'previewed', 'narrowed',
        'approved', 'seconded', 'refused', 'carried_out', 'released', 'delivered', 'closed')),
    received_on date not null,
    channel text not null check (channel in ('letter', 'email', 'phone', 'visit', 'web', 'other')),
    language text not null check (language in ('fi', 'sv', 'en')),
    controller text references controller,
    account text not null,
    opened_at timestamptz not null default callkeeper_now(),
    due_on date not null check (due_on > received_on),
    extended_to date check (extended_to > due_on),
    extension_reason text check (extension_reason in ('complexity', 'number_of_requests')),
    identity text not null default 'unproven' check (identity in ('unproven', 'callback', 'strong', 'other')),
    identity_at timestamptz,
    identity_by text,
    sealed_facts bytea,
    previewed_at timestamptz,
    scope bytea,
    lease_until timestamptz,
    run text,
    outcome text,
    closed_at timestamptz,
    erase_on date,
    erased_at timestamptz,
    linked_to text references ticket check (linked_to <> ticket),
    check ((extended_to is null) = (extension_reason is null)),
    check ((identity = 'unproven') = (identity_at is null) and (identity_at is null) = (identity_by is null)),
    check ((state = 'closed') = (closed_at is not null) and (closed_at is null) = (outcome is null) and (closed_at is null) = (erase_on is null)),
    check (erased_at is null or (closed_at is not null and sealed_facts is null))
);
comment on table ticket is 'A person''s request, from its arrival to its end. Who asks is not in it: only what is searched, and that sealed or hashed.';
comment on column ticket.controller is 'Null: every company is searched, as the notice is a joint one; only the officer narrows it.';
comment on column ticket.sealed_facts is 'Identity note, reasons, statement: free text, sealed, bound to the ticket, gone with it.';
comment on column ticket.linked_to is 'The request before it of which a number is the same: linked, never merged.';
create index ticket_open on ticket (due_on) where closed_at is null;

create table ticket_subject (
    ticket text not null references ticket,
    n smallint not null check (n > 0),
    kind text not null check (kind in ('number', 'time')),
    pseudonyms bytea[],
    sealed_number bytea,
    from_at timestamptz,
    to_at timestamptz check (to_at > from_at),
    line text,
    controller text,
    primary key (ticket, n),
    -- Once the ticket's term is over nothing of a call by its time is left: neither time nor line.
    check (kind = 'number' or (pseudonyms is null and sealed_number is null and (from_at is null) = (to_at is null)
        and (from_at is null or line is not null or controller is not null)))
);
comment on table ticket_subject is 'What is searched: a number (its hashes under every live key), or a line''s or company''s calls of a time.';
comment on column ticket_subject.from_at is 'With to_at: of a number, from when to when it is proven to be the person''s; null: not proven yet.';

create table ticket_recording (
    ticket text not null references ticket,
    recording uuid not null,
    controller text not null,
    state text not null default 'found' check (state in ('found', 'confirmed', 'excluded')),
    reason text,
    mutes jsonb,
    channel smallint check (channel >= 0),
    outcome text check (outcome in ('copied', 'erased', 'deferred', 'restricted', 'corrected', 'refused', 'none')),
    outcome_at timestamptz,
    primary key (ticket, recording),
    check ((outcome is null) = (outcome_at is null))
);
create index ticket_recording_recording on ticket_recording (recording);
comment on table ticket_recording is 'What a search found, and what became of each: outcomes are per recording.';

create table ticket_delivery (
    ticket text not null references ticket,
    kind text not null,
    at timestamptz not null default callkeeper_now(),
    account text not null,
    channel text not null
);
create index ticket_delivery_ticket on ticket_delivery (ticket);
comment on table ticket_delivery is 'Which letter or package was handed over, when, by whom, how; to which address is never stored.';

grant select, insert, update on ticket, ticket_subject, ticket_recording to callkeeper_app;
grant select, insert on ticket_delivery to callkeeper_app;
"""

PACKAGES = """
create table package (
    package uuid primary key,
    ticket text not null references ticket,
    parts jsonb not null default '[]',
    sealed_passphrase bytea,
    made_at timestamptz not null default callkeeper_now(),
    expires_on date not null,
    released_by text,
    delivered_at timestamptz,
    gone_at timestamptz
);
create index package_ticket on package (ticket);
comment on table package is 'A copy for the person who asked; its parts stand in the store until they expire.';
grant select, insert, update on package to callkeeper_app;

create table opening (
    opening bigint generated always as identity primary key,
    recording uuid not null,
    account text not null,
    purpose text not null,
    ticket text references ticket,
    at timestamptz not null default callkeeper_now()
);
create index opening_recording on opening (recording);
comment on table opening is 'Each opening of a recording''s audio: who, when, for which purpose. Only ever inserted.';
grant select, insert on opening to callkeeper_app;
"""


def upgrade() -> None:
    for part in (TICKETS, PACKAGES):
        # psycopg itself: several statements at once, and no reading of % and : as parameters
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        driver.execute(part)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
