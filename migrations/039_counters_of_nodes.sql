-- What security groups have counted on nodes that are gone.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- The counters of a node that is removed are added up under the ID 0, so that there are not more of them with each node that ever was.
CREATE FUNCTION keep_counters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO security_counters AS s (tenant_id, group_id, number, node_id, packets, bytes, last_packets, last_bytes)
    SELECT tenant_id, group_id, number, '00000000-0000-0000-0000-000000000000', packets, bytes, 0, 0 FROM security_counters WHERE node_id = OLD.id
    ON CONFLICT (tenant_id, group_id, number, node_id) DO UPDATE SET packets = s.packets + EXCLUDED.packets, bytes = s.bytes + EXCLUDED.bytes;
    DELETE FROM security_counters WHERE node_id = OLD.id;
    RETURN NULL;
END $$;
CREATE INDEX security_counters_of_node ON security_counters (node_id);
CREATE TRIGGER counters AFTER DELETE ON nodes FOR EACH ROW EXECUTE FUNCTION keep_counters();
