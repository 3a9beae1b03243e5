-- name: VolumeUse :one
-- Snapshots count with the size that their volume had.
SELECT (SELECT count(*) FROM volumes v WHERE v.tenant_id = t.id)::integer AS volumes,
    (SELECT count(*) FROM snapshots s WHERE s.tenant_id = t.id)::integer AS snapshots,
    ((SELECT COALESCE(sum(size_gib), 0) FROM volumes v WHERE v.tenant_id = t.id) + (SELECT COALESCE(sum(size_gib), 0) FROM snapshots s WHERE s.tenant_id = t.id))::integer AS gib
FROM tenants t WHERE t.id = @tenant_id;

-- name: InsertVolume :one
INSERT INTO volumes (tenant_id, id, name, labels, size_gib, state, snapshot_id, flatten, fs_type, class, upload_until, snapshot_minutes, snapshot_keep, snapshot_next, key_id)
VALUES (@tenant_id, @id, @name, @labels, @size_gib, 'Creating', @snapshot_id, @flatten, @fs_type,
    COALESCE(sqlc.narg(class), (SELECT d.name FROM volume_classes d WHERE d.is_default)),
    clock_timestamp() + make_interval(secs => sqlc.narg(upload_seconds)::double precision), @snapshot_minutes::integer, @snapshot_keep,
    CASE WHEN @snapshot_minutes::integer > 0 THEN clock_timestamp() + make_interval(mins => @snapshot_minutes::integer) END, @key_id)
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
UPDATE volumes SET state = 'Deleting', message = '', upload_until = NULL WHERE tenant_id = @tenant_id AND id = @id;

-- name: ClaimVolume :execrows
INSERT INTO volume_claims (tenant_id, volume_id, pod_id) VALUES (@tenant_id, @volume_id, @pod_id)
ON CONFLICT (tenant_id, volume_id) DO NOTHING;

-- name: VolumeClaim :one
SELECT pod_id FROM volume_claims WHERE tenant_id = @tenant_id AND volume_id = @volume_id;

-- name: ReleaseClaims :exec
-- Also of snapshots.
WITH uses AS (DELETE FROM snapshot_uses s WHERE s.tenant_id = @tenant_id AND s.pod_id = @pod_id)
DELETE FROM volume_claims c WHERE c.tenant_id = @tenant_id AND c.pod_id = @pod_id;

-- name: SetVolumeAvailable :execrows
UPDATE volumes SET state = 'Available', message = '', upload_until = NULL, rbd_id = @rbd_id, rbd_header = @rbd_header, image_gib = NULL, old_snapshot_id = NULL,
    snapshot_id = CASE WHEN flatten THEN NULL ELSE snapshot_id END, flatten = false
WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating';

-- name: SetVolumeRestoring :exec
-- The RBD image is replaced by a clone of the snapshot.
UPDATE volumes SET state = 'Creating', message = '', old_snapshot_id = snapshot_id, snapshot_id = @snapshot_id::uuid, flatten = false, key_id = @key_id WHERE tenant_id = @tenant_id AND id = @id;

-- name: SetVolumeSize :one
UPDATE volumes SET image_gib = COALESCE(image_gib, size_gib), size_gib = @size_gib, message = '' WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: SetVolumeGrown :one
-- The size of the RBD image as it is now, with its header.
UPDATE volumes SET image_gib = @image_gib, rbd_header = @rbd_header, message = '' WHERE tenant_id = @tenant_id AND id = @id AND state = 'Available' AND rbd_id = @rbd_id
RETURNING *;

-- name: VolumeResized :many
-- Tells the node of the pod that uses a volume about the new size of the volume.
WITH on_its_node AS (
    SELECT p.node_id, p.id FROM volume_claims c JOIN pods p ON p.tenant_id = c.tenant_id AND p.id = c.pod_id
    WHERE c.tenant_id = @tenant_id AND c.volume_id = @volume_id AND on_node(p)
)
SELECT n.node_id::uuid AS node_id FROM on_its_node n, LATERAL record_desired_change(n.node_id, n.id);

-- name: VolumesOfNode :many
-- What a node needs to know of the volumes of its pods: all, or those of the pods with these ids.
SELECT c.pod_id, v.id, COALESCE(v.image_gib, v.size_gib)::integer AS image_gib, v.fs_type, k.iops, k.mib_per_second, v.tenant_id, d.id AS key_id, d.sealed FROM pods p
JOIN volume_claims c ON c.tenant_id = p.tenant_id AND c.pod_id = p.id JOIN volumes v ON v.tenant_id = c.tenant_id AND v.id = c.volume_id
LEFT JOIN volume_classes k ON k.name = v.class LEFT JOIN disk_keys d ON d.tenant_id = v.tenant_id AND d.id = v.key_id
WHERE p.node_id = @node_id::uuid AND (sqlc.narg(ids)::uuid[] IS NULL OR p.id = ANY(sqlc.narg(ids)::uuid[]));

