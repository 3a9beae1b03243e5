-- name: PodUse :one
-- Ended and stopped pods keep their row and count as pods, but use no cpu and memory, even while they are being deleted. A pod that will start
-- again uses them.
SELECT count(*)::integer AS pods,
    COALESCE(sum(cpu_millis) FILTER (WHERE phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted), 0)::integer AS cpu_millis,
    COALESCE(sum(memory_mib) FILTER (WHERE phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted), 0)::integer AS memory_mib,
    COALESCE(sum(scratch_gib) FILTER (WHERE phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted), 0)::integer AS scratch_gib
FROM pods WHERE tenant_id = @tenant_id;

-- name: DefaultNetwork :one
SELECT * FROM networks WHERE tenant_id = @tenant_id AND name = 'default';

-- name: FreeAddress :one
-- The first free address after that of the newest pod, wrapping around at the end. The query is fast however many addresses are taken, and an
-- address that was released is not reused soon. The first address of a network is the gateway's, and the last is its broadcast address.
WITH net AS (
    SELECT n.tenant_id, n.id, set_masklen(network(n.cidr)::inet, 32) + 2 AS first, set_masklen(broadcast(n.cidr)::inet, 32) - 1 AS last,
        COALESCE((SELECT a.address + 1 FROM pod_addresses a WHERE a.tenant_id = n.tenant_id AND a.network_id = n.id ORDER BY a.number DESC LIMIT 1),
            set_masklen(network(n.cidr)::inet, 32) + 2) AS next
    FROM networks n WHERE n.tenant_id = @tenant_id AND n.id = @network_id
), candidates AS (
    SELECT 1 AS turn, next AS address FROM net
    UNION ALL (SELECT 2, a.address + 1 FROM net JOIN pod_addresses a ON a.tenant_id = net.tenant_id AND a.network_id = net.id AND a.address >= net.next
        WHERE NOT EXISTS (SELECT 1 FROM pod_addresses b WHERE b.tenant_id = a.tenant_id AND b.network_id = a.network_id AND b.address = a.address + 1) ORDER BY a.address LIMIT 1)
    UNION ALL SELECT 3, first FROM net
    UNION ALL (SELECT 4, a.address + 1 FROM net JOIN pod_addresses a ON a.tenant_id = net.tenant_id AND a.network_id = net.id
        WHERE NOT EXISTS (SELECT 1 FROM pod_addresses b WHERE b.tenant_id = a.tenant_id AND b.network_id = a.network_id AND b.address = a.address + 1) ORDER BY a.address LIMIT 1)
)
SELECT c.address::inet AS address FROM candidates c, net
WHERE c.address BETWEEN net.first AND net.last
  AND NOT EXISTS (SELECT 1 FROM pod_addresses a WHERE a.tenant_id = net.tenant_id AND a.network_id = net.id AND a.address = c.address)
ORDER BY c.turn LIMIT 1;

-- name: InsertPod :one
INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac, scheduling, priority, gang, guest_bytes, needs, annotations, scratch_gib, interfaces, security_groups)
VALUES (@tenant_id, @id, @name, @labels, @spec, @cpu_millis, @memory_mib, @network_id, @address, @mac, sqlc.narg(scheduling), @priority, @gang, @guest_bytes, @needs, @annotations, @scratch_gib, @interfaces, @security_groups)
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING *;

-- name: AddPodNeed :exec
-- A capability that the agent of the pod's node has to have because of a volume.
UPDATE pods SET needs = array_append(needs, @need::text) WHERE tenant_id = @tenant_id AND id = @id AND NOT (@need::text = ANY(needs));

-- name: Pod :one
SELECT * FROM pods WHERE tenant_id = @tenant_id AND id = @id;

-- name: Pods :many
SELECT * FROM pods
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid)
  AND (sqlc.narg(name)::text IS NULL OR name = sqlc.narg(name)) AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(labels, sqlc.narg(selector)::jsonb))
ORDER BY created_at, id LIMIT @max;

-- name: LockPod :one
SELECT * FROM pods WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: SetPodStopping :exec
UPDATE pods SET phase = 'Stopping', reason = '', message = '', evicted = false, halted = false, generation = generation + 1, deletion_requested_at = clock_timestamp()
WHERE tenant_id = @tenant_id AND id = @id;

