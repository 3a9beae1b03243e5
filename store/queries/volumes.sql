-- name: VolumeUse :one
SELECT count(*)::integer AS volumes, COALESCE(sum(size_gib), 0)::integer AS gib FROM volumes WHERE tenant_id = @tenant_id;

-- name: InsertVolume :one
INSERT INTO volumes (tenant_id, id, name, labels, size_gib, state) VALUES (@tenant_id, @id, @name, @labels, @size_gib, 'Creating')
RETURNING *;

-- name: Volume :one
SELECT sqlc.embed(volumes), volume_claims.pod_id FROM volumes
LEFT JOIN volume_claims ON volume_claims.tenant_id = volumes.tenant_id AND volume_claims.volume_id = volumes.id
WHERE volumes.tenant_id = @tenant_id AND volumes.id = @id;

-- name: Volumes :many
SELECT sqlc.embed(volumes), volume_claims.pod_id FROM volumes
LEFT JOIN volume_claims ON volume_claims.tenant_id = volumes.tenant_id AND volume_claims.volume_id = volumes.id
WHERE volumes.tenant_id = @tenant_id AND (volumes.created_at, volumes.id) > (@after_time::timestamptz, @after_id::uuid)
  AND (sqlc.narg(name)::text IS NULL OR volumes.name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(volumes.labels, sqlc.narg(selector)::jsonb))
ORDER BY volumes.created_at, volumes.id LIMIT @max;

-- name: LockVolume :one
SELECT * FROM volumes WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: SetVolumeDeleting :exec
UPDATE volumes SET state = 'Deleting', message = '' WHERE tenant_id = @tenant_id AND id = @id;

-- name: ClaimVolume :execrows
INSERT INTO volume_claims (tenant_id, volume_id, pod_id) VALUES (@tenant_id, @volume_id, @pod_id)
ON CONFLICT (tenant_id, volume_id) DO NOTHING;

-- name: VolumeClaim :one
SELECT pod_id FROM volume_claims WHERE tenant_id = @tenant_id AND volume_id = @volume_id;

-- name: ReleaseClaims :exec
DELETE FROM volume_claims WHERE tenant_id = @tenant_id AND pod_id = @pod_id;

-- name: SetVolumeAvailable :execrows
UPDATE volumes SET state = 'Available', message = '', rbd_id = @rbd_id, rbd_header = @rbd_header WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating';

-- name: SetVolumeMessage :exec
UPDATE volumes SET message = @message WHERE tenant_id = @tenant_id AND id = @id;

-- name: RemoveVolume :exec
DELETE FROM volumes WHERE tenant_id = @tenant_id AND id = @id AND state = 'Deleting';

-- name: AllVolumeIDs :many
SELECT id FROM volumes;
