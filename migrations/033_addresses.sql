-- Floating addresses: addresses of the provider network at which others reach a service or a pod.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE TABLE addresses (
    tenant_id        uuid NOT NULL REFERENCES tenants (id),
    id               uuid NOT NULL,
    name             text NOT NULL,
    labels           jsonb NOT NULL,
    address          inet NOT NULL UNIQUE,
    service_id       uuid,           -- at most one of service_id and pod_id: the target, if there is one
    pod_id           uuid,
    ports            jsonb NOT NULL, -- of the pod; none: all
    owner_service_id uuid,           -- the same as service_id or pod_id if the address is deleted with it
    owner_pod_id     uuid,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name),
    CHECK (num_nonnulls(service_id, pod_id) <= 1),
    FOREIGN KEY (tenant_id, service_id) REFERENCES services (tenant_id, id) ON DELETE SET NULL (service_id),
    FOREIGN KEY (tenant_id, pod_id) REFERENCES pods (tenant_id, id) ON DELETE SET NULL (pod_id),
    FOREIGN KEY (tenant_id, owner_service_id) REFERENCES services (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, owner_pod_id) REFERENCES pods (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX addresses_by_service ON addresses (tenant_id, service_id) WHERE service_id IS NOT NULL;
CREATE INDEX addresses_by_pod ON addresses (tenant_id, pod_id) WHERE pod_id IS NOT NULL;
CREATE INDEX addresses_by_owner_service ON addresses (tenant_id, owner_service_id) WHERE owner_service_id IS NOT NULL;
CREATE INDEX addresses_by_owner_pod ON addresses (tenant_id, owner_pod_id) WHERE owner_pod_id IS NOT NULL;
ALTER TABLE addresses ENABLE ROW LEVEL SECURITY;
ALTER TABLE addresses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON addresses TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY control ON addresses TO husk_control USING (true) WITH CHECK (true);
CREATE POLICY taken ON addresses FOR SELECT TO husk_owner USING (true); -- take_address runs as husk_owner
GRANT SELECT, INSERT, UPDATE, DELETE ON addresses TO husk_tenant, husk_control;

-- The address that was handed out last. The next one follows it, so an address that was released is not handed out again soon.
CREATE TABLE last_address (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    address inet
);
INSERT INTO last_address DEFAULT VALUES;
ALTER TABLE last_address ENABLE ROW LEVEL SECURITY; -- only for take_address

-- Returns a free address from first to last, and NULL if there is none. Transactions that take addresses wait for each other.
CREATE FUNCTION take_address(first inet, last inet) RETURNS inet LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    start inet;
    found inet;
BEGIN
    SELECT l.address + 1 INTO start FROM last_address l FOR UPDATE;
    IF start IS NULL OR start NOT BETWEEN first AND last THEN
        start := first;
    END IF;
    SELECT c.address INTO found FROM (
        SELECT 1 AS turn, start AS address
        UNION ALL (SELECT 2, a.address + 1 FROM addresses a WHERE a.address >= start AND NOT EXISTS (SELECT 1 FROM addresses b WHERE b.address = a.address + 1) ORDER BY a.address LIMIT 1)
        UNION ALL SELECT 3, first
        UNION ALL (SELECT 4, a.address + 1 FROM addresses a WHERE a.address >= first AND NOT EXISTS (SELECT 1 FROM addresses b WHERE b.address = a.address + 1) ORDER BY a.address LIMIT 1)
    ) c WHERE c.address BETWEEN first AND last AND NOT EXISTS (SELECT 1 FROM addresses a WHERE a.address = c.address) ORDER BY c.turn LIMIT 1;
    IF found IS NOT NULL THEN
        UPDATE last_address SET address = found;
    END IF;
    RETURN found;
END $$;
REVOKE EXECUTE ON FUNCTION take_address FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_address TO husk_tenant, husk_control;

CREATE TRIGGER network AFTER INSERT OR UPDATE OR DELETE ON addresses FOR EACH ROW EXECUTE FUNCTION hint_network();

-- The addresses of a pod, in its own row: each read of a pod shows them. A transaction that changes an address locks its pods first.
ALTER TABLE pods ADD COLUMN outside jsonb NOT NULL DEFAULT '[]';
CREATE FUNCTION show_addresses() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    tenant uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
    pods_of uuid[] := '{}';
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.pod_id IS NOT NULL THEN
        pods_of := pods_of || OLD.pod_id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.pod_id IS NOT NULL THEN
        pods_of := pods_of || NEW.pod_id;
    END IF;
    UPDATE pods p SET outside = COALESCE((SELECT jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name, 'address', host(a.address), 'ports', a.ports) ORDER BY a.created_at, a.id)
        FROM addresses a WHERE a.tenant_id = tenant AND a.pod_id = p.id), '[]')
    WHERE p.tenant_id = tenant AND p.id = ANY(pods_of);
    RETURN NULL;
END $$;
CREATE TRIGGER show AFTER INSERT OR UPDATE OF pod_id, ports OR DELETE ON addresses FOR EACH ROW EXECUTE FUNCTION show_addresses();

-- Until now, the limit of addresses limited pods, as servers of the previous version still do. The limit of floating addresses is another one.
ALTER TABLE tenants ADD COLUMN quota_floating integer NOT NULL DEFAULT 8 CHECK (quota_floating >= 0);
