-- name: ClaimWork :many
-- The due work of one kind that nobody is doing: at most max rows, and at most per_tenant of a tenant, together with what is being done for it.
-- The first object of each tenant comes before the second of any tenant. A new leader takes over the claims of earlier ones, except after five
-- attempts, which may have ended their leaders: these claims must expire first.
WITH turns AS (
    SELECT w.tenant_id, count(*) FILTER (WHERE w.claimed_epoch = @epoch::bigint AND w.claim_expires_at > clock_timestamp()) AS busy FROM work w
    WHERE w.kind = @kind GROUP BY w.tenant_id HAVING bool_or(w.due_at <= clock_timestamp())
), chosen AS (
    SELECT t.tenant_id, due.object_id FROM turns t
    CROSS JOIN LATERAL (
        SELECT w.object_id, w.due_at, row_number() OVER (ORDER BY w.due_at, w.object_id) + t.busy AS turn FROM work w
        WHERE w.kind = @kind AND w.tenant_id = t.tenant_id AND w.due_at <= clock_timestamp()
          AND (w.claimed_epoch IS NULL OR w.claim_expires_at <= clock_timestamp() OR w.claimed_epoch <> @epoch AND w.attempts < 5)
        ORDER BY w.due_at, w.object_id LIMIT @max
    ) due
    WHERE due.turn <= @per_tenant::bigint ORDER BY due.turn, due.due_at LIMIT @max
)
UPDATE work SET claimed_epoch = @epoch, claim_expires_at = clock_timestamp() + make_interval(secs => @claim_seconds::float8), attempts = attempts + 1
FROM chosen WHERE work.kind = @kind AND work.tenant_id = chosen.tenant_id AND work.object_id = chosen.object_id
RETURNING work.tenant_id, work.object_id, work.attempts, work.digest;

-- name: PostponeWork :exec
-- Gives up a claim. The work is due again after the delay.
UPDATE work SET claimed_epoch = NULL, claim_expires_at = NULL, due_at = clock_timestamp() + make_interval(secs => @delay_seconds::float8)
WHERE kind = @kind AND tenant_id = @tenant_id AND object_id = @object_id AND claimed_epoch = @epoch::bigint;

-- name: FinishWork :exec
-- Deletes work that is done. The trigger has deleted it already, unless the state of the object did not change.
DELETE FROM work WHERE kind = @kind AND tenant_id = @tenant_id AND object_id = @object_id AND claimed_epoch = @epoch::bigint;

-- name: WorkCounts :many
-- How much work there is, how much of it has failed many times, and how long the oldest has been due without being claimed.
SELECT kind, count(*)::integer AS waiting, count(*) FILTER (WHERE attempts >= @stuck_after::integer)::integer AS stuck,
    COALESCE(GREATEST(extract(epoch FROM clock_timestamp() - min(due_at) FILTER (WHERE claimed_epoch IS NULL OR claim_expires_at <= clock_timestamp())), 0), 0)::float8 AS oldest_seconds
FROM work GROUP BY kind;

-- name: DigestUsed :one
SELECT EXISTS (SELECT 1 FROM images WHERE digest = @digest);
