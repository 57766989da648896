#!/usr/bin/env bash
# Makes landlord's database and roles; compose.yaml runs it when PostgreSQL starts on an empty volume, and a DBA
# can run it against any server: PGHOST, PGUSER, … say where and as which superuser.
#
#   landlord_owner  owns the database and its tables; only the migrator connects as it
#   landlord_app    holds the grants that the migrations give; nobody connects as it
#   landlord        what landlord connects as: a member of landlord_app, bound by row-level security
set -euo pipefail

# Read by psql itself, so that the process list doesn't show them.
: "${LANDLORD_OWNER_PASSWORD:?}" "${LANDLORD_PASSWORD:?}"

psql -v ON_ERROR_STOP=1 --no-psqlrc --username "${POSTGRES_USER:-${PGUSER:-postgres}}" --dbname postgres <<'SQL'
\getenv owner_password LANDLORD_OWNER_PASSWORD
\getenv password LANDLORD_PASSWORD
CREATE ROLE landlord_app NOLOGIN;
CREATE ROLE landlord_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE landlord LOGIN PASSWORD :'password' IN ROLE landlord_app;
CREATE DATABASE landlord OWNER landlord_owner TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE landlord FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE landlord TO landlord_app;
SQL
