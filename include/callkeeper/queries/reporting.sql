-- name: report_night^
-- A night as its report tells of it, with the configuration that was in force, and when the next night began.
select n.night, n.run_key, n.day, n.mode, n.started_at, n.planned_at, n.ended_at, n.balanced, n.code, n.config_version,
    encode(c.digest, 'hex') as config_digest, n.summary, n.revision,
    (select min(next.started_at) from night next where next.night > n.night) as next_at
from night n left join config_version c on c.version = n.config_version where n.night = :night;

-- name: report_blocked
-- Why what is blocked is blocked, one reason each, as everybody may read it: every hold is a legal ground, the strictest first.
select coalesce(l.controller, '-') as controller, why.reason, count(*) as n
from leaving l
cross join lateral (
    select coalesce(
        (select min(case when b.kind = any (:requests::text[]) then 'open_request' when b.kind = any (:restrictions::text[]) then 'restriction'
            else 'legal_ground' end)
         from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)),
        case when exists (select from quarantine q where q.recording = l.recording) then 'quarantine' else 'ended' end) as reason
) why
where l.state = 'blocked' and l.due_at <= :planned_at
group by 1, 2 order by 1, 2;

-- name: report_proof^
-- What was proven to be gone from the store in a night, and when it was looked.
select count(*) as recordings, coalesce(sum(versions_removed), 0)::bigint as versions_removed,
    min(absence_checked_at) as first_checked_at, max(absence_checked_at) as last_checked_at
from (
    select versions_removed, absence_checked_at, store_gone_at from deletion where night = :night and state = 'done'
    union all
    select versions_removed, absence_checked_at, store_gone_at from deletion where state in ('store_gone', 'needs_human')
) gone
where store_gone_at >= :started_at and store_gone_at < coalesce(:next_at, 'infinity'::timestamptz);

-- name: report_receipts
-- The evidence of each recording that a night finished.
select recording, coalesce(controller, '-') as controller, vendor, trigger, due_at, catalogued, versions_removed, absence_checked_at,
    vendor_answer, vendor_confirmed, done_at
from deletion where night = :night and state = 'done' order by recording;

-- name: report_settled
-- The evidence of each recording that was finished between this night and the one before, by a person's word.
select recording, coalesce(controller, '-') as controller, vendor, trigger, due_at, catalogued, versions_removed, absence_checked_at,
    vendor_answer, vendor_confirmed, done_at
from deletion
where night is null and state = 'done' and done_at < :ended_at
  and done_at >= coalesce((select max(ended_at) from night where night < :night), '-infinity'::timestamptz)
order by recording;

-- name: report_forecast
-- The last forecast that a night made.
select horizon_days, controller, due, blocked from forecast
where made_at = (select max(made_at) from forecast where made_at >= :started_at and made_at < coalesce(:next_at, 'infinity'::timestamptz))
order by horizon_days, controller;

-- name: report_overdue
-- What should have gone by this time and is here, though nothing blocks it, in the journal or not yet in it.
select controller, count(*) as n, min(due_at) as oldest_due_at
from (
    select coalesce(controller, '-') as controller, due_at from deletion
    where state in ('planned', 'armed', 'sending', 'needs_human') and store_gone_at is null and due_at <= :by
    union all
    select r.controller, r.eligible_at from recording r
    where r.eligible_at <= :by and not exists (select from deletion d where d.recording = r.recording and d.state <> 'withdrawn')
      and not exists (select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at))
) late
group by controller order by controller;

-- name: report_open_lines
-- What is gone here and open at its vendor, and since when.
select vendor, coalesce(trouble, 'vendor_not_asked') as reason, count(*) as n, min(store_gone_at) as since
from deletion where state = 'store_gone' group by 1, 2 order by 1, 2;

-- name: report_awaiting
-- What waits for a person's yes, and since when.
select waits, count(*) as n, min(planned_at) as since
from deletion where waits is not null and decision is null and state in ('planned', 'blocked') group by 1
union all
-- Of lines that the register does not designate any more: since it says so.
select 'unlawful', count(*), (select max(applied_at) from config_version)
from recording r left join deletion d on d.recording = r.recording
where not exists (
    select from line l
    where l.removed_at is null and l.number = r.line and l.controller = r.controller
      and helsinki_day(r.started_at) between l.valid_from and coalesce(l.valid_to, 'infinity'))
  and (d.recording is null or d.state = 'withdrawn' or (d.state in ('planned', 'blocked') and d.trigger <> 'unlawful_confirmed'))
having count(*) > 0
order by 1;

-- name: nights_cut_off
-- Earlier nights that were planned and have not ended: their run was cut off.
select night, run_key, mode, day, started_at, planned_at from night
where night < :night and planned_at is not null and ended_at is null order by night;

-- name: nights_ended_late
-- The days of earlier nights that had not ended when this one began.
select day from night where night < :night and planned_at is not null and ended_at >= :started_at order by night;

-- name: night_told!
-- What a night's report says; other than before, it is yet to be written.
update night set summary = :summary::jsonb, revision = revision + 1, files = null
where night = :night and summary is distinct from :summary::jsonb;

-- name: nights_unwritten
-- The nights whose report is not in the store yet.
select night, revision from night where summary is not null and files is null order by night;

-- name: night_written!
-- Where a night's report stands in the store.
update night set files = :files::jsonb where night = :night and revision = :revision;

-- name: night_mailed!
-- The night's mail went out.
update night set mailed_at = callkeeper_now() where night = :night;

-- name: night_was_mailed$
-- Whether the night's mail went out.
select mailed_at is not null from night where night = :night;

-- name: nights_told
-- The newest nights first, with what their reports say.
select night, run_key, day, mode, started_at, ended_at, balanced, revision, summary, files from night
order by night desc limit :limit;

-- name: night_of_day^
-- The last night of a day (of any, where none is named) that has a report.
select night, run_key, day, mode, started_at, ended_at, balanced, revision, summary, files from night
where summary is not null and (:day::date is null or day = :day::date) order by night desc limit 1;

-- name: nights_of_month
-- The nights of the days from the first up to (not including) another, in their order.
select night, day, mode, ended_at, summary from night where day >= :first and day < :after order by night;

-- name: first_night_day$
-- The day of the very first night.
select min(day) from night;

-- name: settled_of_month
-- What ended by a person's word that the vendor's copy is gone, per controller.
select coalesce(controller, '-') as controller, count(*) as n
from deletion where vendor_answer = 'settled_by_person' and done_at >= :first_at and done_at < :after_at
group by 1 order by 1;

-- name: last_balanced_night$
-- When a night's deletions last ended in balance.
select max(ended_at) from night where balanced;

-- name: due_since$
-- Since when the oldest recording that should go has been due: in the journal, or not yet in it.
select least(
    (select min(due_at) from deletion where state in ('planned', 'armed', 'sending') and due_at <= callkeeper_now()),
    (select min(r.eligible_at) from recording r where r.eligible_at <= callkeeper_now()));
