-- name: number_case!
-- One draft takes a case number at a time, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('callkeeper.hold', 0));

-- name: next_case$
-- The year's next case number.
select 'H-' || y.year || '-' || lpad((coalesce(max(right(h.case_ref, 4)::integer), 0) + 1)::text, 4, '0')
from (select to_char(helsinki_day(callkeeper_now()), 'YYYY') as year) y left join hold h on starts_with(h.case_ref, 'H-' || y.year || '-')
group by y.year;

-- name: draft_hold!
-- A case, which blocks nothing yet.
insert into hold (case_ref, kind, sealed_facts, drafted_by) values (:case_ref, :kind, :sealed_facts, :account);

-- name: draft_predicate!
-- What a case names, or is to name once it is narrowed.
insert into hold_predicate (predicate, case_ref, recordings, pseudonyms, pseudonym_keys, line, controller, from_at, to_at, drafted_by)
values (:predicate, :case_ref, :recordings, :pseudonyms, :pseudonym_keys, :line, :controller, :from_at, :to_at, :account);

-- name: hold_for_change^
-- A case, for nobody else to change until the transaction ends.
select case_ref, kind, blocker, placed_by, placed_at, effective_at, ratified_by, review_on, ends_on, released_at
from hold where case_ref = :case_ref for update;

-- name: drafted_predicate^
-- What was drafted last for a case and is not placed yet; outdated: under another key its calls would not be known.
select p.predicate, p.recordings, p.pseudonyms, p.line, p.controller, p.from_at, p.to_at,
    cardinality(p.pseudonyms) > 0 and exists (select from key k where k.purpose = 'pseudonym' and k.retired_at is null
                                              and not k.key_id = any (p.pseudonym_keys)) as outdated
from hold_predicate p
where p.case_ref = :case_ref and p.placed_at is null order by p.drafted_at desc, p.predicate limit 1;

-- name: predicate_of^
-- One predicate.
select recordings, pseudonyms, line, controller, from_at, to_at from hold_predicate where predicate = :predicate;

-- name: predicate_placed!
-- It is a blocker from now on.
update hold_predicate set placed_at = callkeeper_now() where predicate = :predicate;

-- name: hold_placed!
-- A case is placed.
update hold set placed_by = :account, placed_at = callkeeper_now(), blocker = :blocker, review_on = :review_on, ends_on = :ends_on
where case_ref = :case_ref;

-- name: hold_ratified!
-- A second person stands behind it.
update hold set ratified_by = :account, ratified_at = callkeeper_now() where case_ref = :case_ref;

-- name: hold_extended!
-- Its later review, or end.
update hold set review_on = coalesce(:review_on::date, review_on), ends_on = coalesce(:ends_on::date, ends_on) where case_ref = :case_ref;

-- name: hold_narrowed!
-- Another blocker stands for it.
update hold set blocker = :blocker where case_ref = :case_ref;

-- name: hold_released!
-- It holds nothing any more.
update hold set released_at = callkeeper_now() where case_ref = :case_ref;

-- name: request_of_run^
-- The change that this run of the DAG has asked for, or confirmed: a task that is run again does neither twice.
select confirmed_at, withdrawn_at from hold_request
where case_ref = :case_ref and action = :action and :run::text in (asked_run, confirmed_run) order by request desc limit 1;

-- name: open_request^
-- A change that waits for its second person; after so many days it is no longer meant.
select request, review_on, ends_on, predicate, asked_by from hold_request
where case_ref = :case_ref and action = :action and confirmed_at is null and withdrawn_at is null
  and asked_at > callkeeper_now() - make_interval(days => :days);

-- name: withdraw_request!
-- What was asked for before, and has not been confirmed.
update hold_request set withdrawn_at = callkeeper_now()
where case_ref = :case_ref and action = :action and confirmed_at is null and withdrawn_at is null;

-- name: ask_for_change!
-- The first of two people.
insert into hold_request (case_ref, action, review_on, ends_on, predicate, asked_by, asked_run)
values (:case_ref, :action, :review_on, :ends_on, :predicate, :account, :run);

-- name: confirm_change!
-- The second of two people.
update hold_request set confirmed_by = :account, confirmed_at = callkeeper_now(), confirmed_run = :run where request = :request;

-- name: unsettled
-- Audio whose legal hold is not as the blockers say, or is being placed or lifted: in the catalogue, in quarantine, and on its way
-- out without a row in either.
select r.recording from recording r
where r.legal_hold is distinct from false and (r.legal_hold is null or not exists (
    select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)))
