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

-- name: audit_draw
-- Draws items of the sealed trail by a seed, as many of each kind as there are, in turn: the same seed of the same trail draws the same.
with item as (
    select distinct case b.body ->> 'action'
            when 'deletion.done' then 'deleted recording' when 'legal_hold.placed' then 'held recording'
            when 'recording.quarantined' then 'quarantined recording' when 'blocker.placed' then 'hold' else 'run' end as kind,
        case b.body ->> 'action'
            when 'deletion.done' then b.body ->> 'recording' when 'legal_hold.placed' then b.body ->> 'recording'
            when 'recording.quarantined' then b.body ->> 'recording' when 'blocker.placed' then b.body ->> 'blocker'
            else b.body -> 'actor' ->> 'run' end as id
    from event e cross join lateral (select convert_from(e.body, 'UTF8')::jsonb as body) b
    where e.class in ('deletion', 'blocker', 'import', 'run')
      -- The bytes are canonical: the action comes first.
      and convert_from(substring(e.body from 12 for 32), 'UTF8')
          ~ '^(deletion.done|legal_hold.placed|recording.quarantined|blocker.placed|night.balanced|import.balanced)"'
      and exists (select from leaf l where l.event_id = e.id)
), ranked as (
    select kind, id, row_number() over (partition by kind order by sha256(convert_to(:seed || chr(10) || kind || chr(10) || id, 'UTF8'))) as nth
    from item where id is not null
)
select kind, id from ranked order by nth, kind limit :n;

-- name: audit_stories
-- The sealed events of recordings, of holds those that are of no recording, and of runs those that are of neither: each with its
-- place in the tree. By bytes, which are canonical: a name with its quotes can stand in them as a field's name only.
select t.item, e.id, e.xid::text as xid, e.class as class_, e.body, l.epoch, l.seq
from event e
cross join lateral (
    select position('"recording":"'::bytea in e.body) as recording, position('"blocker":"'::bytea in e.body) as blocker) p
cross join lateral (
    select case when p.recording > 0 then convert_from(substring(e.body from p.recording + 13 for 36), 'UTF8')
        when p.blocker > 0 then convert_from(substring(e.body from p.blocker + 11 for 36), 'UTF8')
        else substring(convert_from(e.body, 'UTF8') from '"run":"([^"]*)"') end as item) t
join leaf l on l.event_id = e.id
where t.item = any (:ids)
order by t.item, e.id;

-- name: audit_run_steps
-- How many events of single recordings some runs wrote, by their action.
select t.item, t.action, count(*) as n
from event e
cross join lateral (select convert_from(e.body, 'UTF8') as text) b
cross join lateral (
    select substring(b.text from '"run":"([^"]*)"') as item, substring(b.text from '^{"action":"([a-z_.]*)"') as action) t
where e.class in ('import', 'deletion') and position('"recording":"'::bytea in e.body) > 0 and t.item = any (:ids)
group by 1, 2 order by 1, 2;

-- name: audit_hashes$
-- The hashes of some leaves, one behind the other.
select string_agg(leaf_hash, ''::bytea order by seq) from leaf where epoch = :epoch and seq >= :start and seq < :end;

-- name: audit_last_note$
-- An epoch's newest checkpoint.
select note from checkpoint where epoch = :epoch order by size desc limit 1;
