SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- Volume classes: how much the disk of a volume can read and write. Operators define them. 0: no limit.
CREATE TABLE volume_classes (
    name           text PRIMARY KEY,
    iops           integer NOT NULL CHECK (iops >= 0),
    mib_per_second integer NOT NULL CHECK (mib_per_second >= 0),
    is_default     boolean NOT NULL, -- new volumes that name no class have this one
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX default_volume_class ON volume_classes (is_default) WHERE is_default;
ALTER TABLE volume_classes ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON volume_classes TO husk_control USING (true) WITH CHECK (true);
CREATE POLICY tenant ON volume_classes FOR SELECT TO husk_tenant USING (true); -- they are the same for all tenants
GRANT SELECT, INSERT, UPDATE, DELETE ON volume_classes TO husk_control;
GRANT SELECT ON volume_classes TO husk_tenant;

-- NULL: the volume has none. It shares the limits of its pod with the pod's other disks.
ALTER TABLE volumes ADD COLUMN class text REFERENCES volume_classes (name);
CREATE INDEX volumes_by_class ON volumes (class) WHERE class IS NOT NULL;

-- The nodes of running pods learn of other limits. A request of a tenant changes the class of a volume, and tenants cannot write the desired state of
-- nodes, so the triggers do it as the owner. Nodes come in the order of their ids, as everywhere.
CREATE POLICY limits ON volumes FOR SELECT TO husk_owner USING (true);
CREATE POLICY limits ON volume_claims FOR SELECT TO husk_owner USING (true);
CREATE POLICY limits ON pods FOR SELECT TO husk_owner USING (true);
CREATE FUNCTION tell_nodes_of_volume() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT o.node_id, o.id FROM volume_claims c JOIN pods o ON o.tenant_id = c.tenant_id AND o.id = c.pod_id
        WHERE c.tenant_id = NEW.tenant_id AND c.volume_id = NEW.id AND on_node(o)
    LOOP
        PERFORM record_desired_change(p.node_id, p.id);
        INSERT INTO outbox (topic) VALUES ('node:' || p.node_id);
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER class AFTER UPDATE OF class ON volumes FOR EACH ROW WHEN (OLD.class IS DISTINCT FROM NEW.class) EXECUTE FUNCTION tell_nodes_of_volume();
CREATE FUNCTION tell_nodes_of_class() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT DISTINCT o.node_id, o.id FROM volumes v JOIN volume_claims c ON c.tenant_id = v.tenant_id AND c.volume_id = v.id
        JOIN pods o ON o.tenant_id = c.tenant_id AND o.id = c.pod_id WHERE v.class = NEW.name AND on_node(o) ORDER BY o.node_id, o.id
    LOOP
        PERFORM record_desired_change(p.node_id, p.id);
        INSERT INTO outbox (topic) VALUES ('node:' || p.node_id);
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER limits AFTER UPDATE OF iops, mib_per_second ON volume_classes FOR EACH ROW
    WHEN ((OLD.iops, OLD.mib_per_second) IS DISTINCT FROM (NEW.iops, NEW.mib_per_second)) EXECUTE FUNCTION tell_nodes_of_class();
REVOKE ALL ON FUNCTION tell_nodes_of_volume, tell_nodes_of_class FROM PUBLIC;

-- The usage of volumes is recorded by class, so a usage interval also ends when the class changes.
ALTER TABLE usage_intervals ADD COLUMN volume_class text; -- NULL: none
CREATE OR REPLACE FUNCTION volume_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    WITH ended AS (
        INSERT INTO usage_ends (interval_id, tenant_id, ended_at)
        SELECT i.id, i.tenant_id, at FROM usage_open o JOIN usage_intervals i ON i.id = o.interval_id
        WHERE o.tenant_id = NEW.tenant_id AND i.object_id = NEW.id AND i.kind = 'volume'
        RETURNING interval_id
    )
    DELETE FROM usage_open o USING ended e WHERE o.interval_id = e.interval_id;
    WITH begun AS (
        INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, size_gib, volume_class, started_at)
        VALUES (NEW.tenant_id, 'volume', NEW.id, NEW.name, NEW.labels, NEW.size_gib, NEW.class, at) RETURNING id, tenant_id
    )
    INSERT INTO usage_open SELECT id, tenant_id FROM begun;
    RETURN NULL;
END $$;
DROP TRIGGER usage ON volumes;
CREATE TRIGGER usage AFTER UPDATE OF size_gib, class ON volumes FOR EACH ROW
    WHEN (NEW.state = 'Available' AND (NEW.size_gib, NEW.class) IS DISTINCT FROM (OLD.size_gib, OLD.class)) EXECUTE FUNCTION volume_usage();