union
select r.recording from blocker b join blocker_cover c on c.blocker = b.blocker join recording r on r.recording = c.recording
where b.ended_at is null and r.legal_hold is not true and covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
union
select q.recording from quarantine q
where q.version_id is not null and q.legal_hold is distinct from (exists (
    select from blocker b where covers(b, q.recording, q.controller, q.line, q.pseudonym, q.started_at)))
union
select d.recording from deletion d
where d.state not in ('store_gone', 'done', 'withdrawn') and d.version_id is not null
  and (d.line is not null or d.pseudonym is not null or d.started_at is not null or d.version_id is not null)
  and not exists (select from recording r where r.recording = d.recording)
  and d.legal_hold is distinct from (exists (
    select from blocker b where covers(b, d.recording, d.controller, d.line, d.pseudonym, d.started_at)))
order by 1;

-- name: lock_audio
-- The rows of these, for nobody else to change until the transaction ends: a statement of its own, before the look.
with r as (
    select recording from recording where recording = any (:recordings) order by recording for update
), q as (
    select recording from quarantine where recording = any (:recordings) order by recording for update
), d as (
    select recording from deletion d where recording = any (:recordings) and state not in ('store_gone', 'done', 'withdrawn')
      and not exists (select from recording r where r.recording = d.recording) order by recording for update
)
select recording from r union all select recording from q union all select recording from d;

-- name: look_at_audio
-- Whether blockers cover these, whether a legal hold stands on them, and how far their deletion has come.
with audio as (
    select recording, controller, line, pseudonym, started_at, object_key, version_id, legal_hold
    from recording where recording = any (:recordings)
    union all
    select recording, controller, line, pseudonym, started_at, object_key, version_id, legal_hold
    from quarantine where recording = any (:recordings)
    union all
    select recording, controller, line, pseudonym, started_at, object_key, version_id, legal_hold
    from deletion d where recording = any (:recordings) and state not in ('store_gone', 'done', 'withdrawn')
      and not exists (select from recording r where r.recording = d.recording)
)
select a.recording, a.controller, a.object_key, a.version_id, a.legal_hold, coalesce(d.state = 'sending', false) as sending,
    exists (select from blocker b where covers(b, a.recording, a.controller, a.line, a.pseudonym, a.started_at)) as covered
from audio a left join deletion d on d.recording = a.recording
order by a.recording;

-- name: flag_audio!
-- Whether a legal hold stands on them; null: one is being placed or lifted.
with q as (
    update quarantine set legal_hold = :legal_hold::boolean where recording = any (:recordings)
), d as (
    update deletion d set legal_hold = :legal_hold::boolean where recording = any (:recordings)
      and state not in ('store_gone', 'done', 'withdrawn') and not exists (select from recording r where r.recording = d.recording)
)
update recording set legal_hold = :legal_hold::boolean where recording = any (:recordings);

-- name: note_too_late
-- What live blockers cover and could not save: proven gone from the store, or sent and (as the store has just said) not there.
insert into hold_too_late (blocker, recording)
select c.blocker, c.recording from blocker_cover c join blocker b on b.blocker = c.blocker and b.ended_at is null
join deletion d on d.recording = c.recording
where d.state in ('store_gone', 'done') or (d.state = 'sending' and d.recording = any (:missing))
on conflict do nothing
returning blocker, recording;

-- name: holds_not_effective
-- Placed, and not known to be effective.
select case_ref, blocker from hold where blocker is not null and effective_at is null and released_at is null order by case_ref;

-- name: covered_recordings
-- What a blocker was found to cover.
select recording from blocker_cover where blocker = :blocker order by recording;

-- name: hold_effective$
-- It is effective; nothing, if another run has just said so.
update hold set effective_at = callkeeper_now()
where case_ref = :case_ref and blocker = :blocker and effective_at is null and released_at is null returning case_ref;

