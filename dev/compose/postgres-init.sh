#!/bin/sh
# Runs once, when Postgres starts on an empty volume: one owner and its databases for each of the two that share
# the server. Neither owner is a superuser, and neither may connect to the other's databases.
set -eu

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set holdfast_password="$HOLDFAST_DB_PASSWORD" --set temporal_password="$TEMPORAL_DB_PASSWORD" <<'SQL'
-- CREATEROLE: the first migration makes the application's role, which may not write the ledger's tables.
CREATE ROLE holdfast LOGIN CREATEROLE PASSWORD :'holdfast_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';

CREATE DATABASE holdfast OWNER holdfast;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;

REVOKE CONNECT ON DATABASE holdfast, temporal, temporal_visibility FROM PUBLIC;
SQL