-- name: HaltPod :exec
-- Stops a pod so that it is placed again, or so that it stays stopped.
UPDATE pods SET phase = 'Stopping', reason = '', message = '', evicted = true, halted = @halted, delete_at = NULL, generation = generation + 1
WHERE tenant_id = @tenant_id AND id = @id;

-- name: SetPodHalted :exec
-- What happens to a pod once it has stopped.
UPDATE pods SET halted = @halted WHERE tenant_id = @tenant_id AND id = @id;

-- name: SetPodPhase :exec
-- Of a pod that is on no node.
UPDATE pods SET phase = @phase, reason = '', message = '', halted = @halted, tries = 0, next_try_at = NULL, generation = generation + 1
WHERE tenant_id = @tenant_id AND id = @id;

-- name: UpdatePod :one
UPDATE pods SET name = @name, labels = @labels, annotations = @annotations, security_groups = @security_groups, generation = generation + 1
WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: ChargeNode :one
SELECT charge_node(@node::uuid, @pod::uuid, @cpu_millis::integer, @memory_mib::integer);

-- name: ResizePod :exec
-- The size in the spec, and what is reserved for the pod. The rest of the spec may have fields that only a server of the next version knows.
UPDATE pods SET spec = jsonb_set(spec, '{resources}', jsonb_build_object('cpuMillis', @want_cpu_millis::integer, 'memoryMiB', @want_memory_mib::integer)), cpu_millis = @cpu_millis, memory_mib = @memory_mib, generation = generation + 1, tries = 0, next_try_at = NULL
WHERE tenant_id = @tenant_id AND id = @id;

-- name: ReservePod :exec
-- Less than before, because the machine has become smaller.
UPDATE pods SET cpu_millis = @cpu_millis, memory_mib = @memory_mib WHERE tenant_id = @tenant_id AND id = @id;

-- name: PodArrives :one
-- Whether the pod moves and is reserved on two nodes alike. Once it is on the new one, what the old one has reserved is in the leaving placement.
SELECT EXISTS (SELECT 1 FROM placements WHERE tenant_id = @tenant_id AND pod_id = @pod_id AND role = 'incoming');

-- name: RereadNode :exec
SELECT reread_node(@node_id);

-- name: LockPods :exec
-- Everything that changes pods and nodes locks the pods first, in the order of their ids, and then the nodes in the order of theirs.
SELECT 1 FROM pods p WHERE p.id = ANY(@ids::uuid[]) ORDER BY p.tenant_id, p.id FOR UPDATE;

-- name: EvictPods :many
-- Stops pods on these nodes so that they are placed again. It does nothing for a leader with an old epoch.
WITH leader AS (
    SELECT 1 FROM leadership WHERE epoch = @epoch FOR SHARE
), wanted AS (
    SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@pod_ids::uuid[]) AS pod_id, unnest(@node_ids::uuid[]) AS node_id
), going AS (
    SELECT p.tenant_id, p.id, w.node_id FROM pods p JOIN wanted w ON p.tenant_id = w.tenant_id AND p.id = w.pod_id AND p.node_id = w.node_id
    WHERE p.phase IN ('Starting', 'Running') AND p.unknown_since IS NULL AND EXISTS (SELECT 1 FROM leader) ORDER BY p.tenant_id, p.id FOR UPDATE OF p
), locked AS MATERIALIZED ( -- triggers change the nodes
    SELECT l.id FROM nodes l WHERE l.id IN (SELECT node_id FROM going) ORDER BY l.id FOR NO KEY UPDATE
), evicted AS (
    UPDATE pods p SET phase = 'Stopping', reason = @reason, message = @message, evicted = true, halted = false, generation = p.generation + 1
    FROM going g JOIN locked ON locked.id = g.node_id WHERE p.tenant_id = g.tenant_id AND p.id = g.id RETURNING p.tenant_id, p.id, p.node_id
)
SELECT tenant_id, id, node_id::uuid AS node_id FROM evicted;

