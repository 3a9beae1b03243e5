SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The names in Ceph of volumes, snapshots and images whose row was deleted. What is left of them in Ceph may be removed. What this database has
-- never known may not: it may be from after the backup that the database was restored from.
CREATE TABLE removed_objects (
    name       text PRIMARY KEY,
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX removed_objects_by_age ON removed_objects (removed_at);
ALTER TABLE removed_objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE removed_objects FORCE ROW LEVEL SECURITY;
CREATE POLICY control ON removed_objects TO husk_control, husk_owner USING (true) WITH CHECK (true);
GRANT SELECT, DELETE ON removed_objects TO husk_control;

CREATE FUNCTION remember_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO removed_objects (name)
    SELECT CASE TG_TABLE_NAME WHEN 'volumes' THEN 'vol-' WHEN 'snapshots' THEN 'snap-' ELSE 'img-' END || OLD.id
    ON CONFLICT (name) DO UPDATE SET removed_at = clock_timestamp();
    IF TG_TABLE_NAME = 'images' THEN
        INSERT INTO removed_objects (name) VALUES (OLD.digest) ON CONFLICT (name) DO UPDATE SET removed_at = clock_timestamp();
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION remember_removed FROM PUBLIC;
CREATE TRIGGER remember_removed AFTER DELETE ON volumes FOR EACH ROW EXECUTE FUNCTION remember_removed();
CREATE TRIGGER remember_removed AFTER DELETE ON snapshots FOR EACH ROW EXECUTE FUNCTION remember_removed();
CREATE TRIGGER remember_removed AFTER DELETE ON images FOR EACH ROW EXECUTE FUNCTION remember_removed();

-- What exists in Ceph without a row, now or ever. An operator decides.
CREATE TABLE unknown_objects (
    name     text PRIMARY KEY,
    kind     text NOT NULL CHECK (kind IN ('Volume', 'Snapshot', 'Image')),
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    approved boolean NOT NULL DEFAULT false -- it may be removed
);
ALTER TABLE unknown_objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE unknown_objects FORCE ROW LEVEL SECURITY;
CREATE POLICY control ON unknown_objects TO husk_control, husk_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON unknown_objects TO husk_control;
