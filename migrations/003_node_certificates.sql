-- Agents use certificates of the installation's own authority. Until now they had client
-- credentials and self-signed certificates. After this migration every node's agent must join
-- again, with a token that re-admits its node (docs/operations.md).

CREATE TABLE certificate_authority (
    only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    certificate text NOT NULL,  -- PEM
    private_key bytea NOT NULL, -- sealed with the installation's master key
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE node_certificates (
    serial     text PRIMARY KEY, -- hexadecimal
    node_id    uuid NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX node_certificates_by_node ON node_certificates (node_id);

-- A separate column, because node_id says which node used a token, and is set to NULL with that
-- node. A token that re-admits a node must be deleted with that node, and must never become a token
-- for a new node.
ALTER TABLE join_tokens ADD COLUMN readmits uuid REFERENCES nodes (id) ON DELETE CASCADE;

ALTER TABLE nodes DROP COLUMN certificate;

DELETE FROM credentials WHERE kind = 'agent';
ALTER TABLE credentials DROP COLUMN node_id; -- together with the check that only agents have one
ALTER TABLE credentials DROP CONSTRAINT credentials_kind_check;
ALTER TABLE credentials ADD CONSTRAINT credentials_kind_check CHECK (kind = 'operator');

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['certificate_authority', 'node_certificates'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY control ON %I TO husk_control USING (true) WITH CHECK (true)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON certificate_authority TO husk_control;
GRANT SELECT, INSERT, UPDATE, DELETE ON node_certificates TO husk_control;
