-- Bytes that pods exchange with addresses outside of their tenant's networks, in addition to the total.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

ALTER TABLE usage_totals
    ADD COLUMN outside_received bigint NOT NULL DEFAULT 0, ADD COLUMN outside_sent bigint NOT NULL DEFAULT 0,
    ADD COLUMN recorded_outside_received bigint NOT NULL DEFAULT 0, ADD COLUMN recorded_outside_sent bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_traffic ADD COLUMN outside_received bigint NOT NULL DEFAULT 0, ADD COLUMN outside_sent bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_hours ADD COLUMN outside_received bigint NOT NULL DEFAULT 0, ADD COLUMN outside_sent bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION add_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage_totals t SET recorded_seconds = t.recorded_seconds + a.seconds, recorded_received = t.recorded_received + a.received_bytes, recorded_sent = t.recorded_sent + a.sent_bytes,
        recorded_outside_received = t.recorded_outside_received + a.outside_received, recorded_outside_sent = t.recorded_outside_sent + a.outside_sent
    FROM added a WHERE t.interval_id = a.interval_id; -- one row per interval: usage is recorded for one hour at a time
    RETURN NULL;
END $$;

CREATE OR REPLACE VIEW usage_live WITH (security_invoker = true) AS
WITH last AS (
    SELECT max(hour) + interval '1 hour' AS open_from FROM usage_closed_hours
), known AS (
    SELECT t.*, i.started_at, COALESCE(e.ended_at, clock_timestamp()) AS until, COALESCE(last.open_from, date_trunc('hour', i.started_at)) AS open_from
    FROM usage_totals t JOIN usage_intervals i ON i.id = t.interval_id LEFT JOIN usage_ends e ON e.interval_id = i.id, last
), spans AS (
    SELECT k.*, generate_series(k.open_from, date_trunc('hour', clock_timestamp()), interval '1 hour') AS hour FROM known k
), counted AS ( -- at the end of each hour, and at its start
    SELECT s.*, summed.seconds AS summed_seconds,
        CASE WHEN s.counted_at < s.hour + interval '1 hour' THEN ARRAY[s.received_bytes, s.sent_bytes, s.outside_received, s.outside_sent]
            ELSE COALESCE(at_end.counts, '{0,0,0,0}') END AS at_end,
        CASE WHEN s.hour = s.open_from THEN ARRAY[COALESCE(s.recorded_received, summed.received_bytes, 0), COALESCE(s.recorded_sent, summed.sent_bytes, 0), s.recorded_outside_received, s.recorded_outside_sent]
            WHEN s.counted_at < s.hour THEN ARRAY[s.received_bytes, s.sent_bytes, s.outside_received, s.outside_sent]
            ELSE COALESCE(at_start.counts, '{0,0,0,0}') END AS at_start
    FROM spans s
    LEFT JOIN LATERAL (SELECT ARRAY[u.received_bytes, u.sent_bytes, u.outside_received, u.outside_sent] AS counts FROM usage_traffic u
        WHERE s.counted_at >= s.hour + interval '1 hour' AND u.interval_id = s.interval_id AND u.at < s.hour + interval '1 hour' ORDER BY u.at DESC LIMIT 1) at_end ON true
    LEFT JOIN LATERAL (SELECT ARRAY[u.received_bytes, u.sent_bytes, u.outside_received, u.outside_sent] AS counts FROM usage_traffic u
        WHERE s.hour > s.open_from AND s.counted_at >= s.hour AND u.interval_id = s.interval_id AND u.at < s.hour ORDER BY u.at DESC LIMIT 1) at_start ON true
    LEFT JOIN LATERAL (SELECT sum(h.seconds) AS seconds, sum(h.received_bytes)::bigint AS received_bytes, sum(h.sent_bytes)::bigint AS sent_bytes FROM usage_hours h
        WHERE s.hour = s.open_from AND s.recorded_seconds IS NULL AND h.interval_id = s.interval_id) summed ON true
)
SELECT interval_id, tenant_id, hour,
    (GREATEST(0, extract(epoch FROM LEAST(until, hour + interval '1 hour') - started_at))
        - CASE WHEN hour > open_from THEN GREATEST(0, extract(epoch FROM LEAST(until, hour) - started_at))
          ELSE COALESCE(recorded_seconds, summed_seconds, 0) END)::double precision AS seconds,
    (at_end[1] - at_start[1])::bigint AS received_bytes, (at_end[2] - at_start[2])::bigint AS sent_bytes,
    (at_end[3] - at_start[3])::bigint AS outside_received, (at_end[4] - at_start[4])::bigint AS outside_sent
FROM counted;
