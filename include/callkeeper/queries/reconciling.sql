-- name: open_reconciliation$
-- The run's reconciliation; the same run key gives the same one.
insert into reconciliation (run_key) values (:run_key)
on conflict (run_key) do update set run_key = excluded.run_key returning reconciliation;

-- name: find_reconciliation^
-- A reconciliation by its run's key.
select reconciliation, run_key, started_at, findings, balanced, mailed_at from reconciliation where run_key = :run_key;

-- name: note_part!
-- What one part of the comparison found, in the place of what it had found before.
update reconciliation set findings = coalesce(findings, '{}') || jsonb_build_object(:part::text, :counts::jsonb)
where reconciliation = :reconciliation;

-- name: end_reconciliation$
-- The end of a reconciliation; whether it is other than an earlier end.
update reconciliation set ended_at = callkeeper_now(), balanced = :balanced, findings = findings || jsonb_build_object('sheet', :sheet::jsonb)
where reconciliation = :reconciliation and (balanced, findings -> 'sheet') is distinct from (:balanced::boolean, :sheet::jsonb)
returning reconciliation;

-- name: reconciliation_mailed!
-- What it found went out by mail.
update reconciliation set mailed_at = callkeeper_now() where reconciliation = :reconciliation;

-- name: make_listing#
-- What the store lists, as long as the connection lasts; recording is the UUID in the key.
drop table if exists listing;
create temp table listing (object_key text, version_id text, is_delete_marker boolean, recording uuid);

-- name: copy_listing!
-- The columns of a listing.
copy listing (object_key, version_id, is_delete_marker, recording) from stdin (format binary);

-- name: analyze_listing#
-- So that the planner knows how many there are.
analyze listing;

-- name: sort_listing
-- What each listed version is, counted; what no row explains is kept as a stray. A key of a living recording is never one.
with leaving_keys as (
    select object_key, bool_or(state in ('armed', 'sending')) as going from deletion
    where object_key is not null and state not in ('done', 'withdrawn') group by 1
), kept_keys as (
    select distinct d.object_key from deletion d join decision y on y.decision = d.decision and y.action = 'keep'
    where d.state = 'withdrawn' and y.decided_at > callkeeper_now() - make_interval(days => :keep_days)
), package_keys as (
    select e ->> 'key' as object_key, e ->> 'version' as version_id
    from package p cross join lateral jsonb_array_elements(p.parts) e where p.gone_at is null and e ? 'key'
), sorted as (
    select l.object_key, l.version_id, l.recording, case
        when r.version_id = l.version_id and not l.is_delete_marker then 'live'
        when d.going then 'leaving'
        when q.recording is not null and coalesce(q.version_id, l.version_id) = l.version_id and not l.is_delete_marker then 'quarantined'
        when s.recording is not null then 'staged'
        when p.object_key is not null and coalesce(p.version_id, l.version_id) = l.version_id and not l.is_delete_marker then 'packages'
        when p.object_key is not null then case when l.is_delete_marker then 'hidden' else 'extra' end
        when r.recording is not null or q.recording is not null then case when l.is_delete_marker then 'hidden' else 'extra' end
        when d.object_key is not null then 'leaving'
        when k.object_key is not null then 'orphans_kept'
        when g.recording is not null then case when g.absence_checked_at < :started_at then 'risen' else 'went' end
        when not starts_with(l.object_key, 'rec/') and not starts_with(l.object_key, 'pkg/') then 'foreign'
        else 'stray' end as kind
    from listing l
    left join recording r on r.object_key = l.object_key
    left join quarantine q on q.object_key = l.object_key
    left join staging s on s.object_key = l.object_key
    left join package_keys p on p.object_key = l.object_key
    left join leaving_keys d on d.object_key = l.object_key
    left join kept_keys k on k.object_key = l.object_key
    left join deletion g on g.recording = l.recording and g.state in ('store_gone', 'done')
), kept as (
    insert into stray (object_key, version_id, recording, why, first_seen, last_seen)
    select object_key, version_id, recording, kind, :started_at, :started_at from sorted where kind in ('stray', 'risen')
    on conflict (object_key, version_id) do update set last_seen = excluded.last_seen, why = excluded.why
)
select kind, count(*) as n from sorted group by 1 order by 1;

-- name: forget_strays!
-- What was a stray, and is gone or explained now.
delete from stray where last_seen < :started_at;

