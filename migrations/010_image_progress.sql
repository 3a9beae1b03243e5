-- How much of an image has come from its registry; NULL when nobody is fetching it. A server that does not know them leaves them behind, so they say something
-- only while the image is Importing.
ALTER TABLE images ADD COLUMN fetched_bytes bigint, ADD COLUMN total_bytes bigint,
    ADD CHECK (fetched_bytes BETWEEN 0 AND total_bytes);

-- Who waits for a digest is looked for twice a second.
CREATE INDEX images_importing ON images (digest) WHERE state = 'Importing';
