-- name: answer_ticket^
-- A ticket as its letters need it. refusal: the ground of the officer's no, if she said it; suppressed_until: until when nothing comes
-- in from its numbers; package_until: the day on which its package goes.
select t.ticket, t.access_right, t.state, t.language, t.controller, t.received_on, t.due_on, t.extended_to, t.extension_reason, t.identity,
    t.asked, t.sealed_facts, t.outcome, t.erased_at, t.lifts_on, t.lift_reason, helsinki_day(callkeeper_now()) as today,
    (select b.review_on from blocker b where b.blocker = t.standing) as review_on,
    (select substr(d.action, 12) from decision d where d.subject = t.ticket and starts_with(d.action, 'dsr_refuse:')
     order by d.decision desc limit 1) as refusal,
    (select max(s.review_on) from suppression s where s.kind = 'caller' and s.mark = any (
        select unnest(n.pseudonyms) from ticket_subject n where n.ticket = t.ticket)) as suppressed_until,
    (select max(p.expires_on) from package p where p.ticket = t.ticket and p.ended_at is null) as package_until
from ticket t where t.ticket = :ticket;

-- name: answer_recordings
-- What a ticket's answer is about, and what the officer refused of it for others' sake. kept: something else than a request that is
-- open blocks it. here: all that was ever known of it still is. sound: import has heard it, and it is still in the store. An erasure's outcome is the journal's word; what only waits for a copy of somebody's is not deferred.
with mine as (
    select f.recording, f.controller, f.mutes, f.channel, f.outcome, f.outcome_at, f.state = 'excluded' as refused, t.access_right
    from ticket_recording f join ticket t on t.ticket = f.ticket
    where f.ticket = :ticket and (f.state <> 'excluded' or f.reason = 'others_rights')
), call as (
    select m.*, coalesce(r.vendor, q.vendor, d.vendor) as vendor,
        coalesce(r.started_at, q.started_at, d.started_at) as started_at, coalesce(r.duration_ms, q.duration_ms) as duration_ms,
        coalesce(r.line, q.line, d.line) as line, coalesce(r.pseudonym, q.pseudonym, d.pseudonym) as pseudonym,
        coalesce(r.eligible_at, retention_eligible_at(q.counts_from, :months), case when d.store_gone_at is null then d.due_at end) as eligible_at,
        coalesce(r.recording, q.recording, case when d.store_gone_at is null and not d.catalogued then d.recording end) is not null as here,
        coalesce(r.version_id, q.version_id, d.version_id) is not null and d.store_gone_at is null as sound, d.state as deletion, d.store_gone_at
    from mine m left join recording r on r.recording = m.recording left join quarantine q on q.recording = m.recording
    left join deletion d on d.recording = m.recording
)
select c.recording, c.controller, k.name as company, c.vendor, c.mutes, c.channel, c.refused, c.started_at, c.duration_ms, c.line, c.here, c.sound,
    helsinki_day(c.eligible_at) as eligible_on, c.eligible_at <= callkeeper_now() as expired, helsinki_day(c.store_gone_at) as gone_on,
    coalesce(c.store_gone_at, c.outcome_at) as done_at, c.store_gone_at is not null and c.deletion <> 'done' as vendor_open,
    case when c.access_right not in ('erasure', 'objection') then c.outcome when c.store_gone_at is not null then 'erased'
        when c.deletion = 'blocked' then case when x.blocked then 'deferred' end when c.deletion is null then c.outcome end as outcome,
    x.kept
from call c left join controller k on k.controller = c.controller
cross join lateral (
    select coalesce(bool_or(o.ticket is null or o.standing = b.blocker), false) as kept, coalesce(bool_or(b.kind <> 'access_freeze'), false) as blocked
    from blocker b left join ticket o on o.ticket = b.case_ref and o.closed_at is null
    where b.ended_at is null and covers(b, c.recording, c.controller, c.line, c.pseudonym, c.started_at)
) x
order by c.started_at, c.recording;

-- name: answer_subjects
-- What was searched for a ticket, and of which company it was.
select s.kind, s.sealed_number, s.from_at, s.to_at, s.line, k.name as company, coalesce(s.controller, t.controller) is not null as narrowed
from ticket_subject s join ticket t on t.ticket = s.ticket left join controller k on k.controller = coalesce(s.controller, t.controller)
where s.ticket = :ticket order by s.n;

-- name: answer_days
-- The days of what was searched that have not come in, or never will: lost, by a person's word. A day that is past the term of what
-- could have come in is not counted: calls of it would be refused.
select distinct g.day, coalesce(bool_or(y.state = 'lost') over (partition by g.day), false)
    and not bool_or(coalesce(y.state, 'absent') in ('open', 'absent')) over (partition by g.day) as lost
