-- name: number_ticket!
-- One intake takes a ticket's number at a time, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('callkeeper.ticket', 0));

-- name: next_ticket^
-- The day on which a ticket is opened now, and how many its year has with it.
select y.today, coalesce(max(split_part(t.ticket, '-', 3)::integer), 0) + 1 as n
from (select helsinki_day(callkeeper_now()) as today) y
left join ticket t on starts_with(t.ticket, 'DSR-' || to_char(y.today, 'YYYY') || '-')
group by y.today;

-- name: newer_key$
-- Whether numbers are hashed under a key that is none of these: then a search would miss calls that have come since.
select exists (select from key where purpose = 'pseudonym' and retired_at is null and not key_id = any (:key_ids));

-- name: earlier_ticket$
-- The last ticket in which one of these numbers was searched: the same person, perhaps.
select max(t.ticket) from ticket_subject s join ticket t on t.ticket = s.ticket where s.pseudonyms && :pseudonyms;

-- name: open_ticket!
-- A person's request.
insert into ticket (ticket, access_right, received_on, channel, language, controller, account, due_on, linked_to)
values (:ticket, :right, :received_on, :channel, :language, :controller, :account, :due_on, :linked_to);

-- name: add_ticket_subject!
-- What is searched for it.
insert into ticket_subject (ticket, n, kind, pseudonyms, sealed_number, from_at, to_at, line, controller)
values (:ticket, :n, :kind, :pseudonyms, :sealed_number, :from_at, :to_at, :line, :controller);

-- name: count_subjects$
-- How many things are searched for it.
select count(*) from ticket_subject where ticket = :ticket;

-- name: ticket_pseudonyms$
-- The hashes of every number that is searched for it, under the keys that were live at their taking in.
select coalesce(array_agg(distinct p), '{}') from ticket_subject s cross join lateral unnest(s.pseudonyms) p where s.ticket = :ticket;

-- name: ticket_for_change^
-- A ticket, for nobody else to change until the transaction ends.
select ticket, access_right, state, received_on, due_on, extended_to, identity, sealed_facts, scope, account, controller, standing, lifts_on, lift_reason
from ticket where ticket = :ticket for update;

-- name: ticket_facts^
-- A ticket's sealed free text.
select ticket, sealed_facts from ticket where ticket = :ticket;

-- name: seal_facts!
-- Its free text, sealed.
update ticket set sealed_facts = :sealed_facts where ticket = :ticket;

-- name: note_asked!
-- What the person was asked to make clear, as codes.
update ticket set asked = :asked where ticket = :ticket;

-- name: what_was_asked$
-- The same, to read.
select asked from ticket where ticket = :ticket;

-- name: identity_unproven!
-- A number more is searched: whose it is has to be proven.
update ticket set identity = 'unproven', identity_at = null, identity_by = null where ticket = :ticket;

-- name: move_ticket!
-- It goes on its way.
update ticket set state = :state where ticket = :ticket;

-- name: identity_proven!
-- Who asks has proven to be the person, by such evidence; what is noted of it is sealed.
update ticket set state = :state, identity = :identity, identity_at = callkeeper_now(), identity_by = :account, sealed_facts = :sealed_facts
where ticket = :ticket;

-- name: period_proven!
-- From when to when the numbers are proven to be the person's.
update ticket_subject set from_at = :from_at, to_at = :to_at where ticket = :ticket and kind = 'number';

-- name: ticket_extended!
-- It takes longer, for a reason that the law knows.
update ticket set extended_to = :extended_to, extension_reason = :reason where ticket = :ticket;

-- name: review_ticket_blockers!
-- What a ticket froze is looked at again by the day on which the ticket is due; the restriction that outlasts it has its own.
update blocker b set review_on = coalesce(t.extended_to, t.due_on) from ticket t
where t.ticket = :ticket and b.case_ref = t.ticket and b.ended_at is null and b.blocker is distinct from t.standing;

-- name: find_matched
-- What a predicate covers now, wherever it is.
select distinct m.recording, m.controller
from matched(row(null::uuid, null, null, null, :pseudonyms::bytea[], :line::text, :controller::text,
    :from_at::timestamptz, :to_at::timestamptz, null, null, null, null, null, null, null)::blocker) m;

