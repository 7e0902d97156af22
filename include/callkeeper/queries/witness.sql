-- name: witnessed_start$
-- Whether the listener saw this task begin, in the last day.
select exists (
    select from event e, lateral (select convert_from(e.body, 'UTF8')::jsonb as said) b
    where e.class = 'run' and e.at > callkeeper_now() - interval '1 day'
      and b.said ->> 'action' = 'task.started'
      and b.said -> 'actor' @> jsonb_build_object('dag', :dag::text, 'run', :run::text, 'task', :task::text, 'attempt', :attempt::integer));
