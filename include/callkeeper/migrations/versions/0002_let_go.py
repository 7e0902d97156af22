"""The way out: holds in their register, the journal of deletions, nights, decisions.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

# A recording's row goes with its audio (ADR 0151): what is left of it is the journal's row, so the catalogue has living ones only.
CATALOGUE = """
drop view staging_fault;
drop index recording_identity, recording_pseudonym, recording_eligible, recording_line;
alter table recording drop column state, alter column legal_hold drop not null,
    add column term_since timestamptz not null default callkeeper_now();
comment on column recording.legal_hold is 'Whether a legal hold stands on the object; null: one is being placed or lifted.';
comment on column recording.term_since is 'When its end became what it is: at its import, or when the vendor corrected its time.';
create unique index recording_identity on recording (vendor, identity);
create index recording_pseudonym on recording (pseudonym);
create index recording_eligible on recording (eligible_at, recording);
create index recording_line on recording (line, started_at);
create index recording_held on recording (recording) where legal_hold is distinct from false;
grant delete on recording to callkeeper_app;
alter table quarantine alter column legal_hold drop not null;
"""

# As it was, but for the catalogue's rows that were not living.
CHECKS = """
create view staging_fault as
select s.recording, s.run, s.vendor, f.rank, f.reason, f.gate
from staging s
left join recording r on r.vendor = s.vendor and r.identity = s.identity
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
grant select on staging_fault to callkeeper_app;
"""

DECISIONS = """
create table decision (
    decision bigint generated always as identity primary key,
    subject text not null,
    action text not null,
    account text not null,
    scope bytea not null,
    decided_at timestamptz not null default callkeeper_now()
);
comment on table decision is
    'A person''s yes (architecture, rule 13): on what, in whose name, and the hash of the scope that was seen. Only ever inserted.';
create index decision_subject on decision (subject, action);
grant select, insert on decision to callkeeper_app;
grant select on decision to callkeeper_auditor;
"""

NIGHTS = """
create table night (
    night bigint generated always as identity primary key,
    run_key text not null unique,
    day date not null default helsinki_day(callkeeper_now()),
    mode text not null check (mode in ('rehearsal', 'live')),
    started_at timestamptz not null default callkeeper_now(),
    planned_at timestamptz,
    sliced boolean not null default false,
    ended_at timestamptz,
    balanced boolean,
    code text not null,
    config_version bigint,
    report jsonb,
    mailed_at timestamptz,
    summary jsonb,
    revision integer not null default 0,
    files jsonb
);
comment on column night.summary is 'What its report says, without the receipts; revision counts its changes.';
comment on column night.files is 'Where the report stands in the store, with its hashes; null: it is not written yet.';
comment on column night.sliced is 'Whether more was due than one night may delete.';
comment on table night is 'One run of delete_expired; run_key is the DAG run''s id. A rehearsal does everything but the effect.';

create table night_count (
    night bigint not null references night,
    controller text not null,
    outcome text not null check (outcome in ('due', 'done', 'blocked', 'waiting', 'open_at_vendor', 'failed', 'withdrawn')),
    reason text not null,
    n bigint not null,
    primary key (night, controller, outcome, reason)
);
comment on table night_count is 'due is counted when the night is planned, the other terms at its end: due - withdrawn is their sum.';

create table forecast (
    made_at timestamptz not null default callkeeper_now(),
    horizon_days integer not null,
    controller text not null,
    due bigint not null,
    blocked bigint not null,
    primary key (made_at, horizon_days, controller)
);
comment on table forecast is 'How many recordings will be due within so many days, as a night saw it.';
grant select, insert, update on night, night_count, forecast to callkeeper_app;
grant delete on night_count to callkeeper_app;
grant select on night, night_count, forecast to callkeeper_auditor;
"""

JOURNAL = """
alter table blocker add column kept uuid[], add column kept_at timestamptz;
comment on column blocker.kept is 'What it covered, and the vendor corrected out of what it names: covered still, until people narrow or end it.';

-- A call of which the time is not known may lie in the window: what cannot be looked up counts as blocked (requirements, section 2).
create or replace function covers(b blocker, recording uuid, controller text, line text, pseudonym bytea, started_at timestamptz)
returns boolean language sql immutable parallel safe
return (b).ended_at is null and (
    ((b).recordings is null or recording = any ((b).recordings))
        and ((b).pseudonyms is null or pseudonym = any ((b).pseudonyms))
        and ((b).line is null or line = (b).line)
        and ((b).controller is null or controller = (b).controller)
        and ((b).from_at is null or started_at is null or started_at >= (b).from_at)
        and ((b).to_at is null or started_at is null or started_at < (b).to_at)
    or ((b).kept is not null and recording = any ((b).kept)));

