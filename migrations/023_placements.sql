-- A placement is one period that a pod spends on a node. Placements of a pod are numbered, and what
-- is created for one outside Postgres carries its number.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE TABLE placements (
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    pod_id     uuid NOT NULL, -- a fenced placement may outlive its pod
    number     bigint NOT NULL,
    node_id    uuid NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    role       text NOT NULL DEFAULT 'active' CHECK (role IN ('active', 'incoming', 'leaving', 'fenced')),
    volumes    boolean NOT NULL, -- whether its machine writes volumes
    clients    text[] NOT NULL DEFAULT '{}', -- the Ceph addresses of its QEMU processes, as the disks' watchers show them
    clients_at timestamptz,      -- NULL: the machine that runs has not been looked at
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, pod_id, number)
);
CREATE UNIQUE INDEX placements_active ON placements (tenant_id, pod_id) WHERE role = 'active';
CREATE INDEX placements_of_node ON placements (node_id);
CREATE INDEX placements_not_seen ON placements (created_at) WHERE volumes AND clients_at IS NULL AND role = 'active';
ALTER TABLE placements ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON placements TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON placements TO husk_control;

ALTER TABLE pods
    ADD COLUMN placement bigint NOT NULL DEFAULT 0,      -- the number of its latest placement; 0 if that began before placements had numbers
    ADD COLUMN key_placement bigint NOT NULL DEFAULT 0;  -- the placement in the name of the key; 0: the name has none
ALTER TABLE pods NO FORCE ROW LEVEL SECURITY; -- it applies to the owner too, who would see no rows
ALTER TABLE volume_claims NO FORCE ROW LEVEL SECURITY;
INSERT INTO placements (tenant_id, pod_id, number, node_id, volumes)
    SELECT tenant_id, id, 0, node_id, EXISTS (SELECT 1 FROM volume_claims c WHERE c.tenant_id = p.tenant_id AND c.pod_id = p.id) FROM pods p WHERE node_id IS NOT NULL;
ALTER TABLE pods FORCE ROW LEVEL SECURITY;
ALTER TABLE volume_claims FORCE ROW LEVEL SECURITY;

-- Triggers write the rows, so servers of the previous version write them too.
CREATE FUNCTION begin_placement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.placement := OLD.placement + 1;
    NEW.key_placement := 0;
    INSERT INTO placements (tenant_id, pod_id, number, node_id, volumes)
        VALUES (NEW.tenant_id, NEW.id, NEW.placement, NEW.node_id, EXISTS (SELECT 1 FROM volume_claims c WHERE c.tenant_id = NEW.tenant_id AND c.pod_id = NEW.id));
    RETURN NEW;
END $$;
CREATE TRIGGER begin_placement BEFORE UPDATE ON pods FOR EACH ROW WHEN (OLD.node_id IS NULL AND NEW.node_id IS NOT NULL) EXECUTE FUNCTION begin_placement();
-- A fenced placement stays until its node has reported that nothing of it is left.
CREATE FUNCTION end_placement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    DELETE FROM placements WHERE tenant_id = OLD.tenant_id AND pod_id = OLD.id AND number = OLD.placement AND role = 'active';
    RETURN NULL;
END $$;
CREATE TRIGGER end_placement AFTER UPDATE ON pods FOR EACH ROW WHEN (OLD.node_id IS NOT NULL AND NEW.node_id IS NULL) EXECUTE FUNCTION end_placement();
CREATE TRIGGER end_placement_deleted AFTER DELETE ON pods FOR EACH ROW WHEN (OLD.node_id IS NOT NULL) EXECUTE FUNCTION end_placement();
-- Another machine has another QEMU.
CREATE FUNCTION look_at_clients() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    UPDATE placements SET clients_at = NULL WHERE tenant_id = NEW.tenant_id AND pod_id = NEW.id AND number = NEW.placement AND volumes;
    RETURN NULL;
END $$;
CREATE TRIGGER look_at_clients AFTER UPDATE ON pods FOR EACH ROW
    WHEN (NEW.domain_started_at IS NOT NULL AND NEW.domain_started_at IS DISTINCT FROM OLD.domain_started_at) EXECUTE FUNCTION look_at_clients();

-- The life of a node (nodestate.go).
ALTER TABLE nodes DROP CONSTRAINT nodes_state_check;
ALTER TABLE nodes ADD CONSTRAINT nodes_state_check CHECK (state IN ('Joining', 'Ready', 'Suspect', 'Lost', 'Fencing', 'Fenced', 'Recovering')) NOT VALID;
ALTER TABLE nodes
    ADD COLUMN storage_address text NOT NULL DEFAULT '', -- from which its QEMU processes reach Ceph; empty if it is not its own
    ADD COLUMN state_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN fence_addresses text[] NOT NULL DEFAULT '{}', -- what was put on Ceph's blocklist for it
    ADD COLUMN fenced_at timestamptz,                    -- the blocklist is confirmed; NULL: not, or not any more
    ADD COLUMN fence_message text NOT NULL DEFAULT '',   -- why it is not fenced, or its pods are not moved
    ADD COLUMN machine_off boolean NOT NULL DEFAULT false, -- an operator has confirmed it
    ADD COLUMN clean boolean NOT NULL DEFAULT false;     -- it has reported that nothing runs on it that should not; false again when it is Ready

-- A server of the previous version makes every node Ready that sends a heartbeat.
CREATE FUNCTION keep_fenced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state := OLD.state;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_fenced BEFORE UPDATE ON nodes FOR EACH ROW
    WHEN (OLD.state IN ('Fencing', 'Fenced', 'Recovering') AND NEW.state = 'Ready' AND NEW.clean = OLD.clean) EXECUTE FUNCTION keep_fenced();
CREATE FUNCTION state_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state_since := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER state_changed BEFORE UPDATE ON nodes FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION state_changed();

-- A key belongs to a placement, so a pod that waits for its next one has none.
CREATE OR REPLACE FUNCTION has_key(p pods) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT p.holds_room AND p.placed_generation > 0 $$;
