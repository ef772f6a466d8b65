# Two commands on a fresh machine with python3, python3-venv and make: `make demo` and `make test`.
#
#   make demo     builds the examples as releases, starts them, here and on hosts, shows the answers, stops them
#   make test     the gate: lint, types, imports, tests
#   make drills   the full counts of what the gate runs as a sample
#   make pythons  the suite with each Python of Debian 12, 13 and sid, in fresh trees of these
#   make bench    side-by-side measurements
#   make conformance  releases of well-known packages, upgraded in place and judged by their own tests
#
# Each sets up all that it needs (scripts/setup.sh), once. The tasks are sessions of noxfile.py.
# PYTHON picks another interpreter, ARGS goes to the task: make tests PYTHON=python3.13 ARGS="-k boot".

.DEFAULT_GOAL := test
.NOTPARALLEL:
PYTHON ?= python3
ARGS ?=
nox := .venv/bin/nox

.PHONY: test demo drills pythons bench conformance lint types imports tests setup lock hooks clean

test: setup
	@$(nox)

demo drills pythons bench conformance lint types imports tests: setup
	@$(nox) -s $@ -- $(ARGS)

setup:
	@sh scripts/setup.sh "$(PYTHON)"

# Lock again after an edit of pyproject.toml; with ARGS=--upgrade take newer versions, a week old at least. The pin of
# the uv that the set-up begins with follows the lock.
lock:
	@sh scripts/setup.sh "$(PYTHON)" boot
	@.build/boot/bin/uv lock --python .build/boot/bin/python $(ARGS)
	@.build/boot/bin/uv export --quiet --only-group boot --no-header --output-file requirements-bootstrap.txt
	@.build/boot/bin/uv export --quiet --package underway-runtime --no-emit-workspace --no-default-groups --no-header \
	  --output-file src/underway/runtime-requirements.txt

hooks: setup
	@.venv/bin/prek install

clean:
	@rm -rf .venv .build build
