-- name: InsertJoinToken :exec
-- A commit whose outcome is unknown is tried again with the same token.
INSERT INTO join_tokens (hash, expires_at, readmits) VALUES (@hash, @expires_at, sqlc.narg(readmits)) ON CONFLICT (hash) DO NOTHING;

-- name: LockJoinToken :one
SELECT * FROM join_tokens WHERE hash = @hash AND expires_at > now() FOR UPDATE;

-- name: UseJoinToken :exec
UPDATE join_tokens SET used_at = clock_timestamp(), node_id = @node_id::uuid WHERE hash = @hash;

-- name: InsertNode :one
INSERT INTO nodes (id, name) VALUES (@id, @name) RETURNING *;

-- name: Node :one
SELECT * FROM nodes WHERE id = @id;

-- name: LockNode :one
SELECT * FROM nodes WHERE id = @id FOR UPDATE;

-- name: Nodes :many
SELECT * FROM nodes ORDER BY name;

-- name: NodeRooms :many
SELECT id, name, state, version, cpu_millis, memory_mib, allocated_cpu_millis, allocated_memory_mib, vmm_overhead_mib FROM nodes ORDER BY name;

-- name: DeleteNode :execrows
DELETE FROM nodes WHERE id = @id;

-- name: NodeHasPods :one
SELECT EXISTS (SELECT 1 FROM pods WHERE node_id = @node_id::uuid);

-- name: Heartbeat :one
-- Capacity never falls below what is allocated, so that a node that lost memory keeps its pods and gets no new ones.
-- The version moves only when capacity does, or else every heartbeat would spoil a placement under way.
UPDATE nodes n SET heartbeat_at = clock_timestamp(), state = 'Ready', endpoint = @endpoint,
    cpu_millis = GREATEST(@cpu_millis::integer, n.allocated_cpu_millis), memory_mib = GREATEST(@memory_mib::integer, n.allocated_memory_mib),
    vmm_overhead_mib = @vmm_overhead_mib,
    version = n.version + CASE WHEN (n.state, n.cpu_millis, n.memory_mib, n.vmm_overhead_mib) IS DISTINCT FROM
        ('Ready', GREATEST(@cpu_millis::integer, n.allocated_cpu_millis), GREATEST(@memory_mib::integer, n.allocated_memory_mib), @vmm_overhead_mib::integer) THEN 1 ELSE 0 END
FROM (SELECT o.id, o.state FROM nodes o WHERE o.id = @id FOR UPDATE) old
WHERE n.id = old.id
RETURNING old.state, EXISTS (SELECT 1 FROM pods WHERE pods.node_id = n.id AND pods.phase = 'Unknown') AS has_unknown_pods;

-- name: SetNodeLost :execrows
-- Only if no heartbeat came since the one that was judged.
UPDATE nodes SET state = 'Lost', version = version + 1 WHERE id = @id AND state = 'Ready' AND heartbeat_at = @heartbeat_at;

-- name: DesiredRevision :one
SELECT desired_revision FROM nodes WHERE id = @id;
