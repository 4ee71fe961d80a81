# What a contributor must know: `make check` before every commit, `make test` before every push.

PREFIX ?= /usr/local
PYTHON := .venv/bin/python
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
DEMO := tracepoint:raw_syscalls:sys_enter { @[comm] = count(); } interval:s:3 { exit(); }

.PHONY: help
help:
	@echo 'make demo        set up .venv, then count system calls by process for three seconds'
	@echo 'make test        set up .venv, then run every test (attaches to this kernel, boots another in QEMU)'
	@echo 'make check       lint, types and the fast tests: no root needed after the set-up'
	@echo 'make test-guest  the tests that need kprobes and each other feature once, in a Debian kernel in QEMU'
	@echo 'make test-guest-all  every live test in there (an hour)'
	@echo 'make fuzz        any bytes to every reader, guided by coverage: FUZZ_SECONDS=$(FUZZ_SECONDS) in all'
	@echo 'make bench       us and bpftrace, measured in turn: bench/results.md (bench-quick: in two minutes, only shown)'
	@echo 'make soak        ten minutes (SOAK_SECONDS) of as many events as two processes can make; the books must balance'
	@echo 'make dist        sdist and wheel, under dist/'
	@echo 'make install     into PREFIX ($(PREFIX)), below DESTDIR; make uninstall takes it away again'
	@echo 'make clean       remove what the other targets made'

.PHONY: demo
demo:
	@scripts/setup run
	@echo "Counting system calls by process for three seconds, on this machine's kernel:"
	@echo
	@echo "    .venv/bin/bpftrace-py -e '$(DEMO)'"
	@echo
	@$(SUDO) env PYTHONDONTWRITEBYTECODE=$(if $(SUDO),1) .venv/bin/bpftrace-py -e '$(DEMO)'

.PHONY: setup
setup:
	@scripts/setup test

.PHONY: lint
lint: setup
	.venv/bin/ruff check .
	.venv/bin/mypy

.PHONY: check
check: lint
	$(PYTHON) scripts/run_tests.py unit

.PHONY: guest
guest: setup
	@$(PYTHON) -m tests.guest.machine

.PHONY: test
test: setup guest
	$(PYTHON) scripts/run_tests.py unit packaging runtime loads differential guest

.PHONY: test-guest
test-guest: setup guest
	$(PYTHON) scripts/run_tests.py guest

.PHONY: test-guest-all
test-guest-all: setup guest
	$(PYTHON) scripts/run_tests.py guest-all

FUZZ_SECONDS ?= 300

.PHONY: fuzz
fuzz:
	@scripts/setup fuzz
	nice $(PYTHON) -m tests.fuzz.run_atheris --seconds $(FUZZ_SECONDS)

.PHONY: bench
bench: setup
	$(SUDO) $(PYTHON) -m bench

.PHONY: bench-quick
bench-quick: setup
	$(SUDO) $(PYTHON) -m bench quick

.PHONY: bench-curves
bench-curves: setup
	$(SUDO) $(PYTHON) -m bench curves

.PHONY: soak
soak: setup
	$(SUDO) env SOAK_SECONDS=$${SOAK_SECONDS:-600} $(PYTHON) scripts/soak.py

.PHONY: dist
dist: setup
	rm -rf dist
	$(PYTHON) -m build --outdir dist .

.PHONY: install
install:
	DESTDIR="$(DESTDIR)" scripts/install "$(PREFIX)"

.PHONY: uninstall
uninstall:
	DESTDIR="$(DESTDIR)" scripts/install --remove "$(PREFIX)"

.PHONY: clean
clean:
	rm -rf build dist .venv ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f bpftrace_py/syntax/_parsetab.py
