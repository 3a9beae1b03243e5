-- Roles in a tenant, and the audit log. API keys move from credentials, where only operators and
-- agents remain, to service accounts with tenant isolation. Each tenant that had keys gets the
-- service account "owner" for them.

CREATE TABLE service_accounts (
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id         uuid NOT NULL,
    name       text NOT NULL,
    role       text NOT NULL CHECK (role IN ('viewer', 'developer', 'owner')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE api_keys (
    tenant_id          uuid NOT NULL,
    client_id          uuid NOT NULL UNIQUE, -- random, so that a conflict reveals nothing; the tenant is not known yet at login
    service_account_id uuid NOT NULL,
    name               text NOT NULL,
    secret_hash        bytea NOT NULL, -- SHA-256; the secret is random enough that a slower hash is not needed
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at         timestamptz,
    last_used_at       timestamptz,
    PRIMARY KEY (tenant_id, client_id),
    FOREIGN KEY (tenant_id, service_account_id) REFERENCES service_accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX api_keys_by_service_account ON api_keys (tenant_id, service_account_id);

INSERT INTO service_accounts (tenant_id, id, name, role)
    SELECT DISTINCT ON (tenant_id) tenant_id, gen_random_uuid(), 'owner', 'owner' FROM credentials WHERE kind = 'tenant';
INSERT INTO api_keys (tenant_id, client_id, service_account_id, name, secret_hash, created_at, last_used_at)
    SELECT c.tenant_id, c.client_id, a.id, c.name, c.secret_hash, c.created_at, c.last_used_at
    FROM credentials c JOIN service_accounts a ON a.tenant_id = c.tenant_id WHERE c.kind = 'tenant';
DELETE FROM credentials WHERE kind = 'tenant';
ALTER TABLE credentials DROP COLUMN tenant_id; -- together with the check that uses it
ALTER TABLE credentials DROP CONSTRAINT credentials_kind_check;
ALTER TABLE credentials ADD CONSTRAINT credentials_kind_check CHECK (kind IN ('operator', 'agent'));

CREATE TABLE users (
    tenant_id     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id            uuid NOT NULL,
    issuer        text NOT NULL,
    subject       text, -- NULL until somebody with the email address has logged in
    email         text NOT NULL DEFAULT '',
    name          text NOT NULL DEFAULT '',
    role          text NOT NULL CHECK (role IN ('viewer', 'developer', 'owner')),
    mapped        boolean NOT NULL, -- the role comes from the issuer's mappings and is updated at every login
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_login_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT users_by_subject UNIQUE (tenant_id, issuer, subject),
    CHECK (subject IS NOT NULL OR email <> '')
);
CREATE UNIQUE INDEX users_by_invitation ON users (tenant_id, issuer, lower(email)) WHERE subject IS NULL;
CREATE INDEX users_by_identity ON users (issuer, subject);

CREATE TABLE oidc_issuers (
    id            uuid PRIMARY KEY,
    tenant_id     uuid REFERENCES tenants (id) ON DELETE CASCADE, -- NULL: of the installation
    name          text NOT NULL,
    issuer        text NOT NULL,
    client_id     text NOT NULL,
    role_mappings jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT oidc_issuers_name UNIQUE NULLS NOT DISTINCT (tenant_id, name),
    CONSTRAINT oidc_issuers_issuer UNIQUE NULLS NOT DISTINCT (tenant_id, issuer, client_id)
);

-- Each tenant's key that seals its secrets. It is itself sealed ("wrapped") with one of the
-- installation's master keys.
CREATE TABLE tenant_keys (
    tenant_id  uuid PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    master_id  text NOT NULL, -- the master key that wrapped it
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE tenants
    ADD COLUMN quota_snapshots integer NOT NULL DEFAULT 100 CHECK (quota_snapshots >= 0),
    ADD COLUMN quota_networks integer NOT NULL DEFAULT 1 CHECK (quota_networks >= 0),
    ADD COLUMN quota_addresses integer NOT NULL DEFAULT 0 CHECK (quota_addresses >= 0),
    ADD COLUMN quota_requests_per_second integer NOT NULL DEFAULT 100 CHECK (quota_requests_per_second >= 0);
UPDATE tenants SET quota_addresses = quota_pods; -- until now the limit of pods was the limit of addresses
ALTER TABLE tenants ALTER COLUMN quota_snapshots DROP DEFAULT, ALTER COLUMN quota_networks DROP DEFAULT,
    ALTER COLUMN quota_addresses DROP DEFAULT, ALTER COLUMN quota_requests_per_second DROP DEFAULT;

-- The ID of an event must not depend on the number of other tenants' events.
ALTER TABLE events DROP CONSTRAINT events_pkey;
ALTER TABLE events DROP COLUMN id;
ALTER TABLE events ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(), ADD PRIMARY KEY (tenant_id, id);
CREATE INDEX events_by_object ON events (tenant_id, object_id, at);
CREATE INDEX events_by_time ON events (tenant_id, at, id);
CREATE INDEX events_by_age ON events USING brin (at); -- only used to find old events

-- Lists are sorted by age, and so is the assignment of addresses.
CREATE INDEX pods_by_age ON pods (tenant_id, created_at, id);

-- Signing keys: a new key is published some time before it signs, and verifies for some time after
-- the next one has replaced it.
ALTER TABLE signing_keys ADD COLUMN signs_from timestamptz;
UPDATE signing_keys SET signs_from = created_at;
ALTER TABLE signing_keys ALTER COLUMN signs_from SET NOT NULL;

CREATE TABLE audit (
    id          uuid PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant_id   uuid, -- NULL: of the platform. No foreign key: an entry stays when its tenant is deleted.
    operation   text NOT NULL,
    object_kind text NOT NULL DEFAULT '',
    object_id   text NOT NULL DEFAULT '',
    actor_kind  text NOT NULL CHECK (actor_kind IN ('serviceAccount', 'user', 'operator', 'node')),
    actor_id    uuid NOT NULL,
    actor_name  text NOT NULL,
    key_id      uuid,
    address     inet,
    request_id  text NOT NULL
);
CREATE INDEX audit_by_tenant ON audit (tenant_id, at DESC, id DESC);
CREATE INDEX audit_by_time ON audit (at DESC, id DESC);

-- Append-only, also for the owner of the schema.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Rate limits shared by all servers: token buckets from which each server takes some tokens at a
-- time. A crash of Postgres loses them, which is harmless.
CREATE UNLOGGED TABLE rate_buckets (
    key     text PRIMARY KEY,
    tokens  double precision NOT NULL,
    granted double precision NOT NULL, -- to the last taker
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['service_accounts', 'api_keys', 'users', 'oidc_issuers', 'tenant_keys', 'audit'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
    END LOOP;
    ALTER TABLE rate_buckets ENABLE ROW LEVEL SECURITY;
    CREATE POLICY control ON rate_buckets TO husk_control USING (true) WITH CHECK (true);
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON service_accounts, api_keys, users, oidc_issuers, tenant_keys, rate_buckets TO husk_control;
GRANT SELECT, INSERT ON audit TO husk_control, husk_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON service_accounts, users, oidc_issuers, api_keys TO husk_tenant;
GRANT SELECT ON tenant_keys TO husk_tenant;

-- The first statement of every transaction of a tenant. It makes the tenant's rows visible, and
-- checks that the token is still valid. Revoking a key, removing a user and changing a role take
-- effect at the next request.
CREATE FUNCTION begin_tenant(for_tenant uuid, caller uuid, caller_key uuid, caller_role text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('husk.tenant', for_tenant::text, true);
    IF caller IS NULL THEN -- the transaction of a loop, or of a handler for an agent or an operator
        RETURN true;
    ELSIF caller_key IS NULL THEN
        RETURN EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = for_tenant AND u.id = caller AND u.role = caller_role AND NOT u.disabled);
    END IF;
    RETURN EXISTS (SELECT 1 FROM api_keys k JOIN service_accounts a ON a.tenant_id = k.tenant_id AND a.id = k.service_account_id
        WHERE k.tenant_id = for_tenant AND k.client_id = caller_key AND a.id = caller AND a.role = caller_role
          AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()));
END $$;

-- Takes up to wanted tokens from a bucket that fills at rate per second up to burst, and returns
-- how many it got.
CREATE FUNCTION take_tokens(bucket text, rate double precision, burst double precision, wanted double precision) RETURNS double precision
LANGUAGE sql AS $$
    INSERT INTO rate_buckets AS b (key, tokens, granted) VALUES (bucket, GREATEST(burst - wanted, 0), LEAST(burst, wanted))
    ON CONFLICT (key) DO UPDATE SET (tokens, granted, at) = (
        SELECT f.full_now - g.got, g.got, clock_timestamp()
        FROM (SELECT LEAST(burst, b.tokens + rate * GREATEST(EXTRACT(EPOCH FROM clock_timestamp() - b.at), 0)) AS full_now) f,
             LATERAL (SELECT LEAST(wanted, floor(f.full_now)) AS got) g)
    RETURNING granted
$$;
REVOKE ALL ON FUNCTION take_tokens FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_tokens TO husk_control;

-- Label selectors as in Kubernetes: every requirement [{"key", "op", "values"}] must match. A
-- missing key is not in any set.
CREATE FUNCTION labels_match(labels jsonb, selector jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT NOT EXISTS (SELECT 1 FROM jsonb_to_recordset(selector) AS r (key text, op text, "values" jsonb)
        WHERE NOT CASE r.op
            WHEN 'in' THEN labels ? r.key AND r."values" ? (labels ->> r.key)
            WHEN 'notin' THEN NOT labels ? r.key OR NOT r."values" ? (labels ->> r.key)
            WHEN 'exists' THEN labels ? r.key
            WHEN 'absent' THEN NOT labels ? r.key
        END)
$$;