alter table deletion
    drop constraint deletion_state_check,
    add constraint deletion_state_check check (state in
        ('planned', 'armed', 'sending', 'store_gone', 'done', 'blocked', 'needs_human', 'withdrawn')),
    alter column identity drop not null,
    add column waits text check (waits in ('surplus', 'approval')),
    add column decision bigint references decision,
    add column night bigint references night,
    add column legal_hold boolean default false,
    add column catalogued boolean not null default false,
    add column lane smallint,
    add column lease_until timestamptz,
    add column fence integer not null default 0,
    add column claim_key text generated always as (case when state in ('armed', 'sending') then coalesce(object_key, '') end) stored,
    add column revision bytea,
    add column armed_at timestamptz,
    add column tombstoned_at timestamptz,
    add column sending_at timestamptz,
    add column versions_removed integer,
    add column absence_checked_at timestamptz,
    add column store_gone_at timestamptz,
    add column vendor_asked_at timestamptz,
    add column vendor_answer text check (vendor_answer in
        ('not_asked', 'deleted', 'already_gone', 'accepted', 'refused', 'unsupported', 'settled_by_person')),
    add column vendor_confirmed boolean,
    add column done_at timestamptz,
    add column trouble text,
    add constraint deletion_waits check (waits is null or decision is not null or state in ('planned', 'blocked', 'withdrawn')),
    add constraint deletion_scrubbed check (state <> 'done' or (identity is null and sealed_ref is null and line is null
        and pseudonym is null and started_at is null and object_key is null and version_id is null and revision is null)),
    add constraint deletion_proven check (state not in ('store_gone', 'done') or absence_checked_at is not null);
comment on column deletion.waits is 'What a person must say yes to first: a surplus over the forecast, an orphan. Fulfilled by decision.';
comment on column deletion.revision is 'What the vendor said of a call that import refused: should it say something else, the call is looked at anew.';
comment on column deletion.tombstoned_at is 'When its tombstone stood outside the database: nothing is sent before.';
comment on column deletion.claim_key is
    'Its place among what lanes may claim; a column, for the planner to know of one way to it only.';
comment on column deletion.fence is 'Counts the claims: a worker whose claim is not the last one changes nothing.';
comment on column deletion.catalogued is 'Whether the catalogue had a row of it, which was scrubbed.';
comment on column deletion.night is 'The night in which it was done or withdrawn.';
comment on column deletion.trouble is 'Why it did not go on, a code; null: nothing stands in its way.';
create index deletion_unfinished on deletion (due_at, recording) where state not in ('done', 'withdrawn');
create index deletion_claim on deletion (claim_key, recording) where claim_key is not null;
create index deletion_sending on deletion (recording) where state = 'sending';
create index deletion_night on deletion (night);
create index deletion_open on deletion (vendor, recording) where state = 'store_gone';

-- A recording leaves by the journal only, whoever has the right to delete a row.
create function leaves_by_the_journal() returns trigger language plpgsql as $$
begin
    if exists (
        select from gone g left join callkeeper.deletion d on d.recording = g.recording
        where d.state is null or d.state not in ('sending', 'store_gone')
    ) then
        raise exception 'a recording leaves by the journal only' using errcode = 'insufficient_privilege';
    end if;
    return null;
end $$;
create trigger leaves_by_the_journal after delete on recording
    referencing old table as gone for each statement execute function leaves_by_the_journal();

-- What a deletion is about: of a recording in the catalogue, its row's facts; else what the journal itself knows.
create view leaving as
select d.recording, d.state, d.trigger, d.waits, d.decision, d.night, d.due_at, d.lane, d.lease_until, d.fence, d.trouble,
    d.vendor, d.vendor_answer, d.vendor_asked_at, r.recording is not null as in_catalogue,
    case when r.recording is null then d.controller else r.controller end as controller,
    case when r.recording is null then d.line else r.line end as line,
    case when r.recording is null then d.pseudonym else r.pseudonym end as pseudonym,
    case when r.recording is null then d.started_at else r.started_at end as started_at,
    case when r.recording is null then d.identity else r.identity end as identity,
    case when r.recording is null then d.sealed_ref else r.sealed_ref end as sealed_ref,
    case when r.recording is null then d.object_key else r.object_key end as object_key,
    case when r.recording is null then d.version_id else r.version_id end as version_id,
    case when r.recording is null then d.legal_hold else r.legal_hold end as legal_hold,
    r.eligible_at
