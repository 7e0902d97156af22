-- name: clocks^
-- The present of every decision, and this host's own clock.
select callkeeper_now() as decisions, clock_timestamp() as host;

-- name: open_night^
-- A run's night; the same run gets the same one.
insert into night (run_key, mode, code, config_version)
values (:run_key,
    case when exists (select from decision where subject = 'go_live' and action = 'approve') then 'live' else 'rehearsal' end,
    :code, :config_version)
on conflict (run_key) do update set run_key = excluded.run_key
returning night, run_key, mode, day, started_at, planned_at;

-- name: find_night^
-- The night of a run.
select night, run_key, mode, day, started_at, planned_at from night where run_key = :run_key;

-- name: foreseen_at$
-- When the last forecast before this night was made: null if there is none.
select max(made_at) from forecast where made_at < (select started_at from night where night = :night);

-- name: plan_expired
-- The next expired recordings that the journal does not know, into the journal. Foreseen is what stood in the catalogue with this
-- end when the last forecast looked as far ahead; the rest is a surplus. A withdrawn deletion is taken up again. The one row that is not
-- fresh is the last that was looked at: joining the two would cost their product, since nothing is known of their sizes.
with due as (
    select recording, vendor, controller, object_key, eligible_at, term_since from recording
    where eligible_at <= (select callkeeper_now()) and (eligible_at, recording) > (:after_at, :after)
    order by eligible_at, recording limit :limit
), fresh as (
    insert into deletion (recording, vendor, controller, trigger, object_key, due_at, planned_at, waits)
    select recording, vendor, controller, 'retention_expired', object_key, eligible_at, (select callkeeper_now()),
        case when :foreseen_only::boolean and (term_since <= :foreseen_at and eligible_at <= :foreseen_at::timestamptz + interval '30 days') is not true
            then 'surplus' end
    from due
    on conflict (recording) do update set state = 'planned', trigger = excluded.trigger, due_at = excluded.due_at, waits = excluded.waits,
        controller = excluded.controller, object_key = excluded.object_key, decision = null, night = null,
        planned_at = excluded.planned_at
        where deletion.state = 'withdrawn'
    returning recording, vendor, controller, due_at, waits
)
select recording, vendor, controller, due_at, waits, true as fresh from fresh
union all
(select recording, vendor, controller, eligible_at, null, false from due order by eligible_at desc, recording desc limit 1);

-- name: stranded
-- Calls that a vendor has left in staging, which is no longer configured, so that no import takes them up: past their term.
select s.recording, s.controller, s.vendor from staging s join vendor v on v.vendor = s.vendor and v.removed_at is not null
where retention_eligible_at(coalesce(s.started_at, s.delivered_at), :months) <= (select callkeeper_now())
order by s.recording for update of s;

-- name: night_planned^
-- The night is planned: what it counts is fixed from here on. Whether it is so for the first time.
update night n set planned_at = coalesce(n.planned_at, callkeeper_now()) from night was
where n.night = :night and was.night = n.night
returning n.planned_at, was.planned_at is null as first;

-- name: forget_counts!
-- Counts of a night that are about to be taken again.
delete from night_count where night = :night and (outcome = 'due') = :due;

-- name: count_due
-- What was due when a night was planned, per controller: unfinished, or finished since.
insert into night_count (night, controller, outcome, reason, n)
select :night, coalesce(controller, '-'), 'due', '', count(*) from deletion
where due_at <= :planned_at and (state not in ('done', 'withdrawn') or night >= :night or (night is null and done_at >= :planned_at))
group by 2
returning controller, n;

-- name: count_surplus$
-- How much waits for a yes to a surplus.
select count(*) from deletion where waits = 'surplus' and decision is null and state not in ('done', 'withdrawn');

-- name: arm_verdicts
-- The next deletions that have not been armed, and what becomes of them: asked under the blockers' lock.
select l.recording, l.state, l.trigger, l.controller, l.due_at,
    case
        when l.trigger = 'retention_expired' and l.eligible_at > (select callkeeper_now()) then 'withdrawn'
        when exists (select from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at))
            or (l.trigger not in ('unlawful_confirmed', 'quarantine_rejected') and exists (select from quarantine q where q.recording = l.recording))
            then 'blocked'
        when l.waits is not null and l.decision is null then 'waiting'
        else 'armed'
    end as verdict
