-- name: sealing_wait$
-- The sealers' lock, until the session ends or lets go of it.
select pg_advisory_lock(:lock::bigint);

-- name: sealing_release$
-- Lets go of the sealers' lock.
select pg_advisory_unlock(:lock::bigint);

-- name: sealing_moment^
-- The cluster, the transaction id below which every transaction has ended, and the real time.
select (select system_identifier::text from pg_control_system()) as system_identifier,
    pg_snapshot_xmin(pg_current_snapshot())::text as horizon, clock_timestamp() as at;

-- name: sealing_epoch^
-- The epoch that is open.
select epoch, opened_at, reason, system_identifier from epoch order by epoch desc limit 1;

-- name: sealing_last^
-- The newest checkpoint, and the time of the one before it.
select c.number, c.epoch, c.size, c.root, c.horizon::text as horizon, c.last_xid::text as last_xid, c.last_event, c.at, c.frontier, c.note,
    (select b.at from checkpoint b where (b.epoch, b.size) < (c.epoch, c.size) order by b.epoch desc, b.size desc limit 1) as at_before
from checkpoint c order by c.epoch desc, c.size desc limit 1;

-- name: sealing_top$
-- The number of the last leaf; null: there is none.
select max(seq) from leaf where epoch = :epoch;

-- name: sealing_count$
-- How many leaves the epoch has.
select count(*) from leaf where epoch = :epoch;

-- name: sealing_take^
-- Gives the next events their leaves, in the order of transaction and id: those whose transactions have all ended.
with batch as (
    select e.id, e.xid, e.class, e.at,
        sha256('\x00'::bytea || convert_to(e.id || ' ' || e.xid || ' ' || e.class || ' ', 'UTF8') || e.body) as leaf_hash
    from event e
    where (e.xid, e.id) > (:last_xid::xid8, :last_event) and e.xid < :horizon::xid8
      -- as a subquery of its own, one look into an index an event, whatever the planner thinks of millions of leaves
      and (select l.seq from leaf l where l.event_id = e.id) is null
    order by e.xid, e.id limit :rows
), put as (
    insert into leaf (epoch, seq, event_id, xid, class, at, leaf_hash)
    select :epoch, :size + row_number() over (order by b.xid, b.id) - 1, b.id, b.xid, b.class, b.at, b.leaf_hash from batch b
    returning seq, leaf_hash
)
select count(*) as n, coalesce(string_agg(leaf_hash, ''::bytea order by seq), ''::bytea) as hashes from put;

-- name: make_unsealed!
-- The events that have no leaf, and their hashes, for this transaction.
create temp table unsealed on commit drop as
select e.id, e.xid, e.class, e.at,
    sha256('\x00'::bytea || convert_to(e.id || ' ' || e.xid || ' ' || e.class || ' ', 'UTF8') || e.body) as leaf_hash
from event e where not exists (select from leaf l where l.event_id = e.id);

-- name: sealing_unsealed$
-- How many events have no leaf.
select count(*) from unsealed;

-- name: sealing_lost^
-- The leaves that are known by their hash only: how many, and the digest of their numbers.
select count(*) as n, encode(sha256(convert_to(coalesce(string_agg(epoch || ' ' || seq || chr(10), '' order by epoch, seq), ''), 'UTF8')), 'hex') as digest
from leaf where event_id is null;

-- name: sealing_carry$
-- Gives those their leaves, from 1 on, in the order of transaction and id, whatever transactions are under way.
with put as (
    insert into leaf (epoch, seq, event_id, xid, class, at, leaf_hash)
    select :epoch, row_number() over (order by u.xid, u.id), u.id, u.xid, u.class, u.at, u.leaf_hash from unsealed u
    returning seq, leaf_hash
)
select coalesce(string_agg(leaf_hash, ''::bytea order by seq), ''::bytea) from put;

-- name: sealing_foreign$
-- Whether an event's transaction id is one that this cluster has not come to.
select exists (select from event where xid >= pg_snapshot_xmax(pg_current_snapshot()));

-- name: sealing_put_opening$
-- An epoch's leaf 0: the event of this transaction that opens it.
insert into leaf (epoch, seq, event_id, xid, class, at, leaf_hash)
select :epoch, 0, e.id, e.xid, e.class, e.at,
    sha256('\x00'::bytea || convert_to(e.id || ' ' || e.xid || ' ' || e.class || ' ', 'UTF8') || e.body)
