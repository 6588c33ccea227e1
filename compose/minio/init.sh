#!/bin/sh
# The bucket, and the roles' login, which may use that bucket and nothing else. Run again, it changes nothing.
set -eu
secret() { cat "/run/secrets/$1"; }
# From standard input: on a command line they could be seen.
{ secret minio_root_user; secret minio_root_password; } | mc --quiet alias set store http://minio:9000
mc --quiet mb --ignore-existing "store/$BUCKET"
mc --quiet version enable "store/$BUCKET"
mc --quiet admin policy create store "$BUCKET" /opt/init/policy.json
{ secret objects_key_id; secret objects_secret_key; } | mc --quiet admin user add store
mc --quiet admin policy attach store "$BUCKET" --user "$(secret objects_key_id)" || \
  mc --quiet admin user info store "$(secret objects_key_id)" | grep --quiet "$BUCKET"
echo "bucket $BUCKET is ready"
