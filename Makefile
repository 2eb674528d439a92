# The targets use the tools of the active environment; CONTRIBUTING.md says how to make one.
PYTHON ?= python

.PHONY: check lint test wheel format sizes

# What every commit passes. The tests that run the tools are left out: `lint` has just run them.
check: lint
	$(PYTHON) -m pytest -m "not slow" --ignore=tests/architecture/test_tools.py

# pre-commit calls this, and tests/architecture/test_tools.py runs each line of it.
lint:
	ruff format --check .
	ruff check .
	mypy
	lint-imports

# Everything, as in the README's test command.
test:
	$(PYTHON) -m pytest

# Build into dist/; build again, install into a clean environment, run commands from another folder.
wheel:
	$(PYTHON) -m build --wheel --no-isolation
	$(PYTHON) -m pytest -n 0 tests/packaging

format:
	ruff check --fix .
	ruff format .

# For information: the files above their budget in lines (CONTRIBUTING.md), longest first.
sizes:
	@find evoopt benchmarks tests -name '*.py' -exec wc -l {} + | sort -rn \
	  | awk '$$2 != "total" && $$1 > ($$2 ~ /^tests/ ? 400 : $$2 ~ /strategies/ ? 200 : 300)'
