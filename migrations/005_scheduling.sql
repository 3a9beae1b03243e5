-- Scheduling rules and preemption: pools with a cpu overcommit ratio, labels and taints of nodes,
-- and what pods require of these. An evicted pod stops, and waits for its next placement under the
-- same id.
CREATE TABLE pools (
    name           text PRIMARY KEY,
    cpu_overcommit double precision NOT NULL DEFAULT 1 CHECK (cpu_overcommit BETWEEN 0.1 AND 100),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE pools ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON pools TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON pools TO husk_control;

ALTER TABLE nodes
    ADD COLUMN pool text REFERENCES pools (name),
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN taints text[] NOT NULL DEFAULT '{}',
    ADD COLUMN cordoned boolean NOT NULL DEFAULT false, -- takes no pods, as an operator decided
    ADD COLUMN cpu_overcommit double precision NOT NULL DEFAULT 1, -- of the pool; higher while more than that is allocated
    ADD COLUMN schedulable_cpu_millis integer NOT NULL GENERATED ALWAYS AS (round(cpu_millis * cpu_overcommit)::integer) STORED;
-- Both constraints have generated names, which may differ after a restore.
DO $$
DECLARE c text;
BEGIN
    FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'nodes'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%allocated_cpu_millis%' LOOP
        EXECUTE format('ALTER TABLE nodes DROP CONSTRAINT %I', c);
    END LOOP;
END $$;
ALTER TABLE nodes ADD CONSTRAINT nodes_allocated_cpu_millis_check CHECK (allocated_cpu_millis BETWEEN 0 AND schedulable_cpu_millis);

ALTER TABLE tenants ADD COLUMN quota_priority integer NOT NULL DEFAULT 0 CHECK (quota_priority BETWEEN -1000 AND 1000); -- the highest priority of its pods

ALTER TABLE pods
    ADD COLUMN scheduling jsonb,                              -- of the spec, for the scheduler; NULL if the spec has none
    ADD COLUMN priority integer NOT NULL DEFAULT 0,
    ADD COLUMN gang text NOT NULL DEFAULT '',
    ADD COLUMN decision jsonb,                                -- the scheduler's last decision, and its reason
    ADD COLUMN placed_generation bigint NOT NULL DEFAULT 0,   -- the last placed generation; reports about older ones are late
    ADD COLUMN evicted boolean NOT NULL DEFAULT false;        -- stops in order to be placed again

DROP INDEX pods_pending;
CREATE INDEX pods_pending ON pods (priority DESC, created_at, id) WHERE phase = 'Pending';
CREATE INDEX pods_by_gang ON pods (tenant_id, gang) WHERE gang <> '';
CREATE INDEX pods_leaving ON pods (node_id) WHERE phase = 'Stopping' AND holds_room;
