-- name: BeginRuns :many
-- Starts of virtual machines of pods on this node, recorded once each, however often they are reported. A size of 0 is that of the pod. A start before the pod was placed, or in
-- the future, cannot be right. Such starts are returned, unless they are known from an earlier placement.
WITH told AS (
    SELECT unnest(@pod_ids::uuid[]) AS pod_id, unnest(@starts::timestamptz[]) AS started_at, unnest(@cpu_millis::integer[]) AS cpu_millis, unnest(@memory_mib::integer[]) AS memory_mib
), begun AS (
    INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, node_id, node_name, cpu_millis, memory_mib, size_gib, started_at)
    SELECT p.tenant_id, 'pod', p.id, p.name, p.labels, p.node_id, p.node_name, CASE t.cpu_millis WHEN 0 THEN p.cpu_millis ELSE t.cpu_millis END,
        CASE t.memory_mib WHEN 0 THEN p.memory_mib ELSE t.memory_mib END,
        CASE WHEN n.scratch_gib IS NULL THEN 0 ELSE p.scratch_gib END, t.started_at
    FROM told t JOIN pods p ON p.id = t.pod_id AND p.node_id = @node_id::uuid JOIN nodes n ON n.id = p.node_id
    WHERE t.started_at BETWEEN p.placed_at - interval '1 minute' AND clock_timestamp() + interval '1 minute'
    ON CONFLICT (tenant_id, object_id, started_at) DO NOTHING
    RETURNING id, tenant_id
), opened AS (
    INSERT INTO usage_open SELECT id, tenant_id FROM begun
)
SELECT p.id, p.placed_at::timestamptz AS placed_at, t.started_at::timestamptz AS started_at FROM told t JOIN pods p ON p.id = t.pod_id AND p.node_id = @node_id::uuid
WHERE NOT t.started_at BETWEEN p.placed_at - interval '1 minute' AND clock_timestamp() + interval '1 minute'
    AND NOT EXISTS (SELECT 1 FROM usage_intervals i WHERE i.tenant_id = p.tenant_id AND i.object_id = p.id AND i.started_at = t.started_at);

-- name: EndRuns :exec
-- Ends of runs, also after the pod's row was deleted.
WITH told AS (
    SELECT unnest(@pod_ids::uuid[]) AS pod_id, unnest(@starts::timestamptz[]) AS started_at, unnest(@stops::timestamptz[]) AS ended_at
), ended AS (
    INSERT INTO usage_ends (interval_id, tenant_id, ended_at)
    SELECT i.id, i.tenant_id, GREATEST(i.started_at, LEAST(t.ended_at, clock_timestamp()))
    FROM told t JOIN usage_intervals i ON i.object_id = t.pod_id AND i.started_at = t.started_at AND i.node_id = @node_id::uuid
    ON CONFLICT (interval_id) DO NOTHING
    RETURNING interval_id
)
DELETE FROM usage_open o USING ended e WHERE o.interval_id = e.interval_id;

-- name: CountTraffic :exec
-- Counters never decrease. If one does, the node is wrong, and the old value stays; what was outside may begin again. The first report in an hour keeps the counters of the last
-- report before it, which close the hour of that report. The rows are locked in the same order as by LockUsageBatch.
WITH now AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), told AS (
    SELECT t.pod_id, t.started_at, max(t.received) AS received, max(t.sent) AS sent, max(t.outside_received) AS outside_received, max(t.outside_sent) AS outside_sent
    FROM (SELECT unnest(@pod_ids::uuid[]) AS pod_id, unnest(@starts::timestamptz[]) AS started_at, unnest(@received::bigint[]) AS received, unnest(@sent::bigint[]) AS sent,
        unnest(@outside_received::bigint[]) AS outside_received, unnest(@outside_sent::bigint[]) AS outside_sent) t
    GROUP BY t.pod_id, t.started_at
), grown AS MATERIALIZED (
    SELECT u.interval_id, u.tenant_id, u.counted_at, u.received_bytes, u.sent_bytes, u.outside_received, u.outside_sent, t.received, t.sent,
        GREATEST(u.outside_received, LEAST(t.outside_received, t.received)) AS now_outside_received, GREATEST(u.outside_sent, LEAST(t.outside_sent, t.sent)) AS now_outside_sent
    FROM told t JOIN usage_intervals i ON i.object_id = t.pod_id AND i.started_at = t.started_at AND i.node_id = @node_id::uuid JOIN usage_totals u ON u.interval_id = i.id
    WHERE t.received >= u.received_bytes AND t.sent >= u.sent_bytes AND (t.received, t.sent) <> (u.received_bytes, u.sent_bytes)
    ORDER BY u.interval_id FOR NO KEY UPDATE OF u
), kept AS (
    INSERT INTO usage_traffic (interval_id, tenant_id, at, received_bytes, sent_bytes, outside_received, outside_sent)
    SELECT g.interval_id, g.tenant_id, g.counted_at, g.received_bytes, g.sent_bytes, g.outside_received, g.outside_sent FROM grown g, now
    WHERE g.counted_at > '-infinity' AND g.counted_at < date_trunc('hour', now.at)
    ON CONFLICT DO NOTHING
)
UPDATE usage_totals u SET received_bytes = g.received, sent_bytes = g.sent, outside_received = g.now_outside_received, outside_sent = g.now_outside_sent,
    counted_at = GREATEST(u.counted_at, now.at)
