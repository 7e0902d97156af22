-- name: audio_of^
-- Where a recording's audio is, and what is known of it: in the catalogue, in quarantine, or kept on its way out.
select a.recording, coalesce(r.controller, q.controller, d.controller) as controller,
    coalesce(r.object_key, q.object_key, d.object_key) as object_key, coalesce(r.version_id, q.version_id, d.version_id) as version_id,
    coalesce(r.size_bytes, q.size_bytes) as size_bytes, coalesce(r.codec, q.codec) as codec
from (select :recording::uuid as recording) a
left join recording r using (recording) left join quarantine q using (recording)
left join deletion d on d.recording = a.recording and d.state in ('planned', 'blocked');

-- name: record_opening!
-- Somebody is about to listen.
insert into opening (recording, account, purpose, ticket) values (:recording, :account, :purpose, :ticket);

-- name: asks_for$
-- Whether a request that is not over is about that recording.
select exists (
    select from ticket t join ticket_recording f on f.ticket = t.ticket
    where t.ticket = :ticket and t.closed_at is null and f.recording = :recording and f.state <> 'excluded');