from leaving l
where l.state in ('planned', 'blocked') and l.due_at <= :planned_at and (l.due_at, l.recording) > (:after_at, :after)
order by l.due_at, l.recording limit :limit;

-- name: lock_journal
-- How far these have come, in their order, for nobody else to change until the transaction ends.
select recording, state from deletion where recording = any (:recordings) order by recording for update;

-- name: suppress!
-- Before anything is deleted, its tombstone: it may not come back (architecture, rule 7). Not where the same call stands in the
-- catalogue under another UUID: what was rejected was a second delivery of it.
insert into suppression (kind, mark, since)
select 'recording', identity, (select callkeeper_now()) from recording where recording = any (:recordings)
union all
select 'recording', d.identity, (select callkeeper_now()) from deletion d
where d.recording = any (:recordings) and d.identity is not null
  and not exists (select from recording r where r.vendor = d.vendor and r.identity = d.identity)
on conflict do nothing;

-- name: arm!
-- Nothing blocks them: they will be sent.
update deletion set state = 'armed', armed_at = (select callkeeper_now()), tombstoned_at = null, trouble = null, lane = null, lease_until = null
where recording = any (:recordings) and state in ('planned', 'blocked');

-- name: block!
-- Something blocks them: looked at again each night.
update deletion set state = 'blocked', trouble = null, lane = null, lease_until = null
where recording = any (:recordings) and state in ('planned', 'armed', 'sending');

-- name: unblock!
-- Nothing blocks them any more, and they wait for something else.
update deletion set state = 'planned' where recording = any (:recordings) and state = 'blocked';

-- name: withdraw!
-- Their ground fell away.
update deletion set state = 'withdrawn', night = :night where recording = any (:recordings) and state in ('planned', 'blocked', 'armed');

-- name: count_armed$
-- How many this night has armed so far.
select count(*) from deletion where armed_at >= (select started_at from night where night = :night);

-- name: night_sliced!
-- More was due than one night may delete.
update night set sliced = true where night = :night;

-- name: claim_to_send
-- A lane's next batch in the order of the keys: nobody's, its own from an earlier try, or one whose lane has gone silent. Nothing is
-- sent of which no tombstone stands outside the database.
select recording from deletion
where claim_key is not null and (claim_key, recording) > (:after_key, :after) and tombstoned_at is not null
  and (lane is null or lane = :lane or lease_until < clock_timestamp())
order by claim_key, recording limit :limit for update skip locked;

-- name: send_verdicts
-- What becomes of a claimed batch, and the fence of its claim: asked under the blockers' lock, just before the effect.
select l.recording, l.state, l.trigger, l.controller, l.object_key, l.version_id, l.fence + 1 as fence, l.legal_hold,
    case
        when l.trigger = 'retention_expired' and l.state = 'armed' and l.eligible_at > (select callkeeper_now()) then 'withdrawn'
        when exists (select from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)) then 'blocked'
        else 'sending'
    end as verdict
from leaving l where l.recording = any (:recordings)
order by l.object_key, l.recording;

-- name: to_sending!
-- The point of no return. What was sent before is this claim's now.
update deletion set state = 'sending', sending_at = case when state = 'armed' then (select callkeeper_now()) else sending_at end, trouble = null,
    lane = :lane, lease_until = clock_timestamp() + make_interval(mins => :lease_minutes), fence = fence + 1
where recording = any (:recordings);

-- name: lock_gone
-- How far these have come, and whose claim they are; nobody else changes them, or their rows in the catalogue, until the transaction
-- ends: a statement of its own, before the change.
with r as (
    select recording from recording where recording = any (:recordings) order by recording for update
), d as (
    select recording, state, fence from deletion where recording = any (:recordings) order by recording for update
)
select d.recording, d.state, d.fence from d, (select count(*) from r) locked;

-- name: proven_gone
-- The store is proven empty: the journal takes over what the vendor is to be asked with, and forgets the rest. Whose they
-- are was asked under the lock: a condition on the state here would let the planner, who has counted none, read all that are under way.
update deletion d set state = 'store_gone', store_gone_at = (select callkeeper_now()), absence_checked_at = (select callkeeper_now()),
    versions_removed = p.removed, catalogued = r.recording is not null,
    identity = coalesce(r.identity, d.identity), sealed_ref = coalesce(r.sealed_ref, d.sealed_ref),
    line = null, pseudonym = null, started_at = null, object_key = null, version_id = null, revision = null, legal_hold = null,
    lane = null, lease_until = null, trouble = null
