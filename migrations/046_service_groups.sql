SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The names of the security groups of a service. All its pods are in them. A transaction that changes them, or a group, holds the tenant's row.
ALTER TABLE services ADD COLUMN security_groups text[] NOT NULL DEFAULT '{}';
