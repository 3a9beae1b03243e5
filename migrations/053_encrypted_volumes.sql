SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The passphrases of encrypted disks, sealed. A copy of a disk has the header of the disk, so a volume and its snapshots share a row, and volumes that
-- are made from these. The row goes with the last of them. Requests of tenants only add rows.
CREATE TABLE disk_keys (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    id         uuid NOT NULL,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id)
);
ALTER TABLE disk_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE disk_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON disk_keys TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY control ON disk_keys TO husk_control USING (true) WITH CHECK (true);
GRANT INSERT ON disk_keys TO husk_tenant;
GRANT SELECT, DELETE ON disk_keys TO husk_control;

-- NULL: it is not encrypted.
ALTER TABLE volumes ADD COLUMN key_id uuid, ADD FOREIGN KEY (tenant_id, key_id) REFERENCES disk_keys (tenant_id, id);
ALTER TABLE snapshots ADD COLUMN key_id uuid, ADD FOREIGN KEY (tenant_id, key_id) REFERENCES disk_keys (tenant_id, id);
CREATE INDEX volumes_by_key ON volumes (tenant_id, key_id) WHERE key_id IS NOT NULL;
CREATE INDEX snapshots_by_key ON snapshots (tenant_id, key_id) WHERE key_id IS NOT NULL;

-- Servers of the previous version would make an encrypted disk without encryption, and copy it without its last part: it is larger than its content.
-- So that is work of its own kinds.
ALTER TABLE work DROP CONSTRAINT work_kind_check;
ALTER TABLE work ADD CONSTRAINT work_kind_check CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-format', 'volume-clone', 'volume-flatten',
    'volume-growth', 'volume-removal', 'snapshot-creation', 'snapshot-freeze', 'snapshot-removal', 'pod-key', 'key-removal', 'import-removal',
    'encrypted-creation', 'encrypted-clone', 'encrypted-flatten', 'encrypted-growth', 'encrypted-snapshot'));
CREATE OR REPLACE FUNCTION volume_work_of(v volumes) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE v.state
        WHEN 'Creating' THEN CASE WHEN v.upload_until IS NOT NULL THEN ''
            WHEN v.snapshot_id IS NOT NULL THEN CASE WHEN v.key_id IS NULL THEN 'volume-' ELSE 'encrypted-' END || CASE WHEN v.flatten THEN 'flatten' ELSE 'clone' END
            WHEN v.key_id IS NOT NULL THEN 'encrypted-creation' WHEN v.fs_type <> 'ext4' THEN 'volume-format' ELSE 'volume-creation' END
        WHEN 'Deleting' THEN 'volume-removal'
        ELSE CASE WHEN v.image_gib < v.size_gib THEN CASE WHEN v.key_id IS NULL THEN 'volume-growth' ELSE 'encrypted-growth' END ELSE '' END END
$$;
CREATE OR REPLACE FUNCTION snapshot_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
    ELSIF TG_OP = 'INSERT' OR OLD.state <> NEW.state THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, CASE NEW.state
            WHEN 'Creating' THEN CASE WHEN NEW.key_id IS NOT NULL THEN 'encrypted-snapshot' WHEN NEW.consistent THEN 'snapshot-freeze' ELSE 'snapshot-creation' END
            WHEN 'Deleting' THEN 'snapshot-removal' ELSE '' END);
    END IF;
    RETURN NULL;
END $$;
