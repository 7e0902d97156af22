# The one front door. `make` lists what there is; every target may be run again at any time.

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status secrets test test-faults test-compose soak mutations lint bench lock
# One recipe, one shell: a failing line ends it.
.ONESHELL:
.SHELLFLAGS := -euc
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
BIN := .venv/bin
# The environment's scripts know its path, so a folder that was moved gets a new one.
STAMP := .venv/.complete

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## make .venv from the lock, with the callkeeper command in it
	@say() { printf '%s\n' "$$*" >&2; }
	wanted="$$(cat requirements.txt pyproject.toml Makefile | cksum) $$PWD"
	if [ -x $(BIN)/python ] && [ "$$(cat $(STAMP) 2>/dev/null)" = "$$wanted" ]; then exit 0; fi
	python=
	for candidate in "$${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
		if command -v "$$candidate" >/dev/null 2>&1 && "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'; then
			python="$$candidate"; break
		fi
	done
	if [ -z "$$python" ]; then
		say "callkeeper needs Python 3.11 to 3.14, and finds none. Install it (Debian, Ubuntu: apt install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3"
		exit 1
	fi
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then
		say "$$python has no venv module. Install it (Debian, Ubuntu: apt install python3-venv)."
		exit 1
	fi
	if ! command -v git >/dev/null 2>&1; then say "git is missing. Install it (Debian, Ubuntu: apt install git)."; exit 1; fi
	say "Making .venv with $$("$$python" -V) ..."
	rm -f $(STAMP)
	if ! [ -x $(BIN)/python ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1 || [ "$$(cat .venv/.path 2>/dev/null)" != "$$PWD" ]; then
		"$$python" -m venv --clear .venv
		printf '%s' "$$PWD" > .venv/.path
	fi
	cache="$${UV_CACHE_DIR:-$${XDG_CACHE_HOME:-$${HOME:+$$HOME/.cache}}}"
	if [ -z "$$cache" ] || ! mkdir -p "$$cache" 2>/dev/null || ! [ -w "$$cache" ]; then export UV_CACHE_DIR="$$PWD/.venv/.uv-cache"; fi
	# Copies, not links: links fail with a warning where the cache is on another disk.
	export VIRTUAL_ENV="$$PWD/.venv" UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 PIP_DISABLE_PIP_VERSION_CHECK=1
	$(BIN)/python -m pip install -qq --no-input uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet requirements.txt
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/callkeeper --version >/dev/null
	printf '%s' "$$wanted" > $(STAMP)
	say "Ready: $(BIN)/callkeeper"

demo: setup ## start everything, import ten days of calls, let half-year-old ones go, show the proof, and ask the officer
	@$(BIN)/callkeeper demo

up: setup ## start Postgres, the object store and Airflow on this machine
	@$(BIN)/callkeeper up

down: setup ## stop what `make up` started; data stay
	@$(BIN)/callkeeper down

status: setup ## the last imports' balance, unfinished days, quarantine
	@$(BIN)/callkeeper status

secrets: setup ## make what docker-compose.yaml needs: .env, passwords, keys; overwrites none
	@$(BIN)/python -m callkeeper.containers.secrets

test: setup ## unit, integration, DAG and acceptance tests
	@$(BIN)/python -m pytest tests/unit tests/integration tests/dags tests/acceptance

test-faults: setup ## crash, race and replay tests
	@$(BIN)/python -m pytest tests/faults

test-compose: setup ## run docker-compose.yaml: on your engine, or (Debian, root) on one that it brings along
	@$(BIN)/python -m pytest -rs -s tests/compose

soak: setup ## faults in pairs and long stories of them, other ones each time, for SECONDS=1800 each
	@SOAK_SECONDS=$(or $(SECONDS),1800) $(BIN)/python -m pytest -s tests/faults/test_crash_matrix.py tests/faults/test_state_machine.py

mutations: setup ## take each guard away in a copy: a test must go red (ONLY=word: those with the word in them)
	@$(BIN)/python tests/mutations/run.py $(ONLY)

lint: setup ## ruff, mypy --strict, import-linter, docker-compose.yaml by compose itself
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	# The program itself: the script that its package puts beside Python's forgets how it ended.
	compose="$$($(BIN)/python -c 'import compose; print(compose.__path__[0])')/docker-compose"
	for profiles in celery local celery,mail local,mail,tools; do
		CALLKEEPER_UID=1000 COMPOSE_PROFILES=$$profiles $$compose --env-file /dev/null config --quiet
	done

bench: setup ## measure import, deletion, the trail, its verification, the search for a person and an access package, against the bare database and store (SCALE=5m: live recordings, events)
	@beyond=0
	$(BIN)/python tests/bench/run.py || beyond=1
	$(BIN)/python tests/bench/deletion.py || beyond=1
	$(BIN)/python tests/bench/trail.py || beyond=1
	$(BIN)/python tests/bench/verification.py || beyond=1
	$(BIN)/python tests/bench/answering.py || beyond=1
	$(BIN)/python tests/bench/package.py || beyond=1
	exit $$beyond

lock: setup ## compile requirements.in into requirements.txt, every transitive version
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" requirements.in --output-file requirements.txt
