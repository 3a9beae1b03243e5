-- name: BeginRuns :many
-- Starts of virtual machines of pods on this node, recorded once each, however often they are reported. A start before the pod was placed, or in
-- the future, cannot be right. Such starts are returned, unless they are known from an earlier placement.
WITH told AS (
    SELECT unnest(@pod_ids::uuid[]) AS pod_id, unnest(@starts::timestamptz[]) AS started_at
), begun AS (
    INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, node_id, node_name, cpu_millis, memory_mib, started_at)
    SELECT p.tenant_id, 'pod', p.id, p.name, p.labels, p.node_id, p.node_name, p.cpu_millis, p.memory_mib, t.started_at
    FROM told t JOIN pods p ON p.id = t.pod_id AND p.node_id = @node_id::uuid
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
-- Counters never decrease. If one does, the node is wrong, and the old value stays.
WITH told AS (
    SELECT unnest(@pod_ids::uuid[]) AS pod_id, unnest(@starts::timestamptz[]) AS started_at, unnest(@received::bigint[]) AS received, unnest(@sent::bigint[]) AS sent
)
INSERT INTO usage_traffic (interval_id, tenant_id, at, received_bytes, sent_bytes)
SELECT i.id, i.tenant_id, clock_timestamp(), t.received, t.sent
FROM told t JOIN usage_intervals i ON i.object_id = t.pod_id AND i.started_at = t.started_at AND i.node_id = @node_id::uuid
WHERE NOT EXISTS (SELECT 1 FROM usage_traffic u WHERE u.interval_id = i.id AND (u.received_bytes > t.received OR u.sent_bytes > t.sent OR (u.received_bytes, u.sent_bytes) = (t.received, t.sent)))
ON CONFLICT DO NOTHING;

-- name: BeginVolume :exec
WITH begun AS (
    INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, size_gib, started_at)
    SELECT v.tenant_id, 'volume', v.id, v.name, v.labels, v.size_gib, clock_timestamp() FROM volumes v WHERE v.tenant_id = @tenant_id AND v.id = @id
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

-- name: CloseHour :execrows
-- Records for every interval its usage until the end of the hour, minus what was recorded before. So late reports are recorded now, and a
-- closed hour never changes.
WITH leader AS (
    SELECT 1 FROM leadership WHERE epoch = @epoch FOR SHARE
), closed AS (
    INSERT INTO usage_closed_hours (hour) SELECT @hour::timestamptz WHERE EXISTS (SELECT 1 FROM leader) ON CONFLICT DO NOTHING RETURNING hour
), last AS (
    SELECT COALESCE(max(closed_at), '-infinity') AS at FROM usage_closed_hours
), touched AS (
    -- Intervals that are open, that ended in this hour or later, or whose end was reported since the last closing (an hour earlier, for transactions that were under way then).
    SELECT interval_id AS id FROM usage_open
    UNION SELECT e.interval_id FROM usage_ends e, last, closed c WHERE e.recorded_at >= last.at - interval '1 hour' OR e.ended_at >= c.hour
), sums AS (
    SELECT i.id, i.tenant_id, c.hour,
        GREATEST(0, extract(epoch FROM LEAST(COALESCE(e.ended_at, 'infinity'), c.hour + interval '1 hour') - i.started_at))::double precision AS seconds,
        COALESCE((SELECT max(u.received_bytes) FROM usage_traffic u WHERE u.interval_id = i.id AND u.at < c.hour + interval '1 hour'), 0) AS received,
        COALESCE((SELECT max(u.sent_bytes) FROM usage_traffic u WHERE u.interval_id = i.id AND u.at < c.hour + interval '1 hour'), 0) AS sent,
        COALESCE((SELECT sum(h.seconds) FROM usage_hours h WHERE h.interval_id = i.id), 0) AS booked_seconds,
        COALESCE((SELECT sum(h.received_bytes) FROM usage_hours h WHERE h.interval_id = i.id), 0)::bigint AS booked_received,
        COALESCE((SELECT sum(h.sent_bytes) FROM usage_hours h WHERE h.interval_id = i.id), 0)::bigint AS booked_sent
    FROM touched t JOIN usage_intervals i ON i.id = t.id LEFT JOIN usage_ends e ON e.interval_id = i.id, closed c
)
INSERT INTO usage_hours (interval_id, tenant_id, hour, seconds, received_bytes, sent_bytes)
SELECT id, tenant_id, hour, seconds - booked_seconds, received - booked_received, sent - booked_sent FROM sums
WHERE seconds <> booked_seconds OR received <> booked_received OR sent <> booked_sent;

-- name: Usage :many
-- Closed hours as they were recorded, and the hours since then as far as they are known.
WITH hours AS (
    SELECT interval_id, hour, seconds, received_bytes, sent_bytes FROM usage_hours h
    WHERE (sqlc.narg(tenant_id)::uuid IS NULL OR h.tenant_id = sqlc.narg(tenant_id)) AND h.hour >= @from_hour AND h.hour < @to_hour
    UNION ALL
    SELECT interval_id, hour, seconds, received_bytes, sent_bytes FROM usage_live l
    WHERE (sqlc.narg(tenant_id)::uuid IS NULL OR l.tenant_id = sqlc.narg(tenant_id)) AND l.hour >= @from_hour AND l.hour < @to_hour
)
SELECT (CASE @period::text WHEN 'hour' THEN h.hour WHEN 'day' THEN date_trunc('day', h.hour, 'UTC') ELSE @from_hour::timestamptz END)::timestamptz AS period,
    (CASE WHEN @group_by::text = 'tenant' THEN i.tenant_id::text WHEN @group_by::text = 'resource' THEN i.kind WHEN @group_by::text = 'object' THEN i.object_id::text
        WHEN @group_by::text = 'label' THEN COALESCE(i.labels ->> @label::text, '') ELSE '' END)::text AS key,
    (CASE WHEN @group_by::text = 'object' THEN max(i.name) ELSE '' END)::text AS name,
    (CASE WHEN @group_by::text = 'object' THEN max(i.kind) ELSE '' END)::text AS kind,
    COALESCE(sum(h.seconds) FILTER (WHERE i.kind = 'pod'), 0)::double precision AS pod_seconds,
    COALESCE(sum(h.seconds * i.cpu_millis), 0)::double precision AS cpu_milli_seconds,
    COALESCE(sum(h.seconds * i.memory_mib), 0)::double precision AS memory_mib_seconds,
    COALESCE(sum(h.seconds * i.size_gib), 0)::double precision AS volume_gib_seconds,
    COALESCE(sum(h.received_bytes), 0)::bigint AS received_bytes, COALESCE(sum(h.sent_bytes), 0)::bigint AS sent_bytes
FROM hours h JOIN usage_intervals i ON i.id = h.interval_id
GROUP BY 1, 2 ORDER BY 1, 2 LIMIT @max;
