-- name: BeginMove :one
-- Makes an incoming placement of a pod that runs on from_node, and charges its node. It does nothing if the pod has a second placement
-- already, or if the node has changed. A pod that writes volumes moves only with its memory, and only if the clients of its machine are known.
WITH leader AS (
    SELECT 1 FROM leadership WHERE epoch = @epoch FOR SHARE
), pod AS (
    SELECT p.* FROM pods p JOIN placements a ON a.tenant_id = p.tenant_id AND a.pod_id = p.id AND a.number = p.placement
    WHERE p.tenant_id = @tenant_id AND p.id = @pod_id AND p.node_id = @from_node::uuid AND p.node_id <> @to_node::uuid AND p.ceph_key IS NOT NULL AND p.unknown_since IS NULL
      AND (p.phase = 'Running' OR p.phase = 'Starting' AND NOT @live::boolean) AND (NOT a.volumes OR @live AND a.clients_at IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM placements o WHERE o.tenant_id = p.tenant_id AND o.pod_id = p.id AND o.role IN ('incoming', 'leaving'))
      AND EXISTS (SELECT 1 FROM leader) FOR UPDATE OF p
), locked AS MATERIALIZED ( -- triggers change the nodes
    SELECT l.id FROM nodes l WHERE l.id IN (@from_node, @to_node) AND EXISTS (SELECT 1 FROM pod) ORDER BY l.id FOR NO KEY UPDATE
), charged AS (
    UPDATE nodes n SET allocated_cpu_millis = n.allocated_cpu_millis + pod.cpu_millis, allocated_memory_mib = n.allocated_memory_mib + pod.memory_mib + n.vmm_overhead_mib,
        version = n.version + 1
    FROM pod, locked WHERE n.id = @to_node AND locked.id = n.id AND n.version = @to_version AND n.state = 'Ready' AND NOT n.cordoned
    RETURNING n.id, n.vmm_overhead_mib
), numbered AS (
    UPDATE pods p SET last_placement = GREATEST(p.placement, p.last_placement) + 1 FROM pod, charged
    WHERE p.tenant_id = pod.tenant_id AND p.id = pod.id RETURNING p.tenant_id, p.id, p.last_placement
)
INSERT INTO placements (tenant_id, pod_id, number, node_id, role, volumes, cpu_millis, memory_mib, vmm_overhead_mib, scratch_gib, holds, live, from_node, drains)
SELECT n.tenant_id, n.id, n.last_placement, c.id, 'incoming', EXISTS (SELECT 1 FROM volume_claims v WHERE v.tenant_id = n.tenant_id AND v.pod_id = n.id),
    pod.cpu_millis, pod.memory_mib, c.vmm_overhead_mib, pod.scratch_gib, true, @live, @from_node, @drains::boolean
FROM numbered n, charged c, pod
RETURNING number;

-- name: LockMovingPod :one
-- The pod of an incoming placement on a node.
SELECT p.* FROM pods p JOIN placements pl ON pl.tenant_id = p.tenant_id AND pl.pod_id = p.id
WHERE pl.pod_id = @pod_id AND pl.number = @number AND (pl.node_id = @node_id OR pl.from_node = @node_id) AND pl.role IN ('incoming', 'leaving', 'active') FOR UPDATE OF p;

-- name: LockPlacement :one
SELECT * FROM placements WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number FOR UPDATE;

-- name: OtherPlacements :many
-- The incoming and the leaving placements of a pod.
SELECT * FROM placements WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND role IN ('incoming', 'leaving') ORDER BY number FOR UPDATE;

