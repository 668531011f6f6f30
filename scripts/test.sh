#!/usr/bin/env bash
# Installs what is missing, then runs every check and every test; with pytest arguments, only the tests they select.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The tests of the live page use a real browser.
need_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || apt_install chromium; }

make_venv
fetch_servers
if wants_minio; then fetch_minio; fi
fetch_monitoring
need_chromium
scripts/lint.sh
run() { .venv/bin/python -m pytest --durations=10 "$@"; }
if (($#)); then
    run "$@"
    exit
fi
say "tests: unit, on every core"
# A process for each core already; more threads within them would only wait for each other.
OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 run --numprocesses=logical --dist=worksteal tests/unit
say "tests: DAGs, integration and end to end, on real servers of their own"
run tests/dags tests/integration tests/e2e
