-- name: lock_form^
-- Whoever sends the same form meanwhile waits until the connection ends.
select pg_advisory_lock(hashtextextended('callkeeper.form.' || encode(:form::bytea, 'hex'), 0)) is null as waited;

-- name: find_form^
-- A form that was sent before, and where it led.
select leads_to from desk_form where form = :form;

-- name: note_form!
-- A form is sent; those of yesterday are forgotten.
with old as (delete from desk_form where sent_at < now() - interval '1 day')
insert into desk_form (form, account) values (:form, :account);

-- name: form_leads_to!
-- What it was sent for is done.
update desk_form set leads_to = :leads_to where form = :form;

-- name: forget_form!
-- It was refused: nothing was done, and it may be sent again.
delete from desk_form where form = :form;
