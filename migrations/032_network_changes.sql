-- What has changed about tenants' networks since the leader last brought OVN's northbound database in line with it. The leader deletes a row
-- after that, so a row that two leaders read does no harm. Triggers write the rows, so servers of the previous version write them too.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE TABLE network_changes (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid NOT NULL, -- also of a tenant that is gone
    pod_id    uuid,          -- only the port of this pod
    services  boolean NOT NULL DEFAULT false -- only the services; if neither, all networks of the tenant
);
ALTER TABLE network_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON network_changes TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON network_changes TO husk_control;

CREATE FUNCTION placement_moved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    p placements := COALESCE(NEW, OLD);
BEGIN
    INSERT INTO network_changes (tenant_id, pod_id) VALUES (p.tenant_id, p.pod_id);
    RETURN NULL;
END $$;
CREATE TRIGGER network AFTER INSERT OR DELETE ON placements FOR EACH ROW EXECUTE FUNCTION placement_moved();
CREATE TRIGGER network_role AFTER UPDATE ON placements FOR EACH ROW WHEN (OLD.role <> NEW.role OR OLD.node_id <> NEW.node_id) EXECUTE FUNCTION placement_moved();

CREATE FUNCTION network_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    n networks := COALESCE(NEW, OLD);
BEGIN
    INSERT INTO network_changes (tenant_id) VALUES (n.tenant_id);
    RETURN NULL;
END $$;
CREATE TRIGGER network AFTER INSERT OR UPDATE OR DELETE ON networks FOR EACH ROW EXECUTE FUNCTION network_changed();

-- By which the provider network knows a tenant's network: pods reach others from there. The leader assigns it when the network gets its first pod.
ALTER TABLE networks ADD COLUMN outer_address inet UNIQUE;

-- What changes the endpoints of services (031_services.sql) is a change too.
CREATE OR REPLACE FUNCTION hint_network() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    tenant uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
BEGIN
    INSERT INTO outbox (topic) VALUES ('network:' || tenant);
    INSERT INTO network_changes (tenant_id, services) VALUES (tenant, true);
    RETURN NULL;
END $$;
