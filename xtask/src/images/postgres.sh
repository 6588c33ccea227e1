#!/bin/sh
# Starts a new cluster under /tmp with one owner, whose password is in the mounted secrets, and one database.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
"$bin/initdb" --pgdata /tmp/cluster --username carapulse_owner --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 \
    --pwfile /etc/carapulse/secrets/db_owner_password --no-sync
echo 'CREATE DATABASE carapulse' | "$bin/postgres" --single -D /tmp/cluster postgres
echo 'host all all all scram-sha-256' >> /tmp/cluster/pg_hba.conf
exec "$bin/postgres" -D /tmp/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
