"""The sealed trail: epochs, leaves, checkpoints, what of them stands outside the database.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

# What the trail says of itself: heartbeats, epochs, keys, expiries. It never ages.
TRAIL_CLASS = """
insert into event_class values ('trail');
create table event_trail partition of event for values in ('trail') partition by range (at);
select guard_trail('event_trail', false);
select ensure_trail_partitions();
"""

SEALED = """
create table epoch (
    epoch integer primary key check (epoch > 0),
    opened_at timestamptz not null default clock_timestamp(),
    reason text not null check (reason in ('first', 'restored_backup', 'moved_database', 'other')),
    system_identifier text not null
);
comment on table epoch is 'A tree from size 0 on: transaction ids compare only within one. A restore opens the next.';
comment on column epoch.system_identifier is 'The cluster''s, when it was opened: under another one its transaction ids mean nothing.';

create table leaf (
    epoch integer not null references epoch,
    seq bigint not null check (seq >= 0),
    event_id bigint,
    xid xid8,
    class text,
    at timestamptz,
    leaf_hash bytea not null check (length(leaf_hash) = 32),
    primary key (epoch, seq),
    check ((event_id is null) = (class is null) and (event_id is null) = (at is null) and (event_id is null) = (xid is null))
);
create unique index leaf_event on leaf (event_id) where event_id is not null;
comment on table leaf is 'An event''s place in the tree. event_id null: known by its hash only, from the anchor, since a restore lost it.';

create table checkpoint (
    number bigint generated always as identity primary key,
    epoch integer not null references epoch,
    size bigint not null check (size > 0),
    root bytea not null check (length(root) = 32),
    horizon xid8 not null,
    last_xid xid8,
    last_event bigint check ((last_event is null) = (last_xid is null)),
    at timestamptz not null,
    frontier bytea[] not null,
    note text not null,
    unique (epoch, size)
);
comment on table checkpoint is 'What was signed: size and root of the epoch''s tree; frontier: the roots of its full subtrees, the largest first.';
comment on column checkpoint.last_xid is 'With last_event: behind which event, by (xid, id), the next batch begins. null: the note was adopted from the anchor.';

create table anchored (
    number bigint primary key references checkpoint,
    at timestamptz not null default clock_timestamp()
);
comment on table anchored is 'Which checkpoints stand outside the database too.';

create function only_grows() returns trigger language plpgsql as $$
declare last callkeeper.checkpoint;
begin
    select * into last from callkeeper.checkpoint order by epoch desc, size desc limit 1;
    if last.epoch > new.epoch or (last.epoch = new.epoch
        and (last.size >= new.size or last.horizon > new.horizon or last.at > new.at)) then
        raise exception 'a checkpoint goes back' using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger only_grows before insert on checkpoint for each row execute function only_grows();
alter table checkpoint enable always trigger only_grows;

select guard_trail(t, true) from unnest(array['epoch', 'leaf', 'checkpoint', 'anchored']::regclass[]) t;

grant select on epoch, leaf, checkpoint, anchored to callkeeper_app, callkeeper_sealer, callkeeper_ageing, callkeeper_auditor;
grant insert on epoch, leaf, checkpoint, anchored to callkeeper_sealer;
"""

# Airflow's listener: a role that can do this one thing, since its password is where the scheduler is.
WITNESS = """
create function witness(bodies bytea[]) returns integer
language plpgsql security definer set search_path = callkeeper, pg_temp as $$
begin
    if exists (
        select from unnest(bodies) b
        where coalesce(convert_from(b, 'UTF8')::jsonb ->> 'action', '') not in ('run.started', 'run.ended', 'task.started', 'task.ended')
    ) then
        raise exception 'no listener sees that' using errcode = 'insufficient_privilege';
    end if;
    insert into event (class, at, body)
        select 'run', callkeeper_now(), b from unnest(bodies) with ordinality u (b, n) order by n;
    return cardinality(bodies);
end $$;
comment on function witness is 'What Airflow''s listener saw, into the trail: starts and ends of runs and tasks, and nothing else.';
revoke execute on function witness from public;
grant execute on function witness to callkeeper_witness;
grant usage on schema callkeeper to callkeeper_witness;
"""

# Bodies go a month of a class at a time, and only through these functions: they ask again what whoever calls them has asked.
AGEING = """
create view told as
select class, at, split_part(split_part(convert_from(body, 'UTF8'), '"vendor":"', 2), '"', 1) as vendor,
    substring(body for 26) = '{"action":"recording.kept"' as kept,
    substring(body for 33) = '{"action":"recording.quarantined"' as quarantined,
    substring(body for 27) = '{"action":"quarantine.left"' as restaged,
    class = 'deletion' as rejected
from event
where (class = 'import' and (substring(body for 26) = '{"action":"recording.kept"' or substring(body for 33) = '{"action":"recording.quarantined"'
        or substring(body for 27) = '{"action":"quarantine.left"'))
   or (class = 'deletion' and substring(body for 28) = '{"action":"deletion.planned"'
        and position('"state_before":"quarantined"' in body) > 0);
comment on view told is 'What the trail was told of recordings that came, and of where they went from quarantine: for the balance sheet (ADR 0168).';

create table told_before (
    class text not null,
    month date not null,
    vendor text not null,
    kept bigint not null,
    quarantined bigint not null,
    restaged bigint not null,
    rejected bigint not null,
    primary key (class, month, vendor)
);
comment on table told_before is 'The sums of told for each month whose bodies have gone, so that the balance sheet stays one of all that ever came.';

