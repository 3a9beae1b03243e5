-- name: InsertJoinToken :exec
-- A commit with an unknown outcome is repeated with the same token.
INSERT INTO join_tokens (hash, expires_at, readmits) VALUES (@hash, @expires_at, sqlc.narg(readmits)) ON CONFLICT (hash) DO NOTHING;

-- name: LockJoinToken :one
SELECT * FROM join_tokens WHERE hash = @hash AND expires_at > now() FOR UPDATE;

-- name: UseJoinToken :exec
UPDATE join_tokens SET used_at = clock_timestamp(), node_id = @node_id::uuid WHERE hash = @hash;

-- name: InsertNode :one
INSERT INTO nodes (id, name) VALUES (@id, @name) RETURNING *;

-- name: Node :one
SELECT sqlc.embed(n), (COALESCE((SELECT sum(p.scratch_gib) FROM pods p WHERE p.node_id = n.id AND p.holds_room), 0)
    + COALESCE((SELECT sum(pl.scratch_gib) FROM placements pl WHERE pl.node_id = n.id AND pl.holds), 0))::integer AS allocated_scratch_gib, (d.node_id IS NOT NULL)::boolean AS drains, (d.drained_at IS NOT NULL)::boolean AS drained
FROM nodes n LEFT JOIN drains d ON d.node_id = n.id WHERE n.id = @id;

-- name: LockNode :one
SELECT * FROM nodes WHERE id = @id FOR UPDATE;

-- name: Nodes :many
SELECT sqlc.embed(n), (COALESCE((SELECT sum(p.scratch_gib) FROM pods p WHERE p.node_id = n.id AND p.holds_room), 0)
    + COALESCE((SELECT sum(pl.scratch_gib) FROM placements pl WHERE pl.node_id = n.id AND pl.holds), 0))::integer AS allocated_scratch_gib, (d.node_id IS NOT NULL)::boolean AS drains, (d.drained_at IS NOT NULL)::boolean AS drained
FROM nodes n LEFT JOIN drains d ON d.node_id = n.id ORDER BY n.name;

-- name: NodeCapacities :many
SELECT id, name, state, version, schedulable_cpu_millis, memory_mib, allocated_cpu_millis, allocated_memory_mib, vmm_overhead_mib,
    COALESCE(scratch_gib, 2147483647)::integer AS scratch_gib, COALESCE(pool, '')::text AS pool, labels, taints, cordoned, capabilities FROM nodes ORDER BY name;

-- name: UpdateNode :one
UPDATE nodes SET pool = sqlc.narg(pool), labels = @labels, taints = @taints, cordoned = @cordoned, version = version + 1,
    cpu_overcommit = GREATEST(COALESCE((SELECT p.cpu_overcommit FROM pools p WHERE p.name = sqlc.narg(pool)), 1), allocated_cpu_millis::double precision / GREATEST(cpu_millis, 1))
WHERE id = @id RETURNING *;

-- name: CordonNodes :exec
UPDATE nodes n SET cordoned = true, version = n.version + 1
FROM (SELECT l.id FROM nodes l WHERE l.id = ANY(@ids::uuid[]) AND NOT l.cordoned ORDER BY l.id FOR NO KEY UPDATE) locked WHERE n.id = locked.id;

-- name: Pools :many
SELECT p.*, (SELECT count(*) FROM nodes n WHERE n.pool = p.name)::integer AS nodes FROM pools p ORDER BY p.name;

-- name: Pool :one
SELECT p.*, (SELECT count(*) FROM nodes n WHERE n.pool = p.name)::integer AS nodes FROM pools p WHERE p.name = @name;

-- name: PutPool :exec
INSERT INTO pools (name, cpu_overcommit) VALUES (@name, @cpu_overcommit) ON CONFLICT (name) DO UPDATE SET cpu_overcommit = EXCLUDED.cpu_overcommit;

-- name: OvercommitPool :exec
-- The schedulable cpu of the pool's nodes follows the pool's ratio, but never falls below what is allocated already.
UPDATE nodes n SET cpu_overcommit = GREATEST(@cpu_overcommit::double precision, n.allocated_cpu_millis::double precision / GREATEST(n.cpu_millis, 1)), version = n.version + 1
FROM (SELECT l.id FROM nodes l WHERE l.pool = @name::text ORDER BY l.id FOR NO KEY UPDATE) locked WHERE n.id = locked.id;

-- name: DeletePool :execrows
DELETE FROM pools WHERE name = @name;

-- name: DeleteNode :execrows
DELETE FROM nodes WHERE id = @id;

-- name: NodeHasPods :one
SELECT (EXISTS (SELECT 1 FROM pods WHERE node_id = @node_id::uuid) OR EXISTS (SELECT 1 FROM placements WHERE node_id = @node_id::uuid AND role IN ('incoming', 'leaving')))::boolean AS has;

