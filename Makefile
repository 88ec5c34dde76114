# The bare call does what CI does, in the environment of PYTHON.
PYTHON ?= python3

.PHONY: check lint types test slow bench vendor
check: lint types test slow

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest

slow:  # what takes more than a few seconds, a browser, or real logs beside the checkout
	$(PYTHON) -m pytest -n 3 -m 'slow or browser or corpus or campaign'

bench:
	$(PYTHON) -m benchmarks

vendor:  # rebuilds api/static/vendor/preact/ from the packages that vendoring/package-lock.json names; needs Node
	cd vendoring && npm ci && npm run build
