-- name: GroupUse :one
SELECT count(*)::integer FROM security_groups WHERE tenant_id = @tenant_id;

-- name: RuleNumbers :many
SELECT nextval('security_rule_numbers')::bigint AS number FROM generate_series(1, @count::integer);

-- name: InsertGroup :one
INSERT INTO security_groups (tenant_id, id, name, labels, selector, restricts, rules)
VALUES (@tenant_id, @id, @name, @labels, @selector, @restricts, @rules) RETURNING *;

-- name: GroupByID :one
SELECT * FROM security_groups WHERE tenant_id = @tenant_id AND id = @id;

-- name: GroupsNamed :many
-- Those of the names that exist.
SELECT name FROM security_groups WHERE tenant_id = @tenant_id AND name = ANY(@names::text[]);

-- name: Groups :many
SELECT * FROM security_groups
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid) AND (sqlc.narg(name)::text IS NULL OR name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(labels, sqlc.narg(selector)::jsonb))
ORDER BY created_at, id LIMIT @max;

-- name: UpdateGroup :one
UPDATE security_groups SET labels = @labels, selector = @selector, restricts = @restricts, rules = @rules
WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: RemoveGroup :exec
DELETE FROM security_groups WHERE tenant_id = @tenant_id AND id = @id;

-- name: GroupUsers :many
-- The pods, services and groups that name a group, except the group itself. At most three.
SELECT u.user_name::text FROM (
    SELECT 'pod ' || p.name AS user_name FROM pods p WHERE p.tenant_id = @tenant_id AND @name::text = ANY(p.security_groups)
    UNION ALL
    SELECT 'service ' || s.name FROM services s WHERE s.tenant_id = @tenant_id AND @name::text = ANY(s.security_groups)
    UNION ALL
    SELECT 'security group ' || g.name FROM security_groups g WHERE g.tenant_id = @tenant_id AND g.name <> @name
        AND g.rules @> jsonb_build_array(jsonb_build_object('peers', jsonb_build_array(jsonb_build_object('group', @name::text))))
) u LIMIT 3;

-- name: GroupsOfTenants :many
SELECT * FROM security_groups WHERE tenant_id = ANY(@tenants::uuid[]) ORDER BY tenant_id, name;

-- name: GroupPods :many
-- The pods of those of these tenants that have groups.
SELECT p.tenant_id, p.id, p.labels, p.security_groups FROM pods p
WHERE p.tenant_id IN (SELECT g.tenant_id FROM security_groups g WHERE g.tenant_id = ANY(@tenants::uuid[])) ORDER BY p.tenant_id, p.id;

-- name: ServicesWithGroups :many
-- The services of these tenants that name groups.
SELECT tenant_id, selector, security_groups FROM services WHERE tenant_id = ANY(@tenants::uuid[]) AND security_groups <> '{}';

-- name: RecordRuleCounts :exec
-- What rules have allowed on a node, of tenants with pods there: a node says nothing about others. A counter that is lower than before has begun
-- again.
INSERT INTO security_counters AS s (tenant_id, group_id, number, node_id, packets, bytes, last_packets, last_bytes)
SELECT g.tenant_id, g.id, c.number, @node_id::uuid, c.packets, c.bytes, c.packets, c.bytes
FROM (SELECT unnest(@numbers::bigint[]) AS number, unnest(@packets::bigint[]) AS packets, unnest(@bytes::bigint[]) AS bytes) c
JOIN security_groups g ON g.rules @> jsonb_build_array(jsonb_build_object('number', c.number))
WHERE EXISTS (SELECT 1 FROM placements l WHERE l.tenant_id = g.tenant_id AND l.node_id = @node_id::uuid)
ON CONFLICT (tenant_id, group_id, number, node_id) DO UPDATE SET
    packets = s.packets + CASE WHEN EXCLUDED.last_packets >= s.last_packets THEN EXCLUDED.last_packets - s.last_packets ELSE EXCLUDED.last_packets END,
    bytes = s.bytes + CASE WHEN EXCLUDED.last_bytes >= s.last_bytes THEN EXCLUDED.last_bytes - s.last_bytes ELSE EXCLUDED.last_bytes END,
    last_packets = EXCLUDED.last_packets, last_bytes = EXCLUDED.last_bytes;

