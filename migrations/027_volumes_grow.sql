SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- Volumes can grow. size_gib is the size that was requested last, for which the tenant pays, and
-- image_gib is the size of the RBD image. NULL: it has never grown, so both are the same.
ALTER TABLE volumes ADD COLUMN image_gib integer;

ALTER TABLE work DROP CONSTRAINT work_kind_check;
ALTER TABLE work ADD CONSTRAINT work_kind_check
    CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-growth', 'volume-removal', 'pod-key', 'key-removal', 'import-removal'));

CREATE FUNCTION volume_work_of(v volumes) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE v.state WHEN 'Creating' THEN 'volume-creation' WHEN 'Deleting' THEN 'volume-removal'
        ELSE CASE WHEN v.image_gib < v.size_gib THEN 'volume-growth' ELSE '' END END
$$;
CREATE OR REPLACE FUNCTION volume_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
    ELSIF TG_OP = 'INSERT' OR (OLD.state, OLD.size_gib, OLD.image_gib) IS DISTINCT FROM (NEW.state, NEW.size_gib, NEW.image_gib) THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, volume_work_of(NEW));
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER work ON volumes;
CREATE TRIGGER work AFTER INSERT OR DELETE OR UPDATE OF state, size_gib, image_gib ON volumes FOR EACH ROW EXECUTE FUNCTION volume_work();

-- A node learns of the new size of a volume of its pod.
GRANT EXECUTE ON FUNCTION record_desired_change TO husk_control;

-- The usage interval of a volume ends when its size changes, and another one begins. A request of the
-- tenant changes the size, and tenants cannot write the ledger, so the trigger does it as the owner.
CREATE POLICY resized ON usage_intervals TO husk_owner USING (true) WITH CHECK (true);
CREATE POLICY resized ON usage_open TO husk_owner USING (true) WITH CHECK (true);
CREATE POLICY resized ON usage_ends TO husk_owner USING (true) WITH CHECK (true);
CREATE POLICY resized ON usage_totals FOR INSERT TO husk_owner WITH CHECK (true);
CREATE FUNCTION volume_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
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
        INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, size_gib, started_at)
        VALUES (NEW.tenant_id, 'volume', NEW.id, NEW.name, NEW.labels, NEW.size_gib, at) RETURNING id, tenant_id
    )
    INSERT INTO usage_open SELECT id, tenant_id FROM begun;
    RETURN NULL;
END $$;
CREATE TRIGGER usage AFTER UPDATE OF size_gib ON volumes FOR EACH ROW
    WHEN (NEW.state = 'Available' AND NEW.size_gib <> OLD.size_gib) EXECUTE FUNCTION volume_usage();
