-- name: bound_check!
-- A check that hangs is one that could not be made.
select set_config('statement_timeout', :seconds || 's', true);

-- name: prove_controllers
-- The controllers of the register, with how many living recordings each has; in_force: whether the register names it now.
select c.controller, c.removed_at is null as in_force, c.business_id, c.notice_version, c.balancing_test, c.employee_notice,
    c.contact ->> 'phone' as phone, c.contact ->> 'email' as email, coalesce(n.recordings, 0) as recordings
from controller c left join (select controller, count(*) as recordings from recording group by 1) n on n.controller = c.controller
where c.removed_at is null or n.recordings > 0
order by c.controller;

-- name: prove_events
-- The bodies of the events of one class since a time, in their order.
select body from event where class = :event_class and at >= :since order by at, id;

-- name: prove_lines^
-- Living recordings, and those on a line that the register does not designate for their day; quarantined calls of which the
-- audio was fetched though their line is nobody's.
select count(*) as recordings,
    count(*) filter (where not exists (
        select from line l
        where l.removed_at is null and l.number = r.line and l.controller = r.controller
          and helsinki_day(r.started_at) between l.valid_from and coalesce(l.valid_to, 'infinity'))) as undesignated,
    (select count(*) from quarantine q where q.reason = 'line_undesignated' and q.version_id is not null) as fetched
from recording r;

-- name: prove_columns
-- Every column that a table of ours has, by the system's own catalogue: information_schema would leave out what the asking role
-- has no right on. A partition has those of its table.
select c.relname::text as table_name, a.attname::text as column_name
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'callkeeper'::regnamespace and c.relkind in ('r', 'p', 'm', 'f') and not c.relispartition
  and a.attnum > 0 and not a.attisdropped
order by 1, 2;

-- name: prove_ways_out
-- Ways by which another system could be joined to this database: columns that name a customer, tables beside ours, servers and
-- publications, extensions that bring them, whoever else may connect.
select 'column' as kind, c.relname || '.' || a.attname as name
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'callkeeper'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
  and a.attname ~* '(customer|client|asiakas|crm|account_no|member_no|henkilotunnus|hetu|ssn)'
union all
select 'table', n.nspname || '.' || c.relname
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm', 'f') and n.nspname not in ('callkeeper', 'information_schema') and n.nspname !~ '^pg_'
union all
select 'server', srvname::text from pg_foreign_server
union all
select 'publication', pubname::text from pg_publication
union all
select 'extension', extname::text from pg_extension where extname in ('dblink', 'postgres_fdw', 'file_fdw', 'pglogical')
union all
select 'role', r.rolname::text from pg_roles r
where r.rolcanlogin and not r.rolsuper and not starts_with(r.rolname, 'callkeeper_')
  and has_database_privilege(r.oid, current_database(), 'CONNECT')
order by 1, 2;

-- name: prove_processors
-- The processors of the register.
select processor, contract, valid_to, stopped, regions, remote_support,
    array(select s ->> 'country' from jsonb_array_elements(sub_processors) s) as sub_processors, extra_features_off
from processor where removed_at is null order by processor;

-- name: prove_vendors_unbound
-- Vendors that calls here are from and that no processor in force answers for.
select used.vendor from (
    select vendor from recording union select vendor from staging union select vendor from quarantine
    union select vendor from deletion where state not in ('done', 'withdrawn') and vendor <> '-'
) used
where not exists (
    select from vendor v join processor p on p.processor = v.processor
    where v.vendor = used.vendor and v.removed_at is null and p.removed_at is null)
order by 1;

-- name: prove_dropped_fields
-- Fields beyond the allow-list that vendors delivered since a day, by the field's name; their values were dropped at the door.
select t.vendor, t.reason as field, sum(t.n)::bigint as n, max(v.processor) as processor
from tally t join import_run i on i.run = t.run left join vendor v on v.vendor = t.vendor
where t.outcome = 'unknown_field' and i.started_at >= :since and t.n > 0
group by 1, 2 order by 1, 2;

-- name: prove_numbers^
-- Calls with a number, and those whose number is not kept as it should be: a pseudonym that is no keyed hash, or under a key that is
-- not in use; a sealed value too short to be one; an object's key that is more than a day and a random id; a withheld number that
-- is there; the called party's, sealed to be read. A line in quarantine or staging that is none of ours could be a person's number.
select count(*) as calls, count(pseudonym) as pseudonyms, count(sealed_number) as sealed,
    count(*) filter (where octet_length(pseudonym) <> :hash_bytes) as no_hash,
    count(*) filter (where pseudonym is not null and coalesce(pseudonym_key, '') <> all (
        array(select key_id from key where purpose = 'pseudonym' and retired_at is null))) as no_key,
    count(*) filter (where octet_length(sealed_number) < :sealed_bytes) as readable,
    count(*) filter (where caller_state <> 'known' and coalesce(pseudonym, sealed_number) is not null) as withheld,
    count(*) filter (where direction = 'outbound' and sealed_number is not null) as called,
    -- a day and a UUID, by what is left without their digits: a pattern would take six times as long
    count(*) filter (where length(object_key) <> 51 or left(object_key, 4) <> 'rec/'
        or translate(substr(object_key, 5), '0123456789abcdef', '') <> '--/----') as named,
    count(*) filter (where line <> all (array(select number from line))) as strange_lines
