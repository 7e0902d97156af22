-- name: night_day$
-- The Helsinki day on which a night began.
select day from night where night = :night;

-- name: about_to_go
-- The next recordings that are armed or sent: what must not rise, should an older state of this database come back.
select l.recording, l.identity, l.trigger, d.armed_at from leaving l join deletion d on d.recording = l.recording
where d.state in ('armed', 'sending') and d.recording > :after
order by d.recording limit :limit;

-- name: tombstones_stand!
-- The tombstones of these stand outside the database: they may be sent. How many are new.
update deletion set tombstoned_at = (select callkeeper_now())
where recording = any (:recordings) and state in ('armed', 'sending') and tombstoned_at is null;

-- name: oldest_kept$
-- The day since when the oldest call of this database is in it; null: it has none.
select helsinki_day(least(
    (select min(imported_at) from recording), (select min(since) from quarantine), (select min(delivered_at) from staging)));

-- name: make_tombstone#
-- What the tombstones in the store say, as long as the connection lasts.
create temp table if not exists tombstone (recording uuid primary key, mark bytea, trigger text not null, armed_at timestamptz not null);
truncate tombstone;

-- name: put_tombstones!
-- A file's lines; of two about one recording the later is true.
insert into tombstone (recording, mark, trigger, armed_at)
select * from unnest(:recordings::uuid[], :marks::bytea[], :triggers::text[], :armed::timestamptz[])
on conflict (recording) do update set mark = excluded.mark, trigger = excluded.trigger, armed_at = excluded.armed_at
    where tombstone.armed_at < excluded.armed_at;

-- name: make_risen#
-- Of the tombstones that this database does not know, what they are of: by its UUID, or the same call under another one. And what
-- is in the catalogue though its mark stands in the suppression, and neither the journal nor a blocker says why.
drop table if exists risen;
create temp table risen as
with news as (
    select * from tombstone t
    where not exists (select from deletion d where d.recording = t.recording and d.armed_at >= t.armed_at)
), dead as (
    select recording, trigger, false as only_a_mark from news
    union select r.recording, t.trigger, false from news t join recording r on r.identity = t.mark where r.recording <> t.recording
    union select q.recording, t.trigger, false from news t join quarantine q on q.identity = t.mark where q.recording <> t.recording
    union select r.recording, 'redelivered_after_deletion', true
    from recording r join suppression p on p.kind = 'recording' and p.mark = r.identity
    where not exists (select from deletion d where d.recording = r.recording and d.state not in ('store_gone', 'done'))
      and not exists (select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at))
      and not exists (select from news t where t.recording = r.recording or t.mark = r.identity)
)
select distinct on (c.recording) c.recording, c.place, x.only_a_mark and c.early as doubtful, c.vendor, c.object_key, c.version_id,
    -- The restored row may know of a later end than the one that was over when it went.
    case when c.early and x.trigger = 'retention_expired' then 'redelivered_after_deletion' else x.trigger end as trigger,
    exists (select from deletion d where d.recording = c.recording and d.state <> 'withdrawn') as under_way
from dead x join (
    select recording, 'catalogue' as place, vendor, object_key, version_id, eligible_at > callkeeper_now() as early from recording
    union all select recording, 'quarantine', vendor, object_key, version_id, false from quarantine
) c on c.recording = x.recording
order by c.recording, x.trigger;
analyze risen;

-- name: count_risen^
-- How much has risen, where, how much of it the journal has already; what only its mark tells; and marks that stand no more.
select count(*) filter (where place = 'catalogue') as recordings, count(*) filter (where place = 'quarantine') as quarantined,
    count(*) filter (where under_way) as under_way,
    (select count(*) from staging s where exists (select from tombstone t where t.mark = s.identity)) as staged,
    (select count(distinct t.mark) from tombstone t
     where not exists (select from suppression p where p.kind = 'recording' and p.mark = t.mark)) as marks
from risen;

-- name: put_marks!
-- The marks stand in the suppression again.
insert into suppression (kind, mark) select distinct 'recording', mark from tombstone where mark is not null
on conflict do nothing;

-- name: plan_risen
-- What has risen goes into the journal, with the trigger that it had: the next night looks for it, and erases it. Of what only its
-- mark tells, and is not past its term, a person decides.
with out as (
    delete from quarantine q using risen x where q.recording = x.recording and not x.under_way
    returning q.recording, q.identity, q.controller, q.line, q.pseudonym, q.started_at, q.legal_hold, q.sealed_ref, q.version_id
), planned as (
    insert into deletion (recording, vendor, controller, trigger, object_key, version_id, identity, line, pseudonym, started_at,
        legal_hold, sealed_ref, waits)
    select x.recording, x.vendor, coalesce(r.controller, o.controller), x.trigger, x.object_key, o.version_id, o.identity, o.line,
        o.pseudonym, o.started_at, case when x.place = 'quarantine' then o.legal_hold else false end, o.sealed_ref,
        case when x.doubtful then 'approval' end
    from risen x left join recording r on r.recording = x.recording left join out o on o.recording = x.recording
    where not x.under_way
    on conflict (recording) do update set state = 'planned', trigger = excluded.trigger, due_at = callkeeper_now(),
        planned_at = callkeeper_now(), waits = excluded.waits, decision = null, night = null, controller = excluded.controller,
        object_key = excluded.object_key, version_id = excluded.version_id, identity = excluded.identity, line = excluded.line,
        pseudonym = excluded.pseudonym, started_at = excluded.started_at, legal_hold = excluded.legal_hold, sealed_ref = excluded.sealed_ref
        where deletion.state = 'withdrawn'
    returning recording, vendor, controller, trigger
)
select p.recording, p.vendor, p.controller, p.trigger, x.place from planned p join risen x on x.recording = p.recording;

-- name: count_missing_and_risen^
-- What has no audio in the store: of what has risen, and of the rest.
select count(*) filter (where x.recording is not null) as without_audio, count(*) filter (where x.recording is null) as lost from (
    select recording, object_key, version_id from recording where imported_at < :started_at
    union all select recording, object_key, version_id from quarantine where version_id is not null and since < :started_at
) c
left join listing l on l.object_key = c.object_key and l.version_id = c.version_id and not l.is_delete_marker
left join risen x on x.recording = c.recording
where l.object_key is null and not exists (select from deletion d where d.recording = c.recording and d.state in ('sending', 'store_gone', 'done'));
