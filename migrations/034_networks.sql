-- Several networks per tenant, with ranges of the tenant's choice, and pods in several networks.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The first network of a tenant is called default. Networks of different tenants do not see each other, so their ranges may overlap.
ALTER TABLE networks DROP CONSTRAINT networks_tenant_id_key, DROP CONSTRAINT networks_cidr_key, ALTER COLUMN ordinal DROP NOT NULL,
    ADD COLUMN name text NOT NULL DEFAULT 'default',
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN ipv6_cidr cidr, -- NULL: none
    ADD COLUMN isolated boolean NOT NULL DEFAULT false, -- no router
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CONSTRAINT networks_tenant_id_name_key UNIQUE (tenant_id, name),
    ADD CHECK ((name = 'default') = (ordinal IS NOT NULL));
GRANT INSERT (tenant_id, id, name, labels, cidr, ipv6_cidr, isolated), UPDATE (labels), DELETE ON networks TO husk_tenant; -- ordinal and outer_address are the platform's

-- A tenant could not have more than one network, so a limit of one has had no effect.
UPDATE tenants SET quota_networks = 8 WHERE quota_networks = 1;

-- All interfaces of a pod, the first one first, whose network and address network_id and address repeat. Networks do not change while a pod is in
-- them, so their ranges are here, too. Pods that servers of the previous version create have none: they are in the network called default.
ALTER TABLE pods ADD COLUMN interfaces jsonb NOT NULL DEFAULT '[]';

-- Which addresses pods have. number grows with time, so that an address that is free again is not used soon.
CREATE TABLE pod_addresses (
    tenant_id  uuid NOT NULL,
    network_id uuid NOT NULL,
    address    inet NOT NULL,
    pod_id     uuid NOT NULL,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (tenant_id, network_id, address),
    UNIQUE (tenant_id, pod_id, network_id), -- a pod has one interface in a network
    FOREIGN KEY (tenant_id, network_id) REFERENCES networks (tenant_id, id),
    FOREIGN KEY (tenant_id, pod_id) REFERENCES pods (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX pod_addresses_by_age ON pod_addresses (tenant_id, network_id, number DESC);
ALTER TABLE pod_addresses ENABLE ROW LEVEL SECURITY;
ALTER TABLE pod_addresses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON pod_addresses TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY control ON pod_addresses TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON pod_addresses TO husk_tenant, husk_control;

CREATE FUNCTION take_addresses() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF NEW.interfaces = '[]' THEN
        INSERT INTO pod_addresses (tenant_id, network_id, address, pod_id) VALUES (NEW.tenant_id, NEW.network_id, NEW.address, NEW.id);
    ELSE
        INSERT INTO pod_addresses (tenant_id, network_id, address, pod_id)
        SELECT NEW.tenant_id, (i ->> 'networkId')::uuid, host((i ->> 'address')::inet)::inet, NEW.id FROM jsonb_array_elements(NEW.interfaces) i;
    END IF;
    RETURN NULL;
END $$;
LOCK TABLE pods IN SHARE ROW EXCLUSIVE MODE; -- no pod is created between the trigger and the copy
CREATE TRIGGER addresses AFTER INSERT ON pods FOR EACH ROW EXECUTE FUNCTION take_addresses();
-- The owner of the tables is subject to row-level security.
ALTER TABLE pods NO FORCE ROW LEVEL SECURITY;
ALTER TABLE networks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE pod_addresses NO FORCE ROW LEVEL SECURITY;
INSERT INTO pod_addresses (tenant_id, network_id, address, pod_id) SELECT tenant_id, network_id, address, id FROM pods ORDER BY created_at, id;
UPDATE networks SET created_at = tenants.created_at FROM tenants WHERE tenants.id = networks.tenant_id;
ALTER TABLE pods FORCE ROW LEVEL SECURITY;
ALTER TABLE networks FORCE ROW LEVEL SECURITY;
ALTER TABLE pod_addresses FORCE ROW LEVEL SECURITY;
