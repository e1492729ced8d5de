#!/bin/sh
# Brings Temporal's two databases to the schema of this server version. Safe to run at every start: the tool
# keeps the version it finds when it is newer than the initial one, and applies only the updates that are missing.
set -eu

for store in temporal visibility; do
  database=temporal
  [ "$store" = visibility ] && database=temporal_visibility
  temporal-sql-tool --database "$database" setup-schema --version 0.0
  temporal-sql-tool --database "$database" update-schema --schema-name "postgresql/v12/$store"
done