-- name: note_found!
-- What a search found: what is new, and what an earlier one had lost again. What it does not find any more is noted, and what the
-- officer left out stays out.
with lost as (
    update ticket_recording set state = 'excluded', reason = 'no_longer_found'
    where ticket = :ticket and state <> 'excluded' and not recording = any (:recordings::uuid[])
)
insert into ticket_recording (ticket, recording, controller)
select :ticket, f.recording, f.controller from unnest(:recordings::uuid[], :controllers::text[]) f (recording, controller)
on conflict (ticket, recording) do update set state = 'found', reason = null, controller = excluded.controller
    where ticket_recording.state = 'excluded' and ticket_recording.reason = 'no_longer_found';

-- name: leave_out
-- The officer leaves recordings out, each for its reason: those that are among what was found.
update ticket_recording f set state = 'excluded', reason = x.reason
from unnest(:recordings::uuid[], :reasons::text[]) x (recording, reason)
where f.ticket = :ticket and f.recording = x.recording and f.state <> 'excluded' returning f.recording;

-- name: audio_shape^
-- How long a found recording's audio is, and how many channels it has; nulls: it is not here.
select coalesce(r.audio_ms, q.audio_ms) as audio_ms, coalesce(r.channels, q.channels) as channels
from ticket_recording f left join recording r on r.recording = f.recording left join quarantine q on q.recording = f.recording
where f.ticket = :ticket and f.recording = :recording and f.state <> 'excluded';

-- name: redact!
-- What the copy of a recording leaves out.
update ticket_recording set mutes = :mutes::jsonb, channel = :channel where ticket = :ticket and recording = :recording;

-- name: ticket_corrections
-- What of which recording is put right; sealed.
select recording, what, sealed_before, sealed_after, applied_at from ticket_correction where ticket = :ticket order by recording, what;

-- name: confirm_found!
-- The officer's yes is about exactly these.
update ticket_recording set state = 'confirmed' where ticket = :ticket and state = 'found';

-- name: ticket_refused!
-- It is refused, with reasons that are sealed; nothing is done to any recording.
update ticket set state = :state, sealed_facts = :sealed_facts where ticket = :ticket;

-- name: note_refused!
-- What was found, and refused.
update ticket_recording set outcome = 'refused', outcome_at = callkeeper_now() where ticket = :ticket and state <> 'excluded';

-- name: plan_erasure
-- Two people said yes to these: they go by the journal, where every blocker is asked again. What is on its way already stays so.
insert into deletion (recording, vendor, controller, trigger, object_key, decision)
select recording, vendor, controller, :trigger, object_key, :decision::bigint
from recording where recording = any (:recordings)
on conflict (recording) do update set trigger = excluded.trigger, decision = excluded.decision, waits = null, state = 'planned',
    trouble = null, night = null, due_at = case deletion.state when 'withdrawn' then excluded.due_at else least(deletion.due_at, excluded.due_at) end
    where deletion.state in ('planned', 'blocked', 'withdrawn')
returning recording, vendor, controller;

-- name: plan_before_term
-- The same of what import refused to keep and left for its term's end, such as a call that nobody answered: it goes now.
update deletion d set trigger = :trigger::text, decision = :decision::bigint, waits = null, state = 'planned', trouble = null, night = null,
    due_at = least(d.due_at, callkeeper_now())
where recording = any (:recordings) and state in ('planned', 'blocked') and trigger <> :trigger::text
  and not exists (select from recording r where r.recording = d.recording)
returning recording, vendor, controller;

-- name: plan_quarantined
-- The same of what waits in quarantine: two people's yes decides that, too. The journal has the facts of it, as of a rejected call.
with out as (
    delete from quarantine where recording = any (:recordings) returning *
)
insert into deletion (recording, vendor, identity, revision, controller, line, pseudonym, started_at, trigger, object_key, version_id,
    legal_hold, sealed_ref, decision)
