#!/usr/bin/env bash
# Runs one query as the read-only user: sql.sh "SELECT …"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/tradelake ]] || {
    echo "error: nothing is installed yet: scripts/up.sh does that" >&2
    exit 1
}
exec .venv/bin/tradelake sql "$@"
