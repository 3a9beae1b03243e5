-- name: InsertTenant :one
-- quota_addresses is for servers of the previous version, for which each pod uses one.
INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_snapshots,
    quota_networks, quota_addresses, quota_floating, quota_images, quota_configs, quota_services, quota_ingresses, quota_security_groups, quota_requests_per_second, quota_priority, quota_scratch_gib, quota_volume_class_gib)
VALUES (@id, @name, @quota_pods, @quota_cpu_millis, @quota_memory_mib, @quota_volumes, @quota_volume_gib, @quota_snapshots,
    @quota_networks, @quota_pods, @quota_floating, @quota_images, @quota_configs, @quota_services, @quota_ingresses, @quota_security_groups, @quota_requests_per_second, @quota_priority, @quota_scratch_gib, @quota_volume_class_gib)
RETURNING *;

-- name: InsertNetwork :one
INSERT INTO networks (tenant_id, id, ordinal, cidr) VALUES (@tenant_id, @id, @ordinal, @cidr) RETURNING *;

-- name: FreeNetworkOrdinal :one
-- The lowest number that no network uses.
SELECT COALESCE(min(o), 0)::integer AS ordinal FROM (
    SELECT 0 AS o WHERE NOT EXISTS (SELECT 1 FROM networks WHERE ordinal = 0)
    UNION ALL
    SELECT n.ordinal + 1 FROM networks n WHERE NOT EXISTS (SELECT 1 FROM networks m WHERE m.ordinal = n.ordinal + 1)
) free;

-- name: Tenant :one
SELECT sqlc.embed(tenants), networks.cidr FROM tenants JOIN networks ON networks.tenant_id = tenants.id AND networks.name = 'default' WHERE tenants.id = @id;

-- name: Tenants :many
SELECT sqlc.embed(tenants), networks.cidr FROM tenants JOIN networks ON networks.tenant_id = tenants.id AND networks.name = 'default'
WHERE (tenants.created_at, tenants.id) > (@after_time::timestamptz, @after_id::uuid)
ORDER BY tenants.created_at, tenants.id LIMIT @max;

-- name: UpdateTenantQuota :execrows
UPDATE tenants SET quota_pods = @quota_pods, quota_cpu_millis = @quota_cpu_millis, quota_memory_mib = @quota_memory_mib,
    quota_volumes = @quota_volumes, quota_volume_gib = @quota_volume_gib, quota_snapshots = @quota_snapshots, quota_networks = @quota_networks,
    quota_addresses = @quota_pods, quota_floating = @quota_floating, quota_images = @quota_images, quota_configs = @quota_configs, quota_services = @quota_services, quota_ingresses = @quota_ingresses, quota_security_groups = @quota_security_groups, quota_requests_per_second = @quota_requests_per_second, quota_priority = @quota_priority,
    quota_scratch_gib = @quota_scratch_gib, quota_volume_class_gib = @quota_volume_class_gib
WHERE id = @id;

-- name: DeleteTenant :execrows
DELETE FROM tenants WHERE id = @id;

-- name: LockTenant :one
-- Serialises the requests of one tenant that create objects: quota, names and addresses are checked under this lock. The lock is compatible with
-- foreign keys: otherwise a deletion that has locked a volume and writes an event would deadlock with a request that needs the volume.
SELECT * FROM tenants WHERE id = @id FOR NO KEY UPDATE;

-- name: LockTenantNetwork :one
-- Like Tenant, with the row locked.
SELECT sqlc.embed(tenants), networks.cidr FROM tenants JOIN networks ON networks.tenant_id = tenants.id AND networks.name = 'default' WHERE tenants.id = @id FOR UPDATE OF tenants;

-- name: QuotaUse :one
-- Ended pods keep their row, but use no cpu and memory.
SELECT sqlc.embed(t),
    (SELECT count(*) FROM pods p WHERE p.tenant_id = t.id) AS pods,
    (SELECT COALESCE(sum(cpu_millis), 0)::bigint FROM pods p WHERE p.tenant_id = t.id AND (phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted)) AS cpu_millis,
    (SELECT COALESCE(sum(memory_mib), 0)::bigint FROM pods p WHERE p.tenant_id = t.id AND (phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted)) AS memory_mib,
    (SELECT COALESCE(sum(scratch_gib), 0)::bigint FROM pods p WHERE p.tenant_id = t.id AND (phase = 'Pending' OR holds_room OR phase = 'Stopping' AND evicted AND NOT halted)) AS scratch_gib,
    (SELECT count(*) FROM volumes v WHERE v.tenant_id = t.id) AS volumes,
    ((SELECT COALESCE(sum(size_gib), 0) FROM volumes v WHERE v.tenant_id = t.id) + (SELECT COALESCE(sum(size_gib), 0) FROM snapshots s WHERE s.tenant_id = t.id))::bigint AS volume_gib,
    (SELECT count(*) FROM snapshots s WHERE s.tenant_id = t.id) AS snapshots,
    (SELECT count(*) FROM networks n WHERE n.tenant_id = t.id) AS networks,
    (SELECT count(*) FROM images i WHERE i.tenant_id = t.id) AS images,
    (SELECT count(*) FROM configs c WHERE c.tenant_id = t.id) AS configs,
    (SELECT count(*) FROM services s WHERE s.tenant_id = t.id) AS services,
    (SELECT count(*) FROM ingresses s WHERE s.tenant_id = t.id) AS ingresses,
    (SELECT count(*) FROM addresses a WHERE a.tenant_id = t.id) AS addresses,
    (SELECT count(*) FROM security_groups g WHERE g.tenant_id = t.id) AS security_groups
FROM tenants t WHERE t.id = @id;