-- name: VolumesOfPods :many
-- The same, of pods on any node.
SELECT c.pod_id, v.id, COALESCE(v.image_gib, v.size_gib)::integer AS image_gib, v.fs_type, k.iops, k.mib_per_second, v.tenant_id, d.id AS key_id, d.sealed FROM volume_claims c
JOIN volumes v ON v.tenant_id = c.tenant_id AND v.id = c.volume_id LEFT JOIN volume_classes k ON k.name = v.class
LEFT JOIN disk_keys d ON d.tenant_id = v.tenant_id AND d.id = v.key_id
WHERE c.pod_id = ANY(@ids::uuid[]);

-- name: SetVolumeMessage :exec
UPDATE volumes SET message = @message WHERE tenant_id = @tenant_id AND id = @id;

-- name: RemoveVolume :exec
DELETE FROM volumes WHERE tenant_id = @tenant_id AND id = @id AND state = 'Deleting';

-- name: AllVolumeIDs :many
SELECT id FROM volumes;

-- name: SetVolumeSchedule :exec
UPDATE volumes SET snapshot_minutes = @minutes::integer, snapshot_keep = @keep::integer,
    snapshot_next = CASE WHEN @minutes::integer > 0 THEN clock_timestamp() + make_interval(mins => @minutes::integer) END
WHERE tenant_id = @tenant_id AND id = @id;

-- name: VolumesDue :many
-- Volumes whose schedule asks for a snapshot now.
SELECT tenant_id, id FROM volumes WHERE snapshot_next <= clock_timestamp() AND state = 'Available' ORDER BY snapshot_next LIMIT @max;

-- name: AdvanceSchedule :one
-- Sets the next run of a schedule that is due. Runs that were missed are skipped.
UPDATE volumes SET snapshot_next = snapshot_next
    + make_interval(mins => snapshot_minutes * (1 + floor(EXTRACT(epoch FROM clock_timestamp() - snapshot_next) / 60 / snapshot_minutes)::integer))
WHERE tenant_id = @tenant_id AND id = @id AND snapshot_next <= clock_timestamp() AND state = 'Available' RETURNING *;

-- name: SetVolumeClass :exec
UPDATE volumes SET class = @class WHERE tenant_id = @tenant_id AND id = @id;

-- name: VolumeClasses :many
SELECT sqlc.embed(k), (SELECT count(*) FROM volumes v WHERE v.class = k.name)::integer AS volumes,
    (SELECT COALESCE(sum(v.size_gib), 0) FROM volumes v WHERE v.class = k.name)::bigint AS gib
FROM volume_classes k WHERE sqlc.narg(name)::text IS NULL OR k.name = sqlc.narg(name) ORDER BY k.name;

-- name: PutVolumeClass :exec
INSERT INTO volume_classes (name, iops, mib_per_second, is_default) VALUES (@name, @iops, @mib_per_second, @is_default)
ON CONFLICT (name) DO UPDATE SET iops = EXCLUDED.iops, mib_per_second = EXCLUDED.mib_per_second, is_default = EXCLUDED.is_default;

-- name: UnsetDefaultVolumeClass :exec
UPDATE volume_classes SET is_default = false WHERE is_default AND name <> @other_than;

-- name: DeleteVolumeClass :execrows
DELETE FROM volume_classes WHERE name = @name;

-- name: SetVolumeProgress :execrows
UPDATE volumes SET percent = @percent WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating' AND flatten;

-- name: RenewUpload :execrows
-- Not if the upload has ended for the leader.
UPDATE volumes SET upload_until = clock_timestamp() + make_interval(secs => @seconds::double precision)
WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating' AND upload_until > clock_timestamp();

-- name: EndUpload :execrows
UPDATE volumes SET state = 'Deleting', message = '', upload_until = NULL WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating' AND upload_until IS NOT NULL;

-- name: UploadsToEnd :many
-- Uploads that nobody continues.
SELECT tenant_id, id FROM volumes WHERE upload_until <= clock_timestamp() ORDER BY upload_until LIMIT @max;

-- name: SetUploaded :execrows
UPDATE volumes SET fs_type = @fs_type WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating' AND upload_until IS NOT NULL;

-- name: InsertDiskKey :exec
INSERT INTO disk_keys (tenant_id, id, sealed) VALUES (@tenant_id, @id, @sealed);

-- name: DiskKey :one
SELECT * FROM disk_keys WHERE tenant_id = @tenant_id AND id = @id;

-- name: ForgetDiskKeys :exec
-- Without its passphrase, nobody can read what is left of a disk.
DELETE FROM disk_keys k WHERE k.tenant_id = @tenant_id
    AND NOT EXISTS (SELECT FROM volumes v WHERE v.tenant_id = k.tenant_id AND v.key_id = k.id)
    AND NOT EXISTS (SELECT FROM snapshots s WHERE s.tenant_id = k.tenant_id AND s.key_id = k.id);

-- name: VolumeClassUse :many
-- GiB of a tenant's volumes by class, of those that have one.
SELECT class::text AS class, sum(size_gib)::bigint AS gib FROM volumes WHERE tenant_id = @tenant_id AND class IS NOT NULL GROUP BY class ORDER BY class;