-- name: Heartbeat :one
-- The schedulable capacity never falls below what is allocated, so that a node that lost memory keeps its pods and gets no new ones.
-- The version changes only when the capacity does: otherwise every heartbeat would invalidate placements that are being committed.
-- next is what a heartbeat does in each state. A node is clean if it runs no machines after it has seen the newest desired state.
UPDATE nodes n SET heartbeat_at = clock_timestamp(), state = COALESCE(@next::jsonb ->> old.state, old.state), endpoint = @endpoint, storage_address = COALESCE(NULLIF(@storage_address::text, ''), storage_address),
    clean = COALESCE(@next::jsonb ->> old.state, old.state) = 'Recovering' AND @machines::integer = 0 AND @revision::bigint = n.desired_revision,
    machine_off = false,
    fence_message = CASE COALESCE(@next::jsonb ->> old.state, old.state) WHEN 'Ready' THEN '' ELSE n.fence_message END,
    cpu_millis = old.cpu, cpu_overcommit = old.overcommit, memory_mib = GREATEST(@memory_mib::integer, n.allocated_memory_mib),
    vmm_overhead_mib = @vmm_overhead_mib, capabilities = @capabilities::text[], scratch_gib = sqlc.narg(scratch_gib)::integer,
    version = n.version + CASE WHEN (n.state, n.cpu_millis, n.cpu_overcommit, n.memory_mib, n.vmm_overhead_mib, n.capabilities, n.scratch_gib) IS DISTINCT FROM
        (COALESCE(@next::jsonb ->> old.state, old.state), old.cpu, old.overcommit, GREATEST(@memory_mib::integer, n.allocated_memory_mib), @vmm_overhead_mib::integer, @capabilities::text[], sqlc.narg(scratch_gib)::integer) THEN 1 ELSE 0 END
FROM (SELECT o.id, o.state, GREATEST(@cpu_millis::integer, 1) AS cpu,
    GREATEST(COALESCE((SELECT p.cpu_overcommit FROM pools p WHERE p.name = o.pool), 1), o.allocated_cpu_millis::double precision / GREATEST(@cpu_millis::integer, 1)) AS overcommit
    FROM nodes o WHERE o.id = @id FOR UPDATE) old
WHERE n.id = old.id
RETURNING old.state, n.state AS now, EXISTS (SELECT 1 FROM pods WHERE pods.node_id = n.id AND pods.unknown_since IS NOT NULL) AS has_unknown_pods;

-- name: NodeBeats :many
-- What the leader needs to judge the nodes' heartbeats.
SELECT id, name, state, heartbeat_at, fenced_at, machine_off FROM nodes;

-- name: SetNodeState :execrows
-- Only if no heartbeat came since the one that the caller judged.
UPDATE nodes SET state = @next, version = version + 1 WHERE id = @id AND state = @state AND state <> @next AND heartbeat_at IS NOT DISTINCT FROM sqlc.narg(heartbeat_at);

-- name: BeginFence :many
-- From now on, the node returns only after it has been fenced. The addresses are added to those that are fenced for it already.
UPDATE nodes SET state = 'Fencing', version = version + 1, clean = false, fence_message = '',
    fence_addresses = ARRAY(SELECT DISTINCT a FROM unnest(fence_addresses || @addresses::text[]) a ORDER BY a)
WHERE id = @id AND state = ANY(@states::text[]) RETURNING fence_addresses;

-- name: SetFenced :execrows
UPDATE nodes SET state = 'Fenced', fenced_at = clock_timestamp(), fence_message = '', version = version + 1 WHERE id = @id AND state = 'Fencing';

-- name: SetFenceMessage :exec
UPDATE nodes SET fence_message = @message WHERE id = @id AND fence_message <> @message;

-- name: FencedNodes :many
-- Nodes that are lost, are being fenced, are fenced, or can be made Ready again.
SELECT * FROM nodes WHERE state IN ('Lost', 'Fencing', 'Fenced', 'Recovering') ORDER BY name;

-- name: SetNodeRecovered :execrows
UPDATE nodes SET state = 'Ready', clean = false, fence_addresses = '{}', fenced_at = NULL, fence_message = '', machine_off = false, version = version + 1
WHERE id = @id AND state = 'Recovering' AND clean;

-- name: ForgetFencedPlacements :exec
DELETE FROM placements WHERE node_id = @node_id AND role = 'fenced';

-- name: SetMachineOff :execrows
UPDATE nodes SET machine_off = true WHERE id = @id AND state IN ('Suspect', 'Lost', 'Fencing', 'Fenced');

-- name: PlacementsOfNode :many
-- With the names of the volumes that each of them writes.
SELECT pl.*, p.phase, ARRAY(SELECT c.volume_id FROM volume_claims c WHERE c.tenant_id = pl.tenant_id AND c.pod_id = pl.pod_id ORDER BY c.volume_id)::uuid[] AS volume_ids
FROM placements pl JOIN pods p ON p.tenant_id = pl.tenant_id AND p.id = pl.pod_id AND p.placement = pl.number
WHERE pl.node_id = @node_id AND pl.role = 'active' ORDER BY pl.tenant_id, pl.pod_id;

-- name: StorageAddressShared :one
SELECT EXISTS (SELECT 1 FROM nodes WHERE storage_address = @address AND id <> @id);

