"""The catalogue, what leads to it, and the trail.

Revision ID: 0001
"""

from alembic import op

revision = "0001"
down_revision = None

CLOCK = """
create table clock_shift (
    only_one boolean primary key default true check (only_one),
    shift interval not null check (extract(month from shift) = 0 and extract(day from shift) = 0)
);
comment on table clock_shift is 'Moves callkeeper_now() for tests and the demo. Only the migration role can write it.';

create function callkeeper_now() returns timestamptz
language sql stable security definer set search_path = callkeeper, pg_temp
return now() + coalesce((select shift from clock_shift), interval '0');
comment on function callkeeper_now is 'The present of every decision: the start of the transaction, moved by clock_shift.';

create function helsinki_day(at timestamptz) returns date
language sql immutable parallel safe
return (at at time zone 'Europe/Helsinki')::date;

-- requirements: anniversary = add_months(Helsinki date of the start), eligible from 00:00 Helsinki on the day after
create function retention_eligible_at(started_at timestamptz, months integer) returns timestamptz
language sql immutable parallel safe
return ((((started_at at time zone 'Europe/Helsinki')::date + make_interval(months => months))::date + 1)::timestamp
        at time zone 'Europe/Helsinki');
"""

REGISTER = """
create table config_version (
    version bigint generated always as identity primary key,
    applied_at timestamptz not null default callkeeper_now(),
    applied_by text not null,
    digest bytea not null,
    body text not null
);

create table controller (
    controller text primary key,
    name text not null,
    business_id text not null,
    languages text[] not null,
    notice_version date not null,
    balancing_test text not null,
    employee_notice text not null,
    contact jsonb not null,
    config_version bigint not null references config_version,
    removed_at timestamptz
);

create table line (
    line bigint generated always as identity primary key,
    number text not null,
    controller text not null references controller,
    valid_from date not null,
    valid_to date check (valid_to >= valid_from),
    config_version bigint not null references config_version,
    removed_at timestamptz
);
comment on table line is 'A designated service number and whose it is, from the first to the last day, both included.';
create index line_number on line (number) where removed_at is null;

create function line_overlaps() returns trigger language plpgsql as $$
begin
    if new.removed_at is null and exists (
        select from callkeeper.line l
        where l.number = new.number and l.line <> new.line and l.removed_at is null
          and daterange(l.valid_from, l.valid_to, '[]') && daterange(new.valid_from, new.valid_to, '[]')
    ) then
        raise exception 'a line is designated twice for the same day' using errcode = 'exclusion_violation';
    end if;
    return new;
end $$;
create trigger line_overlaps before insert or update on line for each row execute function line_overlaps();

create table processor (
    processor text primary key,
    kind text not null check (kind in ('vendor', 'other')),
    name text not null,
    contract text not null,
    valid_to date not null,
    grace_days integer not null check (grace_days >= 0),
    stopped boolean not null,
    regions text[] not null,
    remote_support text[] not null,
    sub_processors jsonb not null,
    extra_features_off text[] not null,
    config_version bigint not null references config_version,
    removed_at timestamptz
);

create table vendor (
    vendor text primary key,
    processor text not null references processor,
    kind text not null,
    location text not null,
    retention_days integer,
    config_version bigint not null references config_version,
    removed_at timestamptz
);

create table key (
    key_id text primary key,
    purpose text not null,
    created_at timestamptz not null default callkeeper_now(),
    retired_at timestamptz,
    escrowed_at timestamptz
);
comment on table key is 'Which keys there are; the keys themselves are in files.';
"""

