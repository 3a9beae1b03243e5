-- When OVN had connected the pod's ports, so that a start says how much of it was the network.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

ALTER TABLE pods ADD COLUMN network_connected_at timestamptz;
