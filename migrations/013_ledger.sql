-- Running totals of the ledger, so that neither a report nor the closing of an hour reads the past
-- of an interval. Servers of the previous version run on: they write the same tables as before, and
-- triggers keep the totals up to date for them.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried
LOCK TABLE usage_intervals, usage_ends, usage_open, usage_traffic, usage_hours IN ACCESS EXCLUSIVE MODE;

-- One row per interval that is open, or whose usage is not yet completely recorded in closed hours.
-- usage_traffic gets a row only when the first report of another hour arrives: the counters at the
-- end of the hour before.
CREATE TABLE usage_totals (
    interval_id       bigint PRIMARY KEY,
    tenant_id         uuid NOT NULL,
    received_bytes    bigint NOT NULL DEFAULT 0, -- counters of the last report, which arrived at counted_at
    sent_bytes        bigint NOT NULL DEFAULT 0,
    counted_at        timestamptz NOT NULL DEFAULT '-infinity',
    recorded_seconds  double precision, -- sums of the interval's rows in usage_hours; NULL: not summed yet
    recorded_received bigint,
    recorded_sent     bigint,
    FOREIGN KEY (tenant_id, interval_id) REFERENCES usage_intervals (tenant_id, id)
) WITH (fillfactor = 50); -- the rows of running pods are updated by every report
CREATE INDEX usage_totals_by_tenant ON usage_totals (tenant_id);

-- The last interval of which the usage until the end of this hour is recorded.
CREATE TABLE usage_closing (
    only_one       boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    hour           timestamptz NOT NULL DEFAULT '1970-01-01',
    after_interval bigint NOT NULL DEFAULT 0
);
INSERT INTO usage_closing DEFAULT VALUES;

ALTER TABLE usage_totals ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_totals TO husk_tenant USING (tenant_id = current_tenant());
CREATE POLICY control ON usage_totals TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT ON usage_totals TO husk_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_totals TO husk_control;
ALTER TABLE usage_closing ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON usage_closing TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON usage_closing TO husk_control;

CREATE FUNCTION begin_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_totals (interval_id, tenant_id, recorded_seconds, recorded_received, recorded_sent) SELECT id, tenant_id, 0, 0, 0 FROM added;
    RETURN NULL;
END $$;
CREATE TRIGGER totals AFTER INSERT ON usage_intervals REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION begin_totals();

-- Only servers of the previous version insert rows that are newer than the totals.
CREATE FUNCTION count_traffic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage_totals t SET received_bytes = GREATEST(t.received_bytes, a.received_bytes), sent_bytes = GREATEST(t.sent_bytes, a.sent_bytes), counted_at = a.at
    FROM (SELECT interval_id, max(received_bytes) AS received_bytes, max(sent_bytes) AS sent_bytes, max(at) AS at FROM added GROUP BY interval_id) a
    WHERE t.interval_id = a.interval_id AND t.counted_at < a.at;
    RETURN NULL;
END $$;
CREATE TRIGGER totals AFTER INSERT ON usage_traffic REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_traffic();

CREATE FUNCTION add_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage_totals t SET recorded_seconds = t.recorded_seconds + a.seconds, recorded_received = t.recorded_received + a.received_bytes, recorded_sent = t.recorded_sent + a.sent_bytes
    FROM added a WHERE t.interval_id = a.interval_id; -- one row per interval: usage is recorded for one hour at a time
    RETURN NULL;
END $$;
CREATE TRIGGER totals AFTER INSERT ON usage_hours REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_recorded();