-- name: RecordDropCounts :exec
-- What groups have dropped on a node, in the same way. The number says the direction.
INSERT INTO security_counters AS s (tenant_id, group_id, number, node_id, packets, bytes, last_packets, last_bytes)
SELECT g.tenant_id, g.id, c.number, @node_id::uuid, c.packets, c.bytes, c.packets, c.bytes
FROM (SELECT unnest(@groups::uuid[]) AS group_id, unnest(@numbers::bigint[]) AS number, unnest(@packets::bigint[]) AS packets, unnest(@bytes::bigint[]) AS bytes) c
JOIN security_groups g ON g.id = c.group_id
WHERE EXISTS (SELECT 1 FROM placements l WHERE l.tenant_id = g.tenant_id AND l.node_id = @node_id::uuid)
ON CONFLICT (tenant_id, group_id, number, node_id) DO UPDATE SET
    packets = s.packets + CASE WHEN EXCLUDED.last_packets >= s.last_packets THEN EXCLUDED.last_packets - s.last_packets ELSE EXCLUDED.last_packets END,
    bytes = s.bytes + CASE WHEN EXCLUDED.last_bytes >= s.last_bytes THEN EXCLUDED.last_bytes - s.last_bytes ELSE EXCLUDED.last_bytes END,
    last_packets = EXCLUDED.last_packets, last_bytes = EXCLUDED.last_bytes;

-- name: RecordDrops :exec
-- Packets of pods on the node.
INSERT INTO security_drops (tenant_id, group_id, at, direction, pod_id, protocol, source, source_port, destination, destination_port)
SELECT g.tenant_id, g.id, d.at, d.direction, d.pod_id, d.protocol, d.source, d.source_port, d.destination, d.destination_port
FROM (SELECT unnest(@groups::uuid[]) AS group_id, unnest(@ats::timestamptz[]) AS at, unnest(@directions::text[]) AS direction, unnest(@pods::uuid[]) AS pod_id,
    unnest(@protocols::text[]) AS protocol, unnest(@sources::inet[]) AS source, unnest(@source_ports::integer[]) AS source_port,
    unnest(@destinations::inet[]) AS destination, unnest(@destination_ports::integer[]) AS destination_port) d
JOIN security_groups g ON g.id = d.group_id
WHERE EXISTS (SELECT 1 FROM placements l WHERE l.tenant_id = g.tenant_id AND l.pod_id = d.pod_id AND l.node_id = @node_id::uuid);

-- name: TrimDrops :exec
-- Keeps the latest packets of these groups.
DELETE FROM security_drops d USING security_groups g
WHERE g.id = ANY(@groups::uuid[]) AND d.tenant_id = g.tenant_id AND d.group_id = g.id
  AND d.id <= (SELECT l.id FROM security_drops l WHERE l.tenant_id = g.tenant_id AND l.group_id = g.id ORDER BY l.id DESC OFFSET @keep LIMIT 1);

-- name: GroupCounters :many
SELECT tenant_id, group_id, number, sum(packets)::bigint AS packets, sum(bytes)::bigint AS bytes FROM security_counters
WHERE tenant_id = ANY(@tenants::uuid[]) AND (sqlc.narg(group_id)::uuid IS NULL OR group_id = sqlc.narg(group_id)) GROUP BY tenant_id, group_id, number ORDER BY tenant_id, group_id, number;

-- name: GroupDrops :many
SELECT * FROM security_drops WHERE tenant_id = @tenant_id AND group_id = @group_id ORDER BY id DESC LIMIT 100;

-- name: DropRuleCounters :exec
-- Deletes the counters of rules that a group does not have any more.
DELETE FROM security_counters WHERE tenant_id = @tenant_id AND group_id = @group_id AND number > 0 AND number <> ALL(@numbers::bigint[]);