from (
    select caller_state, direction, pseudonym, pseudonym_key, sealed_number, object_key, line from recording
    union all select caller_state, direction, pseudonym, pseudonym_key, sealed_number, object_key, line from staging
    union all select caller_state, direction, pseudonym, pseudonym_key, sealed_number, object_key, line from quarantine
) c;

-- name: prove_other_roles
-- What a role that works could do to the trail, the tombstones or the clock, and must not; the tasks' own role is asked by
-- `doctor_forbidden`. Ageing drops whole months, by a function of the owner's.
select r.rolname || ': ' || privilege || ' on ' || t.name::text as name
from pg_roles r,
    (select relid as name from pg_partition_tree('event') union values ('suppression'::regclass), ('clock_shift'::regclass)) t,
    unnest(array['UPDATE', 'DELETE', 'TRUNCATE']) as privilege
where r.rolname in ('callkeeper_app', 'callkeeper_sealer', 'callkeeper_ageing', 'callkeeper_auditor', 'callkeeper_witness')
  and has_table_privilege(r.oid, t.name, privilege)
order by 1;

-- name: prove_retention^
-- The oldest term among living recordings that nothing blocks, and what is here beyond its term and the hours of grace: recordings,
-- whatever the journal says of them, by the notice's months where their own term is longer; what the journal alone knows;
-- quarantined and staged audio. What a blocker covers is not counted.
select (select count(*) from recording) as recordings,
    (select r.eligible_at from recording r
     where not exists (select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at))
     order by r.eligible_at limit 1) as oldest_due,
    (select count(*) from recording where retention_months > :months) as longer,
    (select count(*) from recording r where r.eligible_at <= :by
       and not exists (select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at))) as overdue,
    (select count(*) from recording r where r.eligible_at > :by and r.retention_months > :months
       and retention_eligible_at(r.started_at, :months) <= :by
       and not exists (select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at))) as beyond,
    (select count(*) from leaving l join deletion d on d.recording = l.recording
     where d.state in ('planned', 'armed', 'sending', 'needs_human', 'blocked') and d.store_gone_at is null and d.due_at <= :by
       and not l.in_catalogue and not exists (select from quarantine q where q.recording = d.recording)
       and not exists (select from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at))) as in_journal,
    (select count(*) from quarantine q where q.version_id is not null and retention_eligible_at(q.counts_from, :months) <= :by
       and not exists (select from blocker b where covers(b, q.recording, q.controller, q.line, q.pseudonym, q.started_at))) as quarantined,
    (select count(*) from staging s where s.version_id is not null
       and retention_eligible_at(coalesce(s.started_at, s.delivered_at), :months) <= :by
       and not exists (select from blocker b where covers(b, s.recording, s.controller, s.line, s.pseudonym, s.started_at))) as staged;

-- name: prove_copies^
-- The last reconciliation that came to an end, and since when there is something to compare.
select (select min(imported_at) from recording) as since, r.ended_at, r.balanced, r.findings -> 'sheet' -> 'counts' as counts
from (select 1) one left join lateral (
    select ended_at, balanced, findings from reconciliation where ended_at is not null order by reconciliation desc limit 1) r on true;

-- name: prove_open_at_vendors^
-- What is gone here and open at its vendor: how many, since when, and how many for longer than that; and how many came to their end.
select count(*) filter (where state <> 'done') as open, min(store_gone_at) filter (where state <> 'done') as since,
    count(*) filter (where state <> 'done' and store_gone_at < :before) as late,
    count(*) filter (where state = 'done') as done
from deletion where state in ('store_gone', 'done') or (state = 'needs_human' and store_gone_at is not null);

-- name: prove_suppression^
-- What the suppression keeps from coming in (again), and objections whose day of review is past.
select count(*) filter (where kind = 'recording') as recordings, count(*) filter (where kind = 'caller') as callers,
    count(*) filter (where kind = 'caller' and review_on < :today) as review_overdue
from suppression;

