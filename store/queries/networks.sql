-- name: TenantNetworks :many
SELECT * FROM networks WHERE tenant_id = @tenant_id ORDER BY created_at, id;

-- name: NetworkByName :one
SELECT * FROM networks WHERE tenant_id = @tenant_id AND name = @name FOR KEY SHARE;

-- name: AddNetwork :one
INSERT INTO networks (tenant_id, id, name, labels, cidr, ipv6_cidr, isolated)
VALUES (@tenant_id, @id, @name, @labels, @cidr, sqlc.narg(ipv6_cidr), @isolated) RETURNING *;

-- name: NetworkByID :one
SELECT sqlc.embed(n), (SELECT count(*)::integer FROM pod_addresses a WHERE a.tenant_id = n.tenant_id AND a.network_id = n.id) AS pods
FROM networks n WHERE n.tenant_id = @tenant_id AND n.id = @id;

-- name: Networks :many
SELECT sqlc.embed(n), (SELECT count(*)::integer FROM pod_addresses a WHERE a.tenant_id = n.tenant_id AND a.network_id = n.id) AS pods
FROM networks n
WHERE n.tenant_id = @tenant_id AND (n.created_at, n.id) > (@after_time::timestamptz, @after_id::uuid) AND (sqlc.narg(name)::text IS NULL OR n.name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(n.labels, sqlc.narg(selector)::jsonb))
ORDER BY n.created_at, n.id LIMIT @max;

-- name: LockNetwork :one
SELECT * FROM networks WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: SetNetworkLabels :exec
UPDATE networks SET labels = @labels WHERE tenant_id = @tenant_id AND id = @id;

-- name: RemoveNetwork :exec
DELETE FROM networks WHERE tenant_id = @tenant_id AND id = @id;

-- name: AddressTaken :one
SELECT EXISTS (SELECT 1 FROM pod_addresses WHERE tenant_id = @tenant_id AND network_id = @network_id AND address = @address::inet);
