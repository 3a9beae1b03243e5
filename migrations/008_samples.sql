-- The last thing that a node said of what a pod uses. It is worth nothing a minute later, so it survives no crash and goes to no log.
CREATE UNLOGGED TABLE pod_samples (
    tenant_id uuid NOT NULL, -- no foreign keys: what is left behind is collected
    pod_id    uuid NOT NULL,
    node_id   uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    figures   jsonb NOT NULL,
    PRIMARY KEY (tenant_id, pod_id)
) WITH (fillfactor = 50); -- rows change in place, again and again
ALTER TABLE pod_samples ENABLE ROW LEVEL SECURITY;
ALTER TABLE pod_samples FORCE ROW LEVEL SECURITY;
CREATE POLICY control ON pod_samples TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON pod_samples TO husk_control;
