---- tern: disable-tx ----
-- Events, audit entries and recorded usage grow with time. They are partitioned by month, so that old
-- rows are dropped as a table instead of deleted one by one. The rows from before this migration
-- become one partition, without being copied or locked for longer than a moment. Columns and names
-- stay, so servers of the previous version continue to work. Each step can be repeated.
SET lock_timeout = '5s'; -- requests wait for these locks while a step does; the migration can be retried

-- Partitions are in a schema that only the owner can use. So nobody can read a partition without the
-- row-level security of its table, and programs that list the tables see one of each.
CREATE SCHEMA IF NOT EXISTS partitions;

-- The tables, and the column that says which month a row belongs to.
CREATE OR REPLACE FUNCTION partitioned_tables() RETURNS TABLE (tab text, col text) LANGUAGE sql IMMUTABLE AS
    $$ VALUES ('events', 'at'), ('audit', 'at'), ('usage_hours', 'hour'), ('usage_traffic', 'at') $$;

-- Expand: existing and new rows are older than the end of the next month. Checking this for the
-- existing rows blocks nobody, and makes attaching them quick.
DO $$
DECLARE r record;
BEGIN
    FOR r IN SELECT t.* FROM partitioned_tables() t JOIN pg_class c ON c.oid = t.tab::regclass AND c.relkind = 'r'
            WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.conname = 'before_partitions') LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT before_partitions CHECK (%I < %L::timestamptz) NOT VALID', r.tab, r.col, date_trunc('month', now(), 'UTC') + interval '2 months');
    END LOOP;
END $$;
DO $$
DECLARE r record;
BEGIN
    FOR r IN SELECT t.* FROM partitioned_tables() t JOIN pg_constraint k ON k.conrelid = t.tab::regclass AND k.conname = 'before_partitions' AND NOT k.convalidated LOOP
        EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT before_partitions', r.tab);
    END LOOP;
END $$;

