-- name: audit_epochs
-- The epochs that were sealed, with the size of each, the origin that its notes bear, and what was signed last.
select e.epoch, e.reason, c.size, split_part(c.note, E'\n', 1) as origin, c.at
from epoch e cross join lateral (
    select k.size, k.note, k.at from checkpoint k where k.epoch = e.epoch order by k.size desc limit 1) c
order by e.epoch;

-- name: audit_checkpoints
-- An epoch's next checkpoints.
select size, note from checkpoint where epoch = :epoch and size > :after order by size limit :limit;

-- name: audit_leaves
-- An epoch's next leaves, each with its event as it stands today: none, where that is not here any more.
select l.seq, l.leaf_hash, l.event_id is null as lost, l.class as sealed_class, to_char(l.at at time zone 'UTC', 'YYYY-MM') as month,
    e.id, e.xid::text as xid, e.class as class_, e.body
from leaf l left join lateral (
    -- one look into one partition a leaf, whatever the planner thinks of millions of them
    select v.id, v.xid, v.class, v.body from event v where v.class = l.class and v.at = l.at and v.id = l.event_id limit 1) e on true
where l.epoch = :epoch and l.seq > :after and l.seq < :size
order by l.seq limit :limit;

-- name: audit_span^
-- The first and last leaf of an epoch whose event is of these times (up to, but not, the second).
select min(seq) as first, max(seq) as last from leaf where epoch = :epoch and at >= :from_at and at < :to_at;

-- name: audit_around^
-- The checkpoints' sizes around some leaves: where the one before them ends, and the first that covers them.
select coalesce(max(size) filter (where size <= :first), 0) as first, min(size) filter (where size > :last) as to
from checkpoint where epoch = :epoch;

-- name: audit_unsealed
-- The next events that no checkpoint covers, in the order in which they will be sealed.
select e.id, e.xid::text as xid, e.class as class_, e.body from event e
where (e.xid, e.id) > (:after_xid::xid8, :after) and (select l.seq from leaf l where l.event_id = e.id) is null
order by e.xid, e.id limit :limit;

-- name: audit_said
-- What the trail says of itself with that action, oldest first.
select e.body from event e where e.class = 'trail' and convert_from(e.body, 'UTF8')::jsonb ->> 'action' = :action order by e.xid, e.id;