from ticket_subject s
cross join (select helsinki_day(callkeeper_now()) as today) t
join vendor v on v.removed_at is null
cross join lateral (
    select d::date as day from generate_series(
        greatest(helsinki_day(s.from_at), (t.today - make_interval(months => :months))::date),
        least(helsinki_day(s.to_at - interval '1 microsecond'), t.today), interval '1 day') d
) g
left join delivery_day y on y.vendor = v.vendor and y.day = g.day
where s.ticket = :ticket and s.from_at is not null and coalesce(y.state, 'absent') in ('open', 'absent', 'lost')
order by 1;

-- name: answer_openings
-- Who listened to what an answer is about, when, for what; nothing of what the law forbids to tell.
select o.recording, o.at, o.purpose
from opening o join ticket_recording f on f.recording = o.recording left join disclosure d on d.disclosure = o.disclosure
where f.ticket = :ticket and (f.state <> 'excluded' or f.reason = 'others_rights') and not coalesce(d.untold, false)
  and not (o.purpose = 'authority' and exists (
      select from disclosure x join disclosure_recording r on r.disclosure = x.disclosure where r.recording = o.recording and x.untold))
order by o.at, o.opening;

-- name: answer_other_tickets
-- Other requests about one of a ticket's numbers by somebody who proved that it was theirs at the same time.
select distinct o.ticket, o.erase_on
from ticket_subject m join ticket_subject s on s.pseudonyms && m.pseudonyms and s.from_at < m.to_at and s.to_at > m.from_at
join ticket o on o.ticket = s.ticket
where m.ticket = :ticket and o.ticket <> m.ticket and o.identity <> 'unproven' and o.erased_at is null
order by 1;

-- name: answer_sent
-- Which letters were sent for a ticket, or handed over.
select kind, at, account, channel, disclosure from ticket_delivery where ticket = :ticket order by at;

-- name: note_notice!
-- A recipient was told what became of what it had been given, or could not be told.
insert into ticket_delivery (ticket, kind, account, channel, disclosure) values (:ticket, :kind, :account, :channel, :disclosure);

-- name: answer_written$
-- Whether that letter was printed for a ticket since a time; a notice to a recipient: that disclosure's.
select exists (
    select from ticket t join event e on e.class = 'ticket' and e.at >= t.opened_at
    where t.ticket = :ticket and substring(e.body for 26) = '{"action":"letter.written"'
      and position('"ticket":"' || t.ticket || '"' in convert_from(e.body, 'UTF8')) > 0
      and convert_from(e.body, 'UTF8')::jsonb ->> 'kind' = :kind and (:since::timestamptz is null or e.at >= :since)
      and convert_from(e.body, 'UTF8')::jsonb ->> 'disclosure' is not distinct from :disclosure::text);

-- name: answer_asked_at$
-- When the person was last asked what the ticket waits for.
select max(e.at) from ticket t join event e on e.class = 'ticket' and e.at >= t.opened_at
where t.ticket = :ticket and substring(e.body for 24) = '{"action":"ticket.moved"'
  and position('"ticket":"' || t.ticket || '"' in convert_from(e.body, 'UTF8')) > 0
  and convert_from(e.body, 'UTF8')::jsonb ->> 'state_after' = :state;

-- name: keep_ticket_facts!
-- The free text of a ticket, sealed.
update ticket set sealed_facts = :sealed_facts where ticket = :ticket;

-- name: answers_overtaken
-- Requests that were answered, and nobody has taken up again: calls have come in since that were searched for, or the days have come
-- that were missing when it was said that nothing was found so far. The person was promised word of both.
select t.ticket, c.calls, t.outcome = 'days_missing' and not m.missing as complete
from ticket t
cross join lateral (
    select count(distinct r.recording) as calls
    from ticket_subject s
    cross join lateral matched(row(null::uuid, null, null, null, s.pseudonyms, s.line, s.controller, s.from_at, s.to_at,
        null, null, null, null, null, null, null)::blocker) x
    join recording r on r.recording = x.recording and r.imported_at > t.closed_at
    where s.ticket = t.ticket and s.from_at is not null
      and not exists (select from ticket_recording f where f.ticket = t.ticket and f.recording = r.recording)
) c
cross join lateral (
    select exists (
        select from ticket_subject s join vendor v on v.removed_at is null
        cross join lateral generate_series(
            greatest(helsinki_day(s.from_at), (helsinki_day(callkeeper_now()) - make_interval(months => :months))::date),
            least(helsinki_day(s.to_at - interval '1 microsecond'), helsinki_day(callkeeper_now())), interval '1 day') g (day)
        left join delivery_day y on y.vendor = v.vendor and y.day = g.day::date
        where s.ticket = t.ticket and s.from_at is not null and coalesce(y.state, 'absent') in ('open', 'absent')) as missing
) m
where t.closed_at > callkeeper_now() - make_interval(months => :months) and t.erased_at is null
  and t.outcome in ('fulfilled', 'no_data', 'days_missing', 'deferred')
  and not exists (select from ticket n where n.linked_to = t.ticket)
  and (c.calls > 0 or (t.outcome = 'days_missing' and not m.missing))
order by t.ticket;