select recording, vendor, identity, revision, controller, line, pseudonym, started_at, :trigger, object_key, version_id, legal_hold,
    sealed_ref, :decision::bigint
from out
on conflict (recording) do update set state = 'planned', vendor = excluded.vendor, identity = excluded.identity, revision = excluded.revision,
    controller = excluded.controller, line = excluded.line, pseudonym = excluded.pseudonym, started_at = excluded.started_at,
    trigger = excluded.trigger, object_key = excluded.object_key, version_id = excluded.version_id, legal_hold = excluded.legal_hold,
    sealed_ref = excluded.sealed_ref, waits = null, decision = excluded.decision, night = null, trouble = null,
    due_at = callkeeper_now(), planned_at = callkeeper_now()
    where deletion.state = 'withdrawn'
returning recording, vendor, controller;

-- name: note_erasures!
-- What has become of what was to be erased: gone here, or kept for now by a legal ground. It may be both, one after the other. A copy
-- that somebody waits for is no such ground: it comes first, and the night after it erases.
update ticket_recording f set outcome = x.outcome, outcome_at = callkeeper_now()
from (
    select l.recording, case when d.store_gone_at is not null then 'erased' when l.state = 'blocked' and exists (
            select from blocker b where b.kind <> 'access_freeze' and covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)
        ) then 'deferred' end as outcome
    from ticket_recording m join leaving l on l.recording = m.recording join deletion d on d.recording = m.recording
    where m.ticket = :ticket
) x, ticket t
where f.ticket = :ticket and t.ticket = f.ticket and t.access_right in ('erasure', 'objection') and x.recording = f.recording
  and f.state = 'confirmed' and x.outcome is distinct from f.outcome and x.outcome is not null;

-- name: tickets_on_their_way
-- The tickets, or this one if it is, of whose recordings some are to go and it is not known yet what became of them: what note_erasures
-- would leave without an outcome.
select distinct t.ticket
from ticket t join ticket_recording f on f.ticket = t.ticket
where t.state = 'carried_out' and t.access_right in ('erasure', 'objection') and (:ticket::text is null or t.ticket = :ticket)
  and f.state <> 'excluded' and f.outcome is null
  and not (f.state = 'confirmed' and exists (
        select from leaving l join deletion d on d.recording = l.recording
        where l.recording = f.recording and (d.store_gone_at is not null or l.state = 'blocked' and exists (
            select from blocker b where b.kind <> 'access_freeze' and covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at)
        ))
  ));

-- name: count_outcomes
-- What became of the recordings that a ticket is about; null: nothing yet.
select outcome, count(*) as n from ticket_recording where ticket = :ticket and state <> 'excluded' group by 1 order by 1;

-- name: was_refused$
-- Whether an officer has refused it.
select exists (select from decision where subject = :ticket and starts_with(action, 'dsr_refuse:'));

-- name: package_to_release^
-- The package that can be handed over: the last one that is whole, while it can be had.
select package, parts::text as parts from package
where ticket = :ticket and gone_at is null and expires_on > helsinki_day(callkeeper_now())
  and jsonb_array_length(parts) > 0 and not exists (select from jsonb_array_elements(parts) p where not p ? 'version')
order by made_at desc, package limit 1;

-- name: package_delivered!
-- It was handed over, and who had released it.
update package set delivered_at = callkeeper_now(), released_by = :account
where ticket = :ticket and gone_at is null and expires_on > helsinki_day(callkeeper_now()) and delivered_at is null;

-- name: deliver!
-- The answer was handed over: by whom, how; never to which address.
insert into ticket_delivery (ticket, kind, account, channel) values (:ticket, :kind, :account, :channel);

-- name: ticket_previewed$
-- It lies before the officer, from this time on.
update ticket set state = :state, previewed_at = callkeeper_now(), scope = :scope where ticket = :ticket returning previewed_at;

