-- name: make_arrival#
-- What one listing brings, before it meets what is known; gone with the transaction.
create temp table arrival (
    seq bigint, recording uuid, identity bytea, revision bytea, sealed_ref bytea, started_at timestamptz, duration_ms bigint,
    direction text, line text, line_mark bytea, controller text, caller_state text, pseudonym bytea, pseudonym_key text, sealed_number bytea,
    media_status text, media_bytes bigint, media_sha256 bytea, media_codec text, media_type text, media_encryption text,
    door_faults text[], object_key text, version_id text
) on commit drop;

-- name: copy_arrival!
-- The columns that the door fills, in their order.
copy arrival (seq, recording, identity, revision, sealed_ref, started_at, duration_ms, direction, line, line_mark, caller_state,
    pseudonym, pseudonym_key, sealed_number, media_status, media_bytes, media_sha256, media_codec, media_type, media_encryption,
    door_faults, object_key) from stdin (format binary);

-- name: analyze_arrival#
-- So that the planner knows how many came; the wide columns tell it nothing.
analyze arrival (identity, revision, line);

-- name: drop_repeated!
-- A recording that came twice in one listing counts once: the last wins.
delete from arrival a using (select identity, max(seq) as last from arrival group by identity having count(*) > 1) twice
where a.identity = twice.identity and a.seq < twice.last;

-- name: name_controllers!
-- Whose line it was on the call's Helsinki day.
update arrival a set controller = l.controller
from line l
where l.number = a.line and l.removed_at is null
  and helsinki_day(a.started_at) between l.valid_from and coalesce(l.valid_to, 'infinity');

-- name: count_arrivals
-- The listing's size, per controller.
select coalesce(controller, '-') as controller, count(*) as n from arrival group by 1;

-- name: take_unchanged
-- Arrivals that stand in the catalogue just so.
with gone as (
    delete from arrival a using recording r
    where r.vendor = :vendor and r.identity = a.identity and r.revision = a.revision
    returning coalesce(r.controller, '-') as controller
)
select controller, count(*) as n from gone group by 1;

-- name: take_still_quarantined
-- Arrivals that wait in quarantine just so.
with gone as (
    delete from arrival a using quarantine q
    where q.vendor = :vendor and q.identity = a.identity and q.revision = a.revision
    returning coalesce(q.controller, '-') as controller, q.reason
)
select controller, reason, count(*) as n from gone group by 1, 2;

