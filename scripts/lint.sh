#!/usr/bin/env bash
# Runs every static check: ruff, mypy --strict, import-linter, shellcheck. lint.sh --fix first applies ruff's fixes.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
make_venv
PATH=$ROOT/.venv/bin:$PATH

if [[ ${1:-} == --fix ]]; then
    ruff check --fix .
    ruff format .
fi
say "ruff"
ruff check .
ruff format --check .
say "mypy --strict"
mypy
say "import-linter"
lint-imports
say "shellcheck"
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR/..
