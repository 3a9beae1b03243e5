-- A pod that moves has a second placement: the node that it goes to has it as incoming. When that becomes active, the first one is leaving. An
-- incoming placement that does not become active is leaving too.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

ALTER TABLE pods ADD COLUMN last_placement bigint NOT NULL DEFAULT 0; -- the highest number that a placement of the pod has had, or 0 if that is the column placement
ALTER TABLE placements
    -- What an incoming or leaving placement has on its node. What the active one has is in pods.
    ADD COLUMN cpu_millis       integer NOT NULL DEFAULT 0,
    ADD COLUMN memory_mib       integer NOT NULL DEFAULT 0,
    ADD COLUMN vmm_overhead_mib integer NOT NULL DEFAULT 0,
    ADD COLUMN scratch_gib      integer NOT NULL DEFAULT 0,
    ADD COLUMN holds            boolean NOT NULL DEFAULT false, -- whether it still has that
    ADD COLUMN ceph_key         bytea,                          -- of an incoming one
    ADD COLUMN live             boolean NOT NULL DEFAULT false, -- the memory moves with the pod
    ADD COLUMN from_node        uuid,                           -- the node that the pod leaves, or has left
    ADD COLUMN drains           boolean NOT NULL DEFAULT false, -- the move is part of the drain of that node
    ADD COLUMN message          text NOT NULL DEFAULT '',       -- why the pod does not run there yet, or what ended the move
    ADD COLUMN gone             boolean NOT NULL DEFAULT false, -- a leaving one: its node has removed it
    ADD COLUMN cut              boolean NOT NULL DEFAULT false, -- a leaving one: the clients of its machine are on the blocklist
    ADD COLUMN role_since       timestamptz NOT NULL DEFAULT now();
CREATE INDEX placements_moving ON placements (role_since) WHERE role IN ('incoming', 'leaving');
CREATE UNIQUE INDEX placements_incoming ON placements (tenant_id, pod_id) WHERE role = 'incoming';

-- A pod that is deleted waits on no node until those that it moved from or to have removed it.
ALTER TABLE pods DROP CONSTRAINT pods_check;
ALTER TABLE pods ADD CONSTRAINT pods_check CHECK (phase = 'Stopping' OR (phase IN ('Pending', 'Stopped')) = (node_id IS NULL)) NOT VALID;

-- Numbers are never given twice, because keys are named after them.
CREATE OR REPLACE FUNCTION begin_placement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.placement := GREATEST(OLD.placement, OLD.last_placement) + 1;
    NEW.last_placement := NEW.placement;
    NEW.key_placement := 0;
    INSERT INTO placements (tenant_id, pod_id, number, node_id, volumes)
        VALUES (NEW.tenant_id, NEW.id, NEW.placement, NEW.node_id, EXISTS (SELECT 1 FROM volume_claims c WHERE c.tenant_id = NEW.tenant_id AND c.pod_id = NEW.id));
    RETURN NEW;
END $$;

-- A pod that is stopped, ends or is taken from its node moves nowhere.
CREATE FUNCTION cancel_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    UPDATE placements SET role = 'leaving', message = 'the pod is ' || NEW.phase WHERE tenant_id = NEW.tenant_id AND pod_id = NEW.id AND role = 'incoming';
    RETURN NULL;
END $$;
CREATE TRIGGER cancel_move AFTER UPDATE ON pods FOR EACH ROW
    WHEN (OLD.phase IN ('Starting', 'Running', 'Unknown') AND NEW.phase NOT IN ('Starting', 'Running', 'Unknown')) EXECUTE FUNCTION cancel_move();

CREATE FUNCTION role_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.role_since := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER role_changed BEFORE UPDATE ON placements FOR EACH ROW WHEN (OLD.role <> NEW.role) EXECUTE FUNCTION role_changed();

-- What a node has to do with an incoming or a leaving placement is part of its desired state. The node that a pod leaves with its memory has to know where to.
CREATE FUNCTION placement_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    p placements := COALESCE(NEW, OLD);
BEGIN
    PERFORM 1 FROM nodes WHERE id = p.node_id OR p.live AND id = p.from_node ORDER BY id FOR NO KEY UPDATE;
    PERFORM record_desired_change(p.node_id, p.pod_id);
    IF p.live AND p.from_node <> p.node_id THEN
        PERFORM record_desired_change(p.from_node, p.pod_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER desired AFTER UPDATE ON placements FOR EACH ROW
    WHEN (NEW.role IN ('incoming', 'leaving') AND (OLD.role, OLD.ceph_key, OLD.gone) IS DISTINCT FROM (NEW.role, NEW.ceph_key, NEW.gone)) EXECUTE FUNCTION placement_changed();
CREATE TRIGGER desired_deleted AFTER DELETE ON placements FOR EACH ROW WHEN (OLD.role IN ('incoming', 'leaving')) EXECUTE FUNCTION placement_changed();

-- An incoming placement needs a key. Keys of placements that have ended are removed.
ALTER TABLE placements ADD CONSTRAINT placements_key CHECK (ceph_key IS NULL OR role IN ('incoming', 'leaving'));
CREATE FUNCTION placement_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    p placements := COALESCE(NEW, OLD);
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM set_work(p.tenant_id, p.pod_id, 'pod-key');
    ELSE -- work that creates a key removes the others too
        INSERT INTO work (kind, tenant_id, object_id) SELECT 'key-removal', p.tenant_id, p.pod_id
            WHERE NOT EXISTS (SELECT 1 FROM work w WHERE w.tenant_id = p.tenant_id AND w.object_id = p.pod_id AND w.kind = 'pod-key') ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER work AFTER INSERT ON placements FOR EACH ROW WHEN (NEW.role = 'incoming') EXECUTE FUNCTION placement_work();
CREATE TRIGGER work_changed AFTER UPDATE ON placements FOR EACH ROW WHEN (OLD.role <> NEW.role AND NEW.role = 'leaving') EXECUTE FUNCTION placement_work();
CREATE TRIGGER work_deleted AFTER DELETE ON placements FOR EACH ROW WHEN (OLD.role IN ('incoming', 'leaving')) EXECUTE FUNCTION placement_work();

-- A node that is being drained. Its moves begin a few at a time.
CREATE TABLE drains (
    node_id              uuid PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    max_moves            integer NOT NULL,
    max_moves_per_tenant integer NOT NULL,
    restart              boolean NOT NULL, -- pods that cannot move while they run may be stopped, and start again elsewhere
    was_cordoned         boolean NOT NULL, -- before the drain
    moved                integer NOT NULL DEFAULT 0,
    drained_at           timestamptz,      -- when its last pod had left
    started_at           timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Why pods are still on the node.
CREATE TABLE drain_failures (
    node_id     uuid NOT NULL REFERENCES drains (node_id) ON DELETE CASCADE,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    pod_id      uuid NOT NULL,
    attempts    integer NOT NULL DEFAULT 1,
    message     text NOT NULL,
    next_try_at timestamptz NOT NULL,
    PRIMARY KEY (node_id, tenant_id, pod_id)
);
ALTER TABLE drains ENABLE ROW LEVEL SECURITY;
ALTER TABLE drain_failures ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON drains TO husk_control USING (true) WITH CHECK (true);
CREATE POLICY control ON drain_failures TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON drains, drain_failures TO husk_control;
