#!/usr/bin/env bash
# Shows the state of every process and table: status.sh [--json] [--secrets]; exit status 3 if one is unhealthy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/tradelake ]] || {
    echo "error: .venv/bin/tradelake does not exist: run scripts/up.sh first, it installs everything" >&2
    exit 1
}
exec .venv/bin/tradelake status "$@"
