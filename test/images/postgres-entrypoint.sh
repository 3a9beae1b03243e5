#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Initialises the data directory at the first start, and runs its arguments as
# user postgres. If POSTGRES_PASSWORD is set, network clients must send this
# password. Otherwise it trusts all clients, because this image is for tests.
set -eu

if [ "$(id -u)" = 0 ]; then
    # A fresh volume belongs to root.
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA"
    chmod 700 "$PGDATA"
    mkdir -p /run/postgresql
    chown postgres:postgres /run/postgresql
    # shellcheck disable=SC2016  # expanded by the inner shell
    exec su -s /bin/sh -c 'exec "$0" "$@"' -- postgres "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    auth=trust
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        auth=scram-sha-256
        echo "$POSTGRES_PASSWORD" >/tmp/pwfile
        initdb -D "$PGDATA" -U postgres --auth-local=trust --auth-host=trust --pwfile=/tmp/pwfile
        rm /tmp/pwfile
    else
        initdb -D "$PGDATA" -U postgres --auth-local=trust --auth-host=trust
    fi
    echo "host all all all $auth" >>"$PGDATA/pg_hba.conf"
    {
        echo "listen_addresses = '*'"
        echo "unix_socket_directories = '/run/postgresql'"
    } >>"$PGDATA/postgresql.conf"
fi

exec "$@"
