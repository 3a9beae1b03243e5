-- Details of an audit entry that operation and object do not include: the command line that was run
-- in a pod.
ALTER TABLE audit ADD COLUMN detail text NOT NULL DEFAULT '';
