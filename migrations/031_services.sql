-- Services: one name and one address for several pods.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE TABLE services (
    tenant_id        uuid NOT NULL REFERENCES tenants (id),
    id               uuid NOT NULL,
    network_id       uuid NOT NULL,
    name             text NOT NULL,
    labels           jsonb NOT NULL,
    selector         jsonb NOT NULL, -- requirements, as labels_match reads them
    ports            jsonb NOT NULL,
    affinity_seconds integer NOT NULL CHECK (affinity_seconds BETWEEN 0 AND 65535), -- 0: none
    address          inet,           -- NULL: headless
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, address),
    FOREIGN KEY (tenant_id, network_id) REFERENCES networks (tenant_id, id)
);
ALTER TABLE services ENABLE ROW LEVEL SECURITY;
ALTER TABLE services FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON services TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY control ON services TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON services TO husk_tenant, husk_control;

ALTER TABLE tenants ADD COLUMN quota_services integer NOT NULL DEFAULT 100 CHECK (quota_services >= 0);

-- Whether all containers of a running pod are ready, except the init containers that are not sidecars. The method WithReadiness of a pod does the
-- same.
CREATE FUNCTION pod_ready(p pods) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p.phase = 'Running' AND NOT EXISTS (
        SELECT 1 FROM (
            SELECT c ->> 'name' AS name FROM jsonb_array_elements(COALESCE(p.spec -> 'containers', '[]')) c
            UNION ALL SELECT c ->> 'name' FROM jsonb_array_elements(COALESCE(p.spec -> 'initContainers', '[]')) c WHERE c ->> 'restartPolicy' = 'Always'
        ) needed
        WHERE NOT COALESCE((SELECT s ->> 'state' = 'Running' AND COALESCE((s ->> 'ready')::boolean, true)
            FROM jsonb_array_elements(p.containers) WITH ORDINALITY AS all_of (s, place) WHERE s ->> 'name' = needed.name ORDER BY place DESC LIMIT 1), false))
$$;

-- A hint that something changed in the tenant's network: services, or which pods there are, where, with which names and labels, and which are
-- ready. It wakes what configures networks and what answers queries for names. A trigger writes it, so servers of the previous version do too.
CREATE FUNCTION hint_network() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO outbox (topic) VALUES ('network:' || OLD.tenant_id);
    ELSE
        INSERT INTO outbox (topic) VALUES ('network:' || NEW.tenant_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER network AFTER INSERT OR UPDATE OR DELETE ON services FOR EACH ROW EXECUTE FUNCTION hint_network();
CREATE TRIGGER network AFTER UPDATE ON pods FOR EACH ROW
    WHEN (OLD.phase <> NEW.phase OR OLD.node_id IS DISTINCT FROM NEW.node_id OR OLD.name <> NEW.name OR OLD.labels <> NEW.labels
        OR OLD.containers <> NEW.containers AND pod_ready(OLD) <> pod_ready(NEW)) EXECUTE FUNCTION hint_network();
CREATE TRIGGER network_deleted AFTER DELETE ON pods FOR EACH ROW WHEN (OLD.node_id IS NOT NULL) EXECUTE FUNCTION hint_network();