-- name: ticket_recordings
-- What was found for a ticket, with what is known of each as long as it is here; open_elsewhere: how many other tickets want it too; corrects: by what is
-- put right, the hash of its sealed value.
select f.recording, f.controller, f.state, f.reason, coalesce(r.started_at, q.started_at) as started_at,
    f.outcome, f.mutes, f.channel, coalesce(r.duration_ms, q.duration_ms) as duration_ms, coalesce(r.line, q.line) as line, coalesce(r.direction, q.direction) as direction,
    case when r.recording is not null then 'catalogue' when q.recording is not null then 'quarantine'
        when d.store_gone_at is not null then 'gone' else 'leaving' end as place, r.eligible_at,
    (select count(*) from (
        select x.ticket from ticket_recording x where x.recording = f.recording and x.state <> 'excluded'
        union
        select b.case_ref from blocker_cover c join blocker b on b.blocker = c.blocker and b.ended_at is null where c.recording = f.recording
    ) w join ticket o on o.ticket = w.ticket and o.closed_at is null where w.ticket <> f.ticket) as open_elsewhere,
    (select jsonb_object_agg(c.what, encode(sha256(coalesce(c.sealed_after, '')), 'hex')) from ticket_correction c
        where c.ticket = f.ticket and c.recording = f.recording) as corrects
from ticket_recording f left join recording r on r.recording = f.recording left join quarantine q on q.recording = f.recording
left join deletion d on d.recording = f.recording
where f.ticket = :ticket
order by started_at nulls first, f.recording;

-- name: close_ticket!
-- It is over; what is personal of it goes after so many years.
update ticket set state = 'closed', closed_at = callkeeper_now(), outcome = :outcome,
    erase_on = (helsinki_day(callkeeper_now()) + make_interval(years => :years))::date
where ticket = :ticket;

-- name: resumed_tickets
-- Tickets that ended as deferred, of which all has gone since: the person is to be told so, for the second time.
select t.ticket from ticket t
where t.outcome = 'deferred' and not exists (
    select from ticket_recording f left join deletion d on d.recording = f.recording
    where f.ticket = t.ticket and f.state = 'confirmed' and d.store_gone_at is null)
order by t.ticket;

-- name: ticket_resumed!
-- The person was told that what was deferred has gone.
update ticket set outcome = 'fulfilled' where ticket = :ticket;

-- name: forget_tickets
-- Tickets past their term lose what is personal of them; reference, right, days and outcome stay.
with over as (
    update ticket set sealed_facts = null, asked = null, erased_at = callkeeper_now()
    where erase_on <= helsinki_day(callkeeper_now()) and erased_at is null
      -- Before a restriction is lifted the person is told, in the words that stand there.
      and not exists (select from blocker b where b.blocker = ticket.standing and b.ended_at is null)
    returning ticket, erase_on
), searched as (
    update ticket_subject s set pseudonyms = null, sealed_number = null, from_at = null, to_at = null, line = null, controller = null
    from over where s.ticket = over.ticket
), corrected as (
    update ticket_correction c set sealed_before = null, sealed_after = null from over where c.ticket = over.ticket
), redacted as (
    update ticket_recording f set mutes = null, channel = null from over where f.ticket = over.ticket
)
select ticket, erase_on from over order by ticket;

-- name: end_ticket_blockers
-- Ends what of a ticket still blocks: all but the restriction that outlasts it.
with mine as (
    update blocker b set ended_at = callkeeper_now() from ticket t
    where t.ticket = :ticket and b.case_ref = t.ticket and b.ended_at is null and b.blocker is distinct from t.standing
    returning b.blocker, b.placed_at
)
select blocker from mine order by placed_at, blocker;

-- name: standing_restriction^
-- The restriction that outlasts a ticket, while it stands, and since when its end was announced; told_at: when the person was told of that.
select b.blocker, b.recordings, b.review_on, t.lifts_on, t.lift_reason, helsinki_day(callkeeper_now()) as today, a.decided_at as announced_at,
    (select max(d.at) from ticket_delivery d where d.ticket = t.ticket and d.kind = 'restriction_lifting' and d.at >= a.decided_at) as told_at
