-- What the agent of a node can do beyond the first version of the protocol. An agent that says
-- nothing can do nothing more.
ALTER TABLE nodes ADD COLUMN capabilities text[] NOT NULL DEFAULT '{}';

-- The newest migration that a server has to know at least, to work on this schema. A migration that
-- removes what older servers use raises it; one that only adds does not.
ALTER TABLE IF EXISTS schema_version ADD COLUMN oldest_migration integer NOT NULL DEFAULT 13;