-- The usage in the hours that are not closed yet, as far as it is known. The first of these hours
-- already includes the late corrections that will be recorded in it.
CREATE OR REPLACE VIEW usage_live WITH (security_invoker = true) AS
WITH last AS (
    SELECT max(hour) + interval '1 hour' AS open_from FROM usage_closed_hours
), known AS (
    SELECT t.*, i.started_at, COALESCE(e.ended_at, clock_timestamp()) AS until, COALESCE(last.open_from, date_trunc('hour', i.started_at)) AS open_from
    FROM usage_totals t JOIN usage_intervals i ON i.id = t.interval_id LEFT JOIN usage_ends e ON e.interval_id = i.id, last
), spans AS (
    SELECT k.*, generate_series(k.open_from, date_trunc('hour', clock_timestamp()), interval '1 hour') AS hour FROM known k
)
SELECT s.interval_id, s.tenant_id, s.hour,
    (GREATEST(0, extract(epoch FROM LEAST(s.until, s.hour + interval '1 hour') - s.started_at))
        - CASE WHEN s.hour > s.open_from THEN GREATEST(0, extract(epoch FROM LEAST(s.until, s.hour) - s.started_at))
          ELSE COALESCE(s.recorded_seconds, summed.seconds, 0) END)::double precision AS seconds,
    (CASE WHEN s.counted_at < s.hour + interval '1 hour' THEN s.received_bytes ELSE COALESCE(at_end.received_bytes, 0) END
        - CASE WHEN s.hour > s.open_from THEN CASE WHEN s.counted_at < s.hour THEN s.received_bytes ELSE COALESCE(at_start.received_bytes, 0) END
          ELSE COALESCE(s.recorded_received, summed.received_bytes, 0) END)::bigint AS received_bytes,
    (CASE WHEN s.counted_at < s.hour + interval '1 hour' THEN s.sent_bytes ELSE COALESCE(at_end.sent_bytes, 0) END
        - CASE WHEN s.hour > s.open_from THEN CASE WHEN s.counted_at < s.hour THEN s.sent_bytes ELSE COALESCE(at_start.sent_bytes, 0) END
          ELSE COALESCE(s.recorded_sent, summed.sent_bytes, 0) END)::bigint AS sent_bytes
FROM spans s
LEFT JOIN LATERAL (SELECT u.received_bytes, u.sent_bytes FROM usage_traffic u WHERE s.counted_at >= s.hour + interval '1 hour'
    AND u.interval_id = s.interval_id AND u.at < s.hour + interval '1 hour' ORDER BY u.at DESC LIMIT 1) at_end ON true
LEFT JOIN LATERAL (SELECT u.received_bytes, u.sent_bytes FROM usage_traffic u WHERE s.hour > s.open_from AND s.counted_at >= s.hour
    AND u.interval_id = s.interval_id AND u.at < s.hour ORDER BY u.at DESC LIMIT 1) at_start ON true
LEFT JOIN LATERAL (SELECT sum(h.seconds) AS seconds, sum(h.received_bytes) AS received_bytes, sum(h.sent_bytes) AS sent_bytes FROM usage_hours h
    WHERE s.hour = s.open_from AND s.recorded_seconds IS NULL AND h.interval_id = s.interval_id) summed ON true;

-- The intervals whose usage the previous version has not completely recorded. The margin covers
-- transactions that were not committed when the last hour was closed. The sums follow when the next hour is closed.
ALTER TABLE usage_ends NO FORCE ROW LEVEL SECURITY; -- it applies to the owner too, who would see no rows
ALTER TABLE usage_open NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_traffic NO FORCE ROW LEVEL SECURITY;
INSERT INTO usage_totals (interval_id, tenant_id, received_bytes, sent_bytes, counted_at)
    SELECT t.interval_id, t.tenant_id, COALESCE(u.received_bytes, 0), COALESCE(u.sent_bytes, 0), COALESCE(u.at, '-infinity')
    FROM (
        SELECT interval_id, tenant_id FROM usage_open
        UNION SELECT e.interval_id, e.tenant_id FROM usage_ends e, (SELECT max(hour) + interval '1 hour' AS open_from, max(closed_at) AS at FROM usage_closed_hours) last
            WHERE last.at IS NULL OR e.recorded_at >= last.at - interval '1 hour' OR e.ended_at >= last.open_from
    ) t LEFT JOIN LATERAL (SELECT * FROM usage_traffic u WHERE u.interval_id = t.interval_id ORDER BY u.at DESC LIMIT 1) u ON true;
ALTER TABLE usage_totals FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_ends FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_open FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_traffic FORCE ROW LEVEL SECURITY;
