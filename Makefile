# Two commands do everything from a fresh clone: `make run` (the main job) and `make test`.
# Each builds its own virtual environment in .venv first; nothing is installed by hand.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CLIENTS ?= 1000
DIM     ?= 100000
DROPOUT ?= 0.1
INPUTS  ?= 1000000
SECONDS_EACH ?= 0
JOBS ?= 2
TIMES ?= 50
AUDIT ?= --quick

.DEFAULT_GOAL := help
.PHONY: help run demo audit audits test test-long test-lowest lint types format bench bench-all fuzz mutation vectors docs wheel check clean

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "secagg needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "this Python cannot make a virtual environment (on Debian: apt-get install python3-venv)"; exit 1; }
	@echo "installing into $(VENV) (a minute or two)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(STAMP)    ## the main job: 1000 clients, 100,000 numbers each, a tenth vanish, the sum is exact
	$(BIN)/secagg round --clients $(CLIENTS) --dim $(DIM) --dropout $(DROPOUT)

demo: $(STAMP)   ## federated learning on real data, in the clear and through secure aggregation
	$(BIN)/secagg demo

audit: $(STAMP)  ## what a relying party checks for itself, and a report in audit-report/
	$(BIN)/secagg audit --report audit-report

audits: $(STAMP) ## the audit TIMES times in a row, each with another seed; ends at the first that does not pass (hours)
	@mkdir -p build/audits
	@for time in $$(seq $(TIMES)); do \
		$(BIN)/secagg audit $(AUDIT) --report build/audits/$$time > build/audits/$$time.txt 2>&1 \
			|| { cat build/audits/$$time.txt; echo "audit $$time of $(TIMES) did not pass"; exit 1; }; \
		echo "$$time of $(TIMES): $$(grep PASSED build/audits/$$time.txt)"; \
	done

# Tests start hundreds of processes of ours. Each would compile every module anew where the environment forbids to keep
# what was compiled, as containers often do.
test test-long test-lowest: export PYTHONDONTWRITEBYTECODE =
# Another mypy cannot read what the first has kept.
test-lowest: export MYPY_CACHE_DIR = .venv-lowest/mypy

test: $(STAMP)   ## the test suite (some minutes on two cores)
	$(BIN)/python -m pytest -n auto --dist worksteal -p no:benchmark -m "not long"

test-long: $(STAMP)  ## what takes too long for every day: full-size rounds, deeper property tests
	$(BIN)/python -m pytest -m long

# Has other versions of everything, and so an environment of its own.
test-lowest:     ## the suite against the lowest versions that pyproject.toml admits
	$(MAKE) --no-print-directory VENV=.venv-lowest .venv-lowest/.lowest
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal -p no:benchmark -m "not long"

.venv-lowest/.lowest: pyproject.toml tests/constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	@echo "installing into .venv-lowest (a minute or two)"
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint tests/constraints-lowest.txt --editable '.[test,flower,ray]'
	@touch $@

lint: $(STAMP)   ## ruff, rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

format: $(STAMP) ## lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## compare with peers and physical limits, and a report in bench-report/; BENCH=--quick for less
	$(BIN)/python -m bench.suite $(BENCH) --report bench-report

bench-all: $(STAMP)  ## every benchmark there is, at the sizes that were asked for (an hour)
	$(BIN)/python -m pytest bench -p no:cacheprovider --override-ini=filterwarnings= -s

fuzz: $(STAMP)   ## every decoder against INPUTS hostile inputs, guided by coverage (up to half an hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' || \
		echo "atheris cannot be installed here: the fuzzer goes unguided"
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS) --seconds $(SECONDS_EACH) --jobs $(JOBS)

vectors: $(STAMP) ## replay all test vectors with the second implementation, which shares no code
	$(BIN)/python -m tests.checker

mutation: $(VENV)/.with-mutation  ## mutants of what security hangs on (many hours; goes on where it stopped); MUTATION='dp.zcdp*' for some
	HYPOTHESIS_PROFILE=mutation $(BIN)/python -m mutmut run --max-children $(JOBS) $(MUTATION)
	$(BIN)/python -m mutmut results

docs: $(VENV)/.with-docs  ## the site, with the API reference, into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "open build/site/index.html, or to search in it, too: python3 -m http.server --bind 127.0.0.1 -d build/site"

# What few commands need is added when the first of them runs.
$(VENV)/.with-%: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# Shows that the wheel brings all it needs: its environment holds nothing else.
# The wheel is built from the source distribution, which shows that this is whole.
wheel: $(STAMP)  ## build source distribution and wheel, and import the wheel in a clean environment
	rm -rf build dist .venv-wheel
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd /tmp && $(CURDIR)/.venv-wheel/bin/python -c 'import secagg, dp, protocols; print("wheel imports:", secagg.__version__)'
	cd /tmp && $(CURDIR)/.venv-wheel/bin/python -c 'from protocols.audit import chosen, run; done = run(chosen(["vectors", "replay"]), seed=1); print("vectors met:", done.passed, *(outcome.reason for outcome in done.outcomes if outcome.reason), sep="\n"); raise SystemExit(not done.passed)'
	rm -rf .venv-wheel

check: lint types test docs wheel  ## all that CI asks

clean:           ## remove what was built
	rm -rf .venv .venv-lowest .venv-wheel mutants bench/peers/.venvs bench/out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
