#!/usr/bin/env bash
# One role and one database for each service; neither can see the other's.
set -euo pipefail
for name in airflow mlflow; do
  variable="POSTGRES_${name^^}_PASSWORD"
  psql -v ON_ERROR_STOP=1 -v password="${!variable}" --username "${POSTGRES_USER:-postgres}" <<SQL
CREATE ROLE $name LOGIN PASSWORD :'password';
CREATE DATABASE $name OWNER $name;
REVOKE CONNECT ON DATABASE $name FROM PUBLIC;
SQL
done
