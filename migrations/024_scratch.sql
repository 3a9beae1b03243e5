-- Pods have scratch disks on their nodes. The default is that of servers of the previous version, whose pods have none.
SET LOCAL lock_timeout = '5s'; -- requests wait for this lock while the migration does; it can be retried

ALTER TABLE pods ADD COLUMN scratch_gib integer NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN scratch_gib integer; -- NULL: its agent does not make scratch disks, and pods write to memory
ALTER TABLE tenants ADD COLUMN quota_scratch_gib integer NOT NULL DEFAULT 1000;
UPDATE tenants SET quota_scratch_gib = 10 * quota_pods; -- what the pods of a tenant need by default
