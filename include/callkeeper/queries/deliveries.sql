-- name: open_run$
-- The run's number; the same run key gives the same number.
insert into import_run (run_key, day) values (:run_key, :day)
on conflict (run_key) do update set run_key = excluded.run_key returning run;

-- name: find_run^
-- A run by its key.
select run, run_key, day, started_at, ended_at, balanced, mailed_at from import_run where run_key = :run_key;

-- name: want_days!
-- The vendor's days up to the run's are wanted.
insert into delivery_day (vendor, day)
select :vendor, d::date from generate_series(:first::date, :last::date, interval '1 day') d
on conflict do nothing;

-- name: days_to_take
-- Unfinished days, and finished ones that are looked at again for late or corrected recordings, or because of their trouble.
select day, state, delivery from delivery_day
where vendor = :vendor and day <= :last and (:only::date is null or day = :only::date)
  and state <> 'lost' and (state <> 'complete' or trouble is not null or day > :last::date - :relook::integer or :only::date is not null)
order by day;

-- name: taken_in_run$
-- The delivery that this run took for the day; none yet: no row.
select delivery from run_day where run = :run and vendor = :vendor and day = :day;

-- name: known_delivery$
-- The day's newest delivery, if it has this fingerprint. An older one that comes back is news: it takes back a correction.
select d.delivery from delivery_day y join delivery d using (delivery)
where y.vendor = :vendor and y.day = :day and d.fingerprint = :fingerprint;

-- name: new_delivery$
-- A delivery that was not seen before.
insert into delivery (vendor, day, fingerprint) values (:vendor, :day, :fingerprint) returning delivery;

-- name: count_delivery!
-- How many recordings of which controller it holds.
insert into delivery_count (delivery, controller, found) select :delivery, * from unnest(:controllers::text[], :counts::bigint[]);

-- name: known_counts
-- What a known delivery holds beyond what is still staged.
select c.controller, c.found - (select count(*) from staging s where s.delivery = c.delivery and coalesce(s.controller, '-') = c.controller) as n
from delivery_count c where c.delivery = :delivery;

-- name: take_day!
-- This run has looked at the day.
insert into run_day (run, vendor, day, delivery, complete) values (:run, :vendor, :day, :delivery, :complete)
on conflict (run, vendor, day) do update set delivery = excluded.delivery, complete = excluded.complete;

-- name: note_day!
-- What the vendor says of the day; a complete day stays complete.
update delivery_day set state = case when state in ('complete', 'lost') then state else :state end, delivery = coalesce(:delivery, delivery),
    checked_at = callkeeper_now(), trouble = :trouble
where vendor = :vendor and day = :day;

-- name: finish_days
-- Days that the vendor called complete when this run took them, and of which nothing is staged any more.
update delivery_day d set state = 'complete', closed_by = 'import', closed_at = callkeeper_now()
from run_day t
where t.run = :run and t.vendor = :vendor and t.complete and d.vendor = t.vendor and d.day = t.day and d.state = 'open' and d.trouble is null
  and not exists (select from staging s where s.vendor = d.vendor and s.day = d.day)
returning d.day;

-- name: unfinished_days
-- Days not complete and not lost, newest last, with their trouble; complete ones too, if what came after cannot be read.
select vendor, day, state, trouble, wanted_since, checked_at from delivery_day
where state in ('open', 'absent') or (state = 'complete' and trouble is not null) order by vendor, day;

-- name: lose_day!
-- A person declares what is missing of a day lost.
update delivery_day set state = 'lost', closed_by = :account, closed_at = callkeeper_now(), close_reason = :reason
where vendor = :vendor and day = :day and (state in ('open', 'absent') or (state = 'complete' and trouble is not null));

-- name: add_tally!
-- Adds to a run's counts, in the transaction that they count.
insert into tally (run, vendor, controller, outcome, reason, n)
select :run, :vendor, c, o, r, n from unnest(:controllers::text[], :outcomes::text[], :reasons::text[], :counts::bigint[]) as t (c, o, r, n)
on conflict (run, vendor, controller, outcome, reason) do update set n = tally.n + excluded.n;

-- name: forget_pending!
-- What is still staged is counted afresh at a run's end, not added up.
update tally set n = 0 where run = :run and outcome = 'pending';

-- name: run_tally
-- A run's counts.
select vendor, controller, outcome, reason, n from tally where run = :run order by 1, 2, 3, 4;

-- name: end_run^
-- Ends the run, with its balance; the same balance a second time gives no row.
update import_run set ended_at = callkeeper_now(), balanced = :balanced, balance = :balance::jsonb
where run = :run and (balance is null or balance <> :balance::jsonb or balanced <> :balanced) returning run;

-- name: mailed!
-- The balance went out by mail.
update import_run set mailed_at = callkeeper_now() where run = :run;

-- name: latest_runs
-- The newest runs first.
select run, run_key, day, started_at, ended_at, balanced, balance from import_run order by started_at desc, run desc limit :limit;

-- name: last_balanced$
-- When an import last ended in balance.
select max(ended_at) from import_run where balanced;

-- name: ensure_trail_partitions$
-- The trail's months around now.
select ensure_trail_partitions();

-- name: first_check$
-- Whether this is the run's first preflight: it has its event once.
update import_run set checked_at = callkeeper_now() where run = :run and checked_at is null returning run;