-- name: LockNodesOfMove :many
SELECT id, name, state, endpoint FROM nodes WHERE id = ANY(@ids::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: LeaveActive :exec
-- The active placement leaves. It keeps what it has on its node.
UPDATE placements pl SET role = 'leaving', cpu_millis = p.cpu_millis, memory_mib = p.memory_mib, vmm_overhead_mib = p.vmm_overhead_mib, scratch_gib = p.scratch_gib,
    holds = p.holds_room, live = @live, from_node = pl.node_id, drains = @drains
FROM pods p WHERE pl.tenant_id = @tenant_id AND pl.pod_id = @pod_id AND p.tenant_id = pl.tenant_id AND p.id = pl.pod_id AND pl.number = p.placement AND pl.role = 'active';

-- name: ActivatePlacement :exec
UPDATE placements SET role = 'active', ceph_key = NULL, clients_at = NULL, message = '', holds = false, drains = false WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number AND role = 'incoming';

-- name: SwitchPod :exec
-- The pod is on another node from now on.
UPDATE pods SET node_id = @node_id::uuid, node_name = @node_name, vmm_overhead_mib = @vmm_overhead_mib, ceph_key = @ceph_key, placement = @number, key_placement = @number,
    placed_at = clock_timestamp(), decision = @decision
WHERE tenant_id = @tenant_id AND id = @pod_id;

-- name: CancelMove :execrows
UPDATE placements SET role = 'leaving', message = @message WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number AND role = 'incoming';

-- name: SetMoveMessage :exec
UPDATE placements SET message = @message WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number AND role = 'incoming' AND message <> @message;

-- name: FreePlacement :exec
-- What a placement had on its node is free.
WITH freed AS (
    UPDATE placements SET holds = false, gone = true WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number AND holds
    RETURNING node_id, cpu_millis, memory_mib + vmm_overhead_mib AS memory_mib
)
UPDATE nodes n SET allocated_cpu_millis = n.allocated_cpu_millis - f.cpu_millis, allocated_memory_mib = n.allocated_memory_mib - f.memory_mib, version = n.version + 1
FROM freed f WHERE n.id = f.node_id;

-- name: SetPlacementGone :exec
UPDATE placements SET gone = true WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number;

-- name: SetPlacementFenced :exec
UPDATE placements SET role = 'fenced', ceph_key = NULL WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number;

-- name: DeletePlacement :exec
DELETE FROM placements WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number;

-- name: DetachPod :exec
-- A pod that is deleted waits until the nodes that it moved from or to have removed it.
UPDATE pods SET node_id = NULL, node_name = '', vmm_overhead_mib = 0, holds_room = false WHERE tenant_id = @tenant_id AND id = @id;

-- name: SetIncomingKeys :many
-- Keys of incoming placements. It returns the nodes that have to know, also those that pods leave with their memory.
WITH made AS (
    SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@pod_ids::uuid[]) AS pod_id, unnest(@placements::bigint[]) AS number, unnest(@ceph_keys::bytea[]) AS ceph_key
), waiting AS (
    SELECT p.tenant_id, p.id, m.number, m.ceph_key FROM pods p JOIN made m ON p.tenant_id = m.tenant_id AND p.id = m.pod_id ORDER BY p.tenant_id, p.id FOR NO KEY UPDATE OF p
), keyed AS (
    UPDATE placements pl SET ceph_key = w.ceph_key FROM waiting w
    WHERE pl.tenant_id = w.tenant_id AND pl.pod_id = w.id AND pl.number = w.number AND pl.role = 'incoming' AND pl.ceph_key IS NULL RETURNING pl.node_id, pl.from_node
)
SELECT node_id::uuid AS node_id FROM keyed UNION SELECT from_node::uuid FROM keyed;

-- name: PlacementToKey :one
-- The incoming placement of a pod that has no key yet.
SELECT number FROM placements WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND role = 'incoming' AND ceph_key IS NULL;

-- name: KeyedPlacements :many
-- Incoming and leaving placements whose keys are in use, of one pod or of all. A machine whose memory has moved no longer needs its key.
SELECT pl.pod_id, pl.number FROM placements pl LEFT JOIN pods p ON p.tenant_id = pl.tenant_id AND p.id = pl.pod_id
WHERE (pl.role = 'incoming' OR pl.role = 'leaving' AND NOT pl.gone AND NOT (pl.live AND pl.number < p.placement)) AND (sqlc.narg(pod_id)::uuid IS NULL OR pl.pod_id = sqlc.narg(pod_id));

