-- name: BeginTenant :one
SELECT begin_tenant(@tenant::uuid, sqlc.narg(subject)::uuid, sqlc.narg(key)::uuid, @claimed_role::text, @claimed_limit::text)::boolean AS valid;

-- name: InsertServiceAccount :one
INSERT INTO service_accounts (tenant_id, id, name, role) VALUES (@tenant_id, @id, @name, @role) RETURNING *;

-- name: ServiceAccount :one
SELECT * FROM service_accounts WHERE tenant_id = @tenant_id AND id = @id;

-- name: LockServiceAccount :one
SELECT * FROM service_accounts WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: ServiceAccountByName :one
SELECT * FROM service_accounts WHERE tenant_id = @tenant_id AND name = @name;

-- name: ServiceAccounts :many
SELECT * FROM service_accounts
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid) ORDER BY created_at, id LIMIT @max;

-- name: CountServiceAccounts :one
SELECT count(*)::integer FROM service_accounts WHERE tenant_id = @tenant_id;

-- name: SetServiceAccountRole :one
UPDATE service_accounts SET role = @role WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: DeleteServiceAccount :exec
DELETE FROM service_accounts WHERE tenant_id = @tenant_id AND id = @id;

-- name: HasOwner :one
-- Whether the tenant has an owner who can log in: a service account with a key, or a user who has logged in before.
SELECT (EXISTS (SELECT 1 FROM service_accounts a JOIN api_keys k ON k.tenant_id = a.tenant_id AND k.service_account_id = a.id
        WHERE a.tenant_id = @tenant_id AND a.role = 'owner' AND k.limited_to = '' AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()))
    OR EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = @tenant_id AND u.role = 'owner' AND NOT u.disabled AND u.last_login_at IS NOT NULL))::boolean AS has;

-- name: InsertAPIKey :one
INSERT INTO api_keys (tenant_id, client_id, service_account_id, name, secret_hash, expires_at, limited_to)
VALUES (@tenant_id, @client_id, @service_account_id, @name, @secret_hash, sqlc.narg(expires_at), @limited_to) RETURNING *;

-- name: APIKeys :many
SELECT * FROM api_keys WHERE tenant_id = @tenant_id AND (service_account_id = sqlc.narg(service_account_id) OR sqlc.narg(service_account_id) IS NULL)
ORDER BY created_at, client_id;

-- name: CountAPIKeys :one
SELECT count(*)::integer FROM api_keys WHERE tenant_id = @tenant_id AND service_account_id = @service_account_id;

-- name: LockAPIKey :one
SELECT * FROM api_keys WHERE tenant_id = @tenant_id AND client_id = @client_id FOR UPDATE;

-- name: DeleteAPIKey :exec
DELETE FROM api_keys WHERE tenant_id = @tenant_id AND client_id = @client_id;

-- name: UseAPIKey :one
SELECT k.*, a.name AS account_name, a.role FROM api_keys k JOIN service_accounts a ON a.tenant_id = k.tenant_id AND a.id = k.service_account_id
WHERE k.client_id = @client_id AND k.secret_hash = @secret_hash AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());

-- name: TouchAPIKey :exec
UPDATE api_keys SET last_used_at = now() WHERE tenant_id = @tenant_id AND client_id = @client_id;

-- name: ForgetExpiredAPIKeys :execrows
DELETE FROM api_keys WHERE expires_at < now() - interval '30 days';

-- name: InsertUser :one
INSERT INTO users (tenant_id, id, issuer, subject, email, name, role, mapped, last_login_at)
VALUES (@tenant_id, @id, @issuer, sqlc.narg(subject), @email, @name, @role, @mapped, sqlc.narg(last_login_at)) RETURNING *;

-- name: User :one
SELECT * FROM users WHERE tenant_id = @tenant_id AND id = @id;

-- name: LockUser :one
SELECT * FROM users WHERE tenant_id = @tenant_id AND id = @id FOR UPDATE;

-- name: Users :many
SELECT * FROM users
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid) ORDER BY created_at, id LIMIT @max;

-- name: CountUsers :one
SELECT count(*)::integer FROM users WHERE tenant_id = @tenant_id;

-- name: UpdateUser :one
UPDATE users SET role = @role, mapped = @mapped, disabled = @disabled WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: LogInUser :one
UPDATE users SET subject = @subject, email = @email, name = @name, role = @role, last_login_at = now()
WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: DeleteUser :exec
DELETE FROM users WHERE tenant_id = @tenant_id AND id = @id;

-- name: FindUser :one
-- The user who logs in: known by subject, or invited by an email address that the issuer has verified.
SELECT * FROM users WHERE tenant_id = @tenant_id AND issuer = @issuer
    AND (subject = @subject OR subject IS NULL AND @verified_email::text <> '' AND lower(email) = lower(@verified_email::text))
