#!/usr/bin/env bash
# Installs what is missing, starts every process, and waits until data flows.
# up.sh [--source kraken|simulator|auto] [--full]
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
make_venv
fetch_servers
if [[ " $* " == *" --full "* ]] && wants_minio; then
    fetch_minio
fi
exec .venv/bin/tradelake up "$@"
