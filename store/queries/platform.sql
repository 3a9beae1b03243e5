-- name: TakeLeadership :one
-- Begins a leadership if the last one has expired. The epoch is in a row of its own, because every write of the leader locks it.
WITH free AS (
    UPDATE leader_lease SET expires_at = clock_timestamp() + make_interval(secs => @lease_seconds::float8) WHERE expires_at <= clock_timestamp() RETURNING 1
)
UPDATE leadership SET epoch = epoch + 1, holder = @holder, since = now() WHERE EXISTS (SELECT 1 FROM free) RETURNING epoch;

-- name: RenewLeadership :execrows
UPDATE leader_lease SET expires_at = clock_timestamp() + make_interval(secs => @lease_seconds::float8) WHERE EXISTS (SELECT 1 FROM leadership WHERE epoch = @epoch);

-- name: EndLeadership :exec
UPDATE leader_lease SET expires_at = '-infinity' WHERE EXISTS (SELECT 1 FROM leadership WHERE epoch = @epoch);

-- name: CheckEpoch :one
-- Locks the row until this transaction ends, so that no other server can become the leader meanwhile.
SELECT epoch FROM leadership WHERE epoch = @epoch FOR SHARE;

-- name: SigningKeys :many
SELECT * FROM signing_keys ORDER BY signs_from DESC, created_at DESC, kid;

-- name: InsertSigningKey :one
INSERT INTO signing_keys (kid, private_key, public_key, signs_from) VALUES (@kid, @private_key, @public_key, clock_timestamp() + make_interval(secs => @signs_after)) RETURNING *;

-- name: ResealSigningKey :exec
UPDATE signing_keys SET private_key = @private_key WHERE kid = @kid;

-- name: DeleteSigningKey :exec
DELETE FROM signing_keys WHERE kid = @kid;

-- name: Hint :exec
INSERT INTO outbox (topic) SELECT unnest(@topics::text[]);

-- name: SendHints :execrows
-- Changes of access come first, for servers of the previous version: see migration 015.
WITH taken AS (
    DELETE FROM outbox WHERE ctid = ANY (ARRAY(SELECT ctid FROM outbox LIMIT 10000 FOR UPDATE SKIP LOCKED)) RETURNING topic
)
SELECT pg_notify('husk', topic) FROM (SELECT DISTINCT topic FROM taken ORDER BY topic) AS topics;

-- name: LockOperators :exec
-- Serialises the requests of operators; there are few of them.
SELECT pg_advisory_xact_lock(7207101);

-- name: FindIdempotencyKey :one
SELECT * FROM idempotency_keys WHERE tenant_id = @tenant_id AND key = @key;

-- name: InsertIdempotencyKey :exec
INSERT INTO idempotency_keys (tenant_id, key, request_hash, object_id, response)
VALUES (@tenant_id, @key, @request_hash, @object_id, @response);

-- name: ForgetIdempotencyKeys :execrows
DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'
    OR created_at < now() - interval '10 minutes' AND key LIKE E'\tserver:%';

-- name: InsertCredential :exec
INSERT INTO credentials (client_id, kind, name, secret_hash) VALUES (@client_id, @kind, @name, @secret_hash);

-- name: UseCredential :one
UPDATE credentials SET last_used_at = now() WHERE client_id = @client_id AND secret_hash = @secret_hash RETURNING *;

-- name: CredentialExists :one
SELECT EXISTS (SELECT 1 FROM credentials WHERE client_id = @client_id AND kind = @kind);

-- name: Epoch :one
SELECT epoch FROM leadership FOR SHARE;
