-- name: InsertSnapshot :one
INSERT INTO snapshots (tenant_id, id, name, labels, volume_id, volume_name, size_gib, fs_type, scheduled, consistent, key_id)
VALUES (@tenant_id, @id, @name, @labels, @volume_id, @volume_name, @size_gib, @fs_type, @scheduled, @consistent, @key_id) RETURNING *;

-- name: Snapshot :one
SELECT * FROM snapshots WHERE tenant_id = @tenant_id AND id = @id;

-- name: LockSnapshot :one
SELECT * FROM snapshots WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: Snapshots :many
SELECT * FROM snapshots
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid)
  AND (sqlc.narg(name)::text IS NULL OR name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(labels, sqlc.narg(selector)::jsonb))
ORDER BY created_at, id LIMIT @max;

-- name: SnapshotsInProgress :many
-- The snapshots of a volume that still need the volume.
SELECT * FROM snapshots WHERE tenant_id = @tenant_id AND volume_id = @volume_id AND (state = 'Creating' OR rados_id IS NOT NULL) ORDER BY name;

-- name: VolumesOfSnapshot :many
-- The names of the volumes that share the data of a snapshot.
SELECT name FROM volumes WHERE tenant_id = @tenant_id AND (snapshot_id = @snapshot_id::uuid OR old_snapshot_id = @snapshot_id::uuid) ORDER BY name;

-- name: SetSnapshotDeleting :exec
UPDATE snapshots SET state = 'Deleting', message = '' WHERE tenant_id = @tenant_id AND id = @id;

-- name: SetSnapshotNumber :execrows
UPDATE snapshots SET rados_id = @rados_id, taken_at = NULL, percent = 0 WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating';

-- name: SetSnapshotTaken :execrows
UPDATE snapshots SET taken_at = clock_timestamp(), message = '' WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating';

-- name: SetSnapshotProgress :execrows
UPDATE snapshots SET percent = @percent WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating';

-- name: SetSnapshotReady :execrows
UPDATE snapshots SET state = 'Ready', rados_id = NULL, percent = 100, message = '', rbd_id = @rbd_id WHERE tenant_id = @tenant_id AND id = @id AND state = 'Creating';

-- name: SetSnapshotMessage :exec
UPDATE snapshots SET message = @message, state = CASE WHEN @failed::boolean AND state = 'Creating' THEN 'Failed' ELSE state END
WHERE tenant_id = @tenant_id AND id = @id;

-- name: DeleteSnapshot :execrows
DELETE FROM snapshots WHERE tenant_id = @tenant_id AND id = @id AND state = 'Deleting';

-- name: AllSnapshotIDs :many
SELECT id FROM snapshots;

-- name: BeginSnapshot :exec
WITH begun AS (
    INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, size_gib, started_at)
    SELECT s.tenant_id, 'snapshot', s.id, s.name, s.labels, s.size_gib, clock_timestamp() FROM snapshots s WHERE s.tenant_id = @tenant_id AND s.id = @id
    RETURNING id, tenant_id
)
INSERT INTO usage_open SELECT id, tenant_id FROM begun;

-- name: EndSnapshot :exec
WITH ended AS (
    INSERT INTO usage_ends (interval_id, tenant_id, ended_at)
    SELECT i.id, i.tenant_id, clock_timestamp() FROM usage_open o JOIN usage_intervals i ON i.id = o.interval_id
    WHERE o.tenant_id = @tenant_id AND i.object_id = @id AND i.kind = 'snapshot'
    ON CONFLICT (interval_id) DO NOTHING RETURNING interval_id
)
DELETE FROM usage_open o USING ended e WHERE o.interval_id = e.interval_id;

-- name: ExpireSnapshots :many
-- Deletes the scheduled snapshots of a volume that have failed, and the Ready ones that its schedule no longer keeps and that
-- nothing uses. A volume that is gone, or has no schedule any more, keeps all that are Ready.
UPDATE snapshots s SET state = 'Deleting', message = ''
WHERE s.tenant_id = @tenant_id AND s.volume_id = @volume_id AND s.scheduled
  AND (s.state = 'Failed' OR s.state = 'Ready' AND s.id IN (
      SELECT o.id FROM (SELECT n.id, row_number() OVER (ORDER BY n.taken_at DESC, n.id) AS place FROM snapshots n
          WHERE n.tenant_id = @tenant_id AND n.volume_id = @volume_id AND n.scheduled AND n.state = 'Ready') o
      JOIN volumes k ON k.tenant_id = @tenant_id AND k.id = @volume_id AND k.snapshot_minutes > 0
      WHERE o.place > k.snapshot_keep))
  AND NOT EXISTS (SELECT FROM volumes v WHERE v.tenant_id = s.tenant_id AND (v.snapshot_id = s.id OR v.old_snapshot_id = s.id))
  AND NOT EXISTS (SELECT FROM snapshot_uses u WHERE u.tenant_id = s.tenant_id AND u.snapshot_id = s.id)
RETURNING s.id;

-- name: VolumeUser :one
-- The pod that has a volume attached, and its node.
SELECT p.id AS pod_id, n.id AS node_id, n.name, n.endpoint FROM volume_claims c
JOIN pods p ON p.tenant_id = c.tenant_id AND p.id = c.pod_id JOIN nodes n ON n.id = p.node_id
WHERE c.tenant_id = @tenant_id AND c.volume_id = @volume_id AND p.phase NOT IN ('Succeeded', 'Failed');

-- name: UseSnapshot :exec
INSERT INTO snapshot_uses (tenant_id, snapshot_id, pod_id) VALUES (@tenant_id, @snapshot_id, @pod_id) ON CONFLICT DO NOTHING;

-- name: PodsOfSnapshot :many
-- The names of some of the pods that use a snapshot.
SELECT p.name FROM snapshot_uses u JOIN pods p ON p.tenant_id = u.tenant_id AND p.id = u.pod_id
WHERE u.tenant_id = @tenant_id AND u.snapshot_id = @snapshot_id ORDER BY p.name LIMIT @max;

-- name: SnapshotsOfPod :many
SELECT s.* FROM snapshot_uses u JOIN snapshots s ON s.tenant_id = u.tenant_id AND s.id = u.snapshot_id
WHERE u.tenant_id = @tenant_id AND u.pod_id = @pod_id ORDER BY s.id;

-- name: SnapshotsOfPods :many
SELECT u.pod_id, s.id, s.fs_type, s.tenant_id, d.id AS key_id, d.sealed FROM snapshot_uses u
JOIN snapshots s ON s.tenant_id = u.tenant_id AND s.id = u.snapshot_id LEFT JOIN disk_keys d ON d.tenant_id = s.tenant_id AND d.id = s.key_id
WHERE u.pod_id = ANY(@ids::uuid[]);

-- name: SetSnapshotView :execrows
UPDATE snapshots SET view_id = @view_id, view_header = @view_header WHERE tenant_id = @tenant_id AND id = @id AND state = 'Ready';
