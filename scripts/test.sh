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
run() { .venv/bin/python -m pytest --durations=10 "$@"; }
if (($#)); then
    scripts/lint.sh
    run "$@"
    exit
fi

# Three parts side by side: tests on real servers wait more than they compute, so what only computes fits in between.
checks_and_unit_tests() {
    renice -n 10 "$BASHPID" >/dev/null
    scripts/lint.sh
    # A process for each core already; more threads within them would only wait for each other.
    OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 run --numprocesses=logical --dist=worksteal tests/unit
}
logs=$(mktemp -d)
names=() groups=()
begin() {
    names+=("$1")
    "${@:2}" >"$logs/$1" 2>&1 &
    groups+=($!)
}
# Job control gives each part a process group of its own, which Ctrl-C then reaches through us, so that servers are stopped.
set -m
stop() {
    kill -INT -- "${groups[@]/#/-}" 2>/dev/null || true
    wait
    exit 130
}
trap stop INT TERM
trap 'rm -rf "$logs"' EXIT
say "tests: static checks and unit tests, integration, and end to end, side by side; each is printed when it has ended"
begin "static checks and unit tests" checks_and_unit_tests
begin "DAGs and integration, on real servers" run tests/dags tests/integration
begin "end to end, on a whole lake" run tests/e2e
failed=()
for part in "${!names[@]}"; do
    wait "${groups[part]}" || failed+=("${names[part]}")
    say "== ${names[part]}, after $SECONDS s"
    cat "$logs/${names[part]}"
done
((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
