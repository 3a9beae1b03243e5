-- The first schema. The database owner runs the migrations. Two more roles must exist
-- (docs/operations.md): the server uses husk_tenant for tenants' requests, with row-level
-- security, and husk_control for the control loops, operators and agents. Every table with
-- tenants' rows has the composite key (tenant_id, id). So a foreign key cannot refer to another
-- tenant, and a unique violation cannot reveal that an id exists.

CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE
    -- After a transaction with SET LOCAL the setting is '', not NULL. Both mean that there is no
    -- tenant.
    AS $$ SELECT NULLIF(current_setting('husk.tenant', true), '')::uuid $$;

CREATE TABLE leadership (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch      bigint NOT NULL DEFAULT 0,
    holder     text NOT NULL DEFAULT '',
    since      timestamptz NOT NULL DEFAULT now()
);
INSERT INTO leadership DEFAULT VALUES;

CREATE TABLE signing_keys (
    kid         text PRIMARY KEY,
    private_key bytea NOT NULL, -- sealed with the installation's master key
    public_key  bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenants (
    id                uuid PRIMARY KEY,
    name              text NOT NULL UNIQUE,
    quota_pods        integer NOT NULL CHECK (quota_pods >= 0),
    quota_cpu_millis  integer NOT NULL CHECK (quota_cpu_millis >= 0),
    quota_memory_mib  integer NOT NULL CHECK (quota_memory_mib >= 0),
    quota_volumes     integer NOT NULL CHECK (quota_volumes >= 0),
    quota_volume_gib  integer NOT NULL CHECK (quota_volume_gib >= 0),
    quota_images      integer NOT NULL CHECK (quota_images >= 0),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    order_lock        boolean NOT NULL DEFAULT false -- so that a tenant's request can lock the row; never written
);

CREATE TABLE networks (
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id         uuid NOT NULL,
    ordinal    integer NOT NULL UNIQUE CHECK (ordinal >= 0), -- which subnet of the pod range
    cidr       cidr NOT NULL UNIQUE,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id) -- one network per tenant for now
);

CREATE TABLE nodes (
    id                   uuid PRIMARY KEY,
    name                 text NOT NULL UNIQUE,
    state                text NOT NULL DEFAULT 'Joining' CHECK (state IN ('Joining', 'Ready', 'Lost')),
    cpu_millis           integer NOT NULL DEFAULT 0,
    memory_mib           integer NOT NULL DEFAULT 0,
    vmm_overhead_mib     integer NOT NULL DEFAULT 0,
    allocated_cpu_millis integer NOT NULL DEFAULT 0 CHECK (allocated_cpu_millis BETWEEN 0 AND cpu_millis),
    allocated_memory_mib integer NOT NULL DEFAULT 0 CHECK (allocated_memory_mib BETWEEN 0 AND memory_mib),
    version              bigint NOT NULL DEFAULT 1, -- increases with every change of capacity or allocation
    desired_revision     bigint NOT NULL DEFAULT 1, -- increases with every change of the node's desired state
    endpoint             text NOT NULL DEFAULT '',
    certificate          text NOT NULL DEFAULT '',
    heartbeat_at         timestamptz,
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE join_tokens (
    hash       bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL,
    node_id    uuid REFERENCES nodes (id) ON DELETE SET NULL,
    used_at    timestamptz
);

CREATE TABLE credentials (
    client_id    uuid PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('tenant', 'operator', 'agent')),
    tenant_id    uuid REFERENCES tenants (id) ON DELETE CASCADE,
    node_id      uuid REFERENCES nodes (id) ON DELETE CASCADE,
    name         text NOT NULL,
    secret_hash  bytea NOT NULL, -- SHA-256; the secret is 32 random bytes, so a slower hash is not needed
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz,
    CHECK ((kind = 'tenant') = (tenant_id IS NOT NULL)),
    CHECK ((kind = 'agent') = (node_id IS NOT NULL))
);

-- The imports, which all tenants share. Tenants must not read this table, because it contains
-- other tenants' imports.
CREATE TABLE blobs (
    digest     text PRIMARY KEY,
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE images (
    tenant_id     uuid NOT NULL REFERENCES tenants (id),
    id            uuid NOT NULL,
    reference     text NOT NULL,
    digest        text NOT NULL,
    state         text NOT NULL CHECK (state IN ('Importing', 'Ready', 'Failed', 'Deleting')),
    message       text NOT NULL DEFAULT '',
    config        jsonb NOT NULL,
    size_bytes    bigint NOT NULL DEFAULT 0,
    clone_id      text NOT NULL DEFAULT '', -- RBD's internal id, which is part of the pods' keys' caps
    registry_auth bytea,                    -- sealed; only during the import
    attempts      integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ready_at      timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, reference, digest)
);

