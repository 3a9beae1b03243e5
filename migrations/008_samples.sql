-- The last sample of each pod. A sample is of no use after a minute, so the table is unlogged and
-- does not survive a crash.
CREATE UNLOGGED TABLE pod_samples (
    tenant_id uuid NOT NULL, -- no foreign keys: rows that remain are removed later
    pod_id    uuid NOT NULL,
    node_id   uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    figures   jsonb NOT NULL,
    PRIMARY KEY (tenant_id, pod_id)
) WITH (fillfactor = 50); -- rows are often updated in place
ALTER TABLE pod_samples ENABLE ROW LEVEL SECURITY;
ALTER TABLE pod_samples FORCE ROW LEVEL SECURITY;
CREATE POLICY control ON pod_samples TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON pod_samples TO husk_control;