DELIVERIES = """
create table import_run (
    run bigint generated always as identity primary key,
    run_key text not null unique,
    day date not null,
    started_at timestamptz not null default callkeeper_now(),
    checked_at timestamptz,
    ended_at timestamptz,
    balanced boolean,
    balance jsonb,
    mailed_at timestamptz
);
comment on table import_run is 'One run of import_recordings; run_key is the DAG run''s id.';

create table delivery (
    delivery bigint generated always as identity primary key,
    vendor text not null,
    day date not null,
    fingerprint bytea not null,
    listed_at timestamptz not null default callkeeper_now()
);

create table delivery_count (
    delivery bigint not null references delivery on delete cascade,
    controller text not null,
    found bigint not null,
    primary key (delivery, controller)
);

create table delivery_day (
    vendor text not null,
    day date not null,
    state text not null default 'open' check (state in ('open', 'absent', 'complete', 'lost')),
    delivery bigint references delivery,
    wanted_since timestamptz not null default callkeeper_now(),
    checked_at timestamptz,
    trouble text,
    closed_by text,
    closed_at timestamptz,
    close_reason text,
    primary key (vendor, day),
    check (state <> 'lost' or (closed_by is not null and close_reason is not null))
);
comment on table delivery_day is
    'A vendor''s day that is wanted: taken up by every run until it is complete or a person declares it lost.';
create index delivery_day_unfinished on delivery_day (vendor, day) where state in ('open', 'absent');

create table run_day (
    run bigint not null references import_run,
    vendor text not null,
    day date not null,
    delivery bigint not null references delivery,
    complete boolean not null,
    primary key (run, vendor, day)
);
comment on table run_day is 'What a run took for a day, and whether the vendor called it complete then.';

create table run_vendor (
    run bigint not null references import_run,
    vendor text not null,
    checked boolean not null,
    primary key (run, vendor)
);
comment on table run_vendor is 'Whether the run''s check has seen all that is listed: before that no audio is fetched.';

create table tally (
    run bigint not null references import_run,
    vendor text not null,
    controller text not null,
    outcome text not null check (outcome in
        ('found', 'kept', 'unchanged', 'corrected', 'quarantined', 'suppressed', 'refused', 'pending', 'repeated', 'unknown_field')),
    reason text not null,
    n bigint not null,
    primary key (run, vendor, controller, outcome, reason)
);
comment on table tally is
    'Counts of a run, changed in the transaction that they count. controller is - where the line is nobody''s.';
"""

# One list, three tables: what import knows of a call on its way into the catalogue.
CALL_COLUMNS = """
    recording uuid primary key,
    run bigint not null,
    vendor text not null,
    day date not null,
    delivery bigint not null,
    identity bytea not null,
    revision bytea not null,
    sealed_ref bytea not null,
    delivered_at timestamptz not null,
    started_at timestamptz,
    duration_ms bigint,
    direction text check (direction in ('inbound', 'outbound')),
    line text,
    line_mark bytea,
    controller text,
    caller_state text not null check (caller_state in ('known', 'withheld', 'unusable', 'discarded')),
    pseudonym bytea,
    pseudonym_key text,
    sealed_number bytea,
    media_status text not null,
    media_bytes bigint,
    media_sha256 bytea,
    media_codec text,
    media_type text,
    media_encryption text,
    door_faults text[] not null,
    waived text[] not null default '{}',
    state text not null default 'listed' check (state in ('listed', 'fetched')),
    corrects uuid,
    lane smallint,
    lease_until timestamptz,
    missed integer not null default 0,
    missed_in bigint,
    object_key text not null,
    version_id text,
    sha256 bytea,
    size_bytes bigint,
    audio_ms bigint,
    codec text,
    channels smallint,
    sample_rate_hz integer,
    legal_hold boolean not null default false
"""

CATALOGUE = f"""
-- A number that is no line of ours may be a person's: of it only a hash is kept (line_mark), to know it should it become one.
create table staging ({CALL_COLUMNS}, unique (vendor, identity)) with (fillfactor = 70);
-- Without the state: a call changes it two or three times on its way, and no index has to follow.
create index staging_work on staging (vendor, recording);

create table quarantine ({CALL_COLUMNS},
    reason text not null,
    since timestamptz not null default callkeeper_now(),
    decide_by timestamptz not null,
    counts_from timestamptz not null,
    unique (vendor, identity)
);
comment on column quarantine.counts_from is
    'Where the retention term counts from: the call''s start, or its delivery where no usable time came.';

create table recording (
    recording uuid primary key,
    controller text not null references controller,
    vendor text not null,
    line text not null,
    direction text not null check (direction in ('inbound', 'outbound')),
    started_at timestamptz not null,
    duration_ms bigint not null,
    caller_state text not null check (caller_state in ('known', 'withheld', 'unusable', 'discarded')),
    pseudonym bytea,
    pseudonym_key text,
    sealed_number bytea,
    identity bytea not null,
    revision bytea not null,
    sealed_ref bytea not null,
    object_key text not null,
    version_id text not null,
    sha256 bytea not null,
    size_bytes bigint not null,
    audio_ms bigint not null,
    codec text not null,
    channels smallint not null,
    sample_rate_hz integer not null,
    legal_hold boolean not null,
    delivery bigint not null,
    imported_at timestamptz not null default callkeeper_now(),
    retention_months smallint not null,
    eligible_at timestamptz not null generated always as (retention_eligible_at(started_at, retention_months)) stored,
    state text not null default 'live' check (state in ('live', 'gone'))
);
create unique index recording_identity on recording (vendor, identity) where state = 'live';
create index recording_pseudonym on recording (pseudonym) where state = 'live';
create index recording_eligible on recording (eligible_at) where state = 'live';
create index recording_line on recording (line, started_at) where state = 'live';
"""

