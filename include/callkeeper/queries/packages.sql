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

-- name: one_package_at_a_time$
-- Whether this connection may make the ticket's package: until it lets go, or ends.
select pg_try_advisory_lock(hashtextextended('callkeeper.package ' || :ticket, 0));

-- name: let_package_go$
-- Others may make the ticket's package.
select pg_advisory_unlock(hashtextextended('callkeeper.package ' || :ticket, 0));

-- name: begin_package^
-- A package that is about to be made, with its passphrase sealed; the day that it goes on.
insert into package (package, ticket, sealed_passphrase, expires_on)
values (:package, :ticket, :sealed_passphrase, helsinki_day(callkeeper_now()) + :days::integer)
returning expires_on;

-- name: note_parts!
-- Parts that are about to be written: before they are, so that they are found whenever their writer dies.
update package set parts = parts || :parts::jsonb where package = :package and ended_at is null and gone_at is null;

-- name: package_whole!
-- All parts stand in the store.
update package set parts = :parts::jsonb, made_at = callkeeper_now() where package = :package and ended_at is null;

-- name: packages_of
-- A ticket's packages that have not gone yet, the latest first; whole or not; over: they can no longer be had.
select package, ticket, parts, made_at, expires_on, ended_at is not null or expires_on <= helsinki_day(callkeeper_now()) as over
from package where ticket = :ticket and gone_at is null order by made_at desc, package;

-- name: package_passphrase$
-- The sealed passphrase of a package.
select sealed_passphrase from package where package = :package;

-- name: packages_over
-- Packages whose term is over, and those that were begun long ago and are not whole; not those on their way out.
select package, jsonb_array_length(parts) > 0 and not jsonb_path_exists(parts, '$[*] ? (!exists(@.version))') as whole
from package
where gone_at is null and ended_at is null and (expires_on <= helsinki_day(callkeeper_now())
    or (made_at < callkeeper_now() - make_interval(hours => :hours)
        and (jsonb_array_length(parts) = 0 or jsonb_path_exists(parts, '$[*] ? (!exists(@.version))'))))
order by expires_on, package for update;

-- name: plan_parts
-- The packages' parts go into the journal, each by its key; due when the package's term is over, or at once.
insert into deletion (recording, vendor, trigger, object_key, version_id, due_at)
select (e ->> 'part')::uuid, '-', 'package_expired', e ->> 'key', e ->> 'version',
    case when :at_once::boolean then callkeeper_now()
        else least(callkeeper_now(), p.expires_on::timestamp at time zone 'Europe/Helsinki') end
from package p cross join lateral jsonb_array_elements(p.parts) e
where p.package = any (:packages) and p.gone_at is null and e ?& array['part', 'key']
on conflict (recording) do nothing
returning recording as part;

-- name: end_packages
-- They can no longer be had. One that has no part in the store is gone with that.
update package set ended_at = callkeeper_now(), expires_on = least(expires_on, helsinki_day(callkeeper_now())), gone_at = case when parts = '[]' then callkeeper_now() end,
    sealed_passphrase = case when parts <> '[]' then sealed_passphrase end
where package = any (:packages) and ended_at is null and gone_at is null
returning package, ticket;

-- name: packages_gone!
-- Packages of which the store is proven empty: their keys, hashes and passphrases go.
update package p set gone_at = callkeeper_now(), sealed_passphrase = null,
    parts = (select coalesce(jsonb_agg(e - 'key' - 'version' - 'sha256'), '[]') from jsonb_array_elements(p.parts) e)
where p.ended_at is not null and p.gone_at is null and not exists (
    select from jsonb_array_elements(p.parts) e left join deletion d on d.recording = (e ->> 'part')::uuid
    where d.store_gone_at is null);

-- name: package_sources
-- Where the audio of a ticket's recordings is, and what it is, which the journal does not know; of each the number of the person's that it was with: the ticket's n-th.
select f.recording, coalesce(r.object_key, q.object_key, d.object_key) as object_key,
    coalesce(r.version_id, q.version_id, d.version_id) as version_id, coalesce(r.sha256, q.sha256) as sha256,
    coalesce(r.size_bytes, q.size_bytes) as size_bytes, coalesce(r.codec, q.codec) as codec, coalesce(r.audio_ms, q.audio_ms) as audio_ms,
    coalesce(r.sample_rate_hz, q.sample_rate_hz) as sample_rate_hz, coalesce(r.channels, q.channels) as channels,
    coalesce(r.direction, q.direction) as direction,
    (select min(s.n) from ticket_subject s where s.ticket = f.ticket and coalesce(r.pseudonym, q.pseudonym, d.pseudonym) = any (s.pseudonyms)) as subject
from ticket_recording f left join recording r on r.recording = f.recording left join quarantine q on q.recording = f.recording
left join deletion d on d.recording = f.recording
where f.ticket = :ticket and f.state <> 'excluded';

-- name: note_copied!
-- Of these the person gets a copy; of what else the answer is about there was no audio.
update ticket_recording set outcome = case when recording = any (:recordings) then 'copied' else 'none' end, outcome_at = callkeeper_now()
where ticket = :ticket and state <> 'excluded';
