-- What the rules of security groups allow and drop.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE INDEX security_groups_by_id ON security_groups (id);
-- What agents report: number is that of a rule, or 0 for what the group drops of what comes in, and -1 for what goes out.
-- Agents' counters begin at zero at any time, so the latest ones are kept, too.
CREATE INDEX security_groups_by_rule ON security_groups USING gin (rules jsonb_path_ops);
CREATE TABLE security_counters (
    tenant_id    uuid NOT NULL,
    group_id     uuid NOT NULL,
    number       bigint NOT NULL,
    node_id      uuid NOT NULL, -- also of nodes that are gone
    packets      bigint NOT NULL,
    bytes        bigint NOT NULL,
    last_packets bigint NOT NULL,
    last_bytes   bigint NOT NULL,
    PRIMARY KEY (tenant_id, group_id, number, node_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES security_groups (tenant_id, id) ON DELETE CASCADE
);
CREATE TABLE security_drops (
    tenant_id        uuid NOT NULL,
    group_id         uuid NOT NULL,
    id               bigint GENERATED ALWAYS AS IDENTITY,
    at               timestamptz NOT NULL,
    direction        text NOT NULL,
    pod_id           uuid NOT NULL, -- also of a pod that is gone
    protocol         text NOT NULL,
    source           inet NOT NULL,
    source_port      integer NOT NULL,
    destination      inet NOT NULL,
    destination_port integer NOT NULL,
    PRIMARY KEY (tenant_id, group_id, id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES security_groups (tenant_id, id) ON DELETE CASCADE
);
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['security_counters', 'security_drops'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, DELETE ON %I TO husk_tenant', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO husk_control', t);
    END LOOP;
END $$;