-- name: prove_objections^
-- Living recordings of a number whose objection was upheld before they came in, and that nothing blocks.
select count(*) as recordings from recording r
join suppression s on s.kind = 'caller' and s.mark = r.pseudonym and r.imported_at > s.since
where (s.review_on is null or s.review_on >= :today)
  and not exists (select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at));

-- name: prove_holds^
-- What blocks now, every kind alike: how many, how many recordings are kept beyond their term by it; what is late: a review, an
-- end, a second person's word, the store's confirmation.
select count(*) as blockers,
    (select count(*) from recording r where r.eligible_at <= callkeeper_now()
       and exists (select from blocker b where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at))) as kept_longer,
    count(*) filter (where b.review_on < :today) as review_overdue,
    count(*) filter (where h.ends_on < :today) as past_end,
    count(*) filter (where h.ratified_by is null and h.placed_at < callkeeper_now() - make_interval(days => :ratify_days)) as unratified,
    count(*) filter (where h.effective_at is null and h.placed_at < callkeeper_now() - interval '1 hour') as not_effective
from blocker b left join hold h on h.blocker = b.blocker and h.released_at is null
where b.ended_at is null;

-- name: prove_requests
-- Requests that are not answered, and those that were answered since a time: when each is due, and the day on which its answer came,
-- or today. An extension counts if its letter went by the first due day (GDPR Art. 12(3)).
select t.ticket, coalesce(helsinki_day(t.closed_at), helsinki_day(callkeeper_now())) as day, t.closed_at is null as open,
    t.extended_to is not null and not x.told as untold, case when x.told then coalesce(t.extended_to, t.due_on) else t.due_on end as due_on
from ticket t cross join lateral (
    select exists (select from ticket_delivery d where d.ticket = t.ticket and d.kind = 'extension' and helsinki_day(d.at) <= t.due_on) as told
) x
where (t.closed_at is null and t.state <> 'delivered')
   or (t.closed_at >= :since and t.outcome not in ('withdrawn', 'opened_in_error'))
order by due_on, t.ticket;

-- name: prove_openings
-- Who opened which recording for what since a time, for which request; and whether it was for a disclosure, by one of its two people.
select o.recording, o.account, o.purpose, o.ticket, coalesce(o.account in (d.asked_by, d.approved_by), false) as disclosing
from opening o left join disclosure d on d.disclosure = o.disclosure where o.at >= :since;

-- name: prove_disclosures
-- What was handed over since a time: whether all is there that it takes, and who may be told of it. Two people are two rows about its
-- scope, by the two accounts that it names.
select d.disclosure, d.untold,
    (d.recipient is not null or (d.statute <> '' and (d.sealed_facts is not null or d.erased_at is not null)))
    and d.asked_by <> d.approved_by and 2 = (
        select count(distinct x.action) from decision x where x.subject = d.disclosure and x.scope = d.scope
          and ((x.action = 'disclose_ask' and x.account = d.asked_by) or (x.action = 'disclose_approve' and x.account = d.approved_by))
    ) as whole
from disclosure d where d.handed_over_at >= :since;

-- name: prove_unfrozen^
-- Requests on which the law wants a restriction at once, that nobody has decided on yet; how many of them block nothing.
select count(*) as open, count(*) filter (where not exists (
    select from blocker b where b.case_ref = t.ticket and b.ended_at is null)) as unfrozen
from ticket t
where t.closed_at is null and t.access_right in ('restriction', 'objection') and t.state not in ('carried_out', 'released', 'delivered');

-- name: prove_answers
-- Requests that were answered with less than was asked since a time, and whether such a letter was printed here.
select t.ticket, exists (
    select from event e
    where e.class = 'ticket' and e.at >= t.opened_at and substring(e.body for 26) = '{"action":"letter.written"'
      and position('"ticket":"' || t.ticket || '"' in convert_from(e.body, 'UTF8')) > 0
      and convert_from(e.body, 'UTF8')::jsonb ->> 'kind' = any (:kinds)) as written
from ticket t
where t.closed_at >= :since and t.outcome not in ('fulfilled', 'withdrawn', 'opened_in_error', 'answered_by_hand');

-- name: proven_digests
-- The hashes of a day's proofs, as the trail was told of them.
select convert_from(body, 'UTF8')::jsonb ->> 'digest' as digest from event
where class = 'run' and at >= :first and at < :after and substring(body for 25) = '{"action":"notice.proven"';

-- name: prove_trail^
-- The newest checkpoint and the newest that stands outside the database, by the real clock; and since when there are events.
select clock_timestamp() as at, c.epoch, c.size, c.at as sealed_at,
    (select max(s.at) from checkpoint s join anchored a on a.number = s.number) as anchored_to,
    (select min(at) from event) as since
from (select 1) one left join lateral (select epoch, size, at from checkpoint order by epoch desc, size desc limit 1) c on true;
