-- The limit of an API key's tokens. '' means no limit: the tokens allow everything that the role
-- allows.
ALTER TABLE api_keys ADD COLUMN limited_to text NOT NULL DEFAULT '' CHECK (limited_to IN ('', 'metrics'));

-- The same checks as before. In addition, the token's limit must equal the limit of its key. A
-- server of an earlier version issues tokens without a limit and passes no limit here, so its
-- tokens for a limited key are refused.
DROP FUNCTION begin_tenant(uuid, uuid, uuid, text);
CREATE FUNCTION begin_tenant(for_tenant uuid, caller uuid, caller_key uuid, caller_role text, caller_limit text DEFAULT '') RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('husk.tenant', for_tenant::text, true);
    IF caller IS NULL THEN -- the transaction of a loop, or of a handler for an agent or an operator
        RETURN true;
    ELSIF caller_key IS NULL THEN
        RETURN caller_limit = '' AND EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = for_tenant AND u.id = caller AND u.role = caller_role AND NOT u.disabled);
    END IF;
    RETURN EXISTS (SELECT 1 FROM api_keys k JOIN service_accounts a ON a.tenant_id = k.tenant_id AND a.id = k.service_account_id
        WHERE k.tenant_id = for_tenant AND k.client_id = caller_key AND a.id = caller AND a.role = caller_role AND k.limited_to = caller_limit
          AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()));
END $$;
