#!/bin/sh
# The server takes the password from its environment only; it is put there here, so that no file of Compose holds it.
set -eu
TEMPORAL_DB_PASSWORD=$(cat /run/secrets/temporal_db_password)
export TEMPORAL_DB_PASSWORD
exec temporal-server --root / --config opt/temporal/config --env server --allow-no-auth start
