-- name: NetworkChanges :many
SELECT * FROM network_changes ORDER BY id LIMIT @max;

-- name: DropNetworkChanges :exec
DELETE FROM network_changes WHERE id = ANY(@ids::bigint[]);

-- name: TenantsWithNetworks :many
-- A page of the tenants that have networks.
SELECT DISTINCT tenant_id FROM networks WHERE tenant_id > @after::uuid ORDER BY tenant_id LIMIT @max;

-- name: NetworksOf :many
SELECT * FROM networks WHERE tenant_id = ANY(@tenants::uuid[]) ORDER BY tenant_id, id;

-- name: PortsOf :many
-- The pods of tenants that are on nodes: of all, or of those with these ids. A pod that moves is on two, the one that has it first.
SELECT pl.tenant_id, pl.pod_id, pl.node_id, p.network_id, p.address, p.mac, p.interfaces FROM placements pl JOIN pods p ON p.tenant_id = pl.tenant_id AND p.id = pl.pod_id
WHERE pl.tenant_id = ANY(@tenants::uuid[]) AND (sqlc.narg(pods)::uuid[] IS NULL OR pl.pod_id = ANY(sqlc.narg(pods)::uuid[])) AND pl.role IN ('active', 'incoming')
ORDER BY pl.tenant_id, pl.pod_id, pl.role;

-- name: Gateways :many
SELECT id FROM nodes WHERE 'gateway' = ANY(capabilities) ORDER BY id;

-- name: NetworksWithoutOuterAddress :many
-- Those that have a pod, or whose tenant has a floating address with a target.
SELECT tenant_id, id FROM networks n
WHERE outer_address IS NULL AND NOT isolated AND (EXISTS (SELECT 1 FROM pod_addresses a WHERE a.tenant_id = n.tenant_id AND a.network_id = n.id)
    OR n.name = 'default' AND EXISTS (SELECT 1 FROM addresses a WHERE a.tenant_id = n.tenant_id AND num_nonnulls(a.service_id, a.pod_id) > 0)) LIMIT @max;

-- name: FreeOuterAddress :one
-- The first free address of a range after the one that was given last, wrapping around at the end. So an address that was released rests.
WITH last AS (SELECT COALESCE(outer_address + 1, @first::inet) AS next FROM last_address), candidates AS (
    SELECT 1 AS turn, next AS address FROM last
    UNION ALL (SELECT 2, n.outer_address + 1 FROM last JOIN networks n ON n.outer_address >= last.next
        WHERE NOT EXISTS (SELECT 1 FROM networks o WHERE o.outer_address = n.outer_address + 1) ORDER BY n.outer_address LIMIT 1)
    UNION ALL SELECT 3, @first::inet
    UNION ALL (SELECT 4, n.outer_address + 1 FROM networks n WHERE n.outer_address >= @first::inet
        AND NOT EXISTS (SELECT 1 FROM networks o WHERE o.outer_address = n.outer_address + 1) ORDER BY n.outer_address LIMIT 1)
)
SELECT c.address::inet AS address FROM candidates c
WHERE c.address BETWEEN @first::inet AND @last::inet AND NOT EXISTS (SELECT 1 FROM networks o WHERE o.outer_address = c.address) ORDER BY c.turn LIMIT 1;

-- name: ClearOuterAddresses :exec
-- Takes back addresses that are not in the range (any more).
UPDATE networks SET outer_address = NULL WHERE outer_address IS NOT NULL AND NOT outer_address BETWEEN @first::inet AND @last::inet;

-- name: SetOuterAddress :execrows
WITH given AS (UPDATE last_address SET outer_address = @outer_address::inet)
UPDATE networks SET outer_address = @outer_address::inet WHERE tenant_id = @tenant_id AND id = @id AND outer_address IS NULL;
