SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The addresses that networks and services of ingresses got last. The next ones follow them, so an address that was released rests.
ALTER TABLE last_address ADD COLUMN outer_address inet, ADD COLUMN ingress_address inet;
UPDATE last_address SET outer_address = (SELECT max(outer_address) FROM networks), ingress_address = (SELECT max(address) FROM ingress_services);
CREATE POLICY control ON last_address TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT (outer_address, ingress_address), UPDATE (outer_address, ingress_address) ON last_address TO husk_control;

-- A service that is deleted loses its address in the ingress range at once, so that ingresses refuse requests to it instead of waiting for an answer.
CREATE FUNCTION release_ingress_address() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    UPDATE ingress_services SET address = NULL WHERE tenant_id = OLD.tenant_id AND service = OLD.name AND address IS NOT NULL;
    RETURN NULL;
END $$;
CREATE POLICY released ON ingress_services TO husk_owner USING (true) WITH CHECK (true); -- release_ingress_address runs as husk_owner
CREATE TRIGGER ingress_address AFTER DELETE ON services FOR EACH ROW EXECUTE FUNCTION release_ingress_address();
