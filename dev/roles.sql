-- The roles that huskd logs in with. The superuser runs this at every start;
-- running it again changes nothing. The password is passed as a setting,
-- because DO takes no parameters. husk_ingress has its own if
-- husk.ingress_password is set.
--
-- husk_owner   owns the schema and migrates it
-- husk_control the control loops and operators
-- husk_tenant  requests of tenants, under row-level security
-- husk_ingress processes that serve tenants' hosts over HTTPS
--
-- None of them may bypass row-level security. Only the owner owns anything.
DO $$
DECLARE
    role TEXT;
BEGIN
    FOREACH role IN ARRAY ARRAY['husk_owner', 'husk_control', 'husk_tenant', 'husk_ingress'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I', role);
        END IF;
        EXECUTE format(
            'ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %L',
            role, CASE WHEN role = 'husk_ingress' THEN COALESCE(NULLIF(current_setting('husk.ingress_password', true), ''), current_setting('husk.role_password'))
                ELSE current_setting('husk.role_password') END);
    END LOOP;
END
$$;
