#!/bin/sh
# Temporal's schema in its two databases, brought up to this version; run again, it changes nothing. And the `temporal`
# command line into a volume, for the server's health check.
set -eu
cp /usr/local/bin/temporal /opt/temporal-cli/temporal.new
chmod 755 /opt/temporal-cli/temporal.new
mv /opt/temporal-cli/temporal.new /opt/temporal-cli/temporal

SQL_PASSWORD=$(cat /run/secrets/temporal_db_password)
export SQL_PASSWORD
tool() {
  database=$1
  shift
  temporal-sql-tool --plugin postgres12 --endpoint postgres --port 5432 --user temporal --database "$database" "$@"
}
schema=/etc/temporal/schema/postgresql/v12
for database in temporal temporal_visibility; do
  folder=temporal
  [ "$database" = temporal ] || folder=visibility
  # The tables of versions are made when they are missing; what is recorded in them stays.
  tool "$database" setup-schema --version 0.0
  tool "$database" update-schema --schema-dir "$schema/$folder/versioned"
done
