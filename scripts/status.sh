#!/usr/bin/env bash
# Says how every process and table fares: status.sh [--json] [--secrets]; status 3 when something is unhealthy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/tradelake ]] || {
    echo "error: nothing is installed yet: scripts/up.sh does that" >&2
    exit 1
}
exec .venv/bin/tradelake status "$@"
