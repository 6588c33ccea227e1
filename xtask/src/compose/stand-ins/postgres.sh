#!/bin/bash
# What the vendor's entry point does with a new data folder: initdb, the scripts, then the server. A stand-in.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # The arguments are words by definition of the variable.
  # shellcheck disable=SC2086
  initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust ${POSTGRES_INITDB_ARGS:-}
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  pg_ctl --pgdata="$PGDATA" --wait start --options="-c listen_addresses= -p 5432"
  for script in /docker-entrypoint-initdb.d/*.sh; do
    bash "$script"
  done
  pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
fi
exec "$@" -c listen_addresses='*'
