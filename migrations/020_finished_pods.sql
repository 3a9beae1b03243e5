SET LOCAL lock_timeout = '5s'; -- requests wait for this lock while the migration does; it can be retried

-- When a pod that has ended is deleted. NULL: it has not ended, or it stays until somebody deletes it.
ALTER TABLE pods ADD COLUMN delete_at timestamptz;
CREATE INDEX pods_to_delete ON pods (delete_at) WHERE delete_at IS NOT NULL;