FROM grown g, now WHERE u.interval_id = g.interval_id;

-- name: BeginVolume :exec
WITH begun AS (
    INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, size_gib, volume_class, started_at)
    SELECT v.tenant_id, 'volume', v.id, v.name, v.labels, v.size_gib, v.class, clock_timestamp() FROM volumes v WHERE v.tenant_id = @tenant_id AND v.id = @id
    RETURNING id, tenant_id
)
INSERT INTO usage_open SELECT id, tenant_id FROM begun;

-- name: EndVolume :exec
WITH ended AS (
    INSERT INTO usage_ends (interval_id, tenant_id, ended_at)
    SELECT i.id, i.tenant_id, clock_timestamp() FROM usage_open o JOIN usage_intervals i ON i.id = o.interval_id
    WHERE o.tenant_id = @tenant_id AND i.object_id = @id AND i.kind = 'volume'
    ON CONFLICT (interval_id) DO NOTHING RETURNING interval_id
)
DELETE FROM usage_open o USING ended e WHERE o.interval_id = e.interval_id;

-- name: NextHourToClose :one
-- The hour after the last closed one, or the first hour with any usage; far in the future if there is no usage.
SELECT COALESCE((SELECT max(hour) + interval '1 hour' FROM usage_closed_hours), (SELECT date_trunc('hour', min(started_at)) FROM usage_intervals), '9999-01-01')::timestamptz AS hour;

-- name: LockUsageClosing :one
-- Where the closing of an hour stands. Servers that close the same hour take turns.
SELECT hour, after_interval FROM usage_closing FOR UPDATE;

-- name: LockUsageBatch :one
-- The next intervals of which usage is recorded. Reports about them wait until the batch is recorded.
SELECT COALESCE(max(b.interval_id), 0)::bigint AS last, count(*) AS intervals
FROM (SELECT t.interval_id FROM usage_totals t WHERE t.interval_id > @after ORDER BY t.interval_id LIMIT @max FOR NO KEY UPDATE) b;

-- name: SumRecorded :exec
-- Sums what earlier versions have recorded, once for each interval.
UPDATE usage_totals t SET recorded_seconds = s.seconds, recorded_received = s.received, recorded_sent = s.sent
FROM (
    SELECT n.interval_id, h.seconds, h.received, h.sent FROM usage_totals n CROSS JOIN LATERAL (
        SELECT COALESCE(sum(seconds), 0) AS seconds, COALESCE(sum(received_bytes), 0)::bigint AS received, COALESCE(sum(sent_bytes), 0)::bigint AS sent
        FROM usage_hours WHERE interval_id = n.interval_id
    ) h WHERE n.interval_id > @after AND n.interval_id <= @last AND n.recorded_seconds IS NULL
) s WHERE t.interval_id = s.interval_id;

-- name: RecordUsageBatch :exec
-- Records for every interval its usage until the end of the hour, minus what was recorded before. So late reports are recorded now, and a
-- closed hour never changes. A trigger adds the new rows to the totals. Smaller differences than a microsecond are rounding.
INSERT INTO usage_hours (interval_id, tenant_id, hour, seconds, received_bytes, sent_bytes, outside_received, outside_sent)
SELECT s.interval_id, s.tenant_id, sqlc.arg(hour)::timestamptz, s.seconds - s.recorded_seconds, s.received - s.recorded_received, s.sent - s.recorded_sent,
    s.outside_received - s.recorded_outside_received, s.outside_sent - s.recorded_outside_sent
FROM (
    SELECT t.interval_id, t.tenant_id, t.recorded_seconds, t.recorded_received, t.recorded_sent, t.recorded_outside_received, t.recorded_outside_sent,
        GREATEST(0, extract(epoch FROM LEAST(COALESCE(e.ended_at, 'infinity'), sqlc.arg(hour_end)::timestamptz) - i.started_at))::double precision AS seconds,
        CASE WHEN t.counted_at < sqlc.arg(hour_end)::timestamptz THEN t.received_bytes ELSE COALESCE(u.received_bytes, 0) END AS received,
        CASE WHEN t.counted_at < sqlc.arg(hour_end)::timestamptz THEN t.sent_bytes ELSE COALESCE(u.sent_bytes, 0) END AS sent,
        CASE WHEN t.counted_at < sqlc.arg(hour_end)::timestamptz THEN t.outside_received ELSE COALESCE(u.outside_received, 0) END AS outside_received,
        CASE WHEN t.counted_at < sqlc.arg(hour_end)::timestamptz THEN t.outside_sent ELSE COALESCE(u.outside_sent, 0) END AS outside_sent
    FROM usage_totals t JOIN usage_intervals i ON i.id = t.interval_id LEFT JOIN usage_ends e ON e.interval_id = t.interval_id
    LEFT JOIN LATERAL (SELECT k.received_bytes, k.sent_bytes, k.outside_received, k.outside_sent FROM usage_traffic k WHERE t.counted_at >= sqlc.arg(hour_end)::timestamptz
        AND k.interval_id = t.interval_id AND k.at < sqlc.arg(hour_end)::timestamptz ORDER BY k.at DESC LIMIT 1) u ON true
    WHERE t.interval_id > sqlc.arg(after) AND t.interval_id <= sqlc.arg(last)
) s
WHERE abs(s.seconds - s.recorded_seconds) > 0.0000005 OR s.received <> s.recorded_received OR s.sent <> s.recorded_sent
    OR s.outside_received <> s.recorded_outside_received OR s.outside_sent <> s.recorded_outside_sent
