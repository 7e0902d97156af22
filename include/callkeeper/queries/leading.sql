-- name: lead^
-- Where a ticket's runs stand, for nobody else to change until the transaction ends; works: a run is at work on it, as far as its lease says.
select run, question, stretches, lease_until is not null and lease_until > clock_timestamp() as works from ticket where ticket = :ticket for update;

-- name: led^
-- The same, only to look at it.
select run, question, stretches, lease_until is not null and lease_until > clock_timestamp() as works from ticket where ticket = :ticket;

-- name: lead_alone^
-- Whoever takes the same ticket, or records an answer about it, waits until this connection lets go, or ends.
select pg_advisory_lock(hashtextextended('callkeeper.lead ' || :ticket, 0)) is null as waited;

-- name: let_lead_go$
-- Others may take the ticket, or record an answer about it.
select pg_advisory_unlock(hashtextextended('callkeeper.lead ' || :ticket, 0));

-- name: take_lease!
-- A run carries the ticket from now on, and is at work; leases use the real time.
update ticket set run = :run, stretches = :stretches, question = null, lease_until = clock_timestamp() + make_interval(mins => :minutes)
where ticket = :ticket;

-- name: ask_question!
-- The run that carries the ticket waits for a person's answer, however long that takes; with no question it is done, and another may take over.
update ticket set question = :question, lease_until = null where ticket = :ticket and run = :run;

-- name: count_stretch!
-- A run of that number was refused: the next one has another number.
update ticket set stretches = greatest(stretches, :stretches) where ticket = :ticket;
