#!/usr/bin/env bash
# Creates one role and one database per service; neither service can connect to the other's database.
set -euo pipefail
for name in airflow mlflow; do
  variable="POSTGRES_${name^^}_PASSWORD"
  psql -v ON_ERROR_STOP=1 -v password="${!variable}" --username "${POSTGRES_USER:-postgres}" <<SQL
CREATE ROLE $name LOGIN PASSWORD :'password';
CREATE DATABASE $name OWNER $name;
REVOKE CONNECT ON DATABASE $name FROM PUBLIC;
SQL
done