from ticket t join blocker b on b.blocker = t.standing and b.ended_at is null
left join lateral (
    select max(decided_at) as decided_at from decision y where y.subject = t.ticket and y.action = 'dsr_lifting'
      -- That it stands on is a later word than its end.
      and y.decision > coalesce((select max(decision) from decision where subject = t.ticket and action = 'dsr_restriction'), 0)
) a on true
where t.ticket = :ticket;

-- name: restrict_by!
-- What outlasts it.
update ticket set standing = :blocker where ticket = :ticket;

-- name: announce_lifting!
-- Its restriction is to end on that day; nulls: on none.
update ticket set lifts_on = :lifts_on, lift_reason = :reason where ticket = :ticket;

-- name: note_outcomes!
-- What became of what was confirmed; of what has gone by itself, nothing.
update ticket_recording f set outcome_at = callkeeper_now(), outcome = case when f.recording = any (:recordings) then :outcome else 'none' end
where f.ticket = :ticket and f.state = 'confirmed';

-- name: forget_outcomes!
-- A copy was taken back.
update ticket_recording set outcome = null, outcome_at = null where ticket = :ticket;

-- name: suppress_callers$
-- Calls from these numbers are not kept until that day; how many marks.
select suppress_callers(:ticket, :marks, :keys, :until);

-- name: review_callers$
-- Somebody has looked again: until when, or no longer (null); how many marks.
select review_callers(:ticket, :until::date);

-- name: suppressed_by$
-- How many marks an objection has in the suppression.
select count(*) from suppression where kind = 'caller' and ticket = :ticket;

-- name: correctable^
-- A found recording that stands in the catalogue, and what could be put right of it.
select r.recording, r.controller, r.line, r.started_at, r.direction, r.sealed_number, r.identity
from ticket_recording f join recording r on r.recording = f.recording
where f.ticket = :ticket and f.recording = :recording and f.state <> 'excluded';

-- name: correct!
-- What is to be put right, sealed.
insert into ticket_correction (ticket, recording, what, sealed_before, sealed_after)
values (:ticket, :recording, :what, :sealed_before, :sealed_after)
on conflict (ticket, recording, what) do update set sealed_before = excluded.sealed_before, sealed_after = excluded.sealed_after;

-- name: uncorrect!
-- It is not to be put right after all.
delete from ticket_correction where ticket = :ticket and recording = :recording and what = :what and applied_at is null;

-- name: hold_ways_out!
-- Nobody sends these until the transaction ends. What is sent already is left to who sends: it takes the same rows the other way round.
select from deletion where recording = any (:recordings) and state <> 'sending' order by recording for update;

-- name: lock_catalogued
-- Rows of the catalogue, for nobody else to change until the transaction ends; and how far their ways out have come.
select r.recording, r.controller, r.vendor, r.line, r.direction, r.started_at, r.identity,
    (select d.state from deletion d where d.recording = r.recording) as state
from recording r where r.recording = any (:recordings) order by r.recording for update of r;

-- name: line_owners
-- Whose line it was at that time, by the register in force; of nobody's, no row.
select n.recording, l.controller
from unnest(:recordings::uuid[], :lines::text[], :started_ats::timestamptz[]) n (recording, line, started_at)
join line l on l.number = n.line and l.removed_at is null
    and helsinki_day(n.started_at) between l.valid_from and coalesce(l.valid_to, 'infinity');

-- name: keep_rectified
-- What a blocker covers, and would not name any more once this is put right: it goes on covering it (docs/adr/0160).
with fresh as (
    select * from unnest(:recordings::uuid[], :controllers::text[], :lines::text[], :started_ats::timestamptz[], :pseudonyms::bytea[], :numbers::boolean[])
        as n (recording, controller, line, started_at, pseudonym, renumbered)
), lost as (
    select b.blocker, r.recording
    from fresh n join recording r on r.recording = n.recording
    join blocker b on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
        and covers(b, r.recording, n.controller, n.line, case when n.renumbered then n.pseudonym else r.pseudonym end, n.started_at) is not true
), mine as (
    select blocker from blocker where blocker in (select blocker from lost) order by blocker for no key update
), kept as (
    update blocker b set kept = b.kept || l.recordings, kept_at = callkeeper_now()
    from mine join (select blocker, array_agg(recording) as recordings from lost group by 1) l using (blocker)
    where b.blocker = mine.blocker
)
select blocker, recording from lost;