-- The partitions of a table and the time at which each of them ends; NULL for the default partition,
-- which gets the rows outside of all others.
CREATE OR REPLACE FUNCTION partitions_of(tab text) RETURNS TABLE (name text, until timestamptz) LANGUAGE sql STABLE SET search_path = public AS $$
    SELECT c.relname::text, (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = tab::regclass
$$;

-- Makes an empty table that can become a partition.
CREATE OR REPLACE FUNCTION new_partition(tab text, part text) RETURNS void LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    EXECUTE format('CREATE TABLE partitions.%I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', part, tab);
    IF tab = 'events' THEN -- a primary key of the whole table would have to contain the time
        EXECUTE format('ALTER TABLE partitions.%I ADD PRIMARY KEY (tenant_id, id)', part);
    ELSIF tab = 'audit' THEN
        EXECUTE format('ALTER TABLE partitions.%I ADD PRIMARY KEY (id)', part);
    END IF;
    IF tab <> 'events' THEN
        EXECUTE format('CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON partitions.%I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
    END IF;
END $$;

-- Makes the partitions of the coming months. If earlier ones are missing, rows of their months are in
-- the default partition, and move.
CREATE OR REPLACE FUNCTION make_partitions(months_ahead integer DEFAULT 3) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public SET lock_timeout = '5s' SET timezone = 'UTC' AS $$
DECLARE r record; month timestamptz; made integer := 0; inside boolean; part text;
BEGIN
    FOR r IN SELECT * FROM partitioned_tables() LOOP
        SELECT COALESCE(max(until), date_trunc('month', now()) - interval '2 months') INTO month FROM partitions_of(r.tab);
        WHILE month < date_trunc('month', now()) + (months_ahead + 1) * interval '1 month' LOOP
            part := r.tab || to_char(month, '_YYYY_MM');
            PERFORM new_partition(r.tab, part);
            EXECUTE format('SELECT EXISTS (SELECT FROM partitions.%I WHERE %I >= $1 AND %I < $1 + interval ''1 month'')', r.tab || '_default', r.col, r.col) INTO inside USING month;
            IF inside THEN
                EXECUTE format('ALTER TABLE %I DETACH PARTITION partitions.%I', r.tab, r.tab || '_default');
                EXECUTE format('ALTER TABLE partitions.%I RENAME TO %I', r.tab || '_default', r.tab || '_moving');
                PERFORM new_partition(r.tab, r.tab || '_default');
                EXECUTE format('INSERT INTO partitions.%I SELECT * FROM partitions.%I WHERE %I >= $1 AND %I < $1 + interval ''1 month''', part, r.tab || '_moving', r.col, r.col) USING month;
                EXECUTE format('INSERT INTO partitions.%I SELECT * FROM partitions.%I WHERE NOT (%I >= $1 AND %I < $1 + interval ''1 month'')', r.tab || '_default', r.tab || '_moving', r.col, r.col) USING month;
                EXECUTE format('DROP TABLE partitions.%I', r.tab || '_moving');
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION partitions.%I DEFAULT', r.tab, r.tab || '_default');
            END IF;
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION partitions.%I FOR VALUES FROM (%L) TO (%L)', r.tab, part, month, month + interval '1 month');
            made := made + 1;
            month := month + interval '1 month';
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

-- Drops the partitions that ended before this age, and returns how many. The servers may drop only
-- what nobody needs: events after 14 days, and counters of traffic of closed hours after two months.
-- Only a superuser may drop audit entries and usage.
CREATE OR REPLACE FUNCTION drop_partitions(tab text, age interval) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public SET lock_timeout = '5s' SET timezone = 'UTC' AS $$
DECLARE p record; dropped integer := 0; before timestamptz := now() - age;
BEGIN
    IF NOT EXISTS (SELECT FROM partitioned_tables() t WHERE t.tab = drop_partitions.tab) THEN
        RAISE EXCEPTION 'the table % has no partitions by month', tab;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)
            AND NOT (tab = 'events' AND age >= interval '14 days' OR tab = 'usage_traffic' AND age >= interval '62 days') THEN
        RAISE EXCEPTION 'only a superuser may drop rows of % that are older than %', tab, age USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF tab = 'usage_traffic' THEN
        before := LEAST(before, (SELECT COALESCE(max(hour), '-infinity') FROM usage_closed_hours));
    END IF;
    FOR p IN SELECT name FROM partitions_of(tab) WHERE until <= before LOOP
        EXECUTE format('DROP TABLE partitions.%I', p.name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- How many rows are in default partitions.
CREATE OR REPLACE FUNCTION rows_outside_partitions() RETURNS TABLE (tab text, n bigint) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public AS $$
BEGIN
    FOR tab IN SELECT t.tab FROM partitioned_tables() t LOOP
        EXECUTE format('SELECT count(*) FROM partitions.%I', tab || '_default') INTO n;
        RETURN NEXT;
    END LOOP;
END $$;

-- Contract: each table becomes the first partition of a partitioned table with its name.
DO $$
DECLARE r record; old text; bound text; view text; i record;
BEGIN
    SET LOCAL timezone = 'UTC';
    IF (SELECT relkind FROM pg_class WHERE oid = 'events'::regclass) = 'p' THEN
        RETURN; -- done already
    END IF;
    view := pg_get_viewdef('usage_live'::regclass);
    FOR r IN SELECT * FROM partitioned_tables() LOOP
        old := r.tab || '_before';
        SELECT (regexp_match(pg_get_constraintdef(oid), '''([^'']+)'''))[1] INTO bound FROM pg_constraint WHERE conrelid = r.tab::regclass AND conname = 'before_partitions';
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', r.tab);
        EXECUTE format('ALTER TABLE %I RENAME TO %I', r.tab, old);
        EXECUTE format('ALTER TABLE %I SET SCHEMA partitions', old); -- with its indexes
        EXECUTE format('ALTER TABLE partitions.%I NO FORCE ROW LEVEL SECURITY', old);
        EXECUTE format('REVOKE ALL ON partitions.%I FROM husk_control, husk_tenant', old);
        IF r.tab <> 'events' THEN
            EXECUTE format('DROP TRIGGER append_only ON partitions.%I', old);
        END IF;
        IF r.tab IN ('usage_hours', 'usage_traffic') THEN
            EXECUTE format('DROP TRIGGER totals ON partitions.%I', old);
        END IF;
        EXECUTE format('CREATE TABLE %I (LIKE partitions.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (%I)', r.tab, old, r.col);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT before_partitions', r.tab);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', r.tab);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', r.tab);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', r.tab);
    END LOOP;

    CREATE POLICY tenant ON events TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
    CREATE POLICY tenant ON audit TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
    CREATE POLICY tenant ON usage_hours TO husk_tenant USING (tenant_id = current_tenant());
    CREATE POLICY tenant ON usage_traffic TO husk_tenant USING (tenant_id = current_tenant());
    GRANT SELECT, INSERT ON events, audit TO husk_tenant, husk_control;
    GRANT UPDATE, DELETE ON events TO husk_control; -- servers of the previous version delete old events
    GRANT SELECT ON usage_hours, usage_traffic TO husk_tenant;
    GRANT SELECT, INSERT ON usage_hours, usage_traffic TO husk_control;

    CREATE INDEX events_by_object ON events (tenant_id, object_id, at);
    CREATE INDEX events_by_time ON events (tenant_id, at, id);
    ALTER TABLE events ADD FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
    CREATE INDEX audit_by_tenant ON audit (tenant_id, at DESC, id DESC);
    CREATE INDEX audit_by_time ON audit (at DESC, id DESC);
    ALTER TABLE usage_hours ADD PRIMARY KEY (interval_id, hour);
    ALTER TABLE usage_hours ADD FOREIGN KEY (tenant_id, interval_id) REFERENCES usage_intervals (tenant_id, id);
    CREATE INDEX usage_hours_by_tenant ON usage_hours (tenant_id, hour);
    ALTER TABLE usage_traffic ADD PRIMARY KEY (interval_id, at);
    ALTER TABLE usage_traffic ADD FOREIGN KEY (tenant_id, interval_id) REFERENCES usage_intervals (tenant_id, id);

    EXECUTE 'CREATE OR REPLACE VIEW usage_live WITH (security_invoker = true) AS ' || view; -- it still reads the old tables

    FOR r IN SELECT * FROM partitioned_tables() LOOP
        old := r.tab || '_before';
        PERFORM new_partition(r.tab, r.tab || '_default');
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION partitions.%I DEFAULT', r.tab, r.tab || '_default');
        SELECT (regexp_match(pg_get_constraintdef(oid), '''([^'']+)'''))[1] INTO bound FROM pg_constraint WHERE conrelid = ('partitions.' || old)::regclass AND conname = 'before_partitions';
        EXECUTE format('SELECT 1 FROM partitions.%I LIMIT 1', old) INTO i;
        IF i IS NULL THEN -- a new installation
            EXECUTE format('DROP TABLE partitions.%I', old);
        ELSE
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION partitions.%I FOR VALUES FROM (MINVALUE) TO (%L)', r.tab, old, bound);
            EXECUTE format('ALTER TABLE partitions.%I DROP CONSTRAINT before_partitions', old);
        END IF;
        IF r.tab <> 'events' THEN
            EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', r.tab);
            EXECUTE format('CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', r.tab);
        END IF;
    END LOOP;
    CREATE TRIGGER totals AFTER INSERT ON usage_traffic REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_traffic();
    CREATE TRIGGER totals AFTER INSERT ON usage_hours REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_recorded();
    PERFORM make_partitions();
END $$;

REVOKE ALL ON FUNCTION new_partition, make_partitions, drop_partitions, rows_outside_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions, drop_partitions, rows_outside_partitions TO husk_control;
