-- name: register_key^
-- A key's row; gives it back if it is new or newly retired, nothing if it was as it is.
insert into key (key_id, purpose, created_at, retired_at) values (:key_id, :purpose, :created_at, :retired_at)
on conflict (key_id) do update set retired_at = excluded.retired_at where key.retired_at is distinct from excluded.retired_at
returning key_id;

-- name: record_escrow!
-- An escrow of these keys has been written.
update key set escrowed_at = callkeeper_now() where key_id = any (:key_ids);

-- name: registered_keys
-- Every key that was ever registered, the oldest first.
select key_id, purpose, created_at, retired_at, escrowed_at from key order by created_at, key_id;

-- name: numbers_awaited$
-- Whether a hold, freeze or objection waits for calls of a number: it knows the number under the keys of its own day only.
select exists (select from blocker where ended_at is null and cardinality(pseudonyms) > 0)
    or exists (select from suppression where kind = 'caller');
