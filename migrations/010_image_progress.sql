-- How much of an image has been downloaded from its registry; NULL while no server downloads it. A
-- server that does not know these columns does not clear them, so they are only valid while the
-- image is Importing.
ALTER TABLE images ADD COLUMN fetched_bytes bigint, ADD COLUMN total_bytes bigint,
    ADD CHECK (fetched_bytes BETWEEN 0 AND total_bytes);

-- This finds the tenants that wait for a digest, twice a second.
CREATE INDEX images_importing ON images (digest) WHERE state = 'Importing';
