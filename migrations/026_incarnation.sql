-- Names this database among all that it may be restored from or to: the system and the database, and the timeline, which increases when a
-- standby is promoted or a backup is recovered. Revisions are comparable only within it. A standby cannot answer.
CREATE FUNCTION incarnation() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT s.system_identifier || '/' || d.oid || '/' || ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
    FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;
REVOKE ALL ON FUNCTION incarnation() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION incarnation() TO husk_control;
