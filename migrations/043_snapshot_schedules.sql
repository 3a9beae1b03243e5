SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- A volume can have a schedule of snapshots: every so many minutes (0: no schedule), of which the latest are kept.
ALTER TABLE volumes ADD COLUMN snapshot_minutes integer NOT NULL DEFAULT 0 CHECK (snapshot_minutes >= 0),
    ADD COLUMN snapshot_keep integer NOT NULL DEFAULT 0 CHECK (snapshot_keep >= 0),
    ADD COLUMN snapshot_next timestamptz, -- NULL: no schedule
    ADD CHECK ((snapshot_minutes > 0) = (snapshot_next IS NOT NULL));
CREATE INDEX volumes_by_next_snapshot ON volumes (snapshot_next) WHERE snapshot_next IS NOT NULL;

-- Only the snapshots of a schedule are deleted by it.
ALTER TABLE snapshots ADD COLUMN scheduled boolean NOT NULL DEFAULT false;
