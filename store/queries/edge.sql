-- name: EdgeIngresses :many
-- What an ingress process needs to know about all ingresses.
SELECT tenant_id, id, name, rules, hsts_seconds FROM ingresses ORDER BY tenant_id, id;

-- name: EdgeHosts :many
SELECT host, tenant_id, ingress_id, issued_at, expires_at, failures FROM ingress_hosts;

-- name: EdgeHostIssued :one
SELECT (expires_at IS NOT NULL)::boolean FROM ingress_hosts WHERE host = @host;

-- name: ClaimCertificates :many
-- The hosts whose certificates need a look. No other process takes them before the lease ends.
UPDATE ingress_hosts SET due_at = clock_timestamp() + make_interval(secs => @lease_seconds::float8)
WHERE host IN (SELECT d.host FROM ingress_hosts d WHERE d.due_at <= clock_timestamp() ORDER BY d.due_at LIMIT @max FOR UPDATE SKIP LOCKED)
RETURNING host, tenant_id, issued_at, expires_at, failures;

-- name: CountOrder :one
-- Counts a new certificate that a tenant asks for, and returns how many there are in this hour.
INSERT INTO ingress_orders (tenant_id, since, orders) VALUES (@tenant_id, clock_timestamp(), 1)
ON CONFLICT (tenant_id) DO UPDATE SET
    since = CASE WHEN ingress_orders.since < clock_timestamp() - interval '1 hour' THEN clock_timestamp() ELSE ingress_orders.since END,
    orders = CASE WHEN ingress_orders.since < clock_timestamp() - interval '1 hour' THEN 1 ELSE ingress_orders.orders + 1 END
RETURNING orders, since;

-- name: CertificateIssued :exec
UPDATE ingress_hosts SET issued_at = @issued_at, expires_at = @expires_at, message = '', failures = 0, due_at = @due_at WHERE host = @host;

-- name: CertificateFailed :exec
UPDATE ingress_hosts SET message = @message, failures = failures + 1, due_at = @due_at WHERE host = @host;

-- name: AppendIngressRequests :exec
-- Those of ingresses that have been deleted are skipped.
INSERT INTO ingress_requests (tenant_id, ingress_id, at, request)
SELECT i.tenant_id, i.id, t.at, t.request::jsonb
FROM (SELECT unnest(@tenants::uuid[]) AS tenant_id, unnest(@ingresses::uuid[]) AS ingress_id, unnest(@ats::timestamptz[]) AS at, unnest(@requests::text[]) AS request) t
JOIN ingresses i ON i.tenant_id = t.tenant_id AND i.id = t.ingress_id ORDER BY t.at;

-- name: TrimIngressRequests :exec
DELETE FROM ingress_requests r WHERE r.tenant_id = @tenant_id AND r.ingress_id = @ingress_id AND r.id <= (
    SELECT k.id FROM ingress_requests k WHERE k.tenant_id = @tenant_id AND k.ingress_id = @ingress_id ORDER BY k.id DESC OFFSET @kept::integer LIMIT 1);

-- name: AddIngressTraffic :exec
INSERT INTO ingress_traffic (tenant_id, ingress_id, informational, successful, redirected, refused, failed, limited, received_bytes, sent_bytes)
SELECT i.tenant_id, i.id, @informational, @successful, @redirected, @refused, @failed, @limited, @received_bytes, @sent_bytes FROM ingresses i WHERE i.tenant_id = @tenant_id AND i.id = @id
ON CONFLICT (tenant_id, ingress_id) DO UPDATE SET
    informational = ingress_traffic.informational + EXCLUDED.informational, successful = ingress_traffic.successful + EXCLUDED.successful, redirected = ingress_traffic.redirected + EXCLUDED.redirected,
    refused = ingress_traffic.refused + EXCLUDED.refused, failed = ingress_traffic.failed + EXCLUDED.failed, limited = ingress_traffic.limited + EXCLUDED.limited,
    received_bytes = ingress_traffic.received_bytes + EXCLUDED.received_bytes, sent_bytes = ingress_traffic.sent_bytes + EXCLUDED.sent_bytes;

-- name: PutEdgeValue :exec
INSERT INTO ingress_storage (key, value, size) VALUES (@key, @value, @size)
ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, size = EXCLUDED.size, modified = clock_timestamp();

-- name: EdgeValue :one
SELECT value, size, modified FROM ingress_storage WHERE key = @key;

-- name: EdgeKeys :many
-- The keys that begin with a prefix.
SELECT key FROM ingress_storage WHERE starts_with(key, @prefix::text) ORDER BY key;

-- name: RemoveEdgeValues :exec
-- Removes a key, and all that are below it.
DELETE FROM ingress_storage WHERE key = @key::text OR starts_with(key, @key::text || '/');

-- name: TakeEdgeLock :execrows
INSERT INTO ingress_locks (name, holder, until) VALUES (@name, @holder, clock_timestamp() + make_interval(secs => @seconds::float8))
ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until WHERE ingress_locks.until < clock_timestamp() OR ingress_locks.holder = EXCLUDED.holder;

-- name: ReleaseEdgeLock :exec
DELETE FROM ingress_locks WHERE name = @name AND holder = @holder;
