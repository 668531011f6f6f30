#!/usr/bin/env bash
# Stops the lake without losing data.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/tradelake ]] || {
    echo "error: .venv/bin/tradelake does not exist: run scripts/up.sh first, it installs everything" >&2
    exit 1
}
exec .venv/bin/tradelake down "$@"
