-- name: ImageUse :one
SELECT count(*)::integer FROM images WHERE tenant_id = @tenant_id;

-- name: FindImage :one
SELECT * FROM images WHERE tenant_id = @tenant_id AND reference = @reference AND digest = @digest FOR UPDATE;

-- name: ImageByReference :one
-- A reference stands for its newest import, because a tag may have been moved.
SELECT * FROM images WHERE tenant_id = @tenant_id AND (reference = @reference OR id::text = @reference) AND state IN ('Importing', 'Ready')
ORDER BY created_at DESC LIMIT 1 FOR SHARE;

-- name: InsertImage :one
INSERT INTO images (tenant_id, id, reference, digest, state, config, registry_auth)
VALUES (@tenant_id, @id, @reference, @digest, 'Importing', @config, @registry_auth) RETURNING *;

-- name: RetryImage :one
UPDATE images SET state = 'Importing', message = '', attempts = 0, registry_auth = @registry_auth, fetched_bytes = NULL, total_bytes = NULL
WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: Image :one
SELECT * FROM images WHERE tenant_id = @tenant_id AND id = @id;

-- name: Images :many
SELECT * FROM images
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid)
  AND (sqlc.narg(reference)::text IS NULL OR reference = sqlc.narg(reference))
ORDER BY created_at, id LIMIT @max;

-- name: LockImage :one
SELECT * FROM images WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: ImageIsUsed :one
SELECT EXISTS (SELECT 1 FROM image_uses WHERE tenant_id = @tenant_id AND image_id = @image_id);

-- name: SetImageDeleting :exec
UPDATE images SET state = 'Deleting', message = '', registry_auth = NULL, fetched_bytes = NULL, total_bytes = NULL
WHERE tenant_id = @tenant_id AND id = @id;

-- name: UseImage :exec
INSERT INTO image_uses (tenant_id, pod_id, container, image_id) VALUES (@tenant_id, @pod_id, @container, @image_id);

-- name: SetImageProgress :execrows
-- A row that another transaction has locked is skipped, so that this statement and a request that uses the image do not wait for each other.
UPDATE images i SET fetched_bytes = @fetched_bytes::bigint, total_bytes = @total_bytes::bigint
FROM (SELECT w.tenant_id, w.id FROM images w WHERE w.tenant_id = @tenant_id AND w.id = @id AND w.state = 'Importing' FOR NO KEY UPDATE SKIP LOCKED) free
WHERE i.tenant_id = free.tenant_id AND i.id = free.id;

-- name: SetImageReady :execrows
UPDATE images SET state = 'Ready', message = '', size_bytes = @size_bytes, clone_id = @clone_id, clone_header = @clone_header, registry_auth = NULL, ready_at = clock_timestamp(),
    fetched_bytes = NULL, total_bytes = NULL, config = config || jsonb_build_object('setsPrivileges', @sets_privileges::boolean)
WHERE tenant_id = @tenant_id AND id = @id AND state = 'Importing';

-- name: SetImageTrouble :execrows
-- Counts an attempt, unless the state has changed meanwhile. The next state is Importing if the import will be retried, and Failed if not.
UPDATE images SET state = @next_state, message = @message, attempts = attempts + 1, fetched_bytes = NULL, total_bytes = NULL
WHERE tenant_id = @tenant_id AND id = @id AND state = @state;

-- name: RemoveImage :exec
DELETE FROM images WHERE tenant_id = @tenant_id AND id = @id AND state = 'Deleting';

-- name: AllImages :many
SELECT id, digest FROM images;

-- name: ImportingImages :many
SELECT id FROM images WHERE state = 'Importing';