ORDER BY subject NULLS LAST LIMIT 1 FOR UPDATE;

-- name: TenantsOfUser :many
SELECT DISTINCT tenant_id FROM users WHERE issuer = @issuer
    AND (subject = @subject OR subject IS NULL AND @verified_email::text <> '' AND lower(email) = lower(@verified_email::text));

-- name: DeleteUsersOfIssuer :exec
-- Users that no trusted issuer can authenticate any longer. An issuer of the installation (tenant NULL) can authenticate users in every tenant.
DELETE FROM users u WHERE u.issuer = @issuer AND (sqlc.narg(tenant_id)::uuid IS NULL OR u.tenant_id = sqlc.narg(tenant_id))
    AND NOT EXISTS (SELECT 1 FROM oidc_issuers i WHERE i.issuer = u.issuer AND (i.tenant_id = u.tenant_id OR i.tenant_id IS NULL));

-- name: InsertOIDCIssuer :one
INSERT INTO oidc_issuers (id, tenant_id, name, issuer, client_id, role_mappings)
VALUES (@id, sqlc.narg(tenant_id), @name, @issuer, @client_id, @role_mappings) RETURNING *;

-- name: OIDCIssuers :many
SELECT * FROM oidc_issuers WHERE tenant_id IS NOT DISTINCT FROM sqlc.narg(tenant_id)::uuid
    AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid) ORDER BY created_at, id LIMIT @max;

-- name: OIDCIssuer :one
SELECT * FROM oidc_issuers WHERE tenant_id IS NOT DISTINCT FROM sqlc.narg(tenant_id)::uuid AND id = @id;

-- name: LockOIDCIssuer :one
SELECT * FROM oidc_issuers WHERE tenant_id IS NOT DISTINCT FROM sqlc.narg(tenant_id)::uuid AND id = @id FOR UPDATE;

-- name: CountOIDCIssuers :one
SELECT count(*)::integer FROM oidc_issuers WHERE tenant_id IS NOT DISTINCT FROM sqlc.narg(tenant_id)::uuid;

-- name: SetRoleMappings :one
UPDATE oidc_issuers SET role_mappings = @role_mappings WHERE tenant_id IS NOT DISTINCT FROM sqlc.narg(tenant_id)::uuid AND id = @id RETURNING *;

-- name: DeleteOIDCIssuer :exec
DELETE FROM oidc_issuers WHERE id = @id;

-- name: IssuersOfToken :many
-- The issuers that can authenticate an identity: those of the installation and, if a tenant is given, those of the tenant.
SELECT * FROM oidc_issuers WHERE issuer = @issuer AND (tenant_id IS NULL OR tenant_id = sqlc.narg(tenant_id)::uuid);

-- name: TenantByWord :one
-- By id or by name.
SELECT id, name FROM tenants WHERE id::text = @word::text OR name = @word::text;

-- name: TenantName :one
SELECT name FROM tenants WHERE id = @id;

-- name: InsertTenantKey :exec
INSERT INTO tenant_keys (tenant_id, master_id, wrapped) VALUES (@tenant_id, @master_id, @wrapped) ON CONFLICT (tenant_id) DO NOTHING;

-- name: TenantKey :one
SELECT * FROM tenant_keys WHERE tenant_id = @tenant_id;

-- name: TenantsWithoutKey :many
SELECT id FROM tenants WHERE NOT EXISTS (SELECT 1 FROM tenant_keys k WHERE k.tenant_id = tenants.id) LIMIT 1000;

-- name: TenantKeysNotUnder :many
SELECT * FROM tenant_keys WHERE master_id <> @master_id LIMIT 1000;

-- name: RewrapTenantKey :exec
UPDATE tenant_keys SET master_id = @master_id, wrapped = @wrapped WHERE tenant_id = @tenant_id;

-- name: TakeTokens :one
SELECT take_tokens(@bucket::text, @rate::double precision, @burst::double precision, @wanted::double precision)::double precision AS granted;

-- name: ForgetRateBuckets :execrows
DELETE FROM rate_buckets WHERE at < now() - interval '1 hour';

-- name: TakeTenantTokens :one
-- Takes enough tokens for a tenth of a second. So a busy server runs this query about ten times a second, and reserves few tokens in advance.
SELECT quota_requests_per_second AS rate,
    take_tokens('tenant:' || id, quota_requests_per_second, 2.0 * quota_requests_per_second, GREATEST(1, ceil(quota_requests_per_second / 10.0)))::double precision AS granted
FROM tenants WHERE id = @id;