-- name: RequeuePod :exec
-- An evicted pod whose virtual machine is gone becomes Pending again, or Stopped. It keeps its address and its volumes, and gets a new key.
UPDATE pods SET phase = CASE WHEN halted THEN 'Stopped' ELSE 'Pending' END, reason = '', message = '', node_id = NULL, node_name = '', holds_room = false, vmm_overhead_mib = 0, ceph_key = NULL, evicted = false,
    generation = generation + 1, tries = 0, next_try_at = NULL, containers = '[]', restarts = 0,
    cpu_millis = (spec -> 'resources' ->> 'cpuMillis')::integer, memory_mib = (spec -> 'resources' ->> 'memoryMiB')::integer, machine_cpu_millis = NULL, machine_memory_mib = NULL,
    placed_at = NULL, domain_starting_at = NULL, network_connected_at = NULL, domain_started_at = NULL, guest_ready_at = NULL, running_at = NULL
WHERE tenant_id = @tenant_id AND id = @id;

-- name: PodDecision :one
SELECT phase, node_name, placed_at, tries, next_try_at, decision FROM pods WHERE tenant_id = @tenant_id AND id = @id;

-- name: PlacedPods :many
-- The pods that are allocated on these nodes. A pod that moves is allocated on two: role says how.
SELECT tenant_id, id, node_id::uuid AS node_id, cpu_millis, memory_mib, vmm_overhead_mib, scratch_gib, phase, placed_at, labels, scheduling, 'active' AS role, placement
FROM pods WHERE holds_room AND node_id = ANY(@node_ids::uuid[])
UNION ALL
SELECT pl.tenant_id, pl.pod_id, pl.node_id, pl.cpu_millis, pl.memory_mib, pl.vmm_overhead_mib, pl.scratch_gib, p.phase, pl.created_at, p.labels, p.scheduling, pl.role, pl.number
FROM placements pl JOIN pods p ON p.tenant_id = pl.tenant_id AND p.id = pl.pod_id WHERE pl.role IN ('incoming', 'leaving') AND pl.holds AND pl.node_id = ANY(@node_ids::uuid[]);

-- name: NodesOfTenants :many
SELECT node_id::uuid AS node_id FROM pods WHERE tenant_id = ANY(@tenant_ids::uuid[]) AND holds_room
UNION SELECT node_id FROM placements WHERE tenant_id = ANY(@tenant_ids::uuid[]) AND role IN ('incoming', 'leaving') AND holds;

-- name: LeavingPods :many
SELECT tenant_id, id FROM pods WHERE phase = 'Stopping' AND holds_room AND node_id IS NOT NULL;

-- name: RemovePod :execrows
DELETE FROM pods WHERE tenant_id = @tenant_id AND id = @id;

-- name: PodImages :many
SELECT sqlc.embed(images) FROM images WHERE images.tenant_id = @tenant_id
    AND images.id IN (SELECT u.image_id FROM image_uses u WHERE u.tenant_id = @tenant_id AND u.pod_id = @pod_id) ORDER BY images.id;

-- name: PodVolumes :many
SELECT sqlc.embed(volumes) FROM volumes JOIN volume_claims c ON c.tenant_id = volumes.tenant_id AND c.volume_id = volumes.id
WHERE c.tenant_id = @tenant_id AND c.pod_id = @pod_id ORDER BY volumes.id;

-- name: DesiredPods :many
-- Only pods that have a key or are being removed: all, or those with these ids.
SELECT sqlc.embed(pods), networks.cidr FROM pods JOIN networks ON networks.tenant_id = pods.tenant_id AND networks.id = pods.network_id
WHERE pods.node_id = @node_id::uuid AND (pods.ceph_key IS NOT NULL OR pods.phase = 'Stopping') AND (sqlc.narg(ids)::uuid[] IS NULL OR pods.id = ANY(sqlc.narg(ids)))
ORDER BY pods.created_at, pods.id;

-- name: ImagesOfNode :many
SELECT u.tenant_id, u.pod_id, u.container, i.id, i.config FROM image_uses u
JOIN images i ON i.tenant_id = u.tenant_id AND i.id = u.image_id
JOIN pods p ON p.tenant_id = u.tenant_id AND p.id = u.pod_id
WHERE p.node_id = @node_id::uuid AND (sqlc.narg(ids)::uuid[] IS NULL OR p.id = ANY(sqlc.narg(ids)));

