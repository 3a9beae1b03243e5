SET LOCAL lock_timeout = '5s'; -- requests wait for these locks while the migration does; it can be retried

-- No server of this version or the previous one uses these: images are listed by import, and watches check their callers by themselves.
DROP TABLE blobs;
DROP TRIGGER access ON api_keys;
DROP TRIGGER access ON service_accounts;
DROP TRIGGER access ON users;
DROP TRIGGER access_changed ON users;
DROP FUNCTION hint_access();
