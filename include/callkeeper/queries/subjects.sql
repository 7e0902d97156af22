-- name: add_subject_salt!
-- A ticket's salt; the one that it has, or had, stays.
insert into subject_salt (ticket, salt) values (:ticket, :salt) on conflict (ticket) do nothing;

-- name: subject_salt$
-- A ticket's salt; null: it is erased.
select salt from subject_salt where ticket = :ticket;

-- name: erase_subject_salt!
-- Erases a ticket's salt.
update subject_salt set salt = null, erased_at = callkeeper_now() where ticket = :ticket and salt is not null;
