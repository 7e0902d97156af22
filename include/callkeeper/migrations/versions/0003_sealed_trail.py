"""The sealed trail: epochs, leaves, checkpoints, what of them stands outside the database.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

# What the trail says of itself: heartbeats, epochs, keys, expiries. It never ages.
TRAIL_CLASS = """
insert into event_class values ('trail');
create table event_trail partition of event for values in ('trail') partition by range (at);
select guard_trail('event_trail', false);
select ensure_trail_partitions();
"""

SEALED = """
create table epoch (
    epoch integer primary key check (epoch > 0),
    opened_at timestamptz not null default clock_timestamp(),
    reason text not null check (reason in ('first', 'restored_backup', 'moved_database', 'other')),
    system_identifier text not null
);
comment on table epoch is 'A tree from size 0 on: transaction ids compare only within one. A restore opens the next.';
comment on column epoch.system_identifier is 'The cluster''s, when it was opened: under another one its transaction ids mean nothing.';

create table leaf (
    epoch integer not null references epoch,
    seq bigint not null check (seq >= 0),
    event_id bigint,
    xid xid8,
    class text,
    at timestamptz,
    leaf_hash bytea not null check (length(leaf_hash) = 32),
    primary key (epoch, seq),
    check ((event_id is null) = (class is null) and (event_id is null) = (at is null) and (event_id is null) = (xid is null))
);
create unique index leaf_event on leaf (event_id) where event_id is not null;
comment on table leaf is 'An event''s place in the tree. event_id null: known by its hash only, from the anchor, since a restore lost it.';

create table checkpoint (
    number bigint generated always as identity primary key,
    epoch integer not null references epoch,
    size bigint not null check (size > 0),
    root bytea not null check (length(root) = 32),
    horizon xid8 not null,
    last_xid xid8,
    last_event bigint check ((last_event is null) = (last_xid is null)),
    at timestamptz not null,
    frontier bytea[] not null,
    note text not null,
    unique (epoch, size)
);
comment on table checkpoint is 'What was signed: size and root of the epoch''s tree; frontier: the roots of its full subtrees, the largest first.';
comment on column checkpoint.last_xid is 'With last_event: behind which event, by (xid, id), the next batch begins. null: the note was adopted from the anchor.';

create table anchored (
    number bigint primary key references checkpoint,
    at timestamptz not null default clock_timestamp()
);
comment on table anchored is 'Which checkpoints stand outside the database too.';

create function only_grows() returns trigger language plpgsql as $$
declare last callkeeper.checkpoint;
begin
    select * into last from callkeeper.checkpoint order by epoch desc, size desc limit 1;
    if last.epoch > new.epoch or (last.epoch = new.epoch
        and (last.size >= new.size or last.horizon > new.horizon or last.at > new.at)) then
        raise exception 'a checkpoint goes back' using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger only_grows before insert on checkpoint for each row execute function only_grows();
alter table checkpoint enable always trigger only_grows;

select guard_trail(t, true) from unnest(array['epoch', 'leaf', 'checkpoint', 'anchored']::regclass[]) t;

grant select on epoch, leaf, checkpoint, anchored to callkeeper_app, callkeeper_sealer, callkeeper_ageing, callkeeper_auditor;
grant insert on epoch, leaf, checkpoint, anchored to callkeeper_sealer;
"""


def upgrade() -> None:
    for part in (TRAIL_CLASS, SEALED):
        # psycopg itself: several statements at once, and no reading of % and : as parameters
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        driver.execute(part)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
