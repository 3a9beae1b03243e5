SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The headers of RBD images as they were when the server created them. Pods can write these headers,
-- so the server compares them with what is stored here before it uses or removes an RBD image.
-- NULL: created by a server of an earlier version, or not created yet.
ALTER TABLE volumes ADD COLUMN rbd_header jsonb;
ALTER TABLE images ADD COLUMN clone_header jsonb;
