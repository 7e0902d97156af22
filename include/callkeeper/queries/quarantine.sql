-- name: quarantined
-- What waits for a person, the oldest first.
select recording, vendor, controller, day, reason, since, decide_by, decide_by < callkeeper_now() as overdue, object_key is not null and version_id is not null as has_audio
from quarantine where :reason::text is null or reason = :reason::text order by since, recording;

-- name: quarantined_one^
-- One quarantined call; no number, no reference.
select recording, vendor, controller, line, day, direction, started_at, duration_ms, caller_state, reason, since, decide_by, counts_from,
    version_id is not null as has_audio, audio_ms, codec, waived
from quarantine where recording = :recording;

-- name: quarantine_summary
-- How many wait, per vendor, controller and reason, and how many of them too long.
select vendor, coalesce(controller, '-') as controller, reason, count(*) as n, count(*) filter (where decide_by < callkeeper_now()) as overdue,
    min(since) as oldest
from quarantine group by 1, 2, 3 order by 1, 2, 3;

-- name: mended
-- Undesignated lines that the register now knows.
select q.recording from quarantine q join line l on l.number = q.line and l.removed_at is null
    and helsinki_day(q.started_at) between l.valid_from and coalesce(l.valid_to, 'infinity')
where q.vendor = :vendor and q.reason = 'line_undesignated';

-- name: restage
-- Back into staging, for the run to look at again.
with back as (
    delete from quarantine where recording = any (:recordings) returning *
)
insert into staging (recording, run, vendor, day, delivery, identity, revision, sealed_ref, delivered_at, started_at, duration_ms, direction,
    line, line_mark, controller, caller_state, pseudonym, pseudonym_key, sealed_number, media_status, media_bytes, media_sha256, media_codec,
    media_type, media_encryption, door_faults, waived, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels,
    sample_rate_hz, legal_hold)
select recording, 0, vendor, day, delivery, identity, revision, sealed_ref, delivered_at, started_at, duration_ms, direction,
    line, line_mark, controller, caller_state, pseudonym, pseudonym_key, sealed_number, media_status, media_bytes, media_sha256, media_codec,
    media_type, media_encryption, door_faults, waived || :waive::text[], object_key, version_id, sha256, size_bytes, audio_ms, codec,
    channels, sample_rate_hz, legal_hold
from back
returning recording, controller, vendor;

-- name: reject_quarantined^
-- A person marks it for deletion: it leaves quarantine for the journal.
with out as (
    delete from quarantine where recording = :recording returning *
)
insert into deletion (recording, vendor, identity, revision, controller, line, pseudonym, started_at, trigger, object_key, version_id,
    legal_hold, sealed_ref)
select recording, vendor, identity, revision, controller, line, pseudonym, started_at,
    case when reason = 'line_undesignated' then 'unlawful_confirmed' else 'quarantine_rejected' end,
    object_key, version_id, legal_hold, sealed_ref
from out
on conflict (recording) do update set state = 'planned', vendor = excluded.vendor, identity = excluded.identity, revision = excluded.revision,
    controller = excluded.controller, line = excluded.line, pseudonym = excluded.pseudonym, started_at = excluded.started_at,
    trigger = excluded.trigger, object_key = excluded.object_key, version_id = excluded.version_id, legal_hold = excluded.legal_hold,
    sealed_ref = excluded.sealed_ref, waits = null, decision = null, night = null, due_at = callkeeper_now(), planned_at = callkeeper_now()
    where deletion.state = 'withdrawn'
returning recording, vendor, controller, trigger;
