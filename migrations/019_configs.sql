-- Configs and secrets: named values that pods read as variables and files.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE TABLE configs (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    id          uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('Config', 'Secret')),
    name        text NOT NULL,
    labels      jsonb NOT NULL,
    version     bigint NOT NULL DEFAULT 1, -- grows with every change of the values
    keys        jsonb NOT NULL,            -- names and sizes, for lists
    sealed      bytea NOT NULL,            -- the values
    guest_bytes integer NOT NULL,          -- at most so many bytes of a guest's frame, for each use
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, kind, name)
);

-- Which pods read which objects. An object in use cannot be deleted, and a change of it goes to these pods.
CREATE TABLE config_uses (
    tenant_id uuid NOT NULL,
    config_id uuid NOT NULL,
    pod_id    uuid NOT NULL,
    times     integer NOT NULL, -- how often the pod's frame has the values, at most
    PRIMARY KEY (tenant_id, config_id, pod_id),
    FOREIGN KEY (tenant_id, config_id) REFERENCES configs (tenant_id, id),
    FOREIGN KEY (tenant_id, pod_id) REFERENCES pods (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX config_uses_by_pod ON config_uses (tenant_id, pod_id);

-- The size of the pod in its guest's frame, so that a change of a config cannot make it too large. 0 for a pod without configs.
ALTER TABLE pods ADD COLUMN guest_bytes integer NOT NULL DEFAULT 0;
-- What the agent of the pod's node has to be capable of.
ALTER TABLE pods ADD COLUMN needs text[] NOT NULL DEFAULT '{}';
ALTER TABLE tenants ADD COLUMN quota_configs integer NOT NULL DEFAULT 100 CHECK (quota_configs >= 0);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['configs', 'config_uses'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO husk_tenant, husk_control', t);
    END LOOP;
END $$;

-- Triggers change the nodes of pods. A transaction that changes several pods locks their nodes first, in the order of their ids.
CREATE FUNCTION lock_nodes(ids uuid[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public
    AS $$ SELECT 1 FROM nodes WHERE id = ANY(ids) ORDER BY id FOR NO KEY UPDATE $$;
REVOKE ALL ON FUNCTION lock_nodes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lock_nodes TO husk_tenant, husk_control;
