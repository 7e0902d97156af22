-- name: explain_recording^
-- Everything that is known of one recording, wherever it is, but for what is personal.
select case when r.recording is not null then 'catalogue' when q.recording is not null then 'quarantine' when s.recording is not null then 'staging'
        when d.recording is not null then 'journal' end as place,
    coalesce(r.controller, q.controller, s.controller, d.controller) as controller, coalesce(r.vendor, q.vendor, s.vendor, d.vendor) as vendor,
    coalesce(r.started_at, q.started_at, s.started_at, d.started_at) as started_at, q.counts_from, r.retention_months, r.imported_at,
    coalesce(r.version_id, q.version_id, s.version_id, d.version_id) is not null as audio_stored,
    q.recording is not null as quarantined, q.reason, q.since as quarantined_at, q.decide_by,
    d.state, d.trigger, d.waits, d.decision, d.trouble, d.due_at, d.night, n.day as night_day, d.catalogued, d.versions_removed,
    d.absence_checked_at, d.store_gone_at, d.vendor_answer, d.vendor_confirmed, d.vendor_asked_at, d.done_at,
    exists (
        select from ticket t join ticket_subject u on u.ticket = t.ticket
        where t.access_right = 'erasure' and t.closed_at is null and (u.kind = 'time' or u.pseudonyms is not null)
          and covers(row(null::uuid, null, null, null, u.pseudonyms, u.line, u.controller, u.from_at, u.to_at, null, null, null, null, null, null, null)::blocker,
              asked.recording, coalesce(r.controller, q.controller, s.controller, d.controller), coalesce(r.line, q.line, s.line, d.line),
              coalesce(r.pseudonym, q.pseudonym, s.pseudonym, d.pseudonym), coalesce(r.started_at, q.started_at, s.started_at, d.started_at))
    ) as erasure_asked,
    callkeeper_now() as now, exists (select from decision where subject = 'go_live' and action = 'approve') as live
from (select :recording::uuid as recording) asked
left join recording r using (recording) left join quarantine q using (recording) left join staging s using (recording)
left join deletion d using (recording) left join night n on n.night = d.night;

-- name: explain_blockers
-- What covers one recording now, wherever it is; once its audio is gone only what names it, since all else it could be known by is gone.
with asked as (
    select x.recording, coalesce(r.controller, q.controller, s.controller, d.controller) as controller, coalesce(r.line, q.line, s.line, d.line) as line,
        coalesce(r.pseudonym, q.pseudonym, s.pseudonym, d.pseudonym) as pseudonym,
        coalesce(r.started_at, q.started_at, s.started_at, d.started_at) as started_at, d.store_gone_at is not null as gone
    from (select :recording::uuid as recording) x
    left join recording r using (recording) left join quarantine q using (recording) left join staging s using (recording)
    left join deletion d using (recording)
)
select b.kind, b.case_ref, b.placed_at, b.review_on
from asked a join blocker b on covers(b, a.recording, a.controller, a.line, a.pseudonym, a.started_at) and (not a.gone or a.recording = any (b.recordings))
order by b.placed_at, b.case_ref;

-- name: unfinished_deletions
-- How many deletions of each state are not over.
select state, count(*) as n from deletion where state not in ('done', 'withdrawn') group by 1
order by array_position(array['planned', 'armed', 'sending', 'store_gone', 'blocked', 'needs_human'], state);

-- name: open_deletions
-- Deletions that are open at the vendor, in trouble, or need a person, the oldest first; or all of one state.
select recording, vendor, coalesce(controller, '-') as controller, state, trigger,
    case when state = 'store_gone' then coalesce(trouble, 'vendor_not_asked') else trouble end as trouble,
    coalesce(store_gone_at, due_at) as since, vendor_answer, vendor_asked_at
from deletion
where state not in ('done', 'withdrawn')
  and case when :state::text is null then state in ('store_gone', 'needs_human') or trouble is not null else state = :state::text end
order by since, recording;