-- name: LockNodePod :one
SELECT * FROM pods WHERE node_id = @node_id::uuid AND id = @id FOR UPDATE;

-- name: UpdatePodStatus :exec
UPDATE pods SET phase = @phase, reason = @reason, message = @message, observed_generation = @observed_generation, restarts = @restarts,
    containers = @containers, domain_starting_at = @domain_starting_at, network_connected_at = @network_connected_at, domain_started_at = @domain_started_at,
    guest_ready_at = @guest_ready_at, running_at = @running_at, machine_cpu_millis = sqlc.narg(machine_cpu_millis), machine_memory_mib = sqlc.narg(machine_memory_mib),
    delete_at = CASE WHEN @phase IN ('Succeeded', 'Failed')
        THEN COALESCE(delete_at, clock_timestamp() + (spec ->> 'ttlSecondsAfterFinished')::integer * interval '1 second') END
WHERE tenant_id = @tenant_id AND id = @id;

-- name: DeleteFinishedPods :many
-- Requests the deletion of pods whose time after their end has passed. It does nothing for a leader with an old epoch.
WITH leader AS (
    SELECT 1 FROM leadership WHERE epoch = @epoch FOR SHARE
), going AS (
    SELECT p.tenant_id, p.id, p.node_id FROM pods p
    WHERE p.delete_at <= clock_timestamp() AND p.phase IN ('Succeeded', 'Failed') AND EXISTS (SELECT 1 FROM leader)
    ORDER BY p.tenant_id, p.id LIMIT @max FOR UPDATE OF p SKIP LOCKED
), locked AS MATERIALIZED ( -- triggers change the nodes
    SELECT l.id FROM nodes l WHERE l.id IN (SELECT node_id FROM going) ORDER BY l.id FOR NO KEY UPDATE
), deleted AS (
    UPDATE pods p SET phase = 'Stopping', reason = '', message = '', generation = p.generation + 1, deletion_requested_at = clock_timestamp(), delete_at = NULL
    FROM going g JOIN locked ON locked.id = g.node_id WHERE p.tenant_id = g.tenant_id AND p.id = g.id RETURNING p.tenant_id, p.id, p.node_id
)
SELECT tenant_id, id, node_id::uuid AS node_id FROM deleted;

-- name: FreeNodeCapacity :exec
UPDATE nodes SET allocated_cpu_millis = allocated_cpu_millis - @cpu_millis, allocated_memory_mib = allocated_memory_mib - @memory_mib,
    version = version + 1 WHERE id = @id;

-- name: ClearPodAllocation :exec
UPDATE pods SET holds_room = false, cpu_millis = (spec -> 'resources' ->> 'cpuMillis')::integer, memory_mib = (spec -> 'resources' ->> 'memoryMiB')::integer,
    machine_cpu_millis = NULL, machine_memory_mib = NULL
WHERE tenant_id = @tenant_id AND id = @id;

-- name: PodsOfLostNodes :many
-- Pods of which it is not recorded yet that their node is lost. A pod without a key has nothing on its node.
SELECT p.* FROM pods p JOIN nodes n ON n.id = p.node_id
WHERE (n.state = 'Lost' OR n.state IN ('Fencing', 'Fenced') AND n.heartbeat_at < clock_timestamp() - interval '1 minute') AND p.unknown_since IS NULL AND p.phase IN ('Starting', 'Running', 'Stopping')
  AND p.ceph_key IS NOT NULL ORDER BY p.tenant_id, p.id LIMIT @max FOR UPDATE OF p;

-- name: MarkPodUnknown :exec
UPDATE pods SET unknown_since = clock_timestamp() WHERE tenant_id = @tenant_id AND id = @id;

-- name: KeyedPodIDs :many
-- The pods that have a key in Ceph, with the placements that it may be named by.
SELECT id, placement, key_placement FROM pods WHERE has_key(pods) AND (sqlc.narg(id)::uuid IS NULL OR id = sqlc.narg(id));

