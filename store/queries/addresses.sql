-- name: AddressUse :one
SELECT count(*)::integer FROM addresses WHERE tenant_id = @tenant_id;

-- name: TakeAddress :one
-- No row means that all are taken.
SELECT a.address::inet AS address FROM take_address(@first::inet, @last::inet) AS a (address) WHERE a.address IS NOT NULL;

-- name: InsertAddress :one
INSERT INTO addresses (tenant_id, id, name, labels, address, service_id, pod_id, ports, owner_service_id, owner_pod_id)
VALUES (@tenant_id, @id, @name, @labels, @address, sqlc.narg(service_id), sqlc.narg(pod_id), @ports, sqlc.narg(owner_service_id), sqlc.narg(owner_pod_id)) RETURNING *;

-- name: AddressByID :one
SELECT sqlc.embed(a), COALESCE(s.name, p.name, '')::text AS target
FROM addresses a LEFT JOIN services s ON s.tenant_id = a.tenant_id AND s.id = a.service_id LEFT JOIN pods p ON p.tenant_id = a.tenant_id AND p.id = a.pod_id
WHERE a.tenant_id = @tenant_id AND a.id = @id;

-- name: Addresses :many
SELECT sqlc.embed(a), COALESCE(s.name, p.name, '')::text AS target
FROM addresses a LEFT JOIN services s ON s.tenant_id = a.tenant_id AND s.id = a.service_id LEFT JOIN pods p ON p.tenant_id = a.tenant_id AND p.id = a.pod_id
WHERE a.tenant_id = @tenant_id AND (a.created_at, a.id) > (@after_time::timestamptz, @after_id::uuid) AND (sqlc.narg(name)::text IS NULL OR a.name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(a.labels, sqlc.narg(selector)::jsonb))
ORDER BY a.created_at, a.id LIMIT @max;

-- name: LockAddress :exec
SELECT 1 FROM addresses WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: UpdateAddress :exec
UPDATE addresses SET labels = @labels, service_id = sqlc.narg(service_id), pod_id = sqlc.narg(pod_id), ports = @ports,
    owner_service_id = sqlc.narg(owner_service_id), owner_pod_id = sqlc.narg(owner_pod_id)
WHERE tenant_id = @tenant_id AND id = @id;

-- name: RemoveAddress :exec
DELETE FROM addresses WHERE tenant_id = @tenant_id AND id = @id;

-- name: WholePodAddresses :one
-- How many other addresses have all ports of a pod.
SELECT count(*)::integer FROM addresses WHERE tenant_id = @tenant_id AND pod_id = @pod_id::uuid AND ports = '[]' AND id <> @id;

-- name: AddressesOfTenants :many
-- The addresses of these tenants that have a target.
SELECT a.tenant_id, a.id, a.address, a.service_id, a.pod_id, a.ports, p.address AS pod_address, p.interfaces AS pod_interfaces
FROM addresses a LEFT JOIN pods p ON p.tenant_id = a.tenant_id AND p.id = a.pod_id
WHERE a.tenant_id = ANY(@tenants::uuid[]) AND num_nonnulls(a.service_id, a.pod_id) > 0 ORDER BY a.tenant_id, a.id;

-- name: AddressesTaken :one
-- How many addresses of a range are taken.
SELECT count(*)::bigint FROM addresses WHERE address BETWEEN @first::inet AND @last::inet;
