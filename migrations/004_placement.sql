-- Placing many pods at once. The server creates the key in Ceph after the placement and not in its
-- transaction. It retries a pod that does not fit with increasing delays. To find the object that a
-- pending pod waits for, it reads only the few objects that are not ready.
ALTER TABLE pods
    ADD COLUMN tries integer NOT NULL DEFAULT 0, -- the number of failed attempts
    ADD COLUMN next_try_at timestamptz;           -- NULL: at once

-- The name is stored in addition to the id from the placement on, because tenants cannot read
-- nodes, and a function call per row made lists slow.
ALTER TABLE pods ADD COLUMN node_name text NOT NULL DEFAULT '';
ALTER TABLE pods NO FORCE ROW LEVEL SECURITY; -- it applies to the owner too, who would see no rows
UPDATE pods SET node_name = n.name FROM nodes n WHERE n.id = pods.node_id;
ALTER TABLE pods FORCE ROW LEVEL SECURITY;
DROP FUNCTION node_name;

DROP INDEX pods_pending;
CREATE INDEX pods_pending ON pods (created_at, id) WHERE phase = 'Pending';
CREATE INDEX pods_without_key ON pods (placed_at) WHERE ceph_key IS NULL AND holds_room;
CREATE INDEX images_not_ready ON images (tenant_id, id) WHERE state <> 'Ready';
CREATE INDEX volumes_not_available ON volumes (tenant_id, id) WHERE state <> 'Available';
