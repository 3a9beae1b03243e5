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
    WHEN (OLD.unknown_since IS NOT NULL AND NEW.unknown_since IS NOT NULL AND NEW.phase <> 'Unknown') EXECUTE FUNCTION pod_is_known();

-- Servers of the previous version write the phase Unknown. A later migration removes this.
CREATE FUNCTION keep_phase() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    NEW.phase := OLD.phase;
    NEW.reason := OLD.reason;
    NEW.message := OLD.message;
    NEW.unknown_since := COALESCE(OLD.unknown_since, clock_timestamp());
    RETURN NEW;
END $$;
-- They find such a pod again in each pass.
CREATE FUNCTION once_unknown() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pods p JOIN events e ON e.tenant_id = p.tenant_id AND e.object_id = p.id AND e.at >= p.unknown_since
        WHERE p.tenant_id = NEW.tenant_id AND p.id = NEW.object_id AND e.reason = 'Unknown') THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER once BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.kind = 'pod' AND NEW.reason = 'Unknown') EXECUTE FUNCTION once_unknown();
CREATE TRIGGER unknown BEFORE UPDATE OF phase ON pods FOR EACH ROW WHEN (NEW.phase = 'Unknown') EXECUTE FUNCTION keep_phase();