BLOCKERS = """
create table blocker (
    blocker uuid primary key,
    kind text not null,
    case_ref text not null,
    recordings uuid[],
    pseudonyms bytea[],
    line text,
    controller text,
    from_at timestamptz,
    to_at timestamptz check (to_at > from_at),
    placed_at timestamptz not null default callkeeper_now(),
    placed_by text not null,
    review_on date not null,
    ended_at timestamptz,
    constraint never_a_wildcard check (
        cardinality(recordings) > 0 or cardinality(pseudonyms) > 0
        or ((line is not null or controller is not null) and from_at is not null))
);
create index blocker_live on blocker (placed_at) where ended_at is null;

create function covers(b blocker, recording uuid, controller text, line text, pseudonym bytea, started_at timestamptz)
returns boolean language sql immutable parallel safe
return (b).ended_at is null
    and ((b).recordings is null or recording = any ((b).recordings))
    and ((b).pseudonyms is null or pseudonym = any ((b).pseudonyms))
    and ((b).line is null or line = (b).line)
    and ((b).controller is null or controller = (b).controller)
    and ((b).from_at is null or started_at >= (b).from_at)
    and ((b).to_at is null or started_at < (b).to_at);

create table blocker_cover (
    blocker uuid not null references blocker,
    recording uuid not null,
    since timestamptz not null default callkeeper_now(),
    primary key (blocker, recording)
);
create index blocker_cover_recording on blocker_cover (recording);
comment on table blocker_cover is 'What a blocker''s predicate was found to cover; the predicate stays the truth.';

create table suppression (
    kind text not null check (kind in ('recording', 'caller')),
    mark bytea not null,
    mark_key text,
    since timestamptz not null default callkeeper_now(),
    review_on date,
    primary key (kind, mark)
);
comment on table suppression is
    'What may not come (back): a deleted recording''s tombstone, or an upheld objection''s pseudonym until its review.';

create table deletion (
    recording uuid primary key,
    vendor text not null,
    identity bytea not null,
    controller text,
    line text,
    pseudonym bytea,
    started_at timestamptz,
    trigger text not null check (trigger in ('retention_expired', 'erasure_approved', 'objection_upheld',
        'unlawful_confirmed', 'quarantine_rejected', 'redelivered_after_deletion', 'orphan', 'package_expired')),
    state text not null default 'planned' check (state in ('planned')),
    object_key text,
    version_id text,
    sealed_ref bytea,
    due_at timestamptz not null default callkeeper_now(),
    planned_at timestamptz not null default callkeeper_now()
);
create index deletion_identity on deletion (vendor, identity);
comment on table deletion is 'The journal of a recording''s way out. Import only plans: it records what should go.';
"""

# The predicates of the quality checks, once: GX counts with them, quarantine names its rows with them.
CHECKS = """
create view staging_fault as
select s.recording, s.run, s.vendor, f.rank, f.reason, f.gate
from staging s
left join recording r on r.vendor = s.vendor and r.identity = s.identity and r.state = 'live'
cross join lateral (values
    ( 1, 'record_invalid', true, 'record_invalid' = any (s.door_faults)),
    ( 2, 'metadata_missing', true, 'metadata_missing' = any (s.door_faults)),
    ( 3, 'line_missing', true, s.line is null and s.line_mark is null),
    -- whose line it was depends on the day: without a time it cannot be said that it was nobody's
    ( 4, 'line_undesignated', true, s.controller is null and s.started_at is not null and (s.line is not null or s.line_mark is not null)),
    ( 5, 'time_naive', true, 'time_naive' = any (s.door_faults)),
    ( 6, 'time_missing', true, s.started_at is null and not 'time_naive' = any (s.door_faults)),
    ( 7, 'time_in_future', true, s.started_at > (select callkeeper_now()) + interval '1 hour'),
    ( 8, 'direction_unknown', true, s.direction is null),
    ( 9, 'duration_invalid', true, s.duration_ms is null or s.duration_ms < 0 or s.duration_ms > 86400000),
    (10, 'media_path_unsafe', true, 'media_path_unsafe' = any (s.door_faults)),
    (11, 'encrypted_without_key', true, s.media_encryption is not null),
    (12, 'audio_absent', true, s.media_status in ('absent', 'deleted') and r.recording is null),
    (13, 'changed_bytes', true, r.recording is not null and (s.media_sha256 <> r.sha256
        or (s.media_sha256 is null and s.media_bytes <> r.size_bytes))),
    (20, 'caller_unusable', false, s.caller_state = 'unusable'),
    (21, 'day_differs', false, helsinki_day(s.started_at) <> s.day)
) as f (rank, reason, gate, bad)
where f.bad and not f.reason = any (s.waived);
"""

