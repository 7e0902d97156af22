-- name: doctor_revision$
-- The schema's revision.
select version_num from schema_version;

-- name: doctor_clock^
-- How far callkeeper_now() is moved, and what time it is here.
select callkeeper_now() - now() as moved, clock_timestamp() as at;

-- name: doctor_durability
-- What Postgres must not save on, or a power cut takes what was promised.
select name from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off';

-- name: doctor_forbidden
-- What the role can do to the trail, the tombstones and the clock, and must not.
select t.name::text as name, privilege
from (select relid as name from pg_partition_tree('event') union
      select unnest(array['epoch', 'leaf', 'checkpoint', 'anchored', 'suppression', 'clock_shift']::regclass[])) t,
     unnest(array['UPDATE', 'DELETE', 'TRUNCATE']) as privilege
where has_table_privilege(current_user, t.name, privilege)
union all
select current_user, attribute
from pg_roles r, lateral (values ('SUPERUSER', r.rolsuper), ('CREATEROLE', r.rolcreaterole), ('BYPASSRLS', r.rolbypassrls)) a (attribute, has)
where r.rolname = current_user and a.has
union all
select current_user, 'MEMBER of ' || r.rolname
from pg_roles r where r.rolname <> current_user and starts_with(r.rolname, 'callkeeper_') and pg_has_role(current_user, r.oid, 'MEMBER');

-- name: doctor_unguarded
-- Parts of the trail that hold rows and where a trigger is missing, or is not always on.
select p.relid::text as name
from (select relid from pg_partition_tree('event') where isleaf union
      select unnest(array['epoch', 'leaf', 'checkpoint', 'anchored']::regclass[])) p
where (select count(*) from pg_trigger g where g.tgrelid = p.relid and g.tgname in ('no_change', 'no_truncate') and g.tgenabled = 'A') < 2;

-- name: doctor_sealed^
-- When the trail was last signed, since how many minutes, and how many checkpoints do not stand outside.
select (select max(c.at) from checkpoint c) as at,
    (select extract(epoch from clock_timestamp() - max(c.at))::bigint / 60 from checkpoint c) as minutes,
    (select count(*) from checkpoint c where c.epoch = (select max(epoch) from epoch)
        and not exists (select from anchored a where a.number = c.number)) as unanchored;
