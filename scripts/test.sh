#!/usr/bin/env bash
# Installs what is missing, then runs every check and every test. test.sh [PYTEST ARGUMENTS] runs those tests only.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The tests of the live page open it in a real browser.
need_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || apt_install chromium; }

make_venv
fetch_servers
fetch_minio
fetch_prometheus
need_chromium
scripts/lint.sh
say "tests: unit, then integration and end to end on real servers of their own"
(($#)) || set -- tests/unit tests/dags tests/integration tests/e2e
exec .venv/bin/python -m pytest --durations=10 "$@"
