-- name: MakePartitions :one
SELECT make_partitions()::integer AS made;

-- name: DropPartitions :one
SELECT (drop_partitions('events', interval '14 days') + drop_partitions('usage_traffic', interval '62 days'))::integer AS dropped;

-- name: RowsOutsidePartitions :many
SELECT o.tab::text AS tab, o.n::bigint AS n FROM rows_outside_partitions() o;
