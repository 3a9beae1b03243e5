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

-- Which pods of a node have changed in which revision of its desired state, so that agents get only
-- these. Rows are kept for an hour. An agent that knows a revision before desired_since gets the
-- whole state.
CREATE TABLE desired_changes (
    node_id    uuid NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    pod_id     uuid NOT NULL, -- also of a pod that has left the node
    revision   bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node_id, pod_id)
);
CREATE INDEX desired_changes_by_revision ON desired_changes (node_id, revision);
CREATE INDEX desired_changes_by_age ON desired_changes (changed_at);
ALTER TABLE desired_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON desired_changes TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON desired_changes TO husk_control;
ALTER TABLE nodes ADD COLUMN desired_since bigint NOT NULL DEFAULT 0;
UPDATE nodes SET desired_since = desired_revision;

-- Each change has a revision of its own. The transaction holds the node's row until it ends, so
-- a transaction that sees a revision also sees all changes up to it.
CREATE FUNCTION record_desired_change(node uuid, pod uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    WITH n AS (UPDATE nodes SET desired_revision = desired_revision + 1 WHERE id = node RETURNING desired_revision)
    INSERT INTO desired_changes (node_id, pod_id, revision) SELECT node, pod, desired_revision FROM n
    ON CONFLICT (node_id, pod_id) DO UPDATE SET revision = EXCLUDED.revision, changed_at = EXCLUDED.changed_at;
$$;
REVOKE ALL ON FUNCTION record_desired_change FROM PUBLIC;

-- A node gets a pod once it has a key, or to remove it. Of the phase, the node gets what to do with
-- the pod.
CREATE FUNCTION on_node(p pods) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT p.node_id IS NOT NULL AND (p.ceph_key IS NOT NULL OR p.phase = 'Stopping') $$;
CREATE FUNCTION wanted(phase text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT CASE phase WHEN 'Stopping' THEN 'Gone' WHEN 'Succeeded' THEN 'Finished' WHEN 'Failed' THEN 'Finished' ELSE 'Running' END $$;
CREATE FUNCTION desired_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM record_desired_change(OLD.node_id, OLD.id);
        RETURN NULL;
    END IF;
    IF on_node(OLD) AND (NOT on_node(NEW) OR OLD.node_id <> NEW.node_id) THEN
        PERFORM record_desired_change(OLD.node_id, OLD.id);
    END IF;
    IF on_node(NEW) AND (NOT on_node(OLD) OR (OLD.node_id, OLD.generation, OLD.ceph_key, wanted(OLD.phase)) IS DISTINCT FROM (NEW.node_id, NEW.generation, NEW.ceph_key, wanted(NEW.phase))) THEN
        PERFORM record_desired_change(NEW.node_id, NEW.id);
    END IF;
    RETURN NULL;
END $$;
-- The condition keeps placements as cheap as they were: a placed pod has no key yet.
CREATE TRIGGER desired AFTER UPDATE ON pods FOR EACH ROW
    WHEN ((OLD.ceph_key IS NOT NULL OR NEW.ceph_key IS NOT NULL OR OLD.phase = 'Stopping' OR NEW.phase = 'Stopping') AND (OLD.node_id, OLD.generation, OLD.ceph_key, OLD.phase) IS DISTINCT FROM (NEW.node_id, NEW.generation, NEW.ceph_key, NEW.phase)) EXECUTE FUNCTION desired_change();
CREATE TRIGGER desired_deleted AFTER DELETE ON pods FOR EACH ROW WHEN (on_node(OLD)) EXECUTE FUNCTION desired_change();