-- name: PodPhases :many
SELECT phase, count(*)::integer AS pods, count(unknown_since)::integer AS unknown FROM pods GROUP BY phase;

-- name: PendingPods :many
-- Pending pods that are due, the highest priority first and the oldest first among equals, each with what it still waits for: a volume that is not
-- created yet, or an image that is not imported yet. Unfinished volumes and images are few, so the query starts from them. Pods that wait for
-- a volume or an image come last, so that they do not delay the others, however many they are.
WITH volumes_missing AS (
    SELECT c.tenant_id, c.pod_id, min(v.name) AS name FROM volumes v JOIN volume_claims c ON c.tenant_id = v.tenant_id AND c.volume_id = v.id
    WHERE v.state <> 'Available' GROUP BY c.tenant_id, c.pod_id
), images_missing AS (
    SELECT u.tenant_id, u.pod_id, min(i.reference || ' (' || i.state || ')') AS name FROM images i JOIN image_uses u ON u.tenant_id = i.tenant_id AND u.image_id = i.id
    WHERE i.state <> 'Ready' GROUP BY u.tenant_id, u.pod_id
), gangs AS (
    SELECT tenant_id, gang, count(*)::integer AS created, (count(*) FILTER (WHERE holds_room))::integer AS placed
    FROM pods WHERE gang <> '' AND (phase = 'Pending' OR holds_room) GROUP BY tenant_id, gang
)
SELECT p.tenant_id, p.id, p.cpu_millis, p.memory_mib, p.scratch_gib, p.created_at, p.priority, p.labels, p.scheduling, p.tries, p.placed_generation, p.needs,
    jsonb_path_exists(p.spec, '$.containers[*].privileged ? (@ == true)')::boolean AS privileged,
    COALESCE(v.name, '')::text AS waits_for_volume, COALESCE(i.name, '')::text AS waits_for_image,
    COALESCE(g.created, 0)::integer AS gang_created, COALESCE(g.placed, 0)::integer AS gang_placed
FROM pods p
LEFT JOIN volumes_missing v ON v.tenant_id = p.tenant_id AND v.pod_id = p.id
LEFT JOIN images_missing i ON i.tenant_id = p.tenant_id AND i.pod_id = p.id
LEFT JOIN gangs g ON g.tenant_id = p.tenant_id AND g.gang = p.gang
WHERE p.phase = 'Pending' AND (p.next_try_at IS NULL OR p.next_try_at <= clock_timestamp())
ORDER BY v.name IS NOT NULL OR i.name IS NOT NULL, p.priority DESC, p.created_at, p.id LIMIT @max;

-- name: DeferPods :exec
-- Why each pod is not placed, and when the scheduler retries: after a second, then twice as long each time, up to 30 seconds. A pod that waits for
-- one of its own objects is due in the next pass.
UPDATE pods SET reason = r.reason, message = r.message, decision = r.decision,
    tries = CASE WHEN r.waits THEN 0 ELSE LEAST(tries + 1, 10) END,
    next_try_at = CASE WHEN r.waits THEN NULL ELSE clock_timestamp() + LEAST(power(2, tries), 30) * interval '1 second' END
FROM (SELECT w.* FROM
    (SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@pod_ids::uuid[]) AS id, unnest(@reasons::text[]) AS reason,
        unnest(@messages::text[]) AS message, unnest(@waits::boolean[]) AS waits, unnest(@decisions::jsonb[]) AS decision) w
    JOIN pods p ON p.tenant_id = w.tenant_id AND p.id = w.id WHERE p.phase = 'Pending' ORDER BY p.tenant_id, p.id FOR NO KEY UPDATE OF p) r
WHERE pods.tenant_id = r.tenant_id AND pods.id = r.id AND pods.phase = 'Pending'
  AND (NOT r.waits OR (pods.reason, pods.message) IS DISTINCT FROM (r.reason, r.message));

-- name: AnyDeferred :one
SELECT EXISTS (SELECT 1 FROM pods WHERE phase = 'Pending' AND next_try_at > clock_timestamp());