TRAIL = """
create table event_class (class text primary key);
insert into event_class values ('import'), ('deletion'), ('blocker'), ('ticket'), ('opening'), ('disclosure'), ('config'), ('run');

create table event (
    id bigint generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    class text not null,
    at timestamptz not null,
    body bytea not null,
    primary key (class, at, id)
) partition by list (class);
create index event_xid on event (xid, id);
comment on table event is 'The trail: one row a change of state, written in its transaction. Only ever inserted.';

create function trail_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the trail is append-only' using errcode = 'insufficient_privilege';
end $$;

create function guard_trail(part regclass, rows_too boolean) returns void language plpgsql as $$
begin
    if rows_too then
        execute format('create trigger no_change before update or delete on %s for each row execute function callkeeper.trail_is_append_only()', part);
        execute format('alter table %s enable always trigger no_change', part);
    end if;
    execute format('create trigger no_truncate before truncate on %s for each statement execute function callkeeper.trail_is_append_only()', part);
    execute format('alter table %s enable always trigger no_truncate', part);
end $$;

select guard_trail('event', false);
do $$
declare c text;
begin
    for c in select class from callkeeper.event_class loop
        execute format('create table callkeeper.event_%s partition of callkeeper.event for values in (%L) partition by range (at)', c, c);
        perform callkeeper.guard_trail(format('callkeeper.event_%s', c)::regclass, false);
    end loop;
end $$;

create function ensure_trail_partitions() returns integer
language plpgsql security definer set search_path = callkeeper, pg_temp as $$
declare
    c text; first timestamptz; part text; made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('callkeeper.trail_partitions', 0));
    for c in select class from event_class loop
        for first in
            select m at time zone 'UTC' from generate_series(
                date_trunc('month', callkeeper_now() at time zone 'UTC') - interval '1 month',
                date_trunc('month', callkeeper_now() at time zone 'UTC') + interval '2 months', interval '1 month') m
        loop
            part := format('event_%s_%s', c, to_char(first at time zone 'UTC', 'YYYY_MM'));
            if to_regclass(format('callkeeper.%I', part)) is null then
                execute format('create table %I (like event including defaults including constraints)', part);
                perform guard_trail(part::regclass, true);
                execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                    'event_' || c, part, first, (first at time zone 'UTC' + interval '1 month') at time zone 'UTC');
                made := made + 1;
            end if;
        end loop;
    end loop;
    return made;
end $$;
comment on function ensure_trail_partitions is 'Makes the months around callkeeper_now(); returns how many were missing.';
revoke execute on function ensure_trail_partitions from public;
select ensure_trail_partitions();
"""

RIGHTS = """
revoke all on schema callkeeper from public;
grant usage on schema callkeeper to callkeeper_app, callkeeper_sealer, callkeeper_ageing, callkeeper_auditor;

grant select on all tables in schema callkeeper to callkeeper_app, callkeeper_auditor;
revoke select on staging, staging_fault, blocker_cover, quarantine, recording, deletion, blocker, suppression from callkeeper_auditor;
grant insert, update on config_version, controller, line, processor, vendor, key, import_run, delivery, delivery_count,
    delivery_day, run_day, run_vendor, tally, staging, quarantine, recording, blocker, blocker_cover, deletion to callkeeper_app;
grant delete on staging, quarantine, blocker_cover to callkeeper_app;
grant insert on suppression to callkeeper_app;
-- Not the transaction's id nor the event's: whoever could choose them could slip an event past the sealer.
grant insert (class, at, body) on event to callkeeper_app, callkeeper_sealer, callkeeper_ageing;
grant execute on function ensure_trail_partitions to callkeeper_app, callkeeper_sealer, callkeeper_ageing;

grant select on event, event_class to callkeeper_sealer, callkeeper_ageing;
"""


def upgrade() -> None:
    for part in (CLOCK, REGISTER, DELIVERIES, CATALOGUE, BLOCKERS, CHECKS, TRAIL, RIGHTS):
        # psycopg itself: several statements at once, and no reading of % and : as parameters
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        driver.execute(part)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