-- name: plan_strays
-- Strays on second sight go into the journal, all versions of a key as one, to wait for a person's yes. Never a key of a row's.
with due as (
    select object_key, (array_agg(recording))[1] as recording, max(version_id) as version_id, min(why) as why
    from stray group by 1
    having min(first_seen) <= :seen_before
       and not exists (select from recording r where r.object_key = stray.object_key)
       and not exists (select from quarantine q where q.object_key = stray.object_key)
       and not exists (select from staging s where s.object_key = stray.object_key)
       and not exists (select from package p where p.gone_at is null and p.parts @> jsonb_build_array(jsonb_build_object('key', stray.object_key)))
       and not exists (select from deletion d where d.object_key = stray.object_key and d.state not in ('done', 'withdrawn'))
), planned as (
    insert into deletion (recording, vendor, trigger, object_key, version_id, waits)
    select case when recording is null or exists (select from deletion d where d.recording = due.recording)
               or exists (select from recording r where r.recording = due.recording)
               or exists (select from quarantine q where q.recording = due.recording)
               or exists (select from staging s where s.recording = due.recording) then gen_random_uuid() else recording end,
        '-', 'orphan', object_key, version_id, 'approval'
    from due returning recording, object_key
), known as (
    delete from stray using planned p where stray.object_key = p.object_key
)
select p.recording, d.why from planned p join due d on d.object_key = p.object_key;

-- name: count_missing^
-- What the catalogue or the quarantine has audio of, and the store does not; the first of them. Not what came since the listing
-- was begun, nor what was sent to be deleted.
with lacking as (
    select r.recording from recording r
    left join listing l on l.object_key = r.object_key and l.version_id = r.version_id and not l.is_delete_marker
    where l.object_key is null and r.imported_at < :started_at
      and not exists (select from deletion d where d.recording = r.recording and d.state in ('sending', 'store_gone', 'done'))
    union all
    select q.recording from quarantine q
    left join listing l on l.object_key = q.object_key and l.version_id = q.version_id and not l.is_delete_marker
    where l.object_key is null and q.version_id is not null and q.since < :started_at
)
select count(*) as n, array(select recording from lacking order by 1 limit 20) as some from lacking;

-- name: count_packages_missing$
-- Parts of whole packages that the store does not have, and that are not on their way out.
select count(*) from package p cross join lateral jsonb_array_elements(p.parts) e
left join listing l on l.object_key = e ->> 'key' and l.version_id = e ->> 'version' and not l.is_delete_marker
where p.gone_at is null and p.made_at < :started_at and e ? 'version' and l.object_key is null
  and not exists (select from deletion d where d.recording = (e ->> 'part')::uuid and d.state in ('sending', 'store_gone', 'done'));

-- name: last_read$
-- Where the last reconciliation's reading ended.
select read_to from reconciliation where reconciliation < :reconciliation and read_to is not null order by reconciliation desc limit 1;

-- name: next_to_read
-- The next recordings whose audio is read again, in the order of their UUIDs; not what was sent to be deleted.
select recording, object_key, version_id, sha256, size_bytes from recording r
where recording > :after and not exists (select from deletion d where d.recording = r.recording and d.state in ('sending', 'store_gone', 'done'))
order by recording limit :limit;

-- name: note_read!
-- Where the reading ended.
update reconciliation set read_to = :read_to where reconciliation = :reconciliation;

-- name: held_to_ask
-- Of what stands under a legal hold by its flag, some, other ones each run.
select recording, object_key, version_id from (
    select recording, object_key, version_id from recording where legal_hold
    union all
    select recording, object_key, version_id from quarantine where legal_hold and version_id is not null
    union all
    select recording, object_key, version_id from deletion d
    where legal_hold and version_id is not null and state not in ('sending', 'store_gone', 'done', 'withdrawn')
      and not exists (select from recording r where r.recording = d.recording)
) held
order by md5(recording::text || :reconciliation::bigint) limit :limit;

-- name: days_at_vendor
-- The vendor's latest days that import has asked for.
select day from delivery_day where vendor = :vendor and day > :last::date - :relook::integer and day <= :last order by day;

-- name: make_at_vendor#
-- What a vendor lists, as long as the connection lasts, a recording that comes twice as it comes last; known: just this listing was
-- imported.
drop table if exists at_vendor_rows cascade;
create temp table at_vendor_rows (seq bigint generated always as identity, day date, identity bytea, available boolean, known boolean);
create temp view at_vendor as select distinct on (identity) day, identity, available, known from at_vendor_rows order by identity, seq desc;

-- name: copy_at_vendor!
-- The columns of a vendor's listing.
copy at_vendor_rows (day, identity, available, known) from stdin (format binary);

-- name: analyze_at_vendor#
-- So that the planner knows how many there are.
analyze at_vendor_rows;

-- name: make_stranger#
-- Of what a vendor lists, what is nowhere here; dead: its mark stands in the suppression.
drop table if exists stranger;
create temp table stranger (identity bytea, available boolean, known boolean, dead boolean);

