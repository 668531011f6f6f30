#!/usr/bin/env bash
# Shows the log of one process: logs.sh NAME [-f] [-n LINES].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/tradelake ]] || {
    echo "error: nothing is installed yet: scripts/up.sh does that" >&2
    exit 1
}
exec .venv/bin/tradelake logs "$@"
