-- name: InsertEvent :exec
INSERT INTO events (tenant_id, kind, object_id, reason, message) VALUES (@tenant_id, @kind, @object_id, @reason, @message);

-- name: InsertContainerEvent :exec
-- The guest decides what happens to containers and how often, so a pod gets at most 60 such events in a minute.
INSERT INTO events (tenant_id, kind, object_id, reason, message) SELECT @tenant_id, 'pod', @object_id, @reason, @message
WHERE (SELECT count(*) FROM (SELECT 1 FROM events e WHERE e.tenant_id = @tenant_id AND e.object_id = @object_id
    AND e.at > clock_timestamp() - interval '1 minute' LIMIT 60) recent) < 60;

-- name: InsertEvents :exec
-- The same event for many objects.
INSERT INTO events (tenant_id, kind, object_id, reason) SELECT e.tenant_id, @kind, e.object_id, @reason
FROM (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@object_ids::uuid[]) AS object_id) e;

-- name: Events :many
SELECT * FROM events
WHERE tenant_id = @tenant_id AND (at, id) > (@after_time::timestamptz, @after_id::uuid)
  AND (sqlc.narg(kind)::text IS NULL OR kind = sqlc.narg(kind)) AND (sqlc.narg(object_id)::uuid IS NULL OR object_id = sqlc.narg(object_id))
ORDER BY at, id LIMIT @max;

-- name: InsertAuditEntry :exec
INSERT INTO audit (id, tenant_id, operation, object_kind, object_id, actor_kind, actor_id, actor_name, key_id, address, request_id, detail)
VALUES (@id, sqlc.narg(tenant_id), @operation, @object_kind, @object_id, @actor_kind, @actor_id, @actor_name, sqlc.narg(key_id), sqlc.narg(address), @request_id, @detail);

-- name: AuditEntries :many
SELECT * FROM audit WHERE (at, id) < (@before_time::timestamptz, @before_id::uuid) AND (at, id) >= (@down_to_time::timestamptz, @down_to_id::uuid)
  AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
  AND (sqlc.narg(from_time)::timestamptz IS NULL OR at >= sqlc.narg(from_time))
  AND (sqlc.narg(to_time)::timestamptz IS NULL OR at < sqlc.narg(to_time))
  AND (@operation::text = '' OR operation = @operation)
  AND (@actor::text = '' OR actor_name = @actor OR actor_id::text = @actor)
ORDER BY at DESC, id DESC LIMIT @max;

-- name: AuditWindow :one
-- The entry after the next @skipped ones. No index has operations and actors, so a page is looked for in a window of so many entries.
SELECT at, id FROM audit WHERE (at, id) < (@before_time::timestamptz, @before_id::uuid)
  AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
  AND (sqlc.narg(from_time)::timestamptz IS NULL OR at >= sqlc.narg(from_time))
  AND (sqlc.narg(to_time)::timestamptz IS NULL OR at < sqlc.narg(to_time))
ORDER BY at DESC, id DESC OFFSET @skipped LIMIT 1;
