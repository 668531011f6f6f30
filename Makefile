# Thin names for scripts/; `make` alone explains them.
.DEFAULT_GOAL := help
.PHONY: help up down status test lint lock docs bench

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 10

up: ## start the lake (ARGS="--source simulator" and the like)
	@scripts/up.sh $(ARGS)

down: ## stop it, losing nothing
	@scripts/down.sh

status: ## processes and tables
	@scripts/status.sh $(ARGS)

test: ## install what is missing, then every check and test
	@scripts/test.sh $(ARGS)

lint: ## ruff, mypy, import-linter, shellcheck
	@scripts/lint.sh $(ARGS)

lock: ## requirements.txt and docker/app/requirements.txt from pyproject.toml, for every Python and system, with hashes
	@.venv/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --all-extras \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.txt
	@.venv/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 -c requirements.txt \
	  --custom-compile-command "make lock" pyproject.toml -o docker/app/requirements.txt

docs: ## what is generated from the code: references, dashboards, .env.example
	@.venv/bin/tradelake docs
	@.venv/bin/python -m grafana.build
	@.venv/bin/tradelake env-example >.env.example

bench: ## run one bench: make bench NAME=serving
	@.venv/bin/python -m bench.$(NAME) $(ARGS)
