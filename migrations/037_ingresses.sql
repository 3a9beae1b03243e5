-- Ingresses: hosts and paths, over HTTPS, to services. The processes that serve them (huskd ingress) log in as husk_ingress, which sees nothing else.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE TABLE ingresses (
    tenant_id    uuid NOT NULL REFERENCES tenants (id),
    id           uuid NOT NULL,
    name         text NOT NULL,
    labels       jsonb NOT NULL,
    rules        jsonb NOT NULL,
    hsts_seconds integer NOT NULL DEFAULT 0 CHECK (hsts_seconds >= 0),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);

-- The hosts of all ingresses. Names of hosts are public, so it is no secret that another tenant has one.
CREATE TABLE ingress_hosts (
    host       text PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    ingress_id uuid NOT NULL,
    issued_at  timestamptz,              -- of the certificate
    expires_at timestamptz,              -- NULL: there is none yet
    message    text NOT NULL DEFAULT '', -- why the last attempt failed
    failures   integer NOT NULL DEFAULT 0, -- attempts that failed since the last one that did not
    due_at     timestamptz NOT NULL DEFAULT clock_timestamp(), -- when a process looks at the certificate again
    FOREIGN KEY (tenant_id, ingress_id) REFERENCES ingresses (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON ingress_hosts (tenant_id, ingress_id);
CREATE INDEX ON ingress_hosts (due_at);

-- The services that a tenant's ingresses name, and the address of each in the ingress range, which the leader assigns. A service may be missing.
CREATE TABLE ingress_services (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    service   text NOT NULL,
    address   inet UNIQUE,
    PRIMARY KEY (tenant_id, service)
);

-- The latest requests of each ingress.
CREATE TABLE ingress_requests (
    tenant_id  uuid NOT NULL,
    ingress_id uuid NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL,
    request    jsonb NOT NULL,
    PRIMARY KEY (tenant_id, ingress_id, id),
    FOREIGN KEY (tenant_id, ingress_id) REFERENCES ingresses (tenant_id, id) ON DELETE CASCADE
);

-- What has passed each ingress since it was created.
CREATE TABLE ingress_traffic (
    tenant_id      uuid NOT NULL,
    ingress_id     uuid NOT NULL,
    informational  bigint NOT NULL DEFAULT 0, -- requests with a status from 100
    successful     bigint NOT NULL DEFAULT 0, -- from 200
    redirected     bigint NOT NULL DEFAULT 0, -- from 300
    refused        bigint NOT NULL DEFAULT 0, -- from 400
    failed         bigint NOT NULL DEFAULT 0, -- from 500
    limited        bigint NOT NULL DEFAULT 0, -- of these, because of a limit of the platform
    received_bytes bigint NOT NULL DEFAULT 0,
    sent_bytes     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, ingress_id),
    FOREIGN KEY (tenant_id, ingress_id) REFERENCES ingresses (tenant_id, id) ON DELETE CASCADE
);

-- How many new certificates a tenant has asked for in the current hour.
CREATE TABLE ingress_orders (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    since     timestamptz NOT NULL,
    orders    integer NOT NULL
);

-- Certificates, keys and accounts of the certificate authority, sealed with the key of the ingress processes.
CREATE TABLE ingress_storage (
    key      text PRIMARY KEY,
    value    bytea NOT NULL,
    size     integer NOT NULL, -- before sealing
    modified timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE ingress_locks (
    name   text PRIMARY KEY,
    holder uuid NOT NULL,
    until  timestamptz NOT NULL
);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['ingresses', 'ingress_hosts', 'ingress_services', 'ingress_requests', 'ingress_traffic', 'ingress_orders'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO husk_control', t);
    END LOOP;
END $$;
ALTER TABLE ingress_storage ENABLE ROW LEVEL SECURITY;
ALTER TABLE ingress_storage FORCE ROW LEVEL SECURITY;
ALTER TABLE ingress_locks ENABLE ROW LEVEL SECURITY;
ALTER TABLE ingress_locks FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON ingresses TO husk_tenant;
GRANT SELECT, INSERT (host, tenant_id, ingress_id), DELETE ON ingress_hosts TO husk_tenant;
GRANT SELECT, INSERT (tenant_id, service), DELETE ON ingress_services TO husk_tenant;
GRANT SELECT ON ingress_requests, ingress_traffic TO husk_tenant;
-- What ingress processes may do. An installation may get their role after this migration, so each server calls this when it starts.
CREATE FUNCTION grant_ingress() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'husk_ingress') OR EXISTS (SELECT FROM pg_policies WHERE schemaname = 'public' AND policyname = 'ingress') THEN
        RETURN;
    END IF;
    LOCK TABLE ingress_locks IN SHARE ROW EXCLUSIVE MODE; -- against another server that starts at the same time
    IF EXISTS (SELECT FROM pg_policies WHERE schemaname = 'public' AND policyname = 'ingress') THEN
        RETURN;
    END IF;
    FOREACH t IN ARRAY ARRAY['ingresses', 'ingress_hosts', 'ingress_services', 'ingress_requests', 'ingress_traffic', 'ingress_orders', 'ingress_storage', 'ingress_locks'] LOOP
        EXECUTE format('CREATE POLICY ingress ON %I TO husk_ingress USING (true) WITH CHECK (true)', t);
    END LOOP;
    GRANT SELECT (tenant_id, id, name, rules, hsts_seconds) ON ingresses TO husk_ingress;
    GRANT SELECT ON ingress_hosts, ingress_services TO husk_ingress;
    GRANT UPDATE (issued_at, expires_at, message, failures, due_at) ON ingress_hosts TO husk_ingress;
    GRANT SELECT, INSERT, DELETE ON ingress_requests TO husk_ingress;
    GRANT SELECT, INSERT, UPDATE ON ingress_traffic, ingress_orders TO husk_ingress;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ingress_storage, ingress_locks TO husk_ingress;
END $$;
REVOKE EXECUTE ON FUNCTION grant_ingress() FROM PUBLIC;
SELECT grant_ingress();

ALTER TABLE tenants ADD COLUMN quota_ingresses integer NOT NULL DEFAULT 20 CHECK (quota_ingresses >= 0);

-- Ingress processes read everything again when something about ingresses has changed, and watches of the tenant's ingresses end their wait.
CREATE FUNCTION hint_ingress() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    tenant uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
BEGIN
    INSERT INTO outbox (topic) VALUES ('ingress:' || tenant);
    RETURN NULL;
END $$;
CREATE TRIGGER ingress AFTER INSERT OR UPDATE OR DELETE ON ingresses FOR EACH ROW EXECUTE FUNCTION hint_ingress();
CREATE TRIGGER ingress AFTER INSERT OR DELETE ON ingress_hosts FOR EACH ROW EXECUTE FUNCTION hint_ingress();
CREATE TRIGGER ingress_certificate AFTER UPDATE ON ingress_hosts FOR EACH ROW
    WHEN (OLD.expires_at IS DISTINCT FROM NEW.expires_at OR OLD.message <> NEW.message) EXECUTE FUNCTION hint_ingress();
CREATE TRIGGER ingress AFTER INSERT OR UPDATE OR DELETE ON ingress_services FOR EACH ROW EXECUTE FUNCTION hint_ingress();

-- The addresses of services in the ingress range are part of the tenant's network.
CREATE TRIGGER network AFTER INSERT OR UPDATE OR DELETE ON ingress_services FOR EACH ROW EXECUTE FUNCTION hint_network();
