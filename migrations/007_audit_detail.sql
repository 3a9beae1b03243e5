-- Details of an audit entry in addition to operation and object, such as the command line that was
-- run in a pod.
ALTER TABLE audit ADD COLUMN detail text NOT NULL DEFAULT '';
