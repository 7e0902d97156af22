-- name: fetched
-- The next fetched calls, with what blocks them: asked under the blockers' lock. Outdated: what it corrects has gone, or the
-- call has become one that may not come, since it was checked.
select s.recording, s.controller, s.corrects, s.delivery, s.vendor,
    array(select b.blocker from blocker b
          where covers(b, coalesce(s.corrects, s.recording), s.controller, s.line, s.pseudonym, s.started_at)) as blockers,
    case when s.corrects is not null then not exists (select from recording r where r.recording = s.corrects)
        else exists (select from suppression p where p.kind = 'recording' and p.mark = s.identity)
            or exists (select from suppression p where p.kind = 'caller' and p.mark = s.pseudonym
                       and (p.review_on is null or p.review_on >= helsinki_day((select callkeeper_now())))) end as outdated
from staging s
where s.vendor = :vendor and s.run = :run and s.state = 'fetched'
order by s.recording limit :limit;

-- name: relist_fetched!
-- Outdated: they are looked at again.
update staging set state = 'listed', corrects = null where recording = any (:recordings);

-- name: keep_fetched$
-- Out of staging, into the catalogue, in one statement; how many: fewer than asked for means that another was at it too.
with taken as (
    delete from staging where recording = any (:recordings) and state = 'fetched' returning *
), kept as (
    insert into recording (recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym,
        pseudonym_key, sealed_number, identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec,
        channels, sample_rate_hz, legal_hold, delivery, retention_months)
    select recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym,
        pseudonym_key, sealed_number, identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec,
        channels, sample_rate_hz, legal_hold, delivery, :months
    from taken returning 1
)
select count(*) from kept;

-- name: correct_fetched
-- The vendor's newer metadata over the older, and which of them changed; never over what has gone in the meantime.
update recording r set controller = s.controller, line = s.line, direction = s.direction, started_at = s.started_at,
    duration_ms = s.duration_ms, caller_state = s.caller_state, pseudonym = s.pseudonym, pseudonym_key = s.pseudonym_key,
    sealed_number = s.sealed_number, revision = s.revision, sealed_ref = s.sealed_ref, delivery = s.delivery,
    term_since = case when s.started_at = old.started_at then old.term_since else callkeeper_now() end
from staging s, recording old
where s.recording = any (:recordings) and r.recording = s.corrects and old.recording = r.recording
returning s.recording as staged, r.recording, r.controller, r.vendor, r.delivery,
    coalesce(nullif(array_remove(array[
        case when old.controller <> r.controller then 'controller' end,
        case when old.line <> r.line then 'line' end,
        case when old.direction <> r.direction then 'direction' end,
        case when old.started_at <> r.started_at then 'started_at' end,
        case when old.duration_ms <> r.duration_ms then 'duration' end,
        case when old.caller_state <> r.caller_state or old.pseudonym is distinct from r.pseudonym then 'number' end], null), '{}'),
        array['reference']) as changed;

-- name: cover!
-- What a blocker's predicate covers, noted.
insert into blocker_cover (blocker, recording) select * from unnest(:blockers::uuid[], :recordings::uuid[])
on conflict do nothing;

-- name: live_recordings
-- How many recordings live in the catalogue, per vendor and controller.
select vendor, controller, count(*) as n from recording group by 1, 2 order by 1, 2;
