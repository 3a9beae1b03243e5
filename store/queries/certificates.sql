-- name: CertificateAuthority :one
SELECT certificate, private_key FROM certificate_authority;

-- name: InsertCertificateAuthority :exec
INSERT INTO certificate_authority (certificate, private_key) VALUES (@certificate, @private_key);

-- name: InsertNodeCertificate :exec
INSERT INTO node_certificates (serial, node_id, expires_at) VALUES (@serial, @node_id, @expires_at);

-- name: NodeCertificateIsGood :one
SELECT EXISTS (SELECT 1 FROM node_certificates WHERE serial = @serial AND node_id = @node_id AND revoked_at IS NULL AND expires_at > now());

-- name: NodeCertificates :many
SELECT * FROM node_certificates WHERE node_id = @node_id ORDER BY created_at, serial;

-- name: RevokeNodeCertificates :exec
UPDATE node_certificates SET revoked_at = now() WHERE node_id = @node_id AND revoked_at IS NULL;

-- name: ForgetExpiredNodeCertificates :exec
-- Expired certificates are refused anyway. They are kept for a month, for investigations.
DELETE FROM node_certificates WHERE node_id = @node_id AND expires_at < now() - interval '30 days';

-- name: CertificateExpiries :many
-- When the newest certificate of each node expires or has expired. Revoked certificates do not count.
SELECT n.name, max(c.expires_at)::timestamptz AS expires_at FROM nodes n JOIN node_certificates c ON c.node_id = n.id
WHERE c.revoked_at IS NULL GROUP BY n.name ORDER BY n.name;

-- name: ResealCertificateAuthority :exec
UPDATE certificate_authority SET private_key = @private_key;
