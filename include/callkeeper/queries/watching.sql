-- name: watch_last_told$
-- When people were last told what falls due, before this day began; null: not in a hundred days.
select max(at) from event
where class = 'run' and at < :before::timestamptz and at >= :before::timestamptz - interval '100 days'
  and substring(body for 26) = '{"action":"deadlines.told"';

-- name: watch_told_by_run$
-- Whether this run has told them: a task that is run again does not tell it twice.
select exists (
    select from event
    where class = 'run' and at >= callkeeper_now() - interval '7 days' and substring(body for 26) = '{"action":"deadlines.told"'
      and convert_from(body, 'UTF8')::jsonb #>> '{actor,run}' = :run);

-- name: watch_live$
-- Whether nights delete; until then they rehearse, and tell of what is overdue themselves.
select exists (select from decision where subject = 'go_live' and action = 'approve');

-- name: watch_holds
-- The days ahead of live holds, every kind alike: the ratification that is not late yet, the review that is not past.
select h.case_ref, helsinki_day(h.placed_at) as placed_on,
    case when h.ratified_by is null and callkeeper_now() <= h.placed_at + make_interval(days => :ratify_days)
        then helsinki_day(h.placed_at + make_interval(days => :ratify_days)) end as ratify_by,
    case when h.review_on >= helsinki_day(callkeeper_now()) then h.review_on end as review_on
from hold h where h.placed_at is not null and h.released_at is null
order by h.case_ref;

-- name: watch_tickets
-- Requests that are not answered, and due within so many days: by the day that the law gives, whatever they wait for. An extension
-- counts if its letter went by the first due day; untold: it did not, so far or for good.
select t.ticket, t.access_right, t.state, y.due_on, y.due_on = t.extended_to as extended, t.extended_to is not null and not x.told as untold
from ticket t
cross join lateral (
    select exists (select from ticket_delivery d where d.ticket = t.ticket and d.kind = 'extension' and helsinki_day(d.at) <= t.due_on) as told
) x
cross join lateral (select case when x.told then coalesce(t.extended_to, t.due_on) else t.due_on end as due_on) y
where t.closed_at is null and t.state <> 'delivered' and y.due_on <= helsinki_day(callkeeper_now()) + :ahead::integer
order by y.due_on, t.ticket;

-- name: watch_freezes
-- The day of review of what blocks because a person asked for it. An access's freeze ends with its ticket: it has one only while
-- nobody has proven who asks.
select b.case_ref, min(b.review_on) as review_on, coalesce(t.identity = 'unproven', false) as unproven
from blocker b left join ticket t on t.ticket = b.case_ref
where b.ended_at is null and b.review_on <= helsinki_day(callkeeper_now()) + :ahead::integer
  and (b.kind = any (:kinds::text[]) or (b.kind = :freeze and t.identity = 'unproven'))
group by b.case_ref, t.identity order by b.case_ref;

-- name: watch_liftings
-- Restrictions that stand and of which an end was announced; told: the person was, since then.
select t.ticket, t.lifts_on, exists (
    select from ticket_delivery d where d.ticket = t.ticket and d.kind = 'restriction_lifting'
      and d.at >= (select max(y.decided_at) from decision y where y.subject = t.ticket and y.action = 'dsr_lifting')) as told
from ticket t join blocker b on b.blocker = t.standing and b.ended_at is null
where t.lifts_on is not null order by t.ticket;

-- name: watch_packages
-- Packages that nobody has handed over, and that go within so many days.
select p.ticket, min(p.expires_on) as expires_on from package p
where p.ticket is not null and p.delivered_at is null and p.ended_at is null and p.expires_on <= helsinki_day(callkeeper_now()) + :ahead::integer
group by p.ticket order by p.ticket;

-- name: watch_objections
-- Numbers from which nothing may come in, and the day on which somebody looks again whether that is still so.
select review_on, count(*) as n from suppression
where kind = 'caller' and review_on <= helsinki_day(callkeeper_now()) + :ahead::integer
group by review_on order by review_on;

-- name: watch_quarantine
-- What waits in quarantine by the day on which its term ends: a row for all that are past it, a row a day for those that come.
select vendor, coalesce(controller, '-') as controller, count(*) as n, min(helsinki_day(decide_by)) as due, decide_by < callkeeper_now() as late
from quarantine
where helsinki_day(decide_by) <= helsinki_day(callkeeper_now()) + :ahead::integer
group by vendor, controller, late, case when decide_by >= callkeeper_now() then helsinki_day(decide_by) end
order by vendor, controller, due;

-- name: watch_open_lines
-- What is gone here and has been open at its vendor since before this time.
select vendor, count(*) as n, helsinki_day(min(store_gone_at)) as since from deletion
where state = 'store_gone' and store_gone_at < :before
group by vendor order by vendor;

-- name: watch_windows
-- Days that are not complete and that their vendor keeps for so many days at most, or no longer. closes: until when it keeps the
-- first of those that it still has.
select v.vendor, count(*) filter (where not w.closed) as closing, min(d.day) filter (where not w.closed) as first_closing,
    min(w.closes) filter (where not w.closed) as closes, count(*) filter (where w.closed) as closed, min(d.day) filter (where w.closed) as first_closed
from vendor v join delivery_day d on d.vendor = v.vendor
cross join lateral (
    select d.day + v.retention_days as closes, d.day + v.retention_days < helsinki_day(callkeeper_now()) as closed
) w
where v.removed_at is null and v.retention_days is not null
  and (d.state in ('open', 'absent') or (d.state = 'complete' and d.trouble is not null))
  and w.closes <= helsinki_day(callkeeper_now()) + :days::integer
group by v.vendor order by v.vendor;
