SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- Snapshots of volumes. Each is an RBD image of its own, which no pod can write, so it does not need
-- its volume any more once it is Ready.
CREATE TABLE snapshots (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    id          uuid NOT NULL,
    name        text NOT NULL,
    labels      jsonb NOT NULL,
    volume_id   uuid NOT NULL, -- its row may be gone
    volume_name text NOT NULL,
    size_gib    integer NOT NULL CHECK (size_gib > 0),
    state       text NOT NULL DEFAULT 'Creating' CHECK (state IN ('Creating', 'Ready', 'Failed', 'Deleting')),
    message     text NOT NULL DEFAULT '',
    percent     integer NOT NULL DEFAULT 0, -- how much of it is copied
    rados_id    bigint,                     -- its number in RADOS while it is copied
    taken_at    timestamptz,
    rbd_id      text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
CREATE INDEX snapshots_of_volume ON snapshots (tenant_id, volume_id);
ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE snapshots FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON snapshots TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY control ON snapshots TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON snapshots TO husk_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshots TO husk_control;

-- A volume that was made from a snapshot shares its data until it is flattened. While a volume is
-- restored, its old RBD image may share data with another snapshot.
ALTER TABLE volumes ADD COLUMN snapshot_id uuid, ADD COLUMN old_snapshot_id uuid, ADD COLUMN flatten boolean NOT NULL DEFAULT false,
    ADD FOREIGN KEY (tenant_id, snapshot_id) REFERENCES snapshots (tenant_id, id),
    ADD FOREIGN KEY (tenant_id, old_snapshot_id) REFERENCES snapshots (tenant_id, id);
CREATE INDEX volumes_by_snapshot ON volumes (tenant_id, snapshot_id) WHERE snapshot_id IS NOT NULL;

-- Servers of the previous version do not make volumes from snapshots: they would make empty ones. So that is work of its own kind.
ALTER TABLE work DROP CONSTRAINT work_kind_check;
ALTER TABLE work ADD CONSTRAINT work_kind_check CHECK (kind IN ('image-import', 'image-removal', 'volume-creation', 'volume-clone',
    'volume-growth', 'volume-removal', 'snapshot-creation', 'snapshot-removal', 'pod-key', 'key-removal', 'import-removal'));
CREATE OR REPLACE FUNCTION volume_work_of(v volumes) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE v.state WHEN 'Creating' THEN CASE WHEN v.snapshot_id IS NULL THEN 'volume-creation' ELSE 'volume-clone' END WHEN 'Deleting' THEN 'volume-removal'
        ELSE CASE WHEN v.image_gib < v.size_gib THEN 'volume-growth' ELSE '' END END
$$;
CREATE FUNCTION snapshot_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM set_work(OLD.tenant_id, OLD.id, '');
    ELSIF TG_OP = 'INSERT' OR OLD.state <> NEW.state THEN
        PERFORM set_work(NEW.tenant_id, NEW.id, CASE NEW.state WHEN 'Creating' THEN 'snapshot-creation' WHEN 'Deleting' THEN 'snapshot-removal' ELSE '' END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER work AFTER INSERT OR DELETE OR UPDATE OF state ON snapshots FOR EACH ROW EXECUTE FUNCTION snapshot_work();

ALTER TABLE usage_intervals DROP CONSTRAINT usage_intervals_kind_check;
ALTER TABLE usage_intervals ADD CONSTRAINT usage_intervals_kind_check CHECK (kind IN ('pod', 'volume', 'snapshot')) NOT VALID; -- wider than before, so all rows are valid
