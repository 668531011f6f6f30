#!/usr/bin/env bash
# Adds to .env a generated secret for each variable that docker-compose.yml requires and .env lacks.
# Needs only a shell; scripts/up.sh does this itself. Existing lines stay unchanged.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077
touch .env
chmod 600 .env
for name in $(grep -oE '\$\{[A-Z0-9_]+:\?' docker-compose.yml | tr -cd 'A-Z0-9_\n' | sort -u); do
  grep -q "^$name=" .env && continue
  # 32 random bytes in URL-safe base64, which is also the format of a Fernet key.
  echo "$name=$(head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_')" >>.env
  echo "generated $name"
done
