-- name: past_months
-- Months of the trail, oldest first, whose bodies are past their term and still here.
select class as event_class, month from past_months();

-- name: expiry^
-- How many bodies a class's month has, the digest of their leaves, and why they may not go; null: they may.
select count, digest, why_not from expiry(:event_class, :month::date);

-- name: expire_bodies$
-- Drops a class's month of bodies, with the event that says so; returns how many there were.
select expire_bodies(:event_class, :month::date, :body);

-- name: expire_marks$
-- Drops the marks of deleted recordings that nothing needs any more; how many.
select expire_marks();
