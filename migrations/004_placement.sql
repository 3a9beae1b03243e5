-- Placing many pods at once: the key in Ceph is made after the placement and not inside it, a pod that fits nowhere is tried again later
-- and later, and what a pod still waits for is looked up from the few things that are not ready.
ALTER TABLE pods
    ADD COLUMN tries integer NOT NULL DEFAULT 0, -- how often it fitted nowhere
    ADD COLUMN next_try_at timestamptz;           -- NULL: at once

-- The name stands beside the id from the placement on, because a tenant may not look into nodes and a call per row made lists slow.
ALTER TABLE pods ADD COLUMN node_name text NOT NULL DEFAULT '';
ALTER TABLE pods NO FORCE ROW LEVEL SECURITY; -- it holds the owner too, who sees no row
UPDATE pods SET node_name = n.name FROM nodes n WHERE n.id = pods.node_id;
ALTER TABLE pods FORCE ROW LEVEL SECURITY;
DROP FUNCTION node_name;

DROP INDEX pods_pending;
CREATE INDEX pods_pending ON pods (created_at, id) WHERE phase = 'Pending';
CREATE INDEX pods_without_key ON pods (placed_at) WHERE ceph_key IS NULL AND holds_room;
CREATE INDEX images_not_ready ON images (tenant_id, id) WHERE state <> 'Ready';
CREATE INDEX volumes_not_available ON volumes (tenant_id, id) WHERE state <> 'Available';