from event e where e.id = :opening returning leaf_hash;

-- name: sealing_written_here$
-- The event of this transaction with that body.
select id from event where xid = pg_current_xact_id() and class = 'trail' and body = :body order by id limit 1;

-- name: sealing_leaf^
-- One leaf's event.
select xid::text as xid, event_id from leaf where epoch = :epoch and seq = :seq;

-- name: sealing_hashes$
-- The hashes of some leaves, one behind the other.
select string_agg(leaf_hash, ''::bytea order by seq) from leaf where epoch = :epoch and seq >= :start and seq < :end;

-- name: sealing_put_epoch!
-- An epoch begins.
insert into epoch (epoch, reason, system_identifier) values (:epoch, :reason, :system_identifier);

-- name: sealing_put_checkpoint$
-- What was signed.
insert into checkpoint (epoch, size, root, horizon, last_xid, last_event, at, frontier, note)
values (:epoch, :size, :root, :horizon::xid8, :last_xid::xid8, :last_event::bigint, :at, :frontier::bytea[], :note) returning number;

-- name: sealing_unanchored
-- The open epoch's checkpoints that do not stand outside yet, each with the size of the one before it, and that one's frontier.
select c.number, c.epoch, c.size, c.root, c.note, coalesce(b.size, 0) as start, coalesce(b.frontier, '{}') as frontier
from checkpoint c
left join lateral (
    select p.size, p.frontier from checkpoint p where p.epoch = c.epoch and p.size < c.size order by p.size desc limit 1) b on true
where c.epoch = (select max(epoch) from epoch) and not exists (select from anchored a where a.number = c.number)
order by c.size;

-- name: sealing_note$
-- The signed note of an epoch at a size.
select note from checkpoint where epoch = :epoch and size = :size;

-- name: sealing_put_anchored!
-- A checkpoint stands outside.
insert into anchored (number) values (:number) on conflict (number) do nothing;

-- name: sealing_newest_event^
-- The last event that can be seen, in the order of sealing, of those the horizon has not passed for good.
select xid::text as xid, id from event where xid >= :since::xid8 order by xid desc, id desc limit 1;

-- name: sealing_waiting^
-- Events whose leaves wait for a transaction that is still under way: how many, and since how many seconds the oldest.
select count(*) as n, coalesce(extract(epoch from callkeeper_now() - min(e.at)), 0)::bigint as seconds
from event e where e.xid >= :horizon::xid8 and (select l.seq from leaf l where l.event_id = e.id) is null;

-- name: sealing_blockers
-- Who holds the horizon back, in any database of the cluster: a session, or a prepared transaction.
select 'session' as kind, pid::text as name, coalesce(datname, '-')::text as database, coalesce(usename, '-')::text as role
from pg_stat_activity where backend_xid = :horizon::xid8::xid
union all
select 'prepared transaction', gid, database::text, owner::text from pg_prepared_xacts where transaction = :horizon::xid8::xid;

-- name: sealing_said
-- Events of the trail of itself with that action, oldest first.
select id, xid::text as xid, at, body from event
where class = 'trail' and convert_from(body, 'UTF8')::jsonb ->> 'action' = :action order by xid, id;

-- name: sealing_covered$
-- Whether an event has its leaf, and that stands under a checkpoint.
select exists (select from leaf where event_id = :event);

-- name: sealing_adopt!
-- Leaves that the anchor knows and the database lost; an event that is still here keeps its place.
insert into leaf (epoch, seq, event_id, xid, class, at, leaf_hash)
select :epoch, :start + h.n - 1, u.id, u.xid, u.class, u.at, h.leaf_hash
from unnest(:hashes::bytea[]) with ordinality h (leaf_hash, n) left join unsealed u on u.leaf_hash = h.leaf_hash;

-- name: sealing_status^
-- Where the sealing stands.
select (select count(*) from checkpoint) as checkpoints,
    (select count(*) from checkpoint c where c.epoch = (select max(epoch) from epoch)
        and not exists (select from anchored a where a.number = c.number)) as unanchored,
    (select count(*) from leaf where event_id is null) as lost,
    (select count(*) from event e where e.xid >= coalesce((select last_xid from checkpoint order by epoch desc, size desc limit 1), '0'::xid8)
        and (select l.seq from leaf l where l.event_id = e.id) is null) as unsealed;