-- name: rectify!
-- It is put right; the audio stays as it is.
update recording r set rectified = :ticket, controller = n.controller, line = n.line, started_at = n.started_at,
    term_since = case when n.started_at = r.started_at then r.term_since else callkeeper_now() end,
    caller_state = case when n.renumbered then 'known' else r.caller_state end,
    pseudonym = case when n.renumbered then n.pseudonym else r.pseudonym end,
    pseudonym_key = case when n.renumbered then :pseudonym_key else r.pseudonym_key end,
    sealed_number = case when n.renumbered then n.sealed_number else r.sealed_number end
from unnest(:recordings::uuid[], :controllers::text[], :lines::text[], :started_ats::timestamptz[], :pseudonyms::bytea[], :numbers::boolean[],
    :sealed_numbers::bytea[]) as n (recording, controller, line, started_at, pseudonym, renumbered, sealed_number)
where r.recording = n.recording;

-- name: cover_rectified!
-- What covers it now.
insert into blocker_cover (blocker, recording)
select b.blocker, r.recording from recording r
join blocker b on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
where r.recording = any (:recordings)
on conflict do nothing;

-- name: corrections_applied!
-- These are put right, and stay so; what was drafted of a recording that is left out is not.
update ticket_correction set applied_at = callkeeper_now()
where ticket = :ticket and recording = any (:recordings) and applied_at is null;

-- name: ticket_register
-- Tickets, those that are open first, the most urgent of them first; one of them only, if it is named.
select t.ticket, t.access_right, t.state, t.received_on, t.channel, t.language, t.controller, t.account, t.opened_at, t.due_on, t.extended_to,
    t.identity, t.outcome, t.closed_at, t.erased_at, t.linked_to,
    y.answer_by, y.answer_by - helsinki_day(callkeeper_now()) as days_left,
    (select count(*) from ticket_subject s where s.ticket = t.ticket and s.kind = 'number') as numbers,
    (select count(*) from ticket_subject s where s.ticket = t.ticket and s.kind = 'time') as times,
    exists (select from blocker b where b.case_ref = t.ticket and b.ended_at is null) as freezes,
    (select count(distinct c.recording) from blocker b join blocker_cover c on c.blocker = b.blocker
     where b.case_ref = t.ticket and b.ended_at is null) as frozen,
    -- Deleted between receipt and intake. Whose they were nobody can say any more.
    (select count(*) from deletion d where d.store_gone_at >= t.received_on::timestamp at time zone 'Europe/Helsinki'
     and d.store_gone_at < t.opened_at and (t.controller is null or d.controller = t.controller)) as gone_before
from ticket t
-- An extension counts if its letter went by the first due day (GDPR Art. 12(3)).
cross join lateral (
    select t.extended_to is not null and exists (
        select from ticket_delivery d where d.ticket = t.ticket and d.kind = 'extension' and helsinki_day(d.at) <= t.due_on) as told
) x
cross join lateral (select case when x.told then t.extended_to else t.due_on end as answer_by) y
where (:ticket::text is null and (:all or t.closed_at is null)) or t.ticket = :ticket::text
order by t.closed_at is not null, y.answer_by, t.ticket;

-- name: ticket_subjects
-- What is searched for a ticket.
select n, kind, sealed_number, from_at, to_at, line, controller from ticket_subject where ticket = :ticket order by n;

-- name: ticket_too_late
-- What a ticket's freeze covers and could not save: its deletion had been sent.
select t.recording from hold_too_late t join blocker b on b.blocker = t.blocker where b.case_ref = :ticket order by 1;

-- name: ticket_timeline
-- What the trail was told of a ticket, the oldest first.
select e.at, e.body from event e join ticket t on t.ticket = :ticket
where e.class = 'ticket' and e.at >= t.opened_at and position('"ticket":"' || t.ticket || '"' in convert_from(e.body, 'UTF8')) > 0
order by e.at, e.id;
