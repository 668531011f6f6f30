#!/usr/bin/env bash
# Says how every process and table fares: status.sh [--json] [--secrets]; status 1 when something is unhealthy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/python ]] || {
    echo "error: nothing is installed yet: scripts/up.sh does that" >&2
    exit 1
}
exec .venv/bin/python -m stack status "$@"