-- name: PlacementsNotSeen :many
-- Machines that write volumes and whose Ceph clients are not recorded.
SELECT pl.tenant_id, pl.pod_id, pl.number, p.domain_started_at, ARRAY(SELECT c.volume_id FROM volume_claims c WHERE c.tenant_id = pl.tenant_id AND c.pod_id = pl.pod_id ORDER BY c.volume_id)::uuid[] AS volume_ids
FROM placements pl JOIN pods p ON p.tenant_id = pl.tenant_id AND p.id = pl.pod_id AND p.placement = pl.number
WHERE pl.volumes AND pl.clients_at IS NULL AND pl.role = 'active' AND p.domain_started_at IS NOT NULL AND p.phase IN ('Starting', 'Running')
  AND NOT EXISTS (SELECT 1 FROM placements o WHERE o.tenant_id = p.tenant_id AND o.pod_id = p.id AND o.role IN ('incoming', 'leaving')) -- its disks show the clients of both machines
ORDER BY random() LIMIT @max; -- one that shows nothing does not hold up the others

-- name: SetClients :exec
-- Those of an earlier machine of the placement have ended. Another machine may have started meanwhile.
UPDATE placements pl SET clients = @clients::text[], clients_at = clock_timestamp()
FROM pods p WHERE pl.tenant_id = @tenant_id AND pl.pod_id = @pod_id AND pl.number = @number AND p.tenant_id = pl.tenant_id AND p.id = pl.pod_id
  AND p.domain_started_at = @domain_started_at AND p.placement = pl.number
  AND NOT EXISTS (SELECT 1 FROM placements o WHERE o.tenant_id = p.tenant_id AND o.pod_id = p.id AND o.role IN ('incoming', 'leaving'));

-- name: PodsToMove :many
-- Of a fenced node, all pods that have not ended. Of a lost node, those that write no volumes.
SELECT p.* FROM pods p JOIN nodes n ON n.id = p.node_id LEFT JOIN placements pl ON pl.tenant_id = p.tenant_id AND pl.pod_id = p.id AND pl.number = p.placement
WHERE p.node_id = @node_id::uuid AND (p.holds_room OR p.phase = 'Stopping') AND (n.state IN ('Fenced', 'Recovering') OR n.state IN ('Lost', 'Fencing') AND NOT pl.volumes)
ORDER BY p.tenant_id, p.id LIMIT @max FOR UPDATE OF p;

-- name: FencePlacement :exec
UPDATE placements SET role = 'fenced' WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND number = @number AND role = 'active'
  AND EXISTS (SELECT 1 FROM nodes n WHERE n.id = placements.node_id AND n.state IN ('Fenced', 'Recovering'));

-- name: DesiredRevision :one
SELECT desired_revision, incarnation() AS incarnation FROM nodes WHERE id = @id;

-- name: Incarnation :one
SELECT incarnation();

-- name: DesiredChanges :many
-- The changes after a revision, the oldest first, from one snapshot with the node's revision and with whether all changes since then are known. If there
-- are none, there is one row without a pod.
SELECT n.desired_revision AS node_revision, (n.desired_since <= @after::bigint AND n.desired_revision >= @after)::boolean AS known,
    COALESCE(c.pod_id, '00000000-0000-0000-0000-000000000000')::uuid AS pod_id, COALESCE(c.revision, 0)::bigint AS revision
FROM nodes n LEFT JOIN LATERAL (
    SELECT d.pod_id, d.revision FROM desired_changes d WHERE d.node_id = n.id AND d.revision > @after ORDER BY d.revision LIMIT @max
) c ON true
WHERE n.id = @id ORDER BY 4;

-- name: ForgetDesiredChanges :execrows
-- From now on, an agent that has not seen these changes gets the whole state. The nodes are locked first, as by changes.
WITH locked AS MATERIALIZED (
    SELECT id FROM nodes WHERE id IN (SELECT node_id FROM desired_changes WHERE changed_at < clock_timestamp() - interval '1 hour') ORDER BY id FOR NO KEY UPDATE
), forgotten AS (
    DELETE FROM desired_changes d USING locked l WHERE d.node_id = l.id AND d.changed_at < clock_timestamp() - interval '1 hour' RETURNING d.node_id, d.revision
)
UPDATE nodes n SET desired_since = GREATEST(n.desired_since, f.revision)
FROM (SELECT node_id, max(revision) AS revision FROM forgotten GROUP BY node_id) f WHERE n.id = f.node_id;

-- name: AllPods :many
SELECT p.id, p.tenant_id, t.name AS tenant_name, p.name, p.phase, p.reason, p.unknown_since, p.node_id, p.holds_room, p.cpu_millis, p.memory_mib, p.vmm_overhead_mib, p.priority, p.created_at
FROM pods p JOIN tenants t ON t.id = p.tenant_id
WHERE (p.created_at, p.id) > (@after_time::timestamptz, @after_id::uuid)
  AND (sqlc.narg(node_id)::uuid IS NULL OR p.node_id = sqlc.narg(node_id) AND p.holds_room) AND (sqlc.narg(tenant_id)::uuid IS NULL OR p.tenant_id = sqlc.narg(tenant_id))
ORDER BY p.created_at, p.id LIMIT @max;
