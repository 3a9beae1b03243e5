SET LOCAL lock_timeout = '5s'; -- requests wait for this lock while the migration does; it can be retried

-- GiB of the volumes of a class, by the name of the class. A class that is not in it has no limit of its own.
ALTER TABLE tenants ADD COLUMN quota_volume_class_gib jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(quota_volume_class_gib) = 'object');
