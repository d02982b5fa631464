# One door for everything: `make test` needs no rack, `make verify` builds the rack and proves the lab site on it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := lab/apt-packages.txt
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup system check test lint types imports verify quick down lock clean
.DEFAULT_GOAL := test

setup: system $(VENV)/.ready

# Debian packages, installed only where one is missing (root, or sudo).
system:
	@sh lab/install-packages.sh $(PACKAGES)

$(VENV)/.ready: requirements.lock | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

check: lint types imports
	$(BIN)/pytest tests -q -n 4 --dist worksteal --timeout 300

test: check

FEATURES ?= features/
SITE ?= sites/lab.toml

# Builds the rack where it is missing, enters its namespace, provisions what is missing, then breaks things.
verify: setup
	$(BIN)/pytest $(FEATURES) --site $(SITE)

# Only looks and provisions; nothing is broken.
quick: setup
	$(BIN)/pytest features/ --site $(SITE) --no-chaos

down:
	$(BIN)/python -m lab down

lock: setup
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --all-extras pyproject.toml -o requirements.lock

clean: down
	rm -rf $(VENV) .rack
