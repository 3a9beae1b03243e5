-- name: TakeLeadership :one
UPDATE leadership SET epoch = epoch + 1, holder = @holder, since = now() RETURNING epoch;

-- name: CheckEpoch :one
-- Locks the row against the next leader until this transaction ends.
SELECT epoch FROM leadership WHERE epoch = @epoch FOR SHARE;

-- name: SigningKeys :many
SELECT * FROM signing_keys ORDER BY created_at DESC;

-- name: InsertSigningKey :exec
INSERT INTO signing_keys (kid, private_key, public_key) VALUES (@kid, @private_key, @public_key);

-- name: Notify :exec
SELECT pg_notify('husk', @payload::text);

-- name: SetTenant :exec
SELECT set_config('husk.tenant', @tenant::text, true);

-- name: LockOperators :exec
-- Operators' orders run one after the other; there are few of them.
SELECT pg_advisory_xact_lock(7207101);

-- name: FindIdempotencyKey :one
SELECT * FROM idempotency_keys WHERE tenant_id = @tenant_id AND key = @key;

-- name: InsertIdempotencyKey :exec
INSERT INTO idempotency_keys (tenant_id, key, request_hash, object_id, response)
VALUES (@tenant_id, @key, @request_hash, @object_id, @response);

-- name: ForgetIdempotencyKeys :execrows
DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours';

-- name: InsertEvent :exec
INSERT INTO events (tenant_id, kind, object_id, reason, message) VALUES (@tenant_id, @kind, @object_id, @reason, @message);

-- name: InsertCredential :one
-- A commit whose outcome is unknown is tried again with the same id and secret.
INSERT INTO credentials (client_id, kind, tenant_id, name, secret_hash)
VALUES (@client_id, @kind, sqlc.narg(tenant_id), @name, @secret_hash)
ON CONFLICT (client_id) DO UPDATE SET name = EXCLUDED.name WHERE credentials.secret_hash = EXCLUDED.secret_hash AND credentials.kind = EXCLUDED.kind
RETURNING *;

-- name: UseCredential :one
UPDATE credentials SET last_used_at = now() WHERE client_id = @client_id AND secret_hash = @secret_hash RETURNING *;

-- name: TenantCredentials :many
SELECT * FROM credentials WHERE tenant_id = @tenant_id::uuid ORDER BY created_at;

-- name: DeleteTenantCredential :execrows
DELETE FROM credentials WHERE tenant_id = @tenant_id::uuid AND client_id = @client_id;

-- name: CredentialExists :one
SELECT EXISTS (SELECT 1 FROM credentials WHERE client_id = @client_id AND kind = @kind);
