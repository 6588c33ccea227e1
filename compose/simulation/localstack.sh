#!/bin/sh
# The buckets for artifacts and for evidence; run again, it changes nothing.
set -eu
for bucket in carapulse-artifacts carapulse-evidence; do
  awslocal s3api head-bucket --bucket "$bucket" 2> /dev/null || awslocal s3api create-bucket --bucket "$bucket"
done
awslocal s3api list-buckets --query 'Buckets[].Name' --output text
