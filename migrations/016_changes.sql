-- Work that is proportional to change. What has to be removed from Ceph gets a row in the queue when
-- it loses its owner, so that nobody has to compare everything to find it. Triggers write the rows,
-- so servers of the previous version write them too.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

ALTER TABLE work DROP CONSTRAINT work_kind_check;
ALTER TABLE work ADD CONSTRAINT work_kind_check
    CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-removal', 'pod-key', 'key-removal', 'import-removal'));
ALTER TABLE work ADD COLUMN digest text NOT NULL DEFAULT ''; -- of an import to remove; its images' rows are gone

-- A pod keeps its key while it is placed, and until its next placement if it was evicted. Nothing
-- gives the key back to a pod that has lost it: such a pod has ended or is gone.
CREATE FUNCTION has_key(p pods) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT (p.holds_room OR p.phase = 'Pending') AND p.placed_generation > 0 $$;
CREATE OR REPLACE FUNCTION pod_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, CASE WHEN has_key(OLD) THEN 'key-removal' ELSE '' END);
    ELSIF needs_key(NEW) THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, 'pod-key');
    ELSE
        PERFORM set_work(NEW.tenant_id, NEW.id, CASE WHEN has_key(OLD) AND NOT has_key(NEW) THEN 'key-removal' ELSE '' END);
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER work ON pods;
DROP TRIGGER work_deleted ON pods;
CREATE TRIGGER work AFTER UPDATE ON pods FOR EACH ROW WHEN (needs_key(NEW) <> needs_key(OLD) OR has_key(NEW) <> has_key(OLD)) EXECUTE FUNCTION pod_work();
CREATE TRIGGER work_deleted AFTER DELETE ON pods FOR EACH ROW WHEN (needs_key(OLD) OR has_key(OLD)) EXECUTE FUNCTION pod_work();

-- An import may have lost its last image. The leader checks that before it removes the import.
CREATE OR REPLACE FUNCTION image_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
        INSERT INTO work (kind, tenant_id, object_id, digest) VALUES ('import-removal', OLD.tenant_id, OLD.id, OLD.digest);
    ELSIF TG_OP = 'INSERT' OR OLD.state <> NEW.state THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, CASE NEW.state WHEN 'Importing' THEN 'image-import' WHEN 'Deleting' THEN 'image-removal' ELSE '' END);
    END IF;
    RETURN NULL;
END $$;
