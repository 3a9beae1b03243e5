SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The snapshots that pods have attached, read-only. Many pods can use one, and it is not deleted meanwhile.
CREATE TABLE snapshot_uses (
    tenant_id   uuid NOT NULL,
    snapshot_id uuid NOT NULL,
    pod_id      uuid NOT NULL,
    PRIMARY KEY (tenant_id, snapshot_id, pod_id),
    FOREIGN KEY (tenant_id, snapshot_id) REFERENCES snapshots (tenant_id, id),
    FOREIGN KEY (tenant_id, pod_id) REFERENCES pods (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX snapshot_uses_by_pod ON snapshot_uses (tenant_id, pod_id);
ALTER TABLE snapshot_uses ENABLE ROW LEVEL SECURITY;
ALTER TABLE snapshot_uses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON snapshot_uses TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY control ON snapshot_uses TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON snapshot_uses TO husk_tenant, husk_control;

-- The view of a snapshot is the clone that pods attach. It is made for the first one and removed with the snapshot.
ALTER TABLE snapshots ADD COLUMN view_id text NOT NULL DEFAULT '', ADD COLUMN view_header jsonb;

CREATE OR REPLACE FUNCTION remember_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO removed_objects (name)
    SELECT CASE TG_TABLE_NAME WHEN 'volumes' THEN 'vol-' WHEN 'snapshots' THEN 'snap-' ELSE 'img-' END || OLD.id
    ON CONFLICT (name) DO UPDATE SET removed_at = clock_timestamp();
    IF TG_TABLE_NAME = 'images' THEN
        INSERT INTO removed_objects (name) VALUES (OLD.digest) ON CONFLICT (name) DO UPDATE SET removed_at = clock_timestamp();
    ELSIF TG_TABLE_NAME = 'snapshots' THEN
        INSERT INTO removed_objects (name) VALUES ('view-' || OLD.id) ON CONFLICT (name) DO UPDATE SET removed_at = clock_timestamp();
    END IF;
    RETURN NULL;
END $$;
