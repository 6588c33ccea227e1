#!/bin/sh
# Something to read at carapulse/config.
set -eu
vault kv put -mount=secret carapulse/config \
  environment=simulation \
  aws_endpoint_url=http://localstack:4566 \
  artifact_bucket=carapulse-artifacts \
  evidence_bucket=carapulse-evidence
