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

-- name: UnfinishedImages :many
SELECT * FROM images WHERE state IN ('Importing', 'Deleting') ORDER BY attempts, created_at LIMIT 100;

-- name: SetImageProgress :many
-- For all images that wait for the digest, because it is fetched once for all of them. Rows that another transaction has locked are skipped,
-- so that this statement and a request that uses the image do not wait for each other.
UPDATE images i SET fetched_bytes = @fetched_bytes::bigint, total_bytes = @total_bytes::bigint
FROM (SELECT w.tenant_id, w.id FROM images w WHERE w.digest = @digest AND w.state = 'Importing' FOR NO KEY UPDATE SKIP LOCKED) waiting
WHERE i.tenant_id = waiting.tenant_id AND i.id = waiting.id RETURNING i.tenant_id;

-- name: SetImageReady :execrows
UPDATE images SET state = 'Ready', message = '', size_bytes = @size_bytes, clone_id = @clone_id, registry_auth = NULL, ready_at = clock_timestamp(),
    fetched_bytes = NULL, total_bytes = NULL
WHERE tenant_id = @tenant_id AND id = @id AND state = 'Importing';

-- name: SetImageTrouble :exec
-- Counts an attempt. The state is Importing if the import will be retried, and Failed if not.
UPDATE images SET state = @state, message = @message, attempts = attempts + 1, fetched_bytes = NULL, total_bytes = NULL
WHERE tenant_id = @tenant_id AND id = @id AND state IN ('Importing', 'Deleting');

-- name: RemoveImage :exec
DELETE FROM images WHERE tenant_id = @tenant_id AND id = @id AND state = 'Deleting';

-- name: Blob :one
SELECT * FROM blobs WHERE digest = @digest;

-- name: InsertBlob :exec
INSERT INTO blobs (digest, size_bytes) VALUES (@digest, @size_bytes) ON CONFLICT (digest) DO NOTHING;

-- name: UnusedBlobs :many
SELECT digest FROM blobs WHERE NOT EXISTS (SELECT 1 FROM images WHERE images.digest = blobs.digest);

-- name: DeleteBlob :execrows
DELETE FROM blobs WHERE blobs.digest = @digest AND NOT EXISTS (SELECT 1 FROM images WHERE images.digest = @digest);

-- name: AllImages :many
SELECT id, digest FROM images;