-- name: MovingPods :many
-- The pods that a node has as incoming or leaving, and the node at the other end: all, or those with these ids. A placement of the pod that is active there
-- comes instead of them.
SELECT sqlc.embed(pods), networks.cidr, sqlc.embed(pl), COALESCE(a.number, 0)::bigint AS active_number, a.node_id AS active_node, COALESCE(n.endpoint, '')::text AS active_endpoint
FROM placements pl JOIN pods ON pods.tenant_id = pl.tenant_id AND pods.id = pl.pod_id JOIN networks ON networks.tenant_id = pods.tenant_id AND networks.id = pods.network_id
LEFT JOIN placements a ON a.tenant_id = pl.tenant_id AND a.pod_id = pl.pod_id AND a.role = 'active' LEFT JOIN nodes n ON n.id = a.node_id
WHERE pl.node_id = @node_id AND (pl.role = 'incoming' AND pl.ceph_key IS NOT NULL OR pl.role = 'leaving' AND NOT pl.gone) AND (sqlc.narg(ids)::uuid[] IS NULL OR pl.pod_id = ANY(sqlc.narg(ids)))
  AND pods.node_id IS DISTINCT FROM pl.node_id
ORDER BY pl.number DESC;

-- name: MoveTargets :many
-- Where the pods of a node move with their memory.
SELECT pl.pod_id, pl.number, pl.node_id, n.endpoint FROM placements pl JOIN nodes n ON n.id = pl.node_id
WHERE pl.from_node = @node_id::uuid AND pl.role = 'incoming' AND pl.live AND pl.ceph_key IS NOT NULL AND (sqlc.narg(ids)::uuid[] IS NULL OR pl.pod_id = ANY(sqlc.narg(ids)));

-- name: ImagesOfPods :many
SELECT u.pod_id, u.container, i.id, i.config FROM image_uses u JOIN images i ON i.tenant_id = u.tenant_id AND i.id = u.image_id WHERE u.pod_id = ANY(@ids::uuid[]);

-- name: MovesOfNode :many
-- The incoming and leaving placements on a node.
SELECT * FROM placements WHERE node_id = @node_id AND role IN ('incoming', 'leaving') ORDER BY tenant_id, pod_id, number;

-- name: OpenMoves :many
-- All incoming and leaving placements, those that have waited longest first.
SELECT pl.*, p.placement AS active_number, extract(epoch FROM clock_timestamp() - pl.role_since)::float8 AS seconds
FROM placements pl JOIN pods p ON p.tenant_id = pl.tenant_id AND p.id = pl.pod_id WHERE pl.role IN ('incoming', 'leaving') ORDER BY pl.role_since;

-- name: MoveOfPod :one
-- The newest placement of a pod that is incoming or leaving, with the names of the nodes.
SELECT sqlc.embed(pl), n.name AS node_name, COALESCE(f.name, '')::text AS from_name FROM placements pl JOIN nodes n ON n.id = pl.node_id LEFT JOIN nodes f ON f.id = pl.from_node
WHERE pl.tenant_id = @tenant_id AND pl.pod_id = @pod_id AND pl.role IN ('incoming', 'leaving') ORDER BY pl.number DESC LIMIT 1;

-- name: PutDrain :exec
INSERT INTO drains (node_id, max_moves, max_moves_per_tenant, restart, was_cordoned) VALUES (@node_id, @max_moves, @max_moves_per_tenant, @restart, @was_cordoned)
ON CONFLICT (node_id) DO UPDATE SET max_moves = EXCLUDED.max_moves, max_moves_per_tenant = EXCLUDED.max_moves_per_tenant, restart = EXCLUDED.restart;

-- name: DeleteDrain :one
DELETE FROM drains WHERE node_id = @node_id RETURNING *;

-- name: DrainOf :one
SELECT * FROM drains WHERE node_id = @node_id;

-- name: Drains :many
SELECT * FROM drains ORDER BY started_at;

