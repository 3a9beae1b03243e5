-- name: GroupUse :one
SELECT count(*)::integer FROM security_groups WHERE tenant_id = @tenant_id;

-- name: RuleNumbers :many
SELECT nextval('security_rule_numbers')::bigint AS number FROM generate_series(1, @count::integer);

-- name: InsertGroup :one
INSERT INTO security_groups (tenant_id, id, name, labels, selector, restricts, rules)
VALUES (@tenant_id, @id, @name, @labels, @selector, @restricts, @rules) RETURNING *;

-- name: GroupByID :one
SELECT * FROM security_groups WHERE tenant_id = @tenant_id AND id = @id;

-- name: GroupsNamed :many
-- Those of the names that exist.
SELECT name FROM security_groups WHERE tenant_id = @tenant_id AND name = ANY(@names::text[]);

-- name: Groups :many
SELECT * FROM security_groups
WHERE tenant_id = @tenant_id AND (created_at, id) > (@after_time::timestamptz, @after_id::uuid) AND (sqlc.narg(name)::text IS NULL OR name = sqlc.narg(name))
  AND (sqlc.narg(selector)::jsonb IS NULL OR labels_match(labels, sqlc.narg(selector)::jsonb))
ORDER BY created_at, id LIMIT @max;

-- name: UpdateGroup :one
UPDATE security_groups SET labels = @labels, selector = @selector, restricts = @restricts, rules = @rules
WHERE tenant_id = @tenant_id AND id = @id RETURNING *;

-- name: RemoveGroup :exec
DELETE FROM security_groups WHERE tenant_id = @tenant_id AND id = @id;

-- name: GroupUsers :many
-- The pods and groups that name a group, except the group itself. At most three.
SELECT u.user_name::text FROM (
    SELECT 'pod ' || p.name AS user_name FROM pods p WHERE p.tenant_id = @tenant_id AND @name::text = ANY(p.security_groups)
    UNION ALL
    SELECT 'security group ' || g.name FROM security_groups g WHERE g.tenant_id = @tenant_id AND g.name <> @name
        AND g.rules @> jsonb_build_array(jsonb_build_object('peers', jsonb_build_array(jsonb_build_object('group', @name::text))))
) u LIMIT 3;

-- name: GroupsOfTenants :many
SELECT * FROM security_groups WHERE tenant_id = ANY(@tenants::uuid[]) ORDER BY tenant_id, name;

-- name: GroupPods :many
-- The pods of those of these tenants that have groups.
SELECT p.tenant_id, p.id, p.labels, p.security_groups FROM pods p
WHERE p.tenant_id IN (SELECT g.tenant_id FROM security_groups g WHERE g.tenant_id = ANY(@tenants::uuid[])) ORDER BY p.tenant_id, p.id;
