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

-- name: keep_corrected
-- The vendor's corrections take these out of what a blocker names: it goes on covering them (docs/adr/0160).
with lost as (
    select b.blocker, r.recording
    from staging s join recording r on r.recording = s.corrects
    join blocker b on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
        and covers(b, r.recording, s.controller, s.line, s.pseudonym, s.started_at) is not true
    where s.recording = any (:recordings)
), mine as (
    select blocker from blocker where blocker in (select blocker from lost) order by blocker for no key update
), kept as (
    update blocker b set kept = b.kept || l.recordings, kept_at = callkeeper_now()
    from mine join (select blocker, array_agg(recording) as recordings from lost group by 1) l using (blocker)
    where b.blocker = mine.blocker
)
select blocker, recording from lost;

-- name: keep_redelivered
-- The same of arrivals that correct what waits in quarantine, is staged, or was refused and not deleted yet.
with call as (
    select recording, identity, revision, controller, line, pseudonym, started_at from quarantine where vendor = :vendor
    union all
    select recording, identity, revision, controller, line, pseudonym, started_at from staging
    where vendor = :vendor and state <> 'fetched'
    union all
    select recording, identity, revision, controller, line, pseudonym, started_at from deletion
    where vendor = :vendor and state in ('planned', 'blocked') and revision is not null
), lost as (
    select b.blocker, c.recording
    from call c join arrival a on a.identity = c.identity and a.revision <> c.revision
    join blocker b on covers(b, c.recording, c.controller, c.line, c.pseudonym, c.started_at)
        and covers(b, c.recording, a.controller, a.line, a.pseudonym, a.started_at) is not true
    where exists (select from blocker where ended_at is null)
), mine as (
    select blocker from blocker where blocker in (select blocker from lost) order by blocker for no key update
), kept as (
    update blocker b set kept = b.kept || l.recordings, kept_at = callkeeper_now()
    from mine join (select blocker, array_agg(recording) as recordings from lost group by 1) l using (blocker)
    where b.blocker = mine.blocker
)
select blocker, recording from lost;

-- name: cover_followed!
-- What a narrower blocker takes over from the one before it: recordings that are gone here, whose copy at the vendor is held. Nothing
-- tells their number, line or time any more, so it is all of which the new one does not say otherwise.
insert into blocker_cover (blocker, recording)
select n.blocker, c.recording
from blocker_cover c join deletion d on d.recording = c.recording and d.store_gone_at is not null and d.done_at is null
join blocker n on n.blocker = :blocker and (n.recordings is null or c.recording = any (n.recordings))
    and (n.controller is null or n.controller = d.controller)
where c.blocker = :before
on conflict do nothing;

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
    :from_at::timestamptz, :to_at::timestamptz, null, null, null, null, null, null, null)::blocker) m
group by 1 order by 1;
