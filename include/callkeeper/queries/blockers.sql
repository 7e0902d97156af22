-- name: place_blocker!
-- One predicate row; what it covers is worked out afterwards.
insert into blocker (blocker, kind, case_ref, recordings, pseudonyms, line, controller, from_at, to_at, placed_by, review_on)
values (:blocker, :kind, :case_ref, :recordings, :pseudonyms, :line, :controller, :from_at, :to_at, :placed_by, :review_on);

-- name: cover_sending!
-- What has been sent to be deleted and is covered: noted in the very transaction of the placing, since a moment later no row may tell.
insert into blocker_cover (blocker, recording)
select b.blocker, l.recording from blocker b
join leaving l on l.state = 'sending' and covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)
where b.blocker = :blocker
on conflict do nothing;

-- name: cover_matched!
-- What a blocker covers in the catalogue, in quarantine, and on its way out without a row in either.
insert into blocker_cover (blocker, recording)
select b.blocker, m.recording from blocker b cross join lateral matched(b) m where b.blocker = :blocker
on conflict do nothing;

-- name: uncovered_blockers
-- Live blockers of which it has not been noted what they cover.
select blocker from blocker where ended_at is null and covered_at is null order by placed_at, blocker;

-- name: blocker_covered!
-- What it covers is noted; what comes later, import notes.
update blocker set covered_at = callkeeper_now() where blocker = :blocker;

-- name: drop_stale_covers!
-- Notes that are no longer true: the vendor has corrected the call's number, time or line.
delete from blocker_cover c using blocker b
where b.blocker = c.blocker and b.ended_at is null and exists (
    select from (
        select recording, controller, line, pseudonym, started_at from recording
        union all
        select recording, controller, line, pseudonym, started_at from quarantine
        union all
        select recording, controller, line, pseudonym, started_at from deletion d
        where state not in ('store_gone', 'done', 'withdrawn') and not exists (select from recording r where r.recording = d.recording)
    ) call
    where call.recording = c.recording
      and covers(b, call.recording, call.controller, call.line, call.pseudonym, call.started_at) is not true);

-- name: end_blocker!
-- It blocks no longer; its row stays.
update blocker set ended_at = callkeeper_now() where blocker = :blocker and ended_at is null;

-- name: review_blocker!
-- Its next review.
update blocker set review_on = :review_on where blocker = :blocker;

-- name: count_matched
-- What a predicate would cover now, per controller.
select m.controller, count(*) as n
from matched(row(null::uuid, null, null, :recordings::uuid[], :pseudonyms::bytea[], :line::text, :controller::text,
    :from_at::timestamptz, :to_at::timestamptz, null, null, null, null, null)::blocker) m
group by 1 order by 1;
