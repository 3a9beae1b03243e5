-- A pod can be stopped and started again. A stopped pod is on no node.
SET LOCAL lock_timeout = '5s'; -- requests wait for this lock while the migration does; it can be retried

ALTER TABLE pods ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE pods ADD COLUMN halted boolean NOT NULL DEFAULT false; -- it stays stopped once it has stopped
ALTER TABLE pods DROP CONSTRAINT pods_phase_check;
ALTER TABLE pods DROP CONSTRAINT pods_check;
ALTER TABLE pods ADD CONSTRAINT pods_phase_check CHECK (phase IN ('Pending', 'Starting', 'Running', 'Succeeded', 'Failed', 'Unknown', 'Stopping', 'Stopped')) NOT VALID;
ALTER TABLE pods ADD CONSTRAINT pods_check CHECK ((phase IN ('Pending', 'Stopped')) = (node_id IS NULL)) NOT VALID;

-- A server of the previous version places an evicted pod again, although it was stopped.
CREATE FUNCTION keep_stopped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.phase := 'Stopped';
    RETURN NEW;
END $$;
CREATE TRIGGER keep_stopped BEFORE UPDATE ON pods FOR EACH ROW WHEN (OLD.halted AND NEW.halted AND OLD.phase = 'Stopping' AND NEW.phase = 'Pending') EXECUTE FUNCTION keep_stopped();

-- The scheduler reads the pods of a node again, because their labels have changed.
CREATE FUNCTION reread_node(node uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public
    AS $$ UPDATE nodes SET version = version + 1 WHERE id = node $$;
REVOKE ALL ON FUNCTION reread_node FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reread_node TO husk_tenant, husk_control;
