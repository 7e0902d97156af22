-- name: record_decision$
-- A person's yes; only ever inserted.
insert into decision (subject, action, account, scope) values (:subject, :action, :account, :scope) returning decision;

-- name: find_decision^
-- The last decision on a subject; an action may have a code after a colon.
select decision, subject, action, account, scope, decided_at from decision
where subject = :subject and split_part(action, ':', 1) = :action order by decision desc limit 1;

-- name: last_rehearsal^
-- The last rehearsal that has ended.
select night, run_key, mode, day, started_at, planned_at, balanced from night
where mode = 'rehearsal' and ended_at is not null order by night desc limit 1;

-- name: waiting_for_yes
-- Deletions that wait for a person's yes, and since which day.
select recording, coalesce(controller, '-') as controller, helsinki_day(planned_at) as since from deletion
where waits = :waits and decision is null and state in ('planned', 'blocked') and (:controller::text is null or controller = :controller::text)
order by 2, 3, 1;

-- name: allow_waiting!
-- A person's yes to exactly these.
update deletion set decision = :decision
where recording = any (:recordings) and waits = :waits and decision is null and state in ('planned', 'blocked');

-- name: keep_waiting
-- A person's no to exactly these: nothing becomes of them, for the time being.
with was as (
    select recording, state from deletion
    where recording = any (:recordings) and waits = :waits and decision is null and state in ('planned', 'blocked') for update
)
update deletion d set state = 'withdrawn', decision = :decision,
    night = (select max(night) from night where planned_at is not null and ended_at is null)
from was w where d.recording = w.recording
returning d.recording, d.controller, d.trigger, w.state;

-- name: unlawful_finds
-- Recordings of lines that were not designated.
select recording, controller, line, day from unlawful
where :controller::text is null or controller = :controller::text
order by controller, line, day, recording;

-- name: count_unlawful$
-- How many there are.
select count(*) from unlawful;

-- name: plan_unlawful
-- A person confirmed that these were recorded unlawfully: they go, whatever their term.
insert into deletion (recording, vendor, controller, trigger, object_key, waits, decision)
select recording, vendor, controller, 'unlawful_confirmed', object_key, 'approval', :decision::bigint
from recording where recording = any (:recordings)
on conflict (recording) do update set trigger = excluded.trigger, waits = excluded.waits, decision = excluded.decision, state = 'planned',
    trouble = null, night = null, due_at = case deletion.state when 'withdrawn' then excluded.due_at else deletion.due_at end
    where deletion.state in ('planned', 'blocked', 'withdrawn')
returning recording, vendor, controller;