ON CONFLICT DO NOTHING;

-- name: ForgetSettled :exec
-- Removes the totals of intervals that have ended and are completely recorded.
DELETE FROM usage_totals t USING usage_intervals i, usage_ends e
WHERE t.interval_id > sqlc.arg(after) AND t.interval_id <= sqlc.arg(last) AND i.id = t.interval_id AND e.interval_id = t.interval_id
  AND e.ended_at <= sqlc.arg(hour_end)::timestamptz AND t.counted_at < sqlc.arg(hour_end)::timestamptz
  AND abs(t.recorded_seconds - extract(epoch FROM e.ended_at - i.started_at)) <= 0.0000005
  AND t.recorded_received = t.received_bytes AND t.recorded_sent = t.sent_bytes
  AND t.recorded_outside_received = t.outside_received AND t.recorded_outside_sent = t.outside_sent;

-- name: ContinueClosing :exec
UPDATE usage_closing SET hour = @hour, after_interval = @after_interval;

-- name: MarkHourClosed :exec
INSERT INTO usage_closed_hours (hour) VALUES (@hour) ON CONFLICT DO NOTHING;

-- name: Usage :many
-- Closed hours as they were recorded, and the hours since then as far as they are known.
WITH hours AS (
    SELECT interval_id, hour, seconds, received_bytes, sent_bytes, outside_received, outside_sent FROM usage_hours h
    WHERE (sqlc.narg(tenant_id)::uuid IS NULL OR h.tenant_id = sqlc.narg(tenant_id)) AND h.hour >= @from_hour AND h.hour < @to_hour
    UNION ALL
    SELECT interval_id, hour, seconds, received_bytes, sent_bytes, outside_received, outside_sent FROM usage_live l
    WHERE (sqlc.narg(tenant_id)::uuid IS NULL OR l.tenant_id = sqlc.narg(tenant_id)) AND l.hour >= @from_hour AND l.hour < @to_hour
)
SELECT (CASE @period::text WHEN 'hour' THEN h.hour WHEN 'day' THEN date_trunc('day', h.hour, 'UTC') ELSE @from_hour::timestamptz END)::timestamptz AS period,
    (CASE WHEN @group_by::text = 'tenant' THEN i.tenant_id::text WHEN @group_by::text = 'resource' THEN i.kind WHEN @group_by::text = 'object' THEN i.object_id::text
        WHEN @group_by::text = 'label' THEN COALESCE(i.labels ->> @label::text, '')
        WHEN @group_by::text = 'volumeClass' THEN COALESCE(i.volume_class, '') ELSE '' END)::text AS key,
    (CASE WHEN @group_by::text = 'object' THEN max(i.name) ELSE '' END)::text AS name,
    (CASE WHEN @group_by::text = 'object' THEN max(i.kind) ELSE '' END)::text AS kind,
    COALESCE(sum(h.seconds) FILTER (WHERE i.kind = 'pod'), 0)::double precision AS pod_seconds,
    COALESCE(sum(h.seconds * i.cpu_millis), 0)::double precision AS cpu_milli_seconds,
    COALESCE(sum(h.seconds * i.memory_mib), 0)::double precision AS memory_mib_seconds,
    COALESCE(sum(h.seconds * i.size_gib) FILTER (WHERE i.kind IN ('volume', 'snapshot')), 0)::double precision AS volume_gib_seconds,
    COALESCE(sum(h.seconds * i.size_gib) FILTER (WHERE i.kind = 'pod'), 0)::double precision AS scratch_gib_seconds,
    COALESCE(sum(h.received_bytes), 0)::bigint AS received_bytes, COALESCE(sum(h.sent_bytes), 0)::bigint AS sent_bytes,
    COALESCE(sum(h.outside_received), 0)::bigint AS outside_received, COALESCE(sum(h.outside_sent), 0)::bigint AS outside_sent
FROM hours h JOIN usage_intervals i ON i.id = h.interval_id
GROUP BY 1, 2 ORDER BY 1, 2 LIMIT @max;
