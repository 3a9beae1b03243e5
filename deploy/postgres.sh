#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs Postgres in its container. The data directory is created at the first start. Roles and database are updated at every start, before
# anyone can connect from outside.
set -euo pipefail
bin=/usr/lib/postgresql/15/bin
export PGDATA=/var/lib/postgresql/data/pg
password=$(< /run/secrets/postgres-password)

if [ ! -e "$PGDATA/PG_VERSION" ]; then
  rm -rf "$PGDATA.half"
  "$bin/initdb" --pgdata "$PGDATA.half" --username postgres --auth-local=peer --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  echo "host all all all scram-sha-256" >> "$PGDATA.half/pg_hba.conf"
  mv "$PGDATA.half" "$PGDATA"
fi

rm -f "$PGDATA/postmaster.pid" # left by a killed container; its process id is meaningless in this one
"$bin/pg_ctl" -w -o "-c listen_addresses=''" start
psql=("$bin/psql" -X -q -v ON_ERROR_STOP=1 -d postgres)
PGOPTIONS="-c husk.role_password=$password" "${psql[@]}" -f /usr/local/lib/husk/roles.sql
"${psql[@]}" -tA <<'SQL'
SELECT 'CREATE DATABASE husk OWNER husk_owner' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'husk')
\gexec
REVOKE ALL ON DATABASE husk FROM PUBLIC;
GRANT CONNECT ON DATABASE husk TO husk_control, husk_tenant, husk_ingress;
SQL
"$bin/pg_ctl" -w -m fast stop
exec "$bin/postgres" -c listen_addresses='*'
