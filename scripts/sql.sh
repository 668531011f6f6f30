#!/usr/bin/env bash
# Runs one SQL query as the read-only user: sql.sh "SELECT …"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/tradelake ]] || {
    echo "error: .venv/bin/tradelake does not exist: run scripts/up.sh first, it installs everything" >&2
    exit 1
}
exec .venv/bin/tradelake sql "$@"