-- name: hold_register
-- The register, the newest case first, with how many recordings each holds by now and how many it could not save.
select h.case_ref, h.kind, h.sealed_facts, h.drafted_by, h.drafted_at, h.placed_by, h.placed_at, h.effective_at, h.ratified_by, h.ratified_at,
    h.review_on, h.ends_on, h.released_at, h.blocker,
    (select count(*) from blocker_cover c where c.blocker = h.blocker and h.released_at is null) as recordings,
    (select count(*) from hold_too_late t join blocker b on b.blocker = t.blocker where b.case_ref = h.case_ref) as too_late,
    coalesce((select cardinality(b.kept) from blocker b where b.blocker = h.blocker and b.ended_at is null), 0) as corrected,
    -- What the second person says yes to. An end is told by its own column, to whom it may be told.
    array(select r.action || coalesce(' to a review on ' || r.review_on, '') || coalesce((
              select ' to ' || concat_ws(', ', cardinality(p.recordings) || ' recordings', case when p.pseudonyms is not null then 'a number' end,
                  'line ' || p.line, p.controller, 'from ' || helsinki_day(p.from_at), 'up to ' || helsinki_day(p.to_at))
              from hold_predicate p where p.predicate = r.predicate), '') || ', asked by ' || r.asked_by
          from hold_request r
          where r.case_ref = h.case_ref and r.confirmed_at is null and r.withdrawn_at is null
            and r.asked_at > callkeeper_now() - make_interval(days => :days) order by r.request) as waiting
from hold h where :case_ref::text is null or h.case_ref = :case_ref::text
order by h.case_ref desc;

-- name: count_kept$
-- How many a blocker covers that the vendor corrected out of what it names.
select coalesce(cardinality(kept), 0) from blocker where blocker = :blocker;

-- name: count_held^
-- What a live blocker has under a legal hold, and what of it is not yet.
select count(*) filter (where legal_hold) as held, count(*) filter (where legal_hold is not true and version_id is not null) as open
from (
    select r.legal_hold, r.version_id from blocker_cover c join recording r on r.recording = c.recording where c.blocker = :blocker
    union all
    select q.legal_hold, q.version_id from blocker_cover c join quarantine q on q.recording = c.recording where c.blocker = :blocker
    union all
    select d.legal_hold, d.version_id from blocker_cover c join deletion d on d.recording = c.recording
    where c.blocker = :blocker and d.state not in ('store_gone', 'done', 'withdrawn')
      and not exists (select from recording r where r.recording = d.recording)
) audio;

-- name: days_not_imported
-- The days of a window that are not imported, a row a vendor: n that it still keeps, and how many more it keeps no longer. Where the
-- window has no beginning, from the vendor's first day on, or as far back as it keeps its calls. due: until when it keeps the first
-- of those that import has asked for, or the window names.
select v.vendor, count(*) filter (where kept) as n, min(g.day) filter (where kept) as first, max(g.day) filter (where kept) as last,
    min(g.day) filter (where kept) + v.retention_days as until, count(*) filter (where not kept) as gone,
    min(g.day) filter (where kept and (y.day is not null or :from_at::timestamptz is not null)) + v.retention_days as due
from vendor v
cross join (select helsinki_day(callkeeper_now()) as today) t
cross join lateral (select coalesce(min(y.day), t.today) as first from delivery_day y where y.vendor = v.vendor) f
cross join lateral (
    select d::date as day, v.retention_days is null or d::date >= t.today - v.retention_days as kept
    from generate_series(
        case when v.retention_days is null then coalesce(helsinki_day(:from_at::timestamptz), f.first)
            else greatest(helsinki_day(:from_at::timestamptz), least(f.first, t.today - v.retention_days)) end,
        least(helsinki_day(:to_at::timestamptz - interval '1 microsecond'), t.today), interval '1 day') d
) g
left join delivery_day y on y.vendor = v.vendor and y.day = g.day
where v.removed_at is null and coalesce(y.state, 'absent') in ('open', 'absent')
group by v.vendor, v.retention_days order by v.vendor;

-- name: too_late
-- What a case covers and could not save.
select t.recording, t.noticed_at from hold_too_late t join blocker b on b.blocker = t.blocker
where b.case_ref = :case_ref order by t.recording;

-- name: untold_holds
-- Placed, and nobody has been told.
select case_ref, placed_at, review_on from hold where placed_at is not null and released_at is null and told_at is null order by case_ref;

-- name: hold_told!
-- The officer and her deputies have a mail of it.
update hold set told_at = callkeeper_now() where case_ref = :case_ref;

-- name: hold_dues
-- What of the live holds somebody must be told of.
select h.case_ref, h.blocker, helsinki_day(callkeeper_now()) as today, h.ratified_by is null as unratified, h.effective_at is null as not_effective,
    callkeeper_now() - h.placed_at as since, helsinki_day(callkeeper_now()) - h.review_on as review_overdue_days,
    h.ends_on - helsinki_day(callkeeper_now()) as ends_in_days, coalesce(cardinality(b.kept), 0) as corrected,
    coalesce(b.kept_at > callkeeper_now() - make_interval(days => :tell_days), false) as kept_recently
from hold h left join blocker b on b.blocker = h.blocker
where h.placed_at is not null and h.released_at is null
order by h.case_ref;
