SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- A pod changes its size while it runs. cpu_millis and memory_mib are what its node has reserved for it: more than in its spec while its machine still has
-- to become smaller. The agent reports what the machine has.
ALTER TABLE pods ADD COLUMN machine_cpu_millis integer, ADD COLUMN machine_memory_mib integer;

-- Reserves more of a node for a pod that a tenant has locked, or says what is missing: that the pod does not move (moves), an agent that can change sizes
-- (agent), or room (room).
CREATE FUNCTION charge_node(node uuid, pod uuid, cpu integer, memory integer) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE n nodes;
BEGIN
    IF cpu < 0 OR memory < 0 OR NOT EXISTS (SELECT 1 FROM placements WHERE tenant_id = current_tenant() AND pod_id = pod AND node_id = node AND role = 'active') THEN
        RAISE EXCEPTION 'pod % of this tenant cannot reserve % and % of node %', pod, cpu, memory, node;
    END IF;
    IF EXISTS (SELECT 1 FROM placements WHERE tenant_id = current_tenant() AND pod_id = pod AND role = 'incoming') THEN
        RETURN 'moves';
    END IF;
    SELECT * INTO STRICT n FROM nodes WHERE id = node FOR NO KEY UPDATE;
    IF NOT 'resize' = ANY (n.capabilities) THEN
        RETURN 'agent';
    END IF;
    IF cpu > n.schedulable_cpu_millis - n.allocated_cpu_millis OR memory > n.memory_mib - n.allocated_memory_mib THEN
        RETURN 'room';
    END IF;
    UPDATE nodes SET allocated_cpu_millis = allocated_cpu_millis + cpu, allocated_memory_mib = allocated_memory_mib + memory, version = version + 1 WHERE id = node;
    RETURN '';
END $$;
REVOKE ALL ON FUNCTION charge_node FROM PUBLIC;
GRANT EXECUTE ON FUNCTION charge_node TO husk_tenant;
