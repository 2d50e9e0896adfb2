# make demo      install, then train and evaluate a small model and write output/demo/index.html
# make test      install, then lint, types and tests: 16 minutes on two cores of 2017
# make test-fast only tests that take no more than a second or two
# make test-long only the exhaustive forms of tests, before a release: an hour
# make docs      the site in output/docs; a broken link or a missing reference fails
# make release   sdist and wheel in dist/, checked
# make lint      ruff, types, and the imports between the rooms
# make install   only the virtual environment .venv, with everything in it
#
# PROJECT=<Name>   the system that `make demo` shows: a folder in projects/
# PYTHON=<path>    the Python (3.10 or later) that .venv is made with
# WORKERS=<n>      processes that run tests
# PYTEST_ARGS=...  more arguments for pytest, such as '-k matcher'

PROJECT ?= VisTR
PYTHON ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Written last, so that an interrupted installation is taken up again.
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-fast test-long docs release lint install clean

demo: install
	$(BIN)/python -m demo.quick_start --project $(PROJECT)

# The budgets, of a test and of all, are seconds of one core of an AMD EPYC (Zen 1); see tests/helpers/budget.py.
# All tests took 1,819 of them on 1 December 2026.
test: lint
	$(PYTEST) -m "not long" --test-budget 60 --total-budget 1800 $(PYTEST_ARGS)

test-fast: install
	$(PYTEST) -m "not slow and not long" $(PYTEST_ARGS)

test-long: install
	$(PYTEST) -m long $(PYTEST_ARGS)

docs: install
	$(BIN)/python -m sphinx -b html -q -W --keep-going -j 2 docs output/docs

release: install
	rm -rf build dist  # of build/, files that have gone would be in the wheel
	$(PIP) install --quiet -c constraints.txt --no-build-isolation --editable '.[release]'
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# .lint/d2video holds links to the rooms and to the projects by their import names.
lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs projects d2video demo benchmarks configs
	rm -rf .lint && mkdir -p .lint/d2video/projects
	cd .lint/d2video && ln -s $$(ls -d ../../d2video/* | grep -v /projects) .
	cd .lint/d2video/projects && ln -s ../../../d2video/projects/__init__.py .
	cd .lint/d2video/projects && ln -s $$(dirname ../../../projects/*/*/__init__.py) .
	$(BIN)/mypy
	cd .lint && ../$(BIN)/lint-imports --config ../pyproject.toml

install: $(INSTALLED)

$(BIN)/python:
	@echo "== 1/5 virtual environment $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is older than 3.10: run make PYTHON=<path to a newer one>" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "error: $(PYTHON) cannot make virtual environments: on Debian or Ubuntu, apt-get install python3-venv" >&2; exit 1; }

$(INSTALLED): setup.py constraints.txt d2video/cli/install_detectron2.py | $(BIN)/python
	@echo "== 2/5 build tools"
	$(PIP) install -c constraints.txt setuptools wheel
	@echo "== 3/5 d2video and what it needs (PyTorch with CUDA: 5.5 GB on Linux)"
	$(PIP) install -c constraints.txt --no-build-isolation --editable '.[dev]'
	@echo "== 4/5 detectron2"
	$(BIN)/d2video install-detectron2 --constraint constraints.txt
	@echo "== 5/5 trackeval (without what it asks for: a second OpenCV)"
	$(PIP) install --no-deps -c constraints.txt trackeval
	@touch $@

clean:
	rm -rf $(VENV) output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
