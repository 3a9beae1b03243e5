SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- What is known of a pod can be old, because its node does not respond: since when. The phase is the last one that was reported. Until now it was lost, and
-- the phase was Unknown.
ALTER TABLE pods ADD COLUMN unknown_since timestamptz;
ALTER TABLE pods NO FORCE ROW LEVEL SECURITY;
UPDATE pods SET phase = CASE WHEN running_at IS NULL THEN 'Starting' ELSE 'Running' END, unknown_since = clock_timestamp(), reason = '', message = '' WHERE phase = 'Unknown';
ALTER TABLE pods FORCE ROW LEVEL SECURITY;

-- A report says what is the case, and a pod that leaves its node has nothing there that is not known.
CREATE FUNCTION pod_is_known() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    NEW.unknown_since := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER known BEFORE UPDATE OF observed_generation, node_id ON pods FOR EACH ROW
    WHEN (OLD.unknown_since IS NOT NULL AND NEW.unknown_since IS NOT NULL) EXECUTE FUNCTION pod_is_known();

-- A pod that is not known is not ready (031_services.sql).
CREATE OR REPLACE FUNCTION pod_ready(p pods) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p.phase = 'Running' AND p.unknown_since IS NULL AND NOT EXISTS (
        SELECT 1 FROM (
            SELECT c ->> 'name' AS name FROM jsonb_array_elements(COALESCE(p.spec -> 'containers', '[]')) c
            UNION ALL SELECT c ->> 'name' FROM jsonb_array_elements(COALESCE(p.spec -> 'initContainers', '[]')) c WHERE c ->> 'restartPolicy' = 'Always'
        ) needed
        WHERE NOT COALESCE((SELECT s ->> 'state' = 'Running' AND COALESCE((s ->> 'ready')::boolean, true)
            FROM jsonb_array_elements(p.containers) WITH ORDINALITY AS all_of (s, place) WHERE s ->> 'name' = needed.name ORDER BY place DESC LIMIT 1), false))
$$;
CREATE TRIGGER network_known AFTER UPDATE OF unknown_since, observed_generation ON pods FOR EACH ROW
    WHEN ((OLD.unknown_since IS NULL) <> (NEW.unknown_since IS NULL)) EXECUTE FUNCTION hint_network();

-- A leader of the previous version would write the phase Unknown. It judges the nodes before, so this keeps it from nothing else, and the next leader records
-- what this one could not. A later migration removes this.
CREATE FUNCTION refuse_unknown() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    RAISE EXCEPTION 'a server of the previous version leads, and cannot record which pods are on nodes that do not respond; replace it by this version';
END $$;
CREATE TRIGGER unknown BEFORE UPDATE OF phase ON pods FOR EACH ROW WHEN (NEW.phase = 'Unknown') EXECUTE FUNCTION refuse_unknown();
