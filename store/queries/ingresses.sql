-- name: IngressUse :one
SELECT count(*)::integer FROM ingresses WHERE tenant_id = @tenant_id;

-- name: InsertIngress :one
INSERT INTO ingresses (tenant_id, id, name, labels, rules, hsts_seconds) VALUES (@tenant_id, @id, @name, @labels, @rules, @hsts_seconds) RETURNING *;

-- name: IngressByID :one
SELECT * FROM ingresses WHERE tenant_id = @tenant_id AND id = @id;

-- name: Ingresses :many
SELECT * FROM ingresses
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid) AND (sqlc.narg(name)::text IS NULL OR name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(labels, sqlc.narg(selector)::jsonb))
ORDER BY created_at, id LIMIT @max;

-- name: LockIngress :one
SELECT * FROM ingresses WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: UpdateIngress :one
UPDATE ingresses SET labels = @labels, rules = @rules, hsts_seconds = @hsts_seconds WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: RemoveIngress :exec
DELETE FROM ingresses WHERE tenant_id = @tenant_id AND id = @id;

-- name: IngressHosts :many
SELECT * FROM ingress_hosts WHERE tenant_id = @tenant_id AND (sqlc.narg(ingress_id)::uuid IS NULL OR ingress_id = sqlc.narg(ingress_id)::uuid) ORDER BY host;

-- name: InsertIngressHost :execrows
INSERT INTO ingress_hosts (host, tenant_id, ingress_id) VALUES (@host, @tenant_id, @ingress_id) ON CONFLICT (host) DO NOTHING;

-- name: RemoveIngressHosts :exec
DELETE FROM ingress_hosts WHERE tenant_id = @tenant_id AND ingress_id = @ingress_id AND NOT host = ANY(@hosts::text[]);

-- name: AddIngressServices :exec
INSERT INTO ingress_services (tenant_id, service) SELECT @tenant_id, unnest(@services::text[]) ON CONFLICT DO NOTHING;

-- name: RemoveIngressServices :exec
-- Removes those that no ingress of the tenant names any more.
DELETE FROM ingress_services s WHERE s.tenant_id = @tenant_id AND NOT EXISTS (
    SELECT 1 FROM ingresses i, jsonb_array_elements(i.rules) r, jsonb_array_elements(r -> 'paths') p WHERE i.tenant_id = s.tenant_id AND p ->> 'service' = s.service);

-- name: IngressRequests :many
-- The requests after one, or the latest ones, in descending order.
SELECT id, at, request FROM ingress_requests WHERE tenant_id = @tenant_id AND ingress_id = @ingress_id AND id > @after::bigint ORDER BY id DESC LIMIT @max;

-- name: IngressTrafficOf :many
SELECT i.tenant_id, i.name, COALESCE(t.informational, 0)::bigint AS informational, COALESCE(t.successful, 0)::bigint AS successful, COALESCE(t.redirected, 0)::bigint AS redirected,
    COALESCE(t.refused, 0)::bigint AS refused, COALESCE(t.failed, 0)::bigint AS failed, COALESCE(t.limited, 0)::bigint AS limited,
    COALESCE(t.received_bytes, 0)::bigint AS received_bytes, COALESCE(t.sent_bytes, 0)::bigint AS sent_bytes
FROM ingresses i LEFT JOIN ingress_traffic t ON t.tenant_id = i.tenant_id AND t.ingress_id = i.id
WHERE i.tenant_id = ANY(@tenants::uuid[]) ORDER BY i.tenant_id, i.name;

-- name: IngressHostsOf :many
SELECT h.tenant_id, i.name, h.host, h.expires_at FROM ingress_hosts h JOIN ingresses i ON i.tenant_id = h.tenant_id AND i.id = h.ingress_id
WHERE h.tenant_id = ANY(@tenants::uuid[]) ORDER BY h.tenant_id, i.name, h.host;

-- name: IngressServiceAddresses :many
-- The addresses of services in the ingress range, of these tenants, or of all.
SELECT tenant_id, service, address::inet AS address FROM ingress_services
WHERE address IS NOT NULL AND (sqlc.narg(tenants)::uuid[] IS NULL OR tenant_id = ANY(sqlc.narg(tenants)::uuid[]));

-- name: IngressServicesWithoutAddress :many
SELECT tenant_id, service FROM ingress_services WHERE address IS NULL LIMIT @max;

-- name: FreeIngressAddress :one
-- The first free address after the highest one in use, and otherwise the lowest free one. So an address that was released is not reused soon.
SELECT a.address::inet FROM (
    SELECT 1 AS turn, max(address) + 1 AS address FROM ingress_services
    UNION ALL
    SELECT 2, @first::inet WHERE NOT EXISTS (SELECT 1 FROM ingress_services WHERE address = @first::inet)
    UNION ALL (
    SELECT 3, s.address + 1 FROM ingress_services s WHERE s.address >= @first::inet AND s.address < @last::inet
        AND NOT EXISTS (SELECT 1 FROM ingress_services o WHERE o.address = s.address + 1) ORDER BY s.address LIMIT 1)
) a WHERE a.address BETWEEN @first::inet AND @last::inet ORDER BY a.turn LIMIT 1;

-- name: SetIngressAddress :exec
UPDATE ingress_services SET address = @address::inet WHERE tenant_id = @tenant_id AND service = @service AND address IS NULL;

-- name: ClearIngressAddresses :exec
-- Takes back addresses that are not in the range (any more).
UPDATE ingress_services SET address = NULL WHERE address IS NOT NULL AND NOT address BETWEEN @first::inet AND @last::inet;
