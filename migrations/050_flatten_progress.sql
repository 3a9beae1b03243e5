SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

ALTER TABLE volumes ADD COLUMN percent integer NOT NULL DEFAULT 0; -- how much of the data of its snapshot is copied, of a volume that is flattened