from deletion d left join recording r on r.recording = d.recording;
grant select on leaving to callkeeper_app;

-- Recordings whose line, by the register in force, was not their controller's on the day of the call; not what is on its way out
-- for that reason, or can no longer be called back.
create view unlawful as
select r.recording, r.controller, r.line, helsinki_day(r.started_at) as day
from recording r left join deletion d on d.recording = r.recording
where not exists (
    select from line l
    where l.removed_at is null and l.number = r.line and l.controller = r.controller
      and helsinki_day(r.started_at) between l.valid_from and coalesce(l.valid_to, 'infinity'))
  and (d.recording is null or d.state = 'withdrawn' or (d.state in ('planned', 'blocked') and d.trigger <> 'unlawful_confirmed'));
grant select on unlawful to callkeeper_app;
"""

HOLDS = """
-- A check that comes out null passes: the cardinality of no array is null, and a blocker that names nothing would cover everything.
alter table blocker drop constraint never_a_wildcard, add constraint never_a_wildcard check (
    coalesce(cardinality(recordings), 0) > 0 or coalesce(cardinality(pseudonyms), 0) > 0
    or ((line is not null or controller is not null) and from_at is not null));
alter table blocker add column covered_at timestamptz;
comment on column blocker.covered_at is 'When what it covered at its placing had been noted in blocker_cover; null: not yet.';
-- As in quarantine: a call may leave it while a legal hold is being placed or lifted.
alter table staging alter column legal_hold drop not null;

-- Ways out that the journal itself has the facts of: of what stands in the catalogue it has none, and those may be millions.
create index deletion_own on deletion (pseudonym) where state not in ('store_gone', 'done', 'withdrawn')
    and (line is not null or pseudonym is not null or started_at is not null or version_id is not null);

