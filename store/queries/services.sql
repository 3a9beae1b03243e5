-- name: ServiceUse :one
SELECT count(*)::integer FROM services WHERE tenant_id = @tenant_id;

-- name: FreeServiceAddress :one
-- The first free address after that of the newest service, wrapping around at the end, as for pods: an address that was released is not reused
-- soon.
WITH range AS (
    SELECT @first::inet AS first, @last::inet AS last,
        COALESCE((SELECT s.address + 1 FROM services s WHERE s.tenant_id = @tenant_id AND s.address IS NOT NULL ORDER BY s.created_at DESC, s.id DESC LIMIT 1), @first::inet) AS next
), candidates AS (
    SELECT 1 AS turn, next AS address FROM range
    UNION ALL (SELECT 2, s.address + 1 FROM range JOIN services s ON s.tenant_id = @tenant_id AND s.address >= range.next
        WHERE NOT EXISTS (SELECT 1 FROM services t WHERE t.tenant_id = @tenant_id AND t.address = s.address + 1) ORDER BY s.address LIMIT 1)
    UNION ALL SELECT 3, first FROM range
    UNION ALL (SELECT 4, s.address + 1 FROM range JOIN services s ON s.tenant_id = @tenant_id AND s.address >= range.first
        WHERE NOT EXISTS (SELECT 1 FROM services t WHERE t.tenant_id = @tenant_id AND t.address = s.address + 1) ORDER BY s.address LIMIT 1)
)
SELECT c.address::inet AS address FROM candidates c, range
WHERE c.address BETWEEN range.first AND range.last
  AND NOT EXISTS (SELECT 1 FROM services s WHERE s.tenant_id = @tenant_id AND s.address = c.address)
ORDER BY c.turn LIMIT 1;

-- name: InsertService :one
INSERT INTO services (tenant_id, id, network_id, name, labels, selector, ports, affinity_seconds, address, security_groups)
VALUES (@tenant_id, @id, @network_id, @name, @labels, @selector, @ports, @affinity_seconds, sqlc.narg(address), @security_groups) RETURNING *;

-- name: ServiceByID :one
SELECT * FROM services WHERE tenant_id = @tenant_id AND id = @id;

-- name: Services :many
SELECT * FROM services
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid) AND (sqlc.narg(name)::text IS NULL OR name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(labels, sqlc.narg(selector)::jsonb))
ORDER BY created_at, id LIMIT @max;

-- name: LockService :one
SELECT * FROM services WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: UpdateService :one
UPDATE services SET labels = @labels, selector = @selector, ports = @ports, affinity_seconds = @affinity_seconds, security_groups = @security_groups
WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: RemoveService :exec
DELETE FROM services WHERE tenant_id = @tenant_id AND id = @id;

-- name: ServicePods :many
-- The pods of these tenants, or of all tenants with services, that have a virtual machine and so can be endpoints.
SELECT p.id, p.tenant_id, p.network_id, p.name, p.labels, p.address, p.interfaces, (p.phase = 'Running')::boolean AS running, pod_ready(p) AS ready, node_is_silent(p.node_id) AS silent
FROM pods p
WHERE p.phase IN ('Running', 'Stopping') AND (p.phase = 'Running' OR p.holds_room) AND p.tenant_id IN (
    SELECT s.tenant_id FROM services s WHERE sqlc.narg(tenants)::uuid[] IS NULL OR s.tenant_id = ANY(sqlc.narg(tenants)::uuid[]))
ORDER BY p.tenant_id, p.address, p.id; -- sorted as endpoints are, which then takes no time

-- name: ServicesOfTenants :many
SELECT * FROM services WHERE sqlc.narg(tenants)::uuid[] IS NULL OR tenant_id = ANY(sqlc.narg(tenants)::uuid[]) ORDER BY tenant_id, id;

-- name: ZonePods :many
-- The pods of a tenant that have a virtual machine.
SELECT p.id, p.tenant_id, p.network_id, p.name, p.labels, p.address, p.interfaces, (p.phase = 'Running')::boolean AS running, pod_ready(p) AS ready, node_is_silent(p.node_id) AS silent
FROM pods p WHERE p.tenant_id = @tenant_id AND p.phase IN ('Starting', 'Running', 'Stopping') AND (p.phase <> 'Stopping' OR p.holds_room);

-- name: NetworksOfNode :many
-- The networks that have virtual machines on a node, also of pods that move to it or from it.
SELECT DISTINCT a.tenant_id, a.network_id FROM pod_addresses a JOIN (
    SELECT p.tenant_id, p.id FROM pods p WHERE p.node_id = @node_id::uuid AND p.phase IN ('Starting', 'Running', 'Stopping')
    UNION
    SELECT l.tenant_id, l.pod_id FROM placements l WHERE l.node_id = @node_id::uuid AND l.role IN ('incoming', 'leaving')
) here ON here.tenant_id = a.tenant_id AND here.id = a.pod_id;