-- name: CancelMovesFrom :exec
-- The drain of a node has ended; the moves that it has begun end too, unless the pod is on its new node already.
UPDATE placements SET role = 'leaving', message = 'the drain was canceled' WHERE from_node = @node_id::uuid AND role = 'incoming' AND drains;

-- name: LockPodsMovingFrom :exec
SELECT 1 FROM pods p WHERE EXISTS (SELECT 1 FROM placements pl WHERE pl.tenant_id = p.tenant_id AND pl.pod_id = p.id AND pl.from_node = @node_id::uuid AND pl.role = 'incoming' AND pl.drains)
ORDER BY p.tenant_id, p.id FOR UPDATE OF p;

-- name: UncordonNode :exec
UPDATE nodes SET cordoned = false, version = version + 1 WHERE id = @id AND cordoned;

-- name: PodsToDrain :many
-- The pods on a node, with what is known about their moves. Those that have ended stay, and so do those that are being stopped.
SELECT p.tenant_id, p.id, p.name, p.phase, (p.unknown_since IS NOT NULL)::boolean AS unknown, p.cpu_millis, p.memory_mib, p.scratch_gib, p.labels, p.scheduling, p.needs, p.placement, p.spec, p.placed_at,
    COALESCE(a.volumes, false)::boolean AS volumes, (a.clients_at IS NOT NULL)::boolean AS clients_known,
    EXISTS (SELECT 1 FROM placements o WHERE o.tenant_id = p.tenant_id AND o.pod_id = p.id AND o.role = 'incoming') AS moving,
    EXISTS (SELECT 1 FROM placements o WHERE o.tenant_id = p.tenant_id AND o.pod_id = p.id AND o.role = 'leaving') AS leaving,
    COALESCE(f.attempts, 0)::integer AS attempts, COALESCE(f.message, '')::text AS message, COALESCE(f.next_try_at <= clock_timestamp(), true)::boolean AS due
FROM pods p LEFT JOIN placements a ON a.tenant_id = p.tenant_id AND a.pod_id = p.id AND a.number = p.placement
LEFT JOIN drain_failures f ON f.node_id = p.node_id AND f.tenant_id = p.tenant_id AND f.pod_id = p.id
WHERE p.node_id = @node_id::uuid AND p.holds_room ORDER BY p.priority DESC, p.created_at, p.id;

-- name: LeavingNode :one
-- How many placements still have to leave a node after their pods are on another one.
SELECT count(*)::integer FROM placements WHERE node_id = @node_id AND role IN ('leaving', 'incoming');

-- name: SetDrainFailure :exec
-- Retries after 5 s, then twice as long each time, up to 5 minutes.
INSERT INTO drain_failures (node_id, tenant_id, pod_id, message, next_try_at) SELECT @node_id, @tenant_id, @pod_id, @message, clock_timestamp() + interval '5 seconds'
WHERE EXISTS (SELECT 1 FROM drains d WHERE d.node_id = @node_id)
ON CONFLICT (node_id, tenant_id, pod_id) DO UPDATE SET attempts = drain_failures.attempts + 1, message = EXCLUDED.message,
    next_try_at = clock_timestamp() + LEAST(5 * power(2, LEAST(drain_failures.attempts, 10)), 300) * interval '1 second';

-- name: DeleteDrainFailure :exec
DELETE FROM drain_failures WHERE tenant_id = @tenant_id AND pod_id = @pod_id;

-- name: CountMoved :exec
UPDATE drains SET moved = moved + 1 WHERE node_id = @node_id;

-- name: SetDrained :exec
UPDATE drains SET drained_at = CASE WHEN @drained::boolean THEN COALESCE(drained_at, clock_timestamp()) END WHERE node_id = @node_id AND (drained_at IS NULL) = @drained;

-- name: SetPlacementCut :exec
UPDATE placements SET cut = true WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number AND role = 'leaving';

-- name: ReadOneSnapshot :exec
-- All queries of the transaction see the same state. It is the first statement.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
