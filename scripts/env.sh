#!/usr/bin/env bash
# Writes what docker-compose.yml needs into .env: a generated secret for each variable it requires and .env lacks.
# Needs nothing but a shell; scripts/up.sh does the same by itself. Lines that are there are never changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077
touch .env
chmod 600 .env
for name in $(grep -oE '\$\{[A-Z0-9_]+:\?' docker-compose.yml | tr -cd 'A-Z0-9_\n' | sort -u); do
  grep -q "^$name=" .env && continue
  # 32 random bytes in URL-safe base64: also the form of a Fernet key.
  echo "$name=$(head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_')" >>.env
  echo "made $name"
done