from unnest(:recordings::uuid[], :removed::integer[]) as p (recording, removed)
left join recording r on r.recording = p.recording
where d.recording = p.recording
returning d.recording, d.controller, d.trigger, d.catalogued, d.versions_removed, d.fence, d.sealed_ref is null as without_vendor;

-- name: erase!
-- The catalogue's rows go, and with them number, pseudonym, hash and key.
delete from recording where recording = any (:recordings);

-- name: not_gone!
-- The store did not let go of them, or did not say: they stay where they are, with the reason and their lane, for the next night.
update deletion d set trouble = p.trouble,
    version_id = coalesce(d.version_id, p.version_id), legal_hold = case when p.version_id is null then d.legal_hold end
from unnest(:recordings::uuid[], :fences::integer[], :troubles::text[], :version_ids::text[]) as p (recording, fence, trouble, version_id)
where d.recording = p.recording and d.fence = p.fence and d.state = 'sending';

-- name: denied!
-- The store refused to delete these: whether a legal hold stands on them is not known any more, and is set right before the next try.
update recording set legal_hold = null where recording = any (:recordings);

-- name: sent_and_covered
-- Which of these, not let go by the store, are covered by a blocker, so that no late worker can touch them any more: asked under
-- the blockers' lock.
select l.recording, l.controller, l.trigger
from leaving l
join unnest(:recordings::uuid[], :fences::integer[]) as p (recording, fence) on p.recording = l.recording and p.fence = l.fence
where l.state = 'sending' and (l.legal_hold or l.version_id is null)
  and exists (select from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at));

-- name: vendors_to_ask
-- The vendors of recordings that are gone here and open there.
select distinct vendor from deletion where state = 'store_gone' order by 1;

-- name: note_vendor_gone!
-- Their vendor is no longer configured, so nobody can ask it.
update deletion set trouble = 'vendor_gone'
where state = 'store_gone' and not vendor = any (:configured::text[]) and trouble is distinct from 'vendor_gone';

-- name: claim_to_ask
-- The next recordings whose vendor is to be asked, or looked at again; what it refused is asked again after a week, and what a
-- hold names, or was found to cover a moment too late, is left there: it is the last copy. Materialized, as in claim.
with mine as materialized (
    select recording from deletion
    where state = 'store_gone' and vendor = :vendor and recording > :after
      and (lane is null or lane = 0 or lease_until < clock_timestamp())
      and not exists (select from blocker b where b.ended_at is null and deletion.recording = any (b.recordings))
      and not exists (select from blocker_cover c join blocker b on b.blocker = c.blocker
                      where c.recording = deletion.recording and b.ended_at is null)
      and (vendor_answer is null or vendor_answer = 'accepted'
           or (vendor_answer = 'unsupported' and :can_delete::boolean)
           or (vendor_answer = 'refused' and vendor_asked_at < (select callkeeper_now()) - interval '7 days'))
    order by recording limit :limit for update skip locked
)
update deletion d set lane = 0, lease_until = clock_timestamp() + make_interval(mins => :lease_minutes), fence = d.fence + 1,
    vendor_asked_at = case when d.vendor_answer = 'accepted' then d.vendor_asked_at else (select callkeeper_now()) end
from mine where d.recording = mine.recording
returning d.recording, d.controller, d.identity, d.sealed_ref, d.fence, d.vendor_answer as answer, d.vendor_asked_at as asked_at;

-- name: vendor_answered
-- What the vendor said of recordings that stay open there.
update deletion d set vendor_answer = p.answer, vendor_confirmed = p.confirmed, trouble = p.trouble, lane = null, lease_until = null
from unnest(:recordings::uuid[], :fences::integer[], :answers::text[], :confirmed::boolean[], :troubles::text[])
    as p (recording, fence, answer, confirmed, trouble)
where d.recording = p.recording and d.fence = p.fence and d.store_gone_at is not null and d.done_at is null
returning d.recording, d.controller, d.vendor, d.vendor_answer as answer, d.vendor_confirmed as confirmed;

