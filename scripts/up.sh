#!/usr/bin/env bash
# Installs what is missing, starts every process, and waits until data flows.
# up.sh [--source kraken|simulator|auto] [--full]
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
one_at_a_time
make_venv
fetch_servers
if [[ " $* " == *" --full "* ]] && wants_minio; then
    fetch_minio
fi
if [[ " $* " == *" --full "* ]]; then
    # In a subshell, since a lake without them runs as well.
    (fetch_monitoring) || say "this lake runs without Prometheus and Alertmanager: nobody is told of what goes wrong"
fi
# Each lake has its own lock from here on.
exec .venv/bin/tradelake up "$@" 9>&-
