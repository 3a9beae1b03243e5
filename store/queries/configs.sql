-- name: ConfigUse :one
SELECT count(*)::integer FROM configs WHERE tenant_id = @tenant_id;

-- name: InsertConfig :one
INSERT INTO configs (tenant_id, id, kind, name, labels, keys, sealed, guest_bytes)
VALUES (@tenant_id, @id, @kind, @name, @labels, @keys, @sealed, @guest_bytes) RETURNING *;

-- name: Config :one
SELECT * FROM configs WHERE tenant_id = @tenant_id AND id = @id;

-- name: Configs :many
SELECT tenant_id, id, kind, name, labels, version, keys, created_at, updated_at FROM configs
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid)
  AND (sqlc.narg(kind)::text IS NULL OR kind = sqlc.narg(kind)) AND (sqlc.narg(name)::text IS NULL OR name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(labels, sqlc.narg(selector)::jsonb))
ORDER BY created_at, id LIMIT @max;

-- name: LockConfig :one
SELECT * FROM configs WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: ConfigToUse :one
-- The lock keeps the object from being changed or deleted until the pod that uses it is stored.
SELECT id, keys, guest_bytes FROM configs WHERE tenant_id = @tenant_id AND kind = @kind AND name = @name FOR SHARE;

-- name: ConfigByName :one
SELECT * FROM configs WHERE tenant_id = @tenant_id AND kind = @kind AND name = @name;

-- name: UseConfig :exec
INSERT INTO config_uses (tenant_id, config_id, pod_id, times) VALUES (@tenant_id, @config_id, @pod_id, @times);

-- name: UpdateConfig :one
UPDATE configs SET labels = @labels, keys = @keys, sealed = @sealed, guest_bytes = @guest_bytes, version = @version, updated_at = clock_timestamp()
WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: PodsOfConfig :many
-- The pods that use an object, locked in the order of their ids.
SELECT p.id, p.name, p.node_id, (p.guest_bytes + u.times::bigint * @growth::integer)::bigint AS guest_bytes
FROM config_uses u JOIN pods p ON p.tenant_id = u.tenant_id AND p.id = u.pod_id
WHERE u.tenant_id = @tenant_id AND u.config_id = @config_id AND p.deletion_requested_at IS NULL
ORDER BY p.id FOR UPDATE OF p;

-- name: LockNodes :exec
SELECT lock_nodes(@ids::uuid[]);

-- name: RenewPodsOfConfig :exec
-- Their nodes get them again. Pods that have ended count too, because they can be started again.
UPDATE pods p SET guest_bytes = p.guest_bytes + u.times * @growth::integer, generation = p.generation + 1
FROM config_uses u WHERE u.tenant_id = @tenant_id AND u.config_id = @config_id AND p.tenant_id = u.tenant_id AND p.id = u.pod_id
  AND p.deletion_requested_at IS NULL;

-- name: ConfigUser :one
SELECT p.name FROM config_uses u JOIN pods p ON p.tenant_id = u.tenant_id AND p.id = u.pod_id
WHERE u.tenant_id = @tenant_id AND u.config_id = @config_id ORDER BY p.name LIMIT 1;

-- name: RemoveConfig :exec
DELETE FROM configs WHERE tenant_id = @tenant_id AND id = @id;

-- name: ConfigsOfNode :many
-- Each object once, however many pods use it.
SELECT c.* FROM configs c WHERE (c.tenant_id, c.id) IN (
    SELECT u.tenant_id, u.config_id FROM config_uses u JOIN pods p ON p.tenant_id = u.tenant_id AND p.id = u.pod_id
    WHERE p.node_id = @node_id::uuid AND (sqlc.narg(ids)::uuid[] IS NULL OR p.id = ANY(sqlc.narg(ids))));

-- name: ConfigUsesOfNode :many
SELECT u.pod_id, u.config_id FROM config_uses u JOIN pods p ON p.tenant_id = u.tenant_id AND p.id = u.pod_id
WHERE p.node_id = @node_id::uuid AND (sqlc.narg(ids)::uuid[] IS NULL OR p.id = ANY(sqlc.narg(ids)));

-- name: ConfigsOfPods :many
SELECT c.* FROM configs c WHERE (c.tenant_id, c.id) IN (SELECT u.tenant_id, u.config_id FROM config_uses u WHERE u.pod_id = ANY(@ids::uuid[]));

-- name: ConfigUsesOfPods :many
SELECT u.pod_id, u.config_id FROM config_uses u WHERE u.pod_id = ANY(@ids::uuid[]);
