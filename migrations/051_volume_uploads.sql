SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- A request uploads the content of a volume, until this time unless it is renewed. NULL: none does. Nothing else makes the RBD image meanwhile.
ALTER TABLE volumes ADD COLUMN upload_until timestamptz CHECK (upload_until IS NULL OR state = 'Creating');
CREATE INDEX volumes_by_upload ON volumes (upload_until) WHERE upload_until IS NOT NULL;
CREATE OR REPLACE FUNCTION volume_work_of(v volumes) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE v.state
        WHEN 'Creating' THEN CASE WHEN v.upload_until IS NOT NULL THEN '' WHEN v.snapshot_id IS NOT NULL THEN 'volume-clone'
            WHEN v.fs_type <> 'ext4' THEN 'volume-format' ELSE 'volume-creation' END
        WHEN 'Deleting' THEN 'volume-removal'
        ELSE CASE WHEN v.image_gib < v.size_gib THEN 'volume-growth' ELSE '' END END
$$;
