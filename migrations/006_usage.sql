-- The ledger of usage. Rows are added and never changed. An interval begins with a row in
-- usage_intervals and ends with one in usage_ends. The usage of an hour is added once, when the
-- hour is closed. Later corrections are recorded in the hour that is closed next.
CREATE TABLE usage_intervals (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   uuid NOT NULL, -- no foreign keys to tenants or pods: usage stays when these are deleted
    kind        text NOT NULL CHECK (kind IN ('pod', 'volume')),
    object_id   uuid NOT NULL,
    name        text NOT NULL,
    labels      jsonb NOT NULL,
    node_id     uuid,
    node_name   text NOT NULL DEFAULT '',
    cpu_millis  integer NOT NULL DEFAULT 0,
    memory_mib  integer NOT NULL DEFAULT 0,
    size_gib    integer NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL, -- of a pod: when its virtual machine was started, by its node's clock
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, object_id, started_at),
    UNIQUE (tenant_id, id)
);
CREATE INDEX usage_intervals_by_object ON usage_intervals (object_id, started_at);

CREATE TABLE usage_ends (
    interval_id bigint PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    ended_at    timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (tenant_id, interval_id) REFERENCES usage_intervals (tenant_id, id)
);
CREATE INDEX usage_ends_recorded ON usage_ends (recorded_at);
CREATE INDEX usage_ends_ended ON usage_ends (ended_at);

-- Bytes through a pod's network interface since its virtual machine was started.
CREATE TABLE usage_traffic (
    interval_id    bigint NOT NULL,
    tenant_id      uuid NOT NULL,
    at             timestamptz NOT NULL,
    received_bytes bigint NOT NULL,
    sent_bytes     bigint NOT NULL,
    PRIMARY KEY (interval_id, at),
    FOREIGN KEY (tenant_id, interval_id) REFERENCES usage_intervals (tenant_id, id)
);

CREATE TABLE usage_hours (
    interval_id    bigint NOT NULL,
    tenant_id      uuid NOT NULL,
    hour           timestamptz NOT NULL,
    seconds        double precision NOT NULL, -- negative if an earlier hour was overcounted
    received_bytes bigint NOT NULL,
    sent_bytes     bigint NOT NULL,
    PRIMARY KEY (interval_id, hour),
    FOREIGN KEY (tenant_id, interval_id) REFERENCES usage_intervals (tenant_id, id)
);
CREATE INDEX usage_hours_by_tenant ON usage_hours (tenant_id, hour);

CREATE TABLE usage_closed_hours (
    hour      timestamptz PRIMARY KEY,
    closed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The intervals without an end, so that they are found without a scan of all intervals. Rows are
-- deleted from this table only.
CREATE TABLE usage_open (
    interval_id bigint PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    FOREIGN KEY (tenant_id, interval_id) REFERENCES usage_intervals (tenant_id, id)
);
CREATE INDEX usage_open_by_tenant ON usage_open (tenant_id);

-- The usage in the hours that are not closed yet, as far as it is known. The first of these hours
-- already includes the late corrections that will be recorded in it.
CREATE VIEW usage_live WITH (security_invoker = true) AS
WITH last AS (
    SELECT max(hour) + interval '1 hour' AS open_from, max(closed_at) AS at FROM usage_closed_hours
), touched AS (
    SELECT interval_id AS id FROM usage_open
    -- Intervals that ended, or whose end was recorded, since the last hour was closed. The margin
    -- covers transactions that were not committed then.
    UNION SELECT e.interval_id FROM usage_ends e, last WHERE last.at IS NULL OR e.recorded_at >= last.at - interval '1 hour' OR e.ended_at >= last.open_from
), known AS (
    SELECT i.id, i.tenant_id, i.started_at, COALESCE(e.ended_at, clock_timestamp()) AS until, COALESCE(last.open_from, date_trunc('hour', i.started_at)) AS open_from
    FROM touched t JOIN usage_intervals i ON i.id = t.id LEFT JOIN usage_ends e ON e.interval_id = i.id, last
), spans AS (
    SELECT k.*, generate_series(k.open_from, date_trunc('hour', clock_timestamp()), interval '1 hour') AS hour FROM known k
)
SELECT s.id AS interval_id, s.tenant_id, s.hour,
    (GREATEST(0, extract(epoch FROM LEAST(s.until, s.hour + interval '1 hour') - s.started_at))
        - CASE WHEN s.hour = s.open_from THEN COALESCE((SELECT sum(h.seconds) FROM usage_hours h WHERE h.interval_id = s.id), 0)
          ELSE GREATEST(0, extract(epoch FROM LEAST(s.until, s.hour) - s.started_at)) END)::double precision AS seconds,
    (COALESCE((SELECT max(u.received_bytes) FROM usage_traffic u WHERE u.interval_id = s.id AND u.at < s.hour + interval '1 hour'), 0)
        - CASE WHEN s.hour = s.open_from THEN COALESCE((SELECT sum(h.received_bytes) FROM usage_hours h WHERE h.interval_id = s.id), 0)
          ELSE COALESCE((SELECT max(u.received_bytes) FROM usage_traffic u WHERE u.interval_id = s.id AND u.at < s.hour), 0) END)::bigint AS received_bytes,
    (COALESCE((SELECT max(u.sent_bytes) FROM usage_traffic u WHERE u.interval_id = s.id AND u.at < s.hour + interval '1 hour'), 0)
        - CASE WHEN s.hour = s.open_from THEN COALESCE((SELECT sum(h.sent_bytes) FROM usage_hours h WHERE h.interval_id = s.id), 0)
          ELSE COALESCE((SELECT max(u.sent_bytes) FROM usage_traffic u WHERE u.interval_id = s.id AND u.at < s.hour), 0) END)::bigint AS sent_bytes
FROM spans s;
GRANT SELECT ON usage_live TO husk_tenant, husk_control;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['usage_intervals', 'usage_ends', 'usage_traffic', 'usage_hours', 'usage_open'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON %I TO husk_tenant USING (tenant_id = current_tenant())', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT ON %I TO husk_tenant', t);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO husk_control', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['usage_intervals', 'usage_ends', 'usage_traffic', 'usage_hours', 'usage_closed_hours'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', t);
        EXECUTE format('CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
    END LOOP;
END $$;
ALTER TABLE usage_closed_hours ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON usage_closed_hours FOR SELECT TO husk_tenant USING (true);
CREATE POLICY control ON usage_closed_hours TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT ON usage_closed_hours TO husk_tenant;
GRANT SELECT, INSERT ON usage_closed_hours TO husk_control;
GRANT DELETE ON usage_open TO husk_control;

-- The usage of existing volumes begins now.
ALTER TABLE volumes NO FORCE ROW LEVEL SECURITY; -- it applies to the owner too, who would see no rows
ALTER TABLE usage_intervals NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_open NO FORCE ROW LEVEL SECURITY;
INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, size_gib, started_at)
    SELECT tenant_id, 'volume', id, name, labels, size_gib, now() FROM volumes WHERE state <> 'Creating';
INSERT INTO usage_open SELECT id, tenant_id FROM usage_intervals;
ALTER TABLE volumes FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_intervals FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_open FORCE ROW LEVEL SECURITY;