-- name: find_strangers!
-- Not in the catalogue, staged, in quarantine, or on its way out.
insert into stranger
select l.identity, l.available, l.known, exists (select from suppression p where p.kind = 'recording' and p.mark = l.identity)
from at_vendor l
where not exists (select from recording r where r.vendor = :vendor and r.identity = l.identity)
  and not exists (select from staging s where s.vendor = :vendor and s.identity = l.identity)
  and not exists (select from quarantine q where q.vendor = :vendor and q.identity = l.identity)
  and not exists (select from deletion d where d.vendor = :vendor and d.identity = l.identity);

-- name: dead_at_vendor
-- Deleted here, and listed as available: the days to ask about, and the marks.
select s.identity, a.day from stranger s join at_vendor a on a.identity = s.identity where s.dead and a.available;

-- name: compare_vendor^
-- How much is listed; what is listed in what was imported, and nowhere here; what is here, and no longer there.
with listed as materialized (
    select identity, available from at_vendor
)
select count(*) as listed,
    (select count(*) from stranger where known and not dead) as lost,
    (select count(*) from recording r join delivery y on y.delivery = r.delivery
     where y.vendor = :vendor and y.day = any (:days::date[])
       and not exists (select from listed l where l.identity = r.identity and l.available)) as gone_there
from listed;

-- name: look_at_days^
-- Days before the last one that were never delivered, are not whole, or were never asked for: from the vendor's first day on, but for
-- single days that were taken by hand before the first day that is caught up on.
select count(*) filter (where y.state = 'absent') as never_delivered, count(*) filter (where y.state = 'open') as unfinished,
    count(*) filter (where y.day is null) as never_taken
from (select vendor, greatest(min(day), :first_day::date) as first from delivery_day join vendor v using (vendor) where v.removed_at is null group by 1) f
cross join lateral generate_series(f.first, :last::date - 1, interval '1 day') as g (day)
left join delivery_day y on y.vendor = f.vendor and y.day = g.day::date;

-- name: count_left_behind$
-- Calls in staging that no import takes up, since their vendor is no longer configured.
select count(*) from staging s join vendor v on v.vendor = s.vendor and v.removed_at is not null;

-- name: count_risen_rows^
-- Risen from the dead: in the catalogue, in quarantine or left behind in staging, though the mark stands in the suppression, and
-- neither the journal nor a blocker says why; the first of them.
with here as (
    select recording, identity, controller, line, pseudonym, started_at from recording
    union all select recording, identity, controller, line, pseudonym, started_at from quarantine
    union all select s.recording, s.identity, s.controller, s.line, s.pseudonym, s.started_at
    from staging s join import_run n on n.run = s.run where n.ended_at is not null
), marked as materialized ( -- few, so that blockers are asked of few
    select h.* from here h join suppression p on p.kind = 'recording' and p.mark = h.identity
), dead as (
    select h.recording from marked h
    where not exists (select from deletion d where d.recording = h.recording and d.state not in ('store_gone', 'done'))
      and not exists (select from blocker b where covers(b, h.recording, h.controller, h.line, h.pseudonym, h.started_at))
)
select count(*) as n, array(select recording from dead order by 1 limit 20) as some from dead;

-- name: balance_sheet
-- All that was ever imported, per vendor, by three counts that know nothing of each other: what runs counted, what the trail was
-- told (and of months whose bodies have aged out, had been told), and what is there. One statement, so one moment. An event's bytes
-- are canonical: in the view told its action comes first, and a field is found by its name and quotes (five times as fast as
-- reading JSON; ADR 0168).
with heard as (
    select vendor, sum(kept)::bigint as kept, sum(quarantined)::bigint as quarantined, sum(restaged)::bigint as restaged, sum(rejected)::bigint as rejected
    from (
        select vendor, count(*) filter (where kept) as kept, count(*) filter (where quarantined) as quarantined,
            count(*) filter (where restaged) as restaged, count(*) filter (where rejected) as rejected
        from told group by 1
        union all
        select vendor, kept, quarantined, restaged, rejected from told_before
    ) t group by 1
), counted as (
    select vendor, sum(n) as kept from tally where outcome = 'kept' group by 1
), live as (
    select vendor, count(*) as n from recording group by 1
), waiting as (
    select vendor, count(*) as n from quarantine group by 1
), gone as (
    select vendor, count(*) as n from deletion where catalogued and state in ('store_gone', 'done') group by 1
)
select vendor, coalesce(c.kept, 0)::bigint as counted, coalesce(t.kept, 0) as told,
    coalesce(t.quarantined - t.restaged, 0) as into_quarantine, coalesce(t.rejected, 0) as out_of_quarantine,
    coalesce(l.n, 0) as live, coalesce(q.n, 0) as quarantined, coalesce(g.n, 0) as gone
from heard t full join counted c using (vendor) full join live l using (vendor) full join waiting q using (vendor) full join gone g using (vendor)
order by vendor;
