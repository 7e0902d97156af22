-- name: place_blocker!
-- One predicate row; what it covers is worked out afterwards.
insert into blocker (blocker, kind, case_ref, recordings, pseudonyms, line, controller, from_at, to_at, placed_by, review_on)
values (:blocker, :kind, :case_ref, :recordings, :pseudonyms, :line, :controller, :from_at, :to_at, :placed_by, :review_on);

-- name: cover_live!
-- The live recordings that a blocker covers.
insert into blocker_cover (blocker, recording)
select b.blocker, r.recording from blocker b join recording r on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
where b.blocker = :blocker
on conflict do nothing;
