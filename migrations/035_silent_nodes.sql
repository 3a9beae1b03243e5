-- New connections to services do not go to pods on nodes that do not respond.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- Whether a node does not respond, so that nobody knows what its pods do. A tenant's request reads this, and nothing else, about the nodes of its pods.
CREATE FUNCTION node_is_silent(node uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT EXISTS (SELECT 1 FROM nodes n WHERE n.id = node AND n.state IN ('Suspect', 'Lost', 'Fencing', 'Fenced'))
$$;
REVOKE EXECUTE ON FUNCTION node_is_silent FROM PUBLIC;
GRANT EXECUTE ON FUNCTION node_is_silent TO husk_tenant, husk_control;

CREATE FUNCTION node_silent() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT DISTINCT p.tenant_id FROM placements p WHERE p.node_id = NEW.id AND p.role = 'active' LOOP
        INSERT INTO outbox (topic) VALUES ('network:' || tenant);
        INSERT INTO network_changes (tenant_id, services) VALUES (tenant, true);
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER silent AFTER UPDATE OF state ON nodes FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION node_silent();
