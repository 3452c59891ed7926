# The commands of this project. `make help` lists them; each sets up what it needs.

python := .venv/bin/python
.DEFAULT_GOAL := help
.SILENT:
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help
help: ## List the commands
	grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# --- for users ------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup-demo ## Record a live conference on this machine and show what was recorded
	$(python) -m scripts.demo

# As it was written: neither make nor the shell may take anything in an address for its own.
export room := $(value ROOM)

# Ctrl-C is for the recorder, which leaves; the shell goes on to the timeline.
.PHONY: record
record: setup-record ## Record a room of your own: make record ROOM=https://host/room
	test -n "$$room" || { echo "Name the room: make record ROOM=https://meet.example.org/WeeklyStandup" >&2; exit 2; }
	trap : INT; $(python) -m meeta_bot record "$$room" && $(python) -m meeta_bot timeline latest

.PHONY: stack
stack: setup-demo ## Start a local Jitsi without Docker and print its address
	$(python) -m tests.stack --with-parent

# --- for developers -------------------------------------------------------------------------------------------------

.PHONY: test
test: lint types imports wheel hook fast-tests browser-tests ## Run everything that CI runs
	echo "all checks passed"

.PHONY: lint
lint: setup-test ## Style of Python and shell
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	bash -n scripts/bootstrap .ci/run

.PHONY: types
types: setup-test ## Types
	$(python) -m mypy

.PHONY: imports
imports: setup-test ## Which module may import which
	.venv/bin/lint-imports --no-logo

.PHONY: wheel
wheel: setup-test ## The wheel works alone: install it, migrate, print the schema
	$(python) -m scripts.check_wheel

.PHONY: hook
hook: setup-test ## The injected JavaScript, under node
	node --test tests/hook/*.test.mjs

.PHONY: fast-tests
fast-tests: setup-test ## Unit tests, tapes, PostgreSQL tests, and faults at spool and writer
	$(python) -m pytest -n 2 tests/unit tests/tapes tests/postgres tests/chaos

# Each worker has a stack, a server and browsers of its own; two keep two cores busy, three would starve each other.
.PHONY: browser-tests
browser-tests: setup-test ## The local stack and the end-to-end tests, in real Chromium
	$(python) -m pytest -n 2 --dist worksteal tests/stack tests/e2e

.PHONY: bench
bench: setup-test ## Measure speed and memory, and write docs/performance.md (about half an hour)
	$(python) -m scripts.bench --keep

.PHONY: docs
docs: setup-test ## Write docs/settings.md anew from the code
	$(python) -m scripts.settings_page

.PHONY: chaos
chaos: setup-test ## Inject a thousand faults, and ask whether anything was lost (about half an hour)
	$(python) -m tests.chaos

.PHONY: fuzz
fuzz: setup-test ## Look for new examples that break a property: make fuzz MINUTES=10 SEED=…
	$(python) -m tests.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

.PHONY: format
format: setup-test ## Rewrite Python files in the project's style
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

.PHONY: pins
pins: setup-test ## Pin the newest versions of all requirements
	$(python) -m uv pip compile --quiet --upgrade --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--python-version 3.11 --group dev pyproject.toml --output-file requirements.txt

.PHONY: clean
clean: ## Remove what was set up in this checkout
	rm -rf .venv .cache dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: setup-record setup-demo setup-test
setup-record setup-demo setup-test: setup-%:
	scripts/bootstrap $*