-- name: WakePods :execrows
-- Capacity was freed: deferred pods that fit into it are due at once, the highest priority first and the oldest first among equals.
UPDATE pods SET next_try_at = NULL WHERE (tenant_id, id) IN (
    SELECT p.tenant_id, p.id FROM pods p WHERE p.phase = 'Pending' AND p.next_try_at > clock_timestamp()
      AND p.cpu_millis <= @cpu_millis AND p.memory_mib <= @memory_mib ORDER BY p.priority DESC, p.created_at, p.id LIMIT @max
    FOR NO KEY UPDATE SKIP LOCKED);

-- name: CommitPlacements :many
-- One statement places a batch and returns the pods that it placed. It does nothing for a leader with an old epoch, for a node that has changed
-- since the snapshot, and for a pod that is no longer pending.
WITH leader AS (
    SELECT 1 FROM leadership WHERE epoch = @epoch FOR SHARE
), wanted AS (
    SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@pod_ids::uuid[]) AS pod_id, unnest(@node_ids::uuid[]) AS node_id,
        unnest(@node_versions::bigint[]) AS node_version, unnest(@decisions::jsonb[]) AS decision
), pending AS (
    SELECT w.*, p.cpu_millis, p.memory_mib FROM wanted w JOIN pods p ON p.tenant_id = w.tenant_id AND p.id = w.pod_id
    WHERE p.phase = 'Pending' AND EXISTS (SELECT 1 FROM leader)
    ORDER BY p.tenant_id, p.id FOR UPDATE OF p
), locked AS MATERIALIZED (
    SELECT l.id FROM nodes l WHERE l.id IN (SELECT node_id FROM pending) ORDER BY l.id FOR NO KEY UPDATE
), charged AS (
    UPDATE nodes n SET allocated_cpu_millis = n.allocated_cpu_millis + a.cpu_millis,
        allocated_memory_mib = n.allocated_memory_mib + a.memory_mib + a.pods * n.vmm_overhead_mib,
        version = n.version + 1
    FROM (SELECT node_id, node_version, sum(cpu_millis)::integer AS cpu_millis, sum(memory_mib)::integer AS memory_mib, count(*)::integer AS pods
        FROM pending GROUP BY node_id, node_version) a JOIN locked ON locked.id = a.node_id
    WHERE n.id = a.node_id AND n.version = a.node_version AND n.state = 'Ready' AND NOT n.cordoned
    RETURNING n.id, n.name, n.vmm_overhead_mib
)
UPDATE pods p SET phase = 'Starting', reason = '', message = '', holds_room = true, node_id = c.id, node_name = c.name, vmm_overhead_mib = c.vmm_overhead_mib,
    placed_at = clock_timestamp(), placed_generation = p.generation, decision = w.decision
FROM pending w JOIN charged c ON c.id = w.node_id
WHERE p.tenant_id = w.tenant_id AND p.id = w.pod_id
RETURNING p.tenant_id, p.id, p.node_id::uuid AS node_id;

-- name: SetPodKeys :many
-- It returns the nodes.
WITH made AS (
    SELECT unnest(@tenant_ids::uuid[]) AS tenant_id, unnest(@pod_ids::uuid[]) AS pod_id, unnest(@placements::bigint[]) AS placement, unnest(@ceph_keys::bytea[]) AS ceph_key
), waiting AS (
    SELECT p.tenant_id, p.id, p.node_id, m.placement, m.ceph_key FROM pods p JOIN made m ON p.tenant_id = m.tenant_id AND p.id = m.pod_id
    WHERE p.ceph_key IS NULL AND p.holds_room AND p.placement = m.placement ORDER BY p.tenant_id, p.id FOR NO KEY UPDATE OF p
), locked AS MATERIALIZED ( -- triggers change the nodes
    SELECT l.id FROM nodes l WHERE l.id IN (SELECT node_id FROM waiting) ORDER BY l.id FOR NO KEY UPDATE
), keyed AS (
    UPDATE pods p SET ceph_key = w.ceph_key, key_placement = w.placement FROM waiting w JOIN locked ON locked.id = w.node_id WHERE p.tenant_id = w.tenant_id AND p.id = w.id RETURNING p.node_id
)
SELECT DISTINCT node_id::uuid AS node_id FROM keyed;
