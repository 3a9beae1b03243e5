SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- A consistent snapshot is taken while the file system is frozen in the guest.
ALTER TABLE snapshots ADD COLUMN consistent boolean NOT NULL DEFAULT false;

-- Servers of the previous version would not freeze it. So that is work of its own kind.
ALTER TABLE work DROP CONSTRAINT work_kind_check;
ALTER TABLE work ADD CONSTRAINT work_kind_check CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-format', 'volume-clone',
    'volume-growth', 'volume-removal', 'snapshot-creation', 'snapshot-freeze', 'snapshot-removal', 'pod-key', 'key-removal', 'import-removal'));
CREATE OR REPLACE FUNCTION snapshot_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
    ELSIF TG_OP = 'INSERT' OR OLD.state <> NEW.state THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, CASE NEW.state WHEN 'Creating' THEN CASE WHEN NEW.consistent THEN 'snapshot-freeze' ELSE 'snapshot-creation' END
            WHEN 'Deleting' THEN 'snapshot-removal' ELSE '' END);
    END IF;
    RETURN NULL;
END $$;
