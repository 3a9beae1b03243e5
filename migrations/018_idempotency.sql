SET LOCAL lock_timeout = '5s'; -- requests wait for this lock while the migration does; it can be retried

-- A repeated request gets the object as it is now, so the response is kept only where it cannot be
-- read again, such as the secret of a key. Servers of the previous version still write all responses.
ALTER TABLE idempotency_keys ALTER COLUMN response DROP NOT NULL;