-- What a predicate covers now, each part of it by an index (one controller's window by a scan). Not inlined, and without
-- just-in-time compiling: the plan is then the same for the 5 million rows of a catalogue as for none.
create function matched(b blocker) returns table (recording uuid, controller text)
language sql stable parallel safe rows 100 set jit = off set search_path = callkeeper, pg_temp as $$
    select r.recording, r.controller from recording r
    where r.recording = any ((b).recordings) and covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
    union all
    select r.recording, r.controller from recording r
    where (b).recordings is null
      and r.pseudonym = any ((b).pseudonyms) and covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
    union all
    select r.recording, r.controller from recording r
    where (b).recordings is null and (b).pseudonyms is null
      and r.line = (b).line and r.started_at >= coalesce((b).from_at, '-infinity') and r.started_at < coalesce((b).to_at, 'infinity')
      and covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
    union all
    select r.recording, r.controller from recording r
    where (b).recordings is null and (b).pseudonyms is null and (b).line is null
      and r.controller = (b).controller and covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
    union all
    select q.recording, coalesce(q.controller, '-') from quarantine q
    where covers(b, q.recording, q.controller, q.line, q.pseudonym, q.started_at)
    union all
    select d.recording, coalesce(d.controller, '-') from deletion d
    where d.recording = any ((b).recordings) and d.state not in ('store_gone', 'done', 'withdrawn')
      and covers(b, d.recording, d.controller, d.line, d.pseudonym, d.started_at)
      and not exists (select from recording r where r.recording = d.recording)
    union all
    select d.recording, coalesce(d.controller, '-') from deletion d
    where (b).recordings is null and d.state not in ('store_gone', 'done', 'withdrawn')
      and (d.line is not null or d.pseudonym is not null or d.started_at is not null or d.version_id is not null)
      and covers(b, d.recording, d.controller, d.line, d.pseudonym, d.started_at)
      and not exists (select from recording r where r.recording = d.recording)
    union all
    select r.recording, r.controller from recording r where r.recording = any ((b).kept)
    union all
    select d.recording, coalesce(d.controller, '-') from deletion d
    where d.recording = any ((b).kept) and d.state not in ('store_gone', 'done', 'withdrawn')
      and not exists (select from recording r where r.recording = d.recording)
$$;

create table hold (
    case_ref text primary key check (case_ref ~ '^H-[0-9]{4}-[0-9]{4}$'),
    kind text not null check (kind in
        ('investigation', 'authority_preservation', 'legal_claim', 'complaint', 'security', 'other')),
    sealed_facts bytea not null,
    drafted_by text not null,
    drafted_at timestamptz not null default callkeeper_now(),
    placed_by text,
    placed_at timestamptz,
    effective_at timestamptz,
    ratified_by text check (ratified_by <> placed_by),
    ratified_at timestamptz,
    review_on date,
    ends_on date,
    blocker uuid references blocker,
    released_at timestamptz,
    told_at timestamptz,
    check (kind <> 'authority_preservation' or placed_at is null or ends_on is not null)
);
comment on table hold is 'The register: one row a case. sealed_facts: authority, its reference, the ground.';

create table hold_predicate (
    predicate uuid primary key,
    case_ref text not null references hold,
    recordings uuid[],
    pseudonyms bytea[],
    pseudonym_keys text[],
    line text,
    controller text,
    from_at timestamptz,
    to_at timestamptz check (to_at > from_at),
    drafted_by text not null,
    drafted_at timestamptz not null default callkeeper_now(),
    placed_at timestamptz,
    constraint draft_never_a_wildcard check (
        coalesce(cardinality(recordings), 0) > 0 or coalesce(cardinality(pseudonyms), 0) > 0
        or ((line is not null or controller is not null) and from_at is not null))
);
comment on table hold_predicate is 'What a case names: drafted, then placed as the blocker of the same id.';
comment on column hold_predicate.pseudonym_keys is 'The keys that were live when it was drafted: under another one its calls would not be known.';

create table hold_request (
    request bigint generated always as identity primary key,
    case_ref text not null references hold,
    action text not null check (action in ('extend', 'narrow', 'release')),
    review_on date,
    ends_on date,
    predicate uuid references hold_predicate,
    asked_by text not null,
    asked_at timestamptz not null default callkeeper_now(),
    asked_run text,
    confirmed_by text check (confirmed_by <> asked_by),
    confirmed_at timestamptz,
    confirmed_run text,
    withdrawn_at timestamptz
);
create unique index hold_request_open on hold_request (case_ref, action) where confirmed_at is null and withdrawn_at is null;
comment on table hold_request is 'What needs two people before it takes effect: asked by one, confirmed by another.';

create table hold_too_late (
    blocker uuid not null references blocker,
    recording uuid not null,
    noticed_at timestamptz not null default callkeeper_now(),
    primary key (blocker, recording)
);
comment on table hold_too_late is 'What a hold covers and could not save: its deletion had been sent.';
grant select, insert, update on hold, hold_predicate, hold_request, hold_too_late to callkeeper_app;
"""

# Asked of the configuration in force, so that whoever may call it cannot shorten a term.
MARKS = """
create function expire_marks() returns bigint language sql security definer set search_path = callkeeper, pg_temp
begin atomic
    with terms as (
        select (body::jsonb -> 'terms' ->> 'retention_months')::integer as months, (body::jsonb -> 'terms' ->> 'backups_days')::integer as days
        from config_version order by version desc limit 1
    ), gone as (
        delete from suppression p using terms t
        where p.kind = 'recording' and not exists (select from vendor where retention_days is null)
          and p.since < callkeeper_now() - make_interval(months => t.months)
            - make_interval(days => greatest(t.days, (select max(retention_days) from vendor)))
        returning 1
    )
    select count(*) from gone;
end;
comment on function expire_marks is
    'Tombstones'' marks go once neither a backup nor a vendor could bring back the call before its term is over: then import refuses it.';
revoke execute on function expire_marks from public;
grant execute on function expire_marks to callkeeper_ageing;
"""

RECONCILING = """
create table reconciliation (
    reconciliation bigint generated always as identity primary key,
    run_key text not null unique,
    started_at timestamptz not null default callkeeper_now(),
    ended_at timestamptz,
    balanced boolean,
    findings jsonb,
    read_to uuid,
    mailed_at timestamptz
);
comment on table reconciliation is 'One run of reconcile; findings are counts by part and code. read_to: the last recording whose audio was read again.';

create table stray (
    object_key text not null,
    version_id text not null,
    recording uuid,
    why text not null check (why in ('stray', 'risen')),
    first_seen timestamptz not null default callkeeper_now(),
    last_seen timestamptz not null default callkeeper_now(),
    primary key (object_key, version_id)
);
comment on table stray is 'An object version that no row explains: planned to go on second sight, by a person''s yes. recording: the UUID in its key.';
grant select, insert, update on reconciliation, stray to callkeeper_app;
grant delete on stray to callkeeper_app;
grant select on reconciliation to callkeeper_auditor;
"""


def upgrade() -> None:
    for part in (CATALOGUE, CHECKS, DECISIONS, NIGHTS, JOURNAL, HOLDS, MARKS, RECONCILING):
        # psycopg itself: several statements at once, and no reading of % and : as parameters
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        driver.execute(part)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
