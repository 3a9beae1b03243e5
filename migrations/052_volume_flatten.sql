SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The copy of all data of a snapshot takes hours. So that is work of its own kind, which other clones do not wait for. Servers of the previous version do
-- not do it: it waits until one of this version leads. A copy that one of them has begun is recorded at its end all the same.
LOCK TABLE volumes IN SHARE ROW EXCLUSIVE MODE; -- waits until no request is between choosing the kind of its work and recording it
ALTER TABLE work DROP CONSTRAINT work_kind_check;
ALTER TABLE work ADD CONSTRAINT work_kind_check CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-format', 'volume-clone', 'volume-flatten',
    'volume-growth', 'volume-removal', 'snapshot-creation', 'snapshot-freeze', 'snapshot-removal', 'pod-key', 'key-removal', 'import-removal'));
CREATE OR REPLACE FUNCTION volume_work_of(v volumes) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE v.state
        WHEN 'Creating' THEN CASE WHEN v.upload_until IS NOT NULL THEN '' WHEN v.snapshot_id IS NOT NULL THEN CASE WHEN v.flatten THEN 'volume-flatten' ELSE 'volume-clone' END
            WHEN v.fs_type <> 'ext4' THEN 'volume-format' ELSE 'volume-creation' END
        WHEN 'Deleting' THEN 'volume-removal'
        ELSE CASE WHEN v.image_gib < v.size_gib THEN 'volume-growth' ELSE '' END END
$$;
-- The owner sees the volumes because of the policy "limits".
UPDATE work w SET kind = 'volume-flatten' FROM volumes v
WHERE w.kind = 'volume-clone' AND v.tenant_id = w.tenant_id AND v.id = w.object_id AND v.state = 'Creating' AND v.flatten;
