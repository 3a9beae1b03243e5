#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Creates the secrets in deploy/secrets/ that docker-compose.yml mounts, unless they exist. Keep master.key safe: without it, encrypted
# data in the database, such as the signing key, cannot be decrypted.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets # no other user can enter it; the files are readable so that the containers' users can read them when mounted
make_secret() { # name bytes
  [ -e "secrets/$1" ] || { od -An -v -tx1 -N "$2" /dev/urandom | tr -d ' \n' > "secrets/$1.new" && mv "secrets/$1.new" "secrets/$1"; }
  chmod 444 "secrets/$1"
}
make_secret postgres-password 24
make_secret master.key 32
make_secret operator.secret 24
printf 'database-url: "postgres://:%s@postgres:5432/husk?sslmode=disable"\n' "$(< secrets/postgres-password)" > secrets/server.yaml.new
mv -f secrets/server.yaml.new secrets/server.yaml
chmod 444 secrets/server.yaml
