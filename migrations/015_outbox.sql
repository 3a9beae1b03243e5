SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- Hints on their way to the servers that listen. A transaction that notifies takes a lock of the
-- whole Postgres at its commit, so transactions write their hints here, and each server sends them
-- together, several times a second. A hint may be lost: what it hints at is always read again. So
-- the table needs no write-ahead log.
CREATE UNLOGGED TABLE outbox (topic text NOT NULL)
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0);
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY writers ON outbox FOR INSERT TO husk_tenant, husk_owner WITH CHECK (true); -- the functions below run as husk_owner
CREATE POLICY control ON outbox TO husk_control USING (true) WITH CHECK (true);
GRANT INSERT ON outbox TO husk_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO husk_control; -- UPDATE only for FOR UPDATE

-- Watches check their callers again after such a hint. They check before they show a change that
-- was committed after the hint, because servers send this topic first.
CREATE FUNCTION hint_access() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO outbox (topic) VALUES ('access:' || OLD.tenant_id);
    RETURN NULL;
END $$;
CREATE TRIGGER access AFTER DELETE OR UPDATE OF expires_at, limited_to ON api_keys FOR EACH ROW EXECUTE FUNCTION hint_access();
CREATE TRIGGER access AFTER DELETE OR UPDATE OF role ON service_accounts FOR EACH ROW EXECUTE FUNCTION hint_access();
CREATE TRIGGER access AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION hint_access();
CREATE TRIGGER access_changed AFTER UPDATE OF role, disabled ON users FOR EACH ROW
    WHEN (OLD.role <> NEW.role OR OLD.disabled <> NEW.disabled) EXECUTE FUNCTION hint_access(); -- a login updates the row too
