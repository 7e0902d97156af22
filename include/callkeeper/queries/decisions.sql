-- name: record_decision$
-- A person's yes; only ever inserted.
insert into decision (subject, action, account, scope) values (:subject, :action, :account, :scope) returning decision;

-- name: find_decision^
-- The last decision on a subject.
select decision, subject, action, account, scope, decided_at from decision
where subject = :subject and action = :action order by decision desc limit 1;
