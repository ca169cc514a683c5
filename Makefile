# What can be done here. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help setup test check demo bench docs images lock clean

CAIS = .venv/bin/cais

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install what is missing (says what and why); prepare .venv/bin/cais
	@PYTHON='$(PYTHON)' scripts/setup run

test: ## Install what is missing and run all tests (TESTS="tests/unit -k name" chooses)
	@PYTHON='$(PYTHON)' scripts/setup test
	$(if $(TESTS),.venv/bin/python -m pytest $(TESTS),scripts/test-all)

check: ## ruff, ruff format and mypy --strict
	@PYTHON='$(PYTHON)' scripts/setup run
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

demo: ## Make base images, build the examples, run the result
	@PYTHON='$(PYTHON)' scripts/setup run
	@scripts/demo

images: ## Make the base images busybox and debian from Debian packages
	@PYTHON='$(PYTHON)' scripts/setup run
	images/make busybox debian

bench: ## Cais and every installed peer on the same work; writes bench/RESULTS.md (BENCH="--cases run,load" chooses)
	@PYTHON='$(PYTHON)' scripts/setup test
	.venv/bin/python bench/run.py $(BENCH)
	.venv/bin/python bench/planning.py
	.venv/bin/python bench/registry_cases.py

docs: ## Write the reference of the commands; check links, commands and examples of the documentation
	@PYTHON='$(PYTHON)' scripts/setup test
	.venv/bin/python scripts/reference
	.venv/bin/python scripts/differences
	.venv/bin/python -m pytest -q tests/docs

lock: ## Pin the newest versions that pyproject.toml's ranges allow
	@PYTHON='$(PYTHON)' scripts/setup run
	scripts/lock

clean: ## Remove what make made here (.venv, .demo, caches), not your images
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache dist
