SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The file system of a volume. 'none' is a block device without one. A snapshot has that of its volume.
ALTER TABLE volumes ADD COLUMN fs_type text NOT NULL DEFAULT 'ext4' CHECK (fs_type IN ('ext4', 'xfs', 'none'));
ALTER TABLE snapshots ADD COLUMN fs_type text NOT NULL DEFAULT 'ext4' CHECK (fs_type IN ('ext4', 'xfs', 'none'));

-- Servers of the previous version would make ext4. So other file systems are work of their own kind.
ALTER TABLE work DROP CONSTRAINT work_kind_check;
ALTER TABLE work ADD CONSTRAINT work_kind_check CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-format', 'volume-clone',
    'volume-growth', 'volume-removal', 'snapshot-creation', 'snapshot-removal', 'pod-key', 'key-removal', 'import-removal'));
CREATE OR REPLACE FUNCTION volume_work_of(v volumes) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE v.state
        WHEN 'Creating' THEN CASE WHEN v.snapshot_id IS NOT NULL THEN 'volume-clone' WHEN v.fs_type <> 'ext4' THEN 'volume-format' ELSE 'volume-creation' END
        WHEN 'Deleting' THEN 'volume-removal'
        ELSE CASE WHEN v.image_gib < v.size_gib THEN 'volume-growth' ELSE '' END END
$$;