CREATE TABLE volumes (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    id         uuid NOT NULL,
    name       text NOT NULL,
    labels     jsonb NOT NULL,
    size_gib   integer NOT NULL CHECK (size_gib > 0),
    state      text NOT NULL CHECK (state IN ('Creating', 'Available', 'Deleting')),
    message    text NOT NULL DEFAULT '',
    rbd_id     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE pods (
    tenant_id             uuid NOT NULL REFERENCES tenants (id),
    id                    uuid NOT NULL,
    name                  text NOT NULL,
    labels                jsonb NOT NULL,
    spec                  jsonb NOT NULL,
    cpu_millis            integer NOT NULL,
    memory_mib            integer NOT NULL,
    generation            bigint NOT NULL DEFAULT 1,
    observed_generation   bigint NOT NULL DEFAULT 0,
    phase                 text NOT NULL DEFAULT 'Pending',
    reason                text NOT NULL DEFAULT '',
    message               text NOT NULL DEFAULT '',
    node_id               uuid REFERENCES nodes (id),
    vmm_overhead_mib      integer NOT NULL DEFAULT 0,
    holds_room            boolean NOT NULL DEFAULT false, -- whether the pod is allocated on the node
    network_id            uuid NOT NULL,
    address               inet NOT NULL,
    mac                   macaddr NOT NULL,
    ceph_key              bytea, -- sealed; created for the placement
    restarts              integer NOT NULL DEFAULT 0,
    containers            jsonb NOT NULL DEFAULT '[]',
    created_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    placed_at             timestamptz,
    domain_starting_at    timestamptz,
    domain_started_at     timestamptz,
    guest_ready_at        timestamptz,
    running_at            timestamptz,
    deletion_requested_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, network_id, address),
    FOREIGN KEY (tenant_id, network_id) REFERENCES networks (tenant_id, id),
    CHECK (phase IN ('Pending', 'Starting', 'Running', 'Succeeded', 'Failed', 'Unknown', 'Stopping')),
    CHECK ((phase = 'Pending') = (node_id IS NULL))
);
CREATE INDEX pods_by_node ON pods (node_id);
CREATE INDEX pods_pending ON pods (created_at) WHERE phase = 'Pending';

-- The primary key prevents multi-attach: a second pod cannot claim the volume, even if it is
-- created at the same moment.
CREATE TABLE volume_claims (
    tenant_id uuid NOT NULL,
    volume_id uuid NOT NULL,
    pod_id    uuid NOT NULL,
    PRIMARY KEY (tenant_id, volume_id),
    FOREIGN KEY (tenant_id, volume_id) REFERENCES volumes (tenant_id, id),
    FOREIGN KEY (tenant_id, pod_id) REFERENCES pods (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX volume_claims_by_pod ON volume_claims (tenant_id, pod_id);

CREATE TABLE image_uses (
    tenant_id uuid NOT NULL,
    pod_id    uuid NOT NULL,
    container text NOT NULL,
    image_id  uuid NOT NULL,
    PRIMARY KEY (tenant_id, pod_id, container),
    FOREIGN KEY (tenant_id, image_id) REFERENCES images (tenant_id, id),
    FOREIGN KEY (tenant_id, pod_id) REFERENCES pods (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX image_uses_by_image ON image_uses (tenant_id, image_id);

CREATE TABLE events (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id        bigint GENERATED ALWAYS AS IDENTITY,
    kind      text NOT NULL, -- pod, volume, image
    object_id uuid NOT NULL,
    reason    text NOT NULL,
    message   text NOT NULL DEFAULT '',
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX events_by_object ON events (tenant_id, object_id, id);

CREATE TABLE idempotency_keys (
    tenant_id    uuid NOT NULL, -- the nil uuid for operators
    key          text NOT NULL,
    request_hash bytea NOT NULL, -- SHA-256 of operation and body
    object_id    uuid NOT NULL,  -- what the first request created
    response     jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Tenant isolation. FORCE applies it to the owner too; a query without a tenant condition returns
-- no rows of others.
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['networks', 'images', 'volumes', 'pods', 'volume_claims', 'image_uses', 'events', 'idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['tenants', 'credentials', 'signing_keys', 'nodes', 'join_tokens', 'blobs', 'leadership'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
    END LOOP;
END $$;
CREATE POLICY tenant ON tenants TO husk_tenant USING (id = current_tenant()) WITH CHECK (id = current_tenant());

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO husk_control;
REVOKE ALL ON leadership FROM husk_control;
GRANT SELECT, UPDATE ON leadership TO husk_control;

GRANT SELECT ON tenants, networks TO husk_tenant;
GRANT UPDATE (order_lock) ON tenants TO husk_tenant;
GRANT SELECT, INSERT, UPDATE ON images, volumes, pods TO husk_tenant;
GRANT DELETE ON pods TO husk_tenant; -- a pod that was never placed is deleted at once
GRANT SELECT, INSERT, DELETE ON volume_claims, image_uses TO husk_tenant;
GRANT SELECT, INSERT ON events, idempotency_keys TO husk_tenant;

-- A tenant's request can read only the name of a node, and read and change only its desired
-- revision.
CREATE FUNCTION node_name(node uuid) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
    AS $$ SELECT COALESCE((SELECT name FROM nodes WHERE id = node), '') $$;
CREATE FUNCTION touch_node(node uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public
    AS $$ UPDATE nodes SET desired_revision = desired_revision + 1 WHERE id = node; SELECT pg_notify('husk', 'node:' || node) $$;
REVOKE ALL ON FUNCTION node_name, touch_node FROM PUBLIC;
GRANT EXECUTE ON FUNCTION node_name, touch_node TO husk_tenant, husk_control;
