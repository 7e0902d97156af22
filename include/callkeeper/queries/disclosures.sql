-- name: number_disclosure!
-- One draft takes a disclosure's number at a time, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('callkeeper.disclosure', 0));

-- name: next_disclosure^
-- The day on which a disclosure is drafted now, and how many its year has with it.
select y.today, coalesce(max(split_part(d.disclosure, '-', 3)::integer), 0) + 1 as n
from (select helsinki_day(callkeeper_now()) as today) y
left join disclosure d on starts_with(d.disclosure, 'DIS-' || to_char(y.today, 'YYYY') || '-')
group by y.today;

-- name: recordings_of_case
-- What a hold covers now, or what a request is about.
select c.recording from hold h join blocker_cover c on c.blocker = h.blocker where h.case_ref = :case_ref
union
select f.recording from ticket_recording f where f.ticket = :case_ref and f.state <> 'excluded';

-- name: disclosable
-- What decides of each of these in the catalogue whether it may be opened now, with the kinds of what covers it.
select r.recording, r.controller, 'catalogue' as place, r.started_at, q.counts_from, r.retention_months, q.recording is not null as quarantined,
    d.state, d.trigger, d.waits, d.decision, d.due_at, d.store_gone_at, callkeeper_now() as now,
    exists (
        select from ticket t join ticket_subject u on u.ticket = t.ticket
        where t.access_right = 'erasure' and t.closed_at is null and (u.kind = 'time' or u.pseudonyms is not null)
          and covers(row(null::uuid, null, null, null, u.pseudonyms, u.line, u.controller, u.from_at, u.to_at, null, null, null, null, null, null, null)::blocker,
              r.recording, r.controller, r.line, r.pseudonym, r.started_at)
    ) as erasure_asked,
    array(
        select b.kind from blocker b
        where covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at) and (d.store_gone_at is null or r.recording = any (b.recordings))
    ) as kinds
from recording r left join quarantine q on q.recording = r.recording left join deletion d on d.recording = r.recording
where r.recording = any (:recordings);

-- name: draft_disclosure!
-- What is to be given, to whom, for what, by which law. A draft that nobody ends has its term, too; the end sets it anew.
insert into disclosure (disclosure, recipient_kind, recipient, purpose, statute, sealed_facts, untold, scope, drafted_by, erase_on)
values (:disclosure, :recipient_kind, :recipient, :purpose, :statute, :sealed_facts, :untold, :scope, :account,
    (helsinki_day(callkeeper_now()) + make_interval(years => :years))::date);

-- name: add_disclosure_recording!
-- Which recordings.
insert into disclosure_recording (disclosure, recording, controller)
select :disclosure, x.recording, x.controller from unnest(:recordings::uuid[], :controllers::text[]) x (recording, controller);

-- name: disclosure_for_change^
-- A disclosure, for nobody else to change until the transaction ends.
select * from disclosure where disclosure = :disclosure for update;

-- name: disclosure_asked!
-- One person wants it.
update disclosure set state = 'asked', asked_by = :account, asked_at = callkeeper_now(), asked_run = :run where disclosure = :disclosure;

-- name: disclosure_approved!
-- Another person says yes.
update disclosure set state = 'approved', approved_by = :account, approved_at = callkeeper_now() where disclosure = :disclosure;

-- name: disclosure_withdrawn!
-- It comes to nothing.
update disclosure set state = 'withdrawn', ended_at = callkeeper_now(),
    erase_on = (helsinki_day(callkeeper_now()) + make_interval(years => :years))::date
where disclosure = :disclosure;

-- name: begin_disclosure_package!
-- A package that is about to be written, and where: whoever is killed in the middle leaves its place behind.
insert into package (package, disclosure, sealed_passphrase, expires_on, parts)
values (:package, :disclosure, :sealed_passphrase, :expires_on, :parts::jsonb);

-- name: packages_of_disclosure
-- Its packages that are not on their way out, the newest first.
select package, null as ticket, parts, made_at, expires_on, sealed_passphrase, expires_on <= helsinki_day(callkeeper_now()) as over from package
where disclosure = :disclosure and gone_at is null and ended_at is null
order by made_at desc, package;

-- name: disclosure_made!
-- Its package can be handed over.
update disclosure set state = 'made', made_at = callkeeper_now() where disclosure = :disclosure;

-- name: note_disclosed_copies!
-- The checksum and size of each copy.
update disclosure_recording f set sha256 = x.sha256, bytes = x.bytes
from unnest(:recordings::uuid[], :sums::bytea[], :sizes::bigint[]) x (recording, sha256, bytes)
where f.disclosure = :disclosure and f.recording = x.recording;

-- name: note_disclosure_openings!
-- Each copy opened a recording's audio.
insert into opening (recording, account, purpose, disclosure) select unnest(:recordings::uuid[]), :account, :purpose, :disclosure;

-- name: disclosure_handed_over!
-- Its recipient has it.
update disclosure set state = 'handed_over', handed_over_at = callkeeper_now(), handed_over_by = :account, channel = :channel,
    ended_at = callkeeper_now(), erase_on = (helsinki_day(callkeeper_now()) + make_interval(years => :years))::date
where disclosure = :disclosure;

-- name: disclosure_told!
-- The law no longer forbids to tell of it.
update disclosure set untold = false where disclosure = :disclosure;

-- name: disclosure_recordings
-- What a disclosure is about, with what is known of each while it is here.
select f.recording, f.controller, f.sha256, f.bytes, r.started_at, r.duration_ms, r.line, r.direction, r.caller_state, r.sealed_number,
    r.sealed_ref, r.vendor, r.identity, r.object_key, r.version_id, r.codec, r.channels, r.sample_rate_hz, r.sha256 as stored_sha256,
    r.size_bytes
from disclosure_recording f left join recording r on r.recording = f.recording
where f.disclosure = :disclosure
order by r.started_at nulls last, f.recording;

-- name: disclosure_register
-- The disclosures, the newest first; one of them, if it is named; to whoever is no officer neither drafts nor what may not be told.
select d.*, c.name as company, count(f.recording) as recordings, max(p.expires_on) - 1 as kept_until
from disclosure d left join controller c on c.controller = d.recipient
left join disclosure_recording f on f.disclosure = d.disclosure
left join lateral (
    select max(expires_on) as expires_on from package k
    where k.disclosure = d.disclosure and k.gone_at is null and k.ended_at is null and k.parts @? '$[*].version' and k.expires_on > helsinki_day(callkeeper_now())
) p on true
where (:disclosure::text is null or d.disclosure = :disclosure) and (:officer or not (d.untold or d.state = 'drafted'))
group by d.disclosure, c.name
order by d.drafted_at desc, d.disclosure desc;

-- name: disclosures_of
-- What of these recordings was handed over, to whom, when, for what; without what may not be told, unless an officer asks.
select f.recording, f.controller, d.disclosure, d.recipient_kind, d.recipient, c.name as company, d.purpose, d.statute, d.sealed_facts, d.untold,
    d.handed_over_at
from disclosure_recording f join disclosure d on d.disclosure = f.disclosure left join controller c on c.controller = d.recipient
where f.recording = any (:recordings) and d.state = 'handed_over' and (:officer or not d.untold)
order by d.handed_over_at, d.disclosure, f.recording;

-- name: forget_disclosures
-- Who the recipient was and its reference go, once the term is over.
update disclosure set sealed_facts = null, erased_at = callkeeper_now()
where erased_at is null and erase_on <= helsinki_day(callkeeper_now())
returning disclosure, erase_on;