-- name: stop!
-- It cannot go on without a person.
update deletion set state = 'needs_human', trouble = :trouble, lane = null, lease_until = null
where recording = any (:recordings) and state = 'store_gone';

-- name: open_lines
-- Recordings that are gone here and open at their vendor, or whose vendor cannot be asked any more; not one of which a hold wants the
-- vendor's copy. One recording, or all of a vendor.
select recording, fence, controller, trouble from deletion
where (recording = :recording::uuid or vendor = :vendor::text) and (state = 'store_gone' or (state = 'needs_human' and store_gone_at is not null))
  and not exists (select from blocker b where b.ended_at is null and (deletion.recording = any (b.recordings)
      or exists (select from blocker_cover c where c.blocker = b.blocker and c.recording = deletion.recording)))
order by recording for update;

-- name: retry_stopped^
-- A person has mended what stood in its way.
update deletion set state = case when store_gone_at is null then 'planned' else 'store_gone' end, trouble = null
where recording = :recording and state = 'needs_human'
returning recording, controller, trigger, state;

-- name: finish
-- The vendor's answer is final: nothing personal is left.
update deletion d set state = 'done', done_at = (select callkeeper_now()), vendor_answer = p.answer, vendor_confirmed = p.confirmed,
    identity = null, sealed_ref = null, trouble = null, lane = null, lease_until = null,
    night = coalesce(:night, (select max(night) from night where planned_at is not null and ended_at is null))
from unnest(:recordings::uuid[], :fences::integer[], :answers::text[], :confirmed::boolean[]) as p (recording, fence, answer, confirmed)
where d.recording = p.recording and d.fence = p.fence and d.store_gone_at is not null and d.done_at is null
returning d.recording, d.controller, d.vendor, d.trigger, d.due_at, d.versions_removed, d.vendor_answer as answer,
    d.vendor_confirmed as confirmed, d.done_at;

-- name: count_night!
-- What became of a night's deletions, per controller.
insert into night_count (night, controller, outcome, reason, n)
select :night, coalesce(controller, '-'), outcome, reason, count(*)
from deletion cross join lateral (select
    case state when 'done' then 'done' when 'withdrawn' then 'withdrawn' when 'blocked' then 'blocked' when 'store_gone' then 'open_at_vendor'
        when 'planned' then case when not :live::boolean or (waits is not null and decision is null) or :sliced::boolean then 'waiting' else 'failed' end
        else 'failed' end as outcome,
    case state when 'done' then '' when 'withdrawn' then '' when 'blocked' then '' when 'store_gone' then coalesce(trouble, 'vendor_not_asked')
        when 'planned' then case when not :live::boolean then 'rehearsal' when waits is not null and decision is null then waits
            when :sliced::boolean then 'slice' else 'not_armed' end
        else coalesce(trouble, 'interrupted') end as reason) o
where due_at <= :planned_at and (state not in ('done', 'withdrawn') or night >= :night or (night is null and done_at >= :planned_at))
group by 2, 3, 4;

-- name: night_counts
-- A night's counts.
select controller, outcome, reason, n from night_count where night = :night order by controller, outcome, reason;

-- name: end_night$
-- The night's end; whether its counts are other than those of an earlier end.
update night set ended_at = callkeeper_now(), balanced = :balanced, report = :report
where night = :night and report is distinct from :report::jsonb returning night;

-- name: night_was_sliced$
-- Whether more was due than one night may delete.
select sliced from night where night = :night;

-- name: make_forecast!
-- How many recordings will be due within so many days of a night, and how many of them something blocks today. One forecast a night,
-- of what it knew when it planned: what was changed since is not foreseen by it.
insert into forecast (made_at, horizon_days, controller, due, blocked)
select :planned_at, h.days, c.controller, count(r.recording),
    count(r.recording) filter (where exists (
        select from blocker_cover k join blocker b on b.blocker = k.blocker and b.ended_at is null where k.recording = r.recording))
from unnest(array[1, 7, 30]) as h (days) cross join controller c
left join recording r on r.controller = c.controller and r.eligible_at <= :planned_at::timestamptz + make_interval(days => h.days)
group by 1, 2, 3
on conflict do nothing;
