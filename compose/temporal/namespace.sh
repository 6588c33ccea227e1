#!/bin/sh
# The namespace of Carapulse's workflows; then it waits, for `docker compose exec temporal-admin-tools temporal …`.
set -eu
temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" > /dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 72h
echo "namespace $TEMPORAL_NAMESPACE is there"
trap 'exit 0' TERM INT
while :; do
  sleep 3600 &
  wait $!
done
