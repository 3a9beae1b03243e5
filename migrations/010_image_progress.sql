-- The bytes of an image that a server has downloaded from its registry, and their total. NULL while
-- no server downloads the image. A server of an earlier version does not clear these columns, so
-- they are only valid while the image is Importing.
ALTER TABLE images ADD COLUMN fetched_bytes bigint, ADD COLUMN total_bytes bigint,
    ADD CHECK (fetched_bytes BETWEEN 0 AND total_bytes);

-- Twice a second, a query uses this index to find the tenants that import a digest.
CREATE INDEX images_importing ON images (digest) WHERE state = 'Importing';
