#!/bin/bash
# Run once, when the data folder is new: the logins, each with its own password, and their databases. The owner of
# Carapulse's database is no superuser; `carapulse migrate up` makes the serving roles.
set -eu
# Passwords are read by psql itself: on a command line they could be seen.
psql --no-psqlrc --variable=ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\set owner `cat /run/secrets/db_owner_password`
\set temporal `cat /run/secrets/temporal_db_password`
CREATE ROLE carapulse_owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS NOCREATEDB PASSWORD :'owner';
CREATE DATABASE carapulse OWNER carapulse_owner;
CREATE ROLE temporal LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'temporal';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
SQL