create function trail_term(of_class text) returns interval
language sql stable set search_path = callkeeper, pg_temp
return (
    select make_interval(years => greatest(1, (c.body::jsonb -> 'terms' ->> case of_class
        when 'opening' then 'openings_years' when 'ticket' then 'tickets_years' else 'deletion_evidence_years' end)::integer))
    from (select body from config_version order by version desc limit 1) c where of_class <> 'trail');
comment on function trail_term is 'How long bodies of a class are kept, by the configuration in force; null: for ever. Never under a year.';

create function past_months() returns table (class text, month date)
language sql stable security definer set search_path = callkeeper, pg_temp
begin atomic
    select m.class, m.month
    from (
        select c.class, to_date(right(p.relid::regclass::text, 7), 'YYYY_MM') as month
        from event_class c, pg_partition_tree(to_regclass('callkeeper.event_' || c.class)) p where p.isleaf
    ) m
    where (m.month + interval '1 month') at time zone 'UTC' + trail_term(m.class) <= callkeeper_now()
    order by 2, 1;
end;
comment on function past_months is 'Months that are past their class''s term to their last event, and whose bodies are still here.';

create function expiry(of_class text, of_month date) returns table (count bigint, digest text, why_not text)
language plpgsql stable security definer set search_path = callkeeper, pg_temp as $$
declare
    part text := format('event_%s_%s', of_class, to_char(of_month, 'YYYY_MM'));
    unsealed bigint; unanchored bigint; altered bigint; leaves bigint;
begin
    if not exists (select from past_months() p where (p.class, p.month) = (of_class, of_month)) then
        return query select 0::bigint, null::text, 'not_past';
        return;
    end if;
    execute format($q$
        with outside as (
            select c.epoch, max(c.size) as size from checkpoint c join anchored a on a.number = c.number group by c.epoch
        )
        select count(*), count(*) filter (where l.seq is null), count(*) filter (where l.seq >= coalesce(o.size, 0)),
            count(*) filter (where l.leaf_hash <> sha256('\\x00'::bytea || convert_to(e.id || ' ' || e.xid || ' ' || e.class || ' ', 'UTF8') || e.body)),
            encode(sha256(convert_to(coalesce(string_agg(l.epoch || ' ' || l.seq || chr(10), '' order by l.epoch, l.seq), ''), 'UTF8')), 'hex')
        from %I e left join leaf l on l.event_id = e.id left join outside o on o.epoch = l.epoch
    $q$, part) into count, unsealed, unanchored, altered, digest;
    select count(*) into leaves from leaf l where l.class = of_class
        and l.at >= of_month at time zone 'UTC' and l.at < (of_month + interval '1 month') at time zone 'UTC';
    why_not := case when altered > 0 then 'altered' when leaves > count then 'missing' when unsealed > 0 then 'unsealed'
        when unanchored > 0 then 'unanchored' end;
    return next;
end $$;
comment on function expiry is 'How many bodies a class''s month has, the digest of their leaves, and why they may not go (yet); null: they may.';

create function expire_bodies(of_class text, of_month date, body bytea) returns bigint
language plpgsql security definer set search_path = callkeeper, pg_temp set lock_timeout = '2s' as $$
declare
    part text := format('event_%s_%s', of_class, to_char(of_month, 'YYYY_MM')); found record;
begin
    perform pg_advisory_xact_lock(hashtextextended('callkeeper.ageing', 0));
    if to_regclass(format('callkeeper.%I', part)) is not null then
        execute format('lock table %I in share mode', part);
    end if;
    select * into found from expiry(of_class, of_month);
    if found.why_not is not null then
        raise exception 'these bodies may not go: %', found.why_not using errcode = 'insufficient_privilege';
    end if;
    if found.count > 0 then
        if (convert_from(body, 'UTF8')::jsonb - array['actor', 'at']) is distinct from jsonb_build_object('action', 'bodies.expired', 'v', 1,
            'event_class', of_class, 'month', to_char(of_month, 'YYYY-MM'), 'count', found.count, 'digest', found.digest) then
            raise exception 'the event does not say what goes' using errcode = 'insufficient_privilege';
        end if;
        insert into event (class, at, body) values ('trail', callkeeper_now(), body);
        insert into told_before
            select t.class, of_month, t.vendor, count(*) filter (where t.kept), count(*) filter (where t.quarantined),
                count(*) filter (where t.restaged), count(*) filter (where t.rejected)
            from told t
            where t.class = of_class and t.at >= of_month at time zone 'UTC' and t.at < (of_month + interval '1 month') at time zone 'UTC'
            group by 1, 2, 3;
    end if;
    execute format('drop table %I', part);
    return found.count;
end $$;
comment on function expire_bodies is 'Drops a class''s month of bodies, and writes the event that says so. An empty month goes without one.';

revoke execute on function trail_term, past_months, expiry, expire_bodies from public;
grant execute on function trail_term, past_months, expiry to callkeeper_app, callkeeper_ageing, callkeeper_auditor;
grant execute on function expire_bodies to callkeeper_ageing;
grant select on told, told_before to callkeeper_app, callkeeper_auditor;
"""

SUBJECTS = """
create table subject_salt (
    ticket text primary key,
    salt bytea check (length(salt) = 32),
    made_at timestamptz not null default callkeeper_now(),
    erased_at timestamptz,
    check ((salt is null) = (erased_at is not null))
);
comment on table subject_salt is 'What makes a ticket''s subjects unreadable in the trail; without it nobody can say any more whom an event means.';
grant select, insert (ticket, salt), update (salt, erased_at) on subject_salt to callkeeper_app;
"""


def upgrade() -> None:
    for part in (TRAIL_CLASS, SEALED, WITNESS, AGEING, SUBJECTS):
        # psycopg itself: several statements at once, and no reading of % and : as parameters
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        driver.execute(part)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
