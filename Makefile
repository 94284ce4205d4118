# Each target makes .venv first, from the lock; Python 3.11 or newer and make are all that must be there.
PYTHON ?= python3
SHORT ?=
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo chat webhook streaming test check slow mutants bench bench-compare dist

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo '  More words for a program go into ARGS: make demo ARGS="--plant lost"'

demo: $(READY) ## a chatbot process is killed in the middle of conversations; nothing is lost
	@$(BIN)/python -m examples.demo $(ARGS)

chat: $(READY) ## talk to the demo bot; leave, come back, it remembers
	@$(BIN)/python -m examples.chat $(ARGS)

webhook: $(READY) ## every update comes twice and the bot is killed: one effect and one answer each
	@$(BIN)/python -m examples.webhook $(ARGS)

streaming: $(READY) ## a phone loses its connection and reads on, a stop button, a tablet that watches
	@$(BIN)/python -m examples.streaming $(ARGS)

test: $(READY) ## pytest on asyncio and trio, in four processes; of the long proofs a short form
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

check: $(READY) ## formatting, lint, ports, layers, types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/python -m tools.lint_ports
	$(BIN)/lint-imports --no-logo
	$(BIN)/lint-imports --no-logo --config tools/circles.toml
	$(BIN)/mypy
	$(BIN)/pyright

slow: $(READY) ## the long proofs: stateful, crash, power loss; SHORT=1 for a tenth of them
	SALON_EFFORT=$(if $(SHORT),short,long) $(BIN)/python -m pytest -m slow --numprocesses 4 --dist worksteal $(ARGS)

mutants: $(READY) ## each promise broken on purpose; its named test must fail; SHORT=1 for a fourth of them
	SALON_EFFORT=$(if $(SHORT),short,long) $(BIN)/python tests/mutants/run.py $(ARGS)

bench: $(READY) ## run the benchmarks, print the table, save the figures
	$(BIN)/python -m benchmarks $(ARGS)

bench-compare: $(READY) ## run the benchmarks against the saved figures
	$(BIN)/python -m benchmarks --compare $(ARGS)

dist: $(READY) ## wheel from the sdist, installed bare, an example run, names asserted
	$(BIN)/python -m tools.dist

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "salon needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@echo "Setting up .venv from requirements-dev.lock, once; this takes a minute."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
