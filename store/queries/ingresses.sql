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
-- Those that exist.
SELECT i.tenant_id, i.service FROM ingress_services i JOIN services s ON s.tenant_id = i.tenant_id AND s.name = i.service WHERE i.address IS NULL LIMIT @max;

-- name: FreeIngressAddress :one
-- The first free address of a range after the one that was given last, wrapping around at the end. So an address that was released rests.
WITH last AS (SELECT COALESCE(ingress_address + 1, @first::inet) AS next FROM last_address), candidates AS (
    SELECT 1 AS turn, next AS address FROM last
    UNION ALL (SELECT 2, s.address + 1 FROM last JOIN ingress_services s ON s.address >= last.next
        WHERE NOT EXISTS (SELECT 1 FROM ingress_services o WHERE o.address = s.address + 1) ORDER BY s.address LIMIT 1)
    UNION ALL SELECT 3, @first::inet
    UNION ALL (SELECT 4, s.address + 1 FROM ingress_services s WHERE s.address >= @first::inet
        AND NOT EXISTS (SELECT 1 FROM ingress_services o WHERE o.address = s.address + 1) ORDER BY s.address LIMIT 1)
)
SELECT c.address::inet AS address FROM candidates c
WHERE c.address BETWEEN @first::inet AND @last::inet AND NOT EXISTS (SELECT 1 FROM ingress_services o WHERE o.address = c.address) ORDER BY c.turn LIMIT 1;

-- name: SetIngressAddress :exec
-- Not if the service has been deleted meanwhile.
WITH service AS (SELECT s.tenant_id, s.name FROM services s WHERE s.tenant_id = @tenant_id AND s.name = @service FOR KEY SHARE),
given AS (UPDATE last_address SET ingress_address = @address::inet)
UPDATE ingress_services i SET address = @address::inet FROM service s WHERE i.tenant_id = s.tenant_id AND i.service = s.name AND i.address IS NULL;

-- name: ClearIngressAddresses :exec
-- Takes back addresses that are not in the range (any more), and those of services that servers of the previous version have deleted.
UPDATE ingress_services i SET address = NULL WHERE i.address IS NOT NULL
    AND (NOT i.address BETWEEN @first::inet AND @last::inet OR NOT EXISTS (SELECT 1 FROM services s WHERE s.tenant_id = i.tenant_id AND s.name = i.service));