-- name: take_already_planned
-- Arrivals whose way out is in the journal already (an orphan's is that of an object only, and names no call). Where a rejected
-- delivery was another one of a recording that lives, only that very delivery.
with gone as (
    delete from arrival a using deletion d
    where d.vendor = :vendor and d.identity = a.identity
      and (d.revision = a.revision or not exists (select from recording r where r.vendor = :vendor and r.identity = a.identity))
    returning coalesce(d.controller, '-') as controller, d.trigger
)
select controller, case when trigger in ('redelivered_after_deletion', 'objection_upheld') then 'suppressed' else 'refused' end as outcome,
    count(*) as n
from gone group by 1, 2;

-- name: take_back_refused
-- Calls that import refused and the vendor now tells something else of, before anything was done to them: the refusal is withdrawn,
-- and they are looked at anew, under their old UUID, with the audio that may stand in the store.
with was as (
    select d.recording, d.controller, d.trigger, d.state, d.identity, d.object_key, d.version_id
    from deletion d join arrival a on a.identity = d.identity
    where d.vendor = :vendor and d.state in ('planned', 'blocked') and d.revision <> a.revision
      and d.trigger in ('retention_expired', 'objection_upheld', 'redelivered_after_deletion')
    for update of d
), back as (
    update deletion d set state = 'withdrawn', waits = null, identity = null, sealed_ref = null, revision = null, line = null,
        pseudonym = null, started_at = null, object_key = null, version_id = null,
        night = (select max(night) from night where planned_at is not null and ended_at is null)
    from was w where d.recording = w.recording
), renamed as (
    update arrival a set recording = w.recording, object_key = w.object_key, version_id = w.version_id from was w where a.identity = w.identity
)
select recording, controller, trigger, state from was;

-- name: take_redelivered
-- Quarantined calls of which the vendor now tells something else: they are looked at again, under their old UUID, with the
-- audio that stands in the store.
with back as (
    delete from quarantine q using arrival a
    where q.vendor = :vendor and q.identity = a.identity
    returning q.recording, q.controller, q.reason, q.identity, q.object_key, q.version_id
), renamed as (
    update arrival a set recording = b.recording, object_key = b.object_key, version_id = b.version_id from back b where a.identity = b.identity
)
select recording, controller, reason from back;

-- name: renew_staged
-- Staged calls, not fetched yet, of which the vendor now tells something else; whose they were, where this run has found them.
with was as (
    select s.recording, s.run, coalesce(s.controller, '-') as controller from staging s join arrival a using (identity)
    where s.vendor = :vendor and s.revision <> a.revision and s.state <> 'fetched'
)
update staging s set
    revision = a.revision, sealed_ref = a.sealed_ref, started_at = a.started_at, duration_ms = a.duration_ms, direction = a.direction,
    line = a.line, line_mark = a.line_mark, controller = a.controller, caller_state = a.caller_state, pseudonym = a.pseudonym, pseudonym_key = a.pseudonym_key,
    sealed_number = a.sealed_number, media_status = a.media_status, media_bytes = a.media_bytes, media_sha256 = a.media_sha256,
    media_codec = a.media_codec, media_type = a.media_type, media_encryption = a.media_encryption, door_faults = a.door_faults,
    waived = '{}', delivery = :delivery, state = 'listed'
from was w, arrival a
where s.recording = w.recording and a.identity = s.identity
returning w.controller as was, coalesce(s.controller, '-') as controller, w.run = :run as found;

-- name: redeliver_staged!
-- Staged calls that stand in the newer delivery too: they are of it now.
update staging s set delivery = :delivery from arrival a where s.vendor = :vendor and s.identity = a.identity;

-- name: still_staged
-- Which of these calls are staged still: another self of the task, believed dead, may have been quicker.
select recording from staging where recording = any (:recordings) order by recording for update;

-- name: stage_arrivals
-- New calls into staging; their UUID is born here.
with fresh as (
    insert into staging (recording, run, vendor, day, delivery, identity, revision, sealed_ref, delivered_at, started_at, duration_ms,
        direction, line, line_mark, controller, caller_state, pseudonym, pseudonym_key, sealed_number, media_status, media_bytes,
        media_sha256, media_codec, media_type, media_encryption, door_faults, object_key, version_id)
    select recording, :run, :vendor, :day, :delivery, identity, revision, sealed_ref, callkeeper_now(), started_at, duration_ms,
        direction, line, line_mark, controller, caller_state, pseudonym, pseudonym_key, sealed_number, media_status, media_bytes,
        media_sha256, media_codec, media_type, media_encryption, door_faults, object_key, version_id
    from arrival order by seq
    on conflict (vendor, identity) do nothing
    returning coalesce(controller, '-') as controller
)
select controller, count(*) as n from fresh group by 1;

-- name: known_lines
-- Every number that is, or once was, a line of ours.
select distinct number from line;

-- name: reveal_staged!
-- Lines that were nobody's when they came, and stand in the register now.
update staging s set line = r.number, line_mark = null
from unnest(:numbers::text[], :marks::bytea[]) as r (number, mark) where s.line_mark = r.mark;

-- name: reveal_quarantined!
-- The same of calls in quarantine.
update quarantine q set line = r.number, line_mark = null
from unnest(:numbers::text[], :marks::bytea[]) as r (number, mark) where q.line_mark = r.mark;

-- name: carry_over
-- What earlier runs left in staging belongs to this run now: found by it, and looked at again, unless it is fetched and its
-- line still belongs to the same controller.
with whose as (
    select s.recording, l.controller
    from staging s left join line l on l.number = s.line and l.removed_at is null
        and helsinki_day(s.started_at) between l.valid_from and coalesce(l.valid_to, 'infinity')
    where s.vendor = :vendor and s.run <> :run and (:day::date is null or s.day = :day::date)
), mine as (
    update staging s set run = :run, lane = null, lease_until = null, controller = w.controller,
        state = case when s.state = 'fetched' and s.controller = w.controller then s.state else 'listed' end
    from whose w where s.recording = w.recording
    returning coalesce(s.controller, '-') as controller
)
select controller, count(*) as n from mine group by 1;

-- name: unchecked!
-- Something was listed that the run's check has not seen.
insert into run_vendor (run, vendor, checked) values (:run, :vendor, false)
on conflict (run, vendor) do update set checked = false;

-- name: checked!
-- Everything that the run has listed passed its check, or left: audio may be fetched.
insert into run_vendor (run, vendor, checked) values (:run, :vendor, true)
on conflict (run, vendor) do update set checked = true;

-- name: count_listed$
-- How many listed calls wait for their audio.
select count(*) from staging where vendor = :vendor and run = :run and state = 'listed' and media_status = 'available';

-- name: verdicts
-- Which listed calls, of a range of UUIDs, are not simply fetched, and why: blockers, suppression, term and checks asked in one
-- look. A correction of what is in the catalogue is never refused: by it a recording may get an earlier end, or be found as its
-- caller's.
with listed as (
    select * from staging
    where vendor = :vendor and run = :run and state = 'listed' and recording >= :first and recording <= :last
), faults as (
    select distinct on (f.recording) f.recording, f.reason from staging_fault f
    where f.vendor = :vendor and f.run = :run and f.recording >= :first and f.recording <= :last and f.gate
    order by f.recording, f.rank
), seen as (
    select s.recording, s.controller, s.media_status, s.legal_hold, f.reason as fault, b.blocked, r.recording as corrects,
        s.version_id is not null and s.waived <> '{}' as released,
        case
            when b.blocked or r.recording is not null then null
            when exists (select from suppression p where p.kind = 'recording' and p.mark = s.identity) then 'redelivered_after_deletion'
            when exists (select from suppression p where p.kind = 'caller' and p.mark = s.pseudonym
                         and (p.review_on is null or p.review_on >= helsinki_day((select callkeeper_now())))) then 'objection_upheld'
            when retention_eligible_at(s.started_at, :months) <= (select callkeeper_now()) then 'retention_expired'
        end as refusal
    from listed s
    left join recording r on r.vendor = s.vendor and r.identity = s.identity
    left join faults f on f.recording = s.recording
    cross join lateral (
        select exists (select from blocker b where covers(b, s.recording, s.controller, s.line, s.pseudonym, s.started_at)) as blocked
    ) b
)
select * from seen
where refusal is not null or fault is not null or corrects is not null or media_status <> 'available' or released or (blocked and legal_hold is not true) or (legal_hold and not blocked)
order by recording;

-- name: mark_held!
-- Covered by a blocker: so their audio is stored. Or no longer: a legal hold may stand on audio that is stored already, and is lifted
-- once they are kept.
update staging set legal_hold = case when recording = any (:held) then true when legal_hold then null else legal_hold end
where recording = any (:recordings);

-- name: mark_released!
-- A person has released them as they stand in the store: their audio is not asked for again.
update staging set state = 'fetched' where recording = any (:recordings);

-- name: mark_correction!
-- A correction needs no audio: the catalogue has it. What was put right on its person's request stays so, whatever the vendor says
-- of it now (GDPR Art. 16); the rest of the vendor's word counts. Marked again, it follows what was put right since.
update staging s set state = 'fetched', corrects = r.recording,
    pseudonym = case when k.number then r.pseudonym else s.pseudonym end,
    pseudonym_key = case when k.number then r.pseudonym_key else s.pseudonym_key end,
    sealed_number = case when k.number then r.sealed_number else s.sealed_number end,
    caller_state = case when k.number then r.caller_state else s.caller_state end,
    started_at = case when k.time then r.started_at else s.started_at end,
    line = case when k.line then r.line else s.line end,
    controller = case when not (k.line or k.time) then s.controller else coalesce((
        select l.controller from line l
        where l.number = case when k.line then r.line else s.line end and l.removed_at is null
          and helsinki_day(case when k.time then r.started_at else s.started_at end) between l.valid_from and coalesce(l.valid_to, 'infinity')
        ), r.controller) end
from recording r
cross join lateral (
    select coalesce(bool_or(c.what = 'number'), false) as number, coalesce(bool_or(c.what = 'time'), false) as time,
        coalesce(bool_or(c.what = 'line'), false) as line
    from ticket_correction c where r.rectified is not null and c.recording = r.recording and c.applied_at is not null
) k
where s.recording = any (:recordings) and r.vendor = s.vendor and r.identity = s.identity;

-- name: plan_refused!
-- What import refuses goes into the journal of deletions: recorded, not done. With its key, audio known to be there or not: a run
-- that was killed may have stored it.
-- A call that the vendor dates on another day than it delivers it for may be dated wrongly: a person looks before it is lost.
insert into deletion (recording, vendor, identity, revision, controller, line, pseudonym, started_at, trigger, object_key, version_id,
    legal_hold, sealed_ref, due_at, waits)
select recording, vendor, identity, revision, controller, line, pseudonym, started_at, :trigger, object_key, version_id, legal_hold, sealed_ref,
    case :trigger::text when 'retention_expired'
        then greatest(retention_eligible_at(coalesce(started_at, delivered_at), :months), callkeeper_now()) else callkeeper_now() end,
    case when :trigger::text = 'retention_expired' and abs(helsinki_day(started_at) - day) > 1 then 'surplus' end
from staging where recording = any (:recordings)
on conflict (recording) do update set state = 'planned', vendor = excluded.vendor, identity = excluded.identity, revision = excluded.revision,
    controller = excluded.controller, line = excluded.line, pseudonym = excluded.pseudonym, started_at = excluded.started_at,
    trigger = excluded.trigger, object_key = excluded.object_key, version_id = excluded.version_id, legal_hold = excluded.legal_hold,
    sealed_ref = excluded.sealed_ref, due_at = excluded.due_at, waits = excluded.waits, decision = null, night = null,
    planned_at = callkeeper_now()
    where deletion.state = 'withdrawn';

-- name: quarantine_staged!
-- Into quarantine, with its reason and the day by which a person decides.
insert into quarantine
select s.*, w.reason, callkeeper_now(), callkeeper_now() + make_interval(days => :days), coalesce(s.started_at, s.delivered_at)
from staging s join unnest(:recordings::uuid[], :reasons::text[]) as w (recording, reason) on w.recording = s.recording;

-- name: leave_staging!
-- Resolved: no longer staged.
delete from staging where recording = any (:recordings);

-- name: claim
-- A lane's next batch, in the order of the UUIDs: nobody's, its own from an earlier try, or one whose lane has gone silent.
-- Materialized: as a plain subselect it may be asked again for each row, and then passes over some.
with mine as materialized (
    select recording from staging
    where vendor = :vendor and run = :run and state = 'listed' and media_status = 'available' and recording > :after
      and exists (select from run_vendor v where v.run = :run and v.vendor = :vendor and v.checked)
      and (lane is null or lane = :lane or lease_until < clock_timestamp())
    order by recording limit :limit for update skip locked
)
update staging s set lane = :lane, lease_until = clock_timestamp() + interval '15 minutes'
from mine where s.recording = mine.recording
returning s.recording, s.controller, s.identity, s.sealed_ref, s.duration_ms, s.media_bytes, s.media_sha256, s.media_codec, s.media_type,
    s.waived, s.object_key, s.legal_hold, s.missed + (s.missed_in is distinct from :run)::integer as misses;

-- name: mark_fetched!
-- The audio stands in the store: what it is, as read from it.
update staging s set state = 'fetched', version_id = f.version_id, sha256 = f.sha256, size_bytes = f.size_bytes, audio_ms = f.audio_ms,
    codec = f.codec, channels = f.channels, sample_rate_hz = f.sample_rate_hz
from unnest(:recordings::uuid[], :version_ids::text[], :sha256s::bytea[], :sizes::bigint[], :audio_mss::bigint[], :codecs::text[],
    :channelss::smallint[], :rates::integer[]) as f (recording, version_id, sha256, size_bytes, audio_ms, codec, channels, sample_rate_hz)
where s.recording = f.recording and s.state = 'listed';

-- name: mark_missed!
-- The vendor lists it, and has no audio (yet): counted once a run, however often its tasks are run.
update staging set missed = missed + 1, missed_in = run where recording = any (:recordings) and missed_in is distinct from run;

-- name: rename_staged!
-- Other bytes stand under the key: the call gets a new UUID and key, the old object is planned to go.
update staging set recording = :fresh, object_key = :object_key, version_id = null where recording = :recording and state = 'listed';

-- name: plan_orphan!
-- An object that no row will point to.
insert into deletion (recording, vendor, controller, line, pseudonym, started_at, trigger, object_key, version_id, legal_hold)
select recording, vendor, controller, line, pseudonym, started_at, 'orphan', object_key, version_id, legal_hold
from staging where recording = :recording
on conflict (recording) do update set state = 'planned', trigger = excluded.trigger, controller = excluded.controller, line = excluded.line,
    pseudonym = excluded.pseudonym, started_at = excluded.started_at, object_key = excluded.object_key, version_id = excluded.version_id,
    legal_hold = excluded.legal_hold, waits = null, decision = null, night = null, due_at = callkeeper_now(), planned_at = callkeeper_now()
    where deletion.state = 'withdrawn';

-- name: count_staged
-- Still on their way, per controller.
select vendor, coalesce(controller, '-') as controller, count(*) as n from staging where run = :run group by 1, 2;
