-- Who leads, for how long, by Postgres' clock. A session with an advisory lock, as servers of the previous version use, is not enough: the kernel
-- of a server that hangs keeps its session alive.
SET LOCAL lock_timeout = '5s'; -- requests wait for this lock while the migration does; it can be retried

CREATE TABLE leader_lease (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO leader_lease DEFAULT VALUES;
ALTER TABLE leader_lease ENABLE ROW LEVEL SECURITY;
CREATE POLICY control ON leader_lease TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON leader_lease TO husk_control;
