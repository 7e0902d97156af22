"""Every right: what outlasts its ticket, what is put right, where a run stands.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"

RIGHTS = """
alter table ticket
    add column stretches integer not null default 0 check (stretches >= 0),
    add column question text check (question in ('decide', 'second', 'release', 'deliver')),
    add column standing uuid references blocker,
    add column lifts_on date,
    add column asked text[] check (asked <@ array['numbers', 'period', 'calls', 'which', 'what_is_wrong', 'situation']),
    add column lift_reason text check (lift_reason in ('accurate', 'corrected', 'decided', 'not_needed', 'asked')),
    add constraint ticket_lifting check ((lifts_on is null) = (lift_reason is null));
comment on column ticket.run is 'The Airflow run that carries the ticket now; an answer given to any other does not count.';
comment on column ticket.stretches is 'How many runs have carried it; the next is <ticket>--<stretches + 1>.';
comment on column ticket.question is 'What the run has asked a person, and waits for.';
comment on column ticket.asked is 'What the person was asked to make clear, as codes.';
comment on column ticket.standing is 'The restriction that outlasts the ticket, until it is lifted (GDPR Art. 18(3)).';

create table ticket_correction (
    ticket text not null references ticket,
    recording uuid not null,
    what text not null check (what in ('number', 'time', 'line', 'statement')),
    sealed_before bytea,
    sealed_after bytea,
    applied_at timestamptz,
    primary key (ticket, recording, what)
);
comment on table ticket_correction is 'What a rectification puts right (GDPR Art. 16): sealed, bound to the ticket, gone with it.';
grant select, insert, update, delete on ticket_correction to callkeeper_app;

alter table suppression add column ticket text references ticket;
comment on column suppression.ticket is 'Of a caller: the objection that was upheld; who reviews it finds it by that.';
create index suppression_ticket on suppression (ticket) where ticket is not null;

-- The application may add to the suppression and change nothing of it: an objection's marks go, or stay longer, by these two only. Each
-- asks for the decision's row itself, of the same transaction.
create function decided_now(of_ticket text, as_action text) returns boolean
language sql stable set search_path = callkeeper, pg_temp
return exists (select from decision where subject = of_ticket and action = as_action and decided_at = callkeeper_now());

create function suppress_callers(of_ticket text, marks bytea[], mark_keys text[], until date) returns bigint
language plpgsql security definer set search_path = callkeeper, pg_temp as $$
declare n bigint;
begin
    if not exists (select from decision where subject = of_ticket and action = 'dsr_second') then
        raise exception 'two people uphold an objection' using errcode = 'insufficient_privilege';
    end if;
    -- Whose review was past: from now on anew. What nobody looks at again stays so.
    insert into suppression as p (kind, mark, mark_key, since, review_on, ticket)
        select 'caller', m.mark, m.key, callkeeper_now(), until, of_ticket from unnest(marks, mark_keys) m (mark, key)
    on conflict (kind, mark) do update set ticket = excluded.ticket,
        since = case when p.review_on < helsinki_day(callkeeper_now()) then excluded.since else p.since end,
        review_on = case when p.review_on is not null then greatest(p.review_on, excluded.review_on) end;
    get diagnostics n = row_count;
    return n;
end $$;

create function review_callers(of_ticket text, until date) returns bigint
language plpgsql security definer set search_path = callkeeper, pg_temp as $$
declare n bigint;
begin
    if not decided_now(of_ticket, 'dsr_suppression') then
        raise exception 'a person reviews an objection' using errcode = 'insufficient_privilege';
    end if;
    if until is null then
        delete from suppression where kind = 'caller' and ticket = of_ticket;
    else
        update suppression set review_on = until where kind = 'caller' and ticket = of_ticket;
    end if;
    get diagnostics n = row_count;
    return n;
end $$;
revoke execute on function decided_now, suppress_callers, review_callers from public;
grant execute on function decided_now, suppress_callers, review_callers to callkeeper_app;

alter table recording add column rectified text references ticket;
comment on column recording.rectified is 'The request that put this row right: the vendor''s own word does not undo it.';
"""


def upgrade() -> None:
    # psycopg itself: several statements at once, and no reading of % and : as parameters
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(RIGHTS)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: going back would lose the trail.")
