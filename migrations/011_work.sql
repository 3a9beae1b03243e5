SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The queue of the control loops: one row for each object that needs work outside Postgres. Triggers
-- write it in the transaction that changes the object, whatever version of the server that is, so an
-- object that needs work always has a row, and an object that needs none has no row.
CREATE TABLE work (
    kind             text NOT NULL CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-removal', 'pod-key')),
    tenant_id        uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    object_id        uuid NOT NULL,
    attempts         integer NOT NULL DEFAULT 0, -- counted before the work, so that work that ends the server counts too
    due_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_epoch    bigint,      -- the leadership that does the work; NULL: nobody
    claim_expires_at timestamptz, -- from then on, the same leadership may claim it again
    PRIMARY KEY (kind, tenant_id, object_id)
);
CREATE INDEX work_due ON work (kind, tenant_id, due_at);
CREATE INDEX work_of_object ON work (tenant_id, object_id);

ALTER TABLE work ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON work TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON work TO husk_control;

-- set_work replaces the work on an object. An empty kind means that it needs none.
CREATE FUNCTION set_work(tenant uuid, object uuid, wanted text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    DELETE FROM work WHERE tenant_id = tenant AND object_id = object;
    INSERT INTO work (kind, tenant_id, object_id) SELECT wanted, tenant, object WHERE wanted <> '';
$$;
REVOKE ALL ON FUNCTION set_work FROM PUBLIC;

CREATE FUNCTION image_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
    ELSIF TG_OP = 'INSERT' OR OLD.state <> NEW.state THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, CASE NEW.state WHEN 'Importing' THEN 'image-import' WHEN 'Deleting' THEN 'image-removal' ELSE '' END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER work AFTER INSERT OR DELETE OR UPDATE OF state ON images FOR EACH ROW EXECUTE FUNCTION image_work();

CREATE FUNCTION volume_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
    ELSIF TG_OP = 'INSERT' OR OLD.state <> NEW.state THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, CASE NEW.state WHEN 'Creating' THEN 'volume-creation' WHEN 'Deleting' THEN 'volume-removal' ELSE '' END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER work AFTER INSERT OR DELETE OR UPDATE OF state ON volumes FOR EACH ROW EXECUTE FUNCTION volume_work();

-- A placed pod needs a key. Conditions on the triggers keep other changes of pods as cheap as they were.
CREATE FUNCTION needs_key(p pods) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT p.ceph_key IS NULL AND p.holds_room AND p.phase IN ('Starting', 'Unknown') $$;
CREATE FUNCTION pod_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND needs_key(NEW) THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, 'pod-key');
    ELSE
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER work AFTER UPDATE ON pods FOR EACH ROW WHEN (needs_key(NEW) <> needs_key(OLD)) EXECUTE FUNCTION pod_work();
CREATE TRIGGER work_deleted AFTER DELETE ON pods FOR EACH ROW WHEN (needs_key(OLD)) EXECUTE FUNCTION pod_work();

INSERT INTO work (kind, tenant_id, object_id)
    SELECT CASE state WHEN 'Importing' THEN 'image-import' ELSE 'image-removal' END, tenant_id, id FROM images WHERE state IN ('Importing', 'Deleting')
    UNION ALL SELECT CASE state WHEN 'Creating' THEN 'volume-creation' ELSE 'volume-removal' END, tenant_id, id FROM volumes WHERE state IN ('Creating', 'Deleting')
    UNION ALL SELECT 'pod-key', tenant_id, id FROM pods WHERE needs_key(pods);

-- An import's progress is its tenant's own.
DROP INDEX images_importing;

-- No server from this version on reads or writes the table blobs. A later migration drops it, when
-- no server of an earlier version can be left.
