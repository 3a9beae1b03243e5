-- name: RemovedObjects :many
-- Which of these names a deleted row had.
SELECT name FROM removed_objects WHERE name = ANY(@names::text[]);

-- name: ForgetRemovedObjects :exec
DELETE FROM removed_objects WHERE removed_at < clock_timestamp() - interval '90 days';

-- name: UnknownObjects :many
SELECT * FROM unknown_objects ORDER BY name;

-- name: FoundUnknownObjects :exec
INSERT INTO unknown_objects (name, kind)
SELECT unnest(@names::text[]), unnest(@kinds::text[]) ON CONFLICT (name) DO NOTHING;

-- name: KeepUnknownObjects :exec
-- Deletes the rows of objects that are gone or have an owner.
DELETE FROM unknown_objects WHERE name <> ALL(@names::text[]);

-- name: ApproveUnknownObject :execrows
UPDATE unknown_objects SET approved = true WHERE name = @name;

-- name: UnknownObjectIsApproved :one
SELECT EXISTS (SELECT FROM unknown_objects WHERE approved);
