-- name: RecordSamples :exec
-- A node's samples of its own pods, in one statement. The tenant comes from the database; samples of pods that are not on the node are skipped.
INSERT INTO pod_samples (tenant_id, pod_id, node_id, figures)
SELECT p.tenant_id, p.id, @node_id::uuid, t.figures::jsonb
FROM (SELECT unnest(@pod_ids::uuid[]) AS pod_id, unnest(@figures::text[]) AS figures) t
JOIN pods p ON p.id = t.pod_id AND p.node_id = @node_id::uuid
ON CONFLICT (tenant_id, pod_id) DO UPDATE SET node_id = EXCLUDED.node_id, at = clock_timestamp(), figures = EXCLUDED.figures;

-- name: FreshSamples :many
SELECT pod_id, figures FROM pod_samples WHERE tenant_id = ANY(@tenants::uuid[]) AND at > clock_timestamp() - interval '1 minute';

-- name: ForgetSamples :execrows
DELETE FROM pod_samples WHERE at < clock_timestamp() - interval '5 minutes';

-- name: MetricsOfTenants :many
-- Like QuotaUse, for several tenants at once.
SELECT sqlc.embed(t), COALESCE(p.pods, 0)::bigint AS pods, COALESCE(p.cpu_millis, 0)::bigint AS cpu_millis, COALESCE(p.memory_mib, 0)::bigint AS memory_mib, COALESCE(p.scratch_gib, 0)::bigint AS scratch_gib,
    COALESCE(v.volumes, 0)::bigint AS volumes, (COALESCE(v.volume_gib, 0) + COALESCE(s.gib, 0))::bigint AS volume_gib, COALESCE(s.snapshots, 0)::bigint AS snapshots,
    COALESCE(n.networks, 0)::bigint AS networks, COALESCE(i.images, 0)::bigint AS images, COALESCE(c.configs, 0)::bigint AS configs,
    COALESCE(e.services, 0)::bigint AS services, COALESCE(ing.ingresses, 0)::bigint AS ingresses, COALESCE(a.addresses, 0)::bigint AS addresses, COALESCE(g.security_groups, 0)::bigint AS security_groups
FROM tenants t
LEFT JOIN (SELECT tenant_id, count(*) AS pods, sum(cpu_millis) FILTER (WHERE phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted) AS cpu_millis,
    sum(memory_mib) FILTER (WHERE phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted) AS memory_mib,
    sum(scratch_gib) FILTER (WHERE phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted) AS scratch_gib FROM pods WHERE tenant_id = ANY(@tenants::uuid[]) GROUP BY tenant_id) p ON p.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS volumes, sum(size_gib) AS volume_gib FROM volumes WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) v ON v.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS snapshots, sum(size_gib) AS gib FROM snapshots WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) s ON s.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS networks FROM networks WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) n ON n.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS images FROM images WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) i ON i.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS configs FROM configs WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) c ON c.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS services FROM services WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) e ON e.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS ingresses FROM ingresses WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) ing ON ing.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS addresses FROM addresses WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) a ON a.tenant_id = t.id
LEFT JOIN (SELECT tenant_id, count(*) AS security_groups FROM security_groups WHERE tenant_id = ANY(@tenants) GROUP BY tenant_id) g ON g.tenant_id = t.id
WHERE t.id = ANY(@tenants);

-- name: MetricsOfPods :many
SELECT tenant_id, id, name, labels, phase, unknown_since, node_name, address, cpu_millis, memory_mib, restarts, containers, domain_started_at FROM pods
WHERE tenant_id = ANY(@tenants::uuid[]) ORDER BY tenant_id, name;

-- name: MetricsOfVolumes :many
SELECT tenant_id, id, name, size_gib FROM volumes WHERE tenant_id = ANY(@tenants::uuid[]) ORDER BY tenant_id, name;

-- name: CallersThatStand :many
-- Like begin_tenant, for many callers at once. It returns the positions of the callers who still have the credentials and the role of their tokens.
SELECT c.place::integer AS place
FROM (SELECT unnest(@tenants::uuid[]) AS tenant_id, unnest(@callers::uuid[]) AS caller, unnest(@keys::uuid[]) AS key, unnest(@roles::text[]) AS role,
    unnest(@limits::text[]) AS key_limit,     generate_subscripts(@tenants::uuid[], 1) AS place) c
WHERE CASE WHEN c.key = '00000000-0000-0000-0000-000000000000'
    THEN c.key_limit = '' AND EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = c.tenant_id AND u.id = c.caller AND u.role = c.role AND NOT u.disabled)
    ELSE EXISTS (SELECT 1 FROM api_keys k JOIN service_accounts a ON a.tenant_id = k.tenant_id AND a.id = k.service_account_id
        WHERE k.tenant_id = c.tenant_id AND k.client_id = c.key AND a.id = c.caller AND a.role = c.role AND k.limited_to = c.key_limit AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())) END;
