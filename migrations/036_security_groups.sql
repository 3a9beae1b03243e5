-- Security groups: named sets of rules about the connections of pods.
SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

CREATE TABLE security_groups (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    id         uuid NOT NULL,
    name       text NOT NULL,
    labels     jsonb NOT NULL,
    selector   jsonb NOT NULL, -- requirements, as labels_match reads them; none: only pods that name the group are in it
    restricts  text[] NOT NULL, -- the directions in which only rules allow connections
    rules      jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
ALTER TABLE security_groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE security_groups FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON security_groups TO husk_tenant USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY control ON security_groups TO husk_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON security_groups TO husk_tenant, husk_control;
CREATE TRIGGER network AFTER INSERT OR UPDATE OR DELETE ON security_groups FOR EACH ROW EXECUTE FUNCTION hint_network();

-- Numbers of rules, by which Open vSwitch counts. They have 32 bits there, and a number is free again long before it comes again.
CREATE SEQUENCE security_rule_numbers MAXVALUE 4294967295 CYCLE;
GRANT USAGE ON SEQUENCE security_rule_numbers TO husk_tenant, husk_control;

ALTER TABLE tenants ADD COLUMN quota_security_groups integer NOT NULL DEFAULT 50 CHECK (quota_security_groups >= 0);

-- The names of the groups that a pod names. A transaction that changes them, or a group, holds the tenant's row.
ALTER TABLE pods ADD COLUMN security_groups text[] NOT NULL DEFAULT '{}';
CREATE TRIGGER groups AFTER UPDATE ON pods FOR EACH ROW WHEN (OLD.security_groups <> NEW.security_groups) EXECUTE FUNCTION hint_network();
