# Everything runs in .venv; `make install` makes it from the hashed pins and is implied by the rest.
PYTHON ?= python3
BIN := .venv/bin
UP ?=
# Tests mostly wait: two at once need hardly more of the machine than one.
TEST_PROCESSES ?= 2
SEED ?=
MINUTES ?= 3

.DEFAULT_GOAL := help
.PHONY: help install demo run test faults check fix schemas bench lock clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed ## make .venv with the exact pinned dependencies and the turnlog command

.venv/.installed: pyproject.toml deploy/constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## run the quickstart on real parts: no key, no network
	$(BIN)/turnlog demo

run: install ## start everything and stay up; options in UP="…"
	$(BIN)/turnlog up $(UP)

test: check ## check, then the whole test suite
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

faults: install ## kill and stop everything while clients work, then audit; SEED=… MINUTES=…
	$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES)

check: install ## format, lint, import rules, types, generated schemas
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m services.cli.schemas --check

fix: install ## format and apply the lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: install ## write schemas/generated again from the types
	$(BIN)/python -m services.cli.schemas

bench: install ## measure turns, items and replay beside the same calls made directly to the simulator
	$(BIN)/turnlog bench

lock: install ## write deploy/constraints.txt again from pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --group dev pyproject.toml -o deploy/constraints.txt

clean: ## remove .venv and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
