-- name: config_lock!
-- One application of a configuration at a time, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('callkeeper.config', 0));

-- name: config_last^
-- The configuration that was applied last.
select version, body, digest, applied_at, applied_by from config_version order by version desc limit 1;

-- name: config_add_version$
-- What is applied now, whole.
insert into config_version (applied_by, digest, body) values (:applied_by, :digest, :body) returning version;

-- name: config_put_controllers!
-- Controllers that are new, changed, or back again.
insert into controller (controller, name, business_id, languages, notice_version, balancing_test, employee_notice, contact, config_version)
select c.id, c.name, c.business_id, c.languages, c.notice_version, c.balancing_test, c.employee_notice, c.contact, :version
from jsonb_to_recordset(:body::jsonb -> 'controllers') as c (id text, name text, business_id text, languages text[],
    notice_version date, balancing_test text, employee_notice text, contact jsonb)
on conflict (controller) do update
set name = excluded.name, business_id = excluded.business_id, languages = excluded.languages, notice_version = excluded.notice_version,
    balancing_test = excluded.balancing_test, employee_notice = excluded.employee_notice, contact = excluded.contact,
    config_version = excluded.config_version, removed_at = null
where controller.removed_at is not null
   or (controller.name, controller.business_id, controller.languages, controller.notice_version, controller.balancing_test,
       controller.employee_notice, controller.contact)
   is distinct from (excluded.name, excluded.business_id, excluded.languages, excluded.notice_version, excluded.balancing_test,
       excluded.employee_notice, excluded.contact);

-- name: config_remove_controllers!
-- Controllers that are no longer in the file; their rows stay, since recordings name them.
update controller set removed_at = callkeeper_now(), config_version = :version
where removed_at is null
  and controller <> all (array(select c.id from jsonb_to_recordset(:body::jsonb -> 'controllers') as c (id text)));

-- name: config_remove_lines!
-- Designations that are no longer in the file as they were; before the new ones come, so that no day is designated twice.
update line l set removed_at = callkeeper_now(), config_version = :version
where l.removed_at is null and not exists (
    select from jsonb_to_recordset(:body::jsonb -> 'lines') as n (number text, controller text, "from" date, "to" date)
    where (n.number, n.controller, n."from") = (l.number, l.controller, l.valid_from) and n."to" is not distinct from l.valid_to);

-- name: config_put_lines!
-- Designations that are new; a changed one is a removed and a new one, so that both can be read later.
insert into line (number, controller, valid_from, valid_to, config_version)
select n.number, n.controller, n."from", n."to", :version
from jsonb_to_recordset(:body::jsonb -> 'lines') as n (number text, controller text, "from" date, "to" date)
where not exists (
    select from line l
    where l.removed_at is null and (l.number, l.controller, l.valid_from) = (n.number, n.controller, n."from")
      and l.valid_to is not distinct from n."to");

-- name: config_put_processors!
-- Processors that are new, changed, or back again.
insert into processor (processor, kind, name, contract, valid_to, grace_days, stopped, regions, remote_support, sub_processors,
    extra_features_off, config_version)
select p.id, p.kind, p.name, p.contract, p.valid_to, p.grace_days, p.stopped, p.regions, p.remote_support, p.sub_processors,
    p.extra_features_off, :version
from jsonb_to_recordset(:body::jsonb -> 'processors') as p (id text, kind text, name text, contract text, valid_to date,
    grace_days integer, stopped boolean, regions text[], remote_support text[], sub_processors jsonb, extra_features_off text[])
on conflict (processor) do update
set kind = excluded.kind, name = excluded.name, contract = excluded.contract, valid_to = excluded.valid_to,
    grace_days = excluded.grace_days, stopped = excluded.stopped, regions = excluded.regions, remote_support = excluded.remote_support,
    sub_processors = excluded.sub_processors, extra_features_off = excluded.extra_features_off,
    config_version = excluded.config_version, removed_at = null
where processor.removed_at is not null
   or (processor.kind, processor.name, processor.contract, processor.valid_to, processor.grace_days, processor.stopped,
       processor.regions, processor.remote_support, processor.sub_processors, processor.extra_features_off)
   is distinct from (excluded.kind, excluded.name, excluded.contract, excluded.valid_to, excluded.grace_days, excluded.stopped,
       excluded.regions, excluded.remote_support, excluded.sub_processors, excluded.extra_features_off);

-- name: config_remove_processors!
-- Processors that are no longer in the file.
update processor set removed_at = callkeeper_now(), config_version = :version
where removed_at is null
  and processor <> all (array(select p.id from jsonb_to_recordset(:body::jsonb -> 'processors') as p (id text)));

-- name: config_put_vendors!
-- Vendors that are new, changed, or back again; what only their kind knows stays in the body.
insert into vendor (vendor, processor, kind, location, retention_days, config_version)
select v.id, v.processor, v.kind, v.location, v.retention_days, :version
from jsonb_to_recordset(:body::jsonb -> 'vendors') as v (id text, processor text, kind text, location text, retention_days integer)
on conflict (vendor) do update
set processor = excluded.processor, kind = excluded.kind, location = excluded.location, retention_days = excluded.retention_days,
    config_version = excluded.config_version, removed_at = null
where vendor.removed_at is not null
   or (vendor.processor, vendor.kind, vendor.location, vendor.retention_days)
   is distinct from (excluded.processor, excluded.kind, excluded.location, excluded.retention_days);

-- name: config_remove_vendors!
-- Vendors that are no longer in the file; what they delivered stays.
update vendor set removed_at = callkeeper_now(), config_version = :version
where removed_at is null
  and vendor <> all (array(select v.id from jsonb_to_recordset(:body::jsonb -> 'vendors') as v (id text)));

-- name: config_recordings_left$
-- Live recordings that were on a designated line and, by the new file, no longer are.
select count(*) from recording r
where not exists (
    select from jsonb_to_recordset(:body::jsonb -> 'lines') as n (number text, controller text, "from" date, "to" date)
    where n.number = r.line and n.controller = r.controller
      and helsinki_day(r.started_at) between n."from" and coalesce(n."to", 'infinity'));
