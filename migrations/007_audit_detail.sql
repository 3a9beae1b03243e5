-- What exactly was done, where the operation and the object do not say it all: the command line that was run in a pod.
ALTER TABLE audit ADD COLUMN detail text NOT NULL DEFAULT '';
