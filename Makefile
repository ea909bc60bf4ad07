# One environment, .venv, made by uv from hashed pins. Where uv is missing it is installed into .venv first.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .venv/bin/uv)
READY := .venv/.ready
# How many processes run the tests, each a file at a time. 0: all in one process, for a debugger. Where Maven is, each
# process starts a Kafka and a PostgreSQL of its own, so there are fewer.
WORKERS ?= $(if $(shell command -v mvn),2,3)
# Tests start many processes. If each one compiled every module again, `make test` would take a fifth longer.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-full test test-minutes sick watch bench check check-events k8s-check k8s-lint k8s-run k8s-apply sbom format docs pins clean

help:            ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /'

setup: $(READY)  ## the environment, and nothing else

$(READY): pyproject.toml requirements/dev.txt requirements/uv.txt
	@command -v uv >/dev/null && uv venv -q --allow-existing .venv || { $(PYTHON) -m venv .venv && .venv/bin/pip install -q --require-hashes -r requirements/uv.txt; }
	VIRTUAL_ENV=.venv $(UV) pip sync -q --compile-bytecode --require-hashes requirements/dev.txt $(if $(filter .venv/bin/uv,$(UV)),requirements/uv.txt)
	VIRTUAL_ENV=.venv $(UV) pip install -q --no-build-isolation --no-deps -e .
	@touch $(READY)

demo: $(READY)   ## the whole service against simulators, then an audit of their books
	.venv/bin/orderflow demo $(ARGS)

demo-full: $(READY) ## the same on Kafka and PostgreSQL, every role in processes of its own
	.venv/bin/orderflow demo --kafka --postgres $(ARGS)

test: $(READY)   ## the tests, or those of one package: make test PACKAGE=adapters/store
	@test -e tests/$(PACKAGE) || { echo "there is no tests/$(PACKAGE)" >&2; exit 2; }
	.venv/bin/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not minutes" $(ARGS) $(if $(PACKAGE),tests/$(PACKAGE))

test-minutes: $(READY) ## the tests that wait for real minutes: outages, and many processes that are killed
	.venv/bin/pytest -m minutes $(ARGS)

sick: $(READY)   ## the whole service with one part sick at a time, and a table of what was seen; ARGS=--list
	.venv/bin/python -W ignore -m tests.sick $(ARGS)

watch: $(READY)  ## the demo with Debian's Prometheus beside it, our alerts and the metrics; its address is printed
	.venv/bin/python -W ignore -m tests.watch $(ARGS)

bench: $(READY)  ## every figure of docs/performance.md in one table, beside its peer or floor; ARGS=--quick
	.venv/bin/python -W ignore -m tests.bench $(ARGS)

check: $(READY)  ## lint, types, import rules, all tests: what CI runs
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory test-minutes
	@command -v npm >/dev/null || echo "npm is not here: the AsyncAPI document was not checked (make check-events)"

check-events: $(READY) ## the AsyncAPI document, with AsyncAPI's own parser; `check` does it where npm is
	.venv/bin/pytest tests/system/test_asyncapi.py

k8s-check: $(READY) ## the manifests, alerts and image in k8s/, without a cluster; `check` does it too
	.venv/bin/pytest tests/k8s -m "not minutes"

k8s-lint: $(READY) ## checkov, kube-score and hadolint, with the reason of each finding that stays; `check` does it without kube-score
	.venv/bin/python -m tests.k8s.lint

k8s-run: $(READY) ## the pods of overlays/demo-full as processes: rolled, lost, audited; minutes, and needs root; `check` does it too
	nice .venv/bin/pytest tests/k8s/test_pods.py

k8s-apply: $(READY) ## every overlay on a real API server; the first run builds it (Go, etcd), which takes many minutes
	.venv/bin/python -m tests.k8s.cluster.checks

sbom: $(READY)   ## sbom.json: every package of the image, with version and hashes, in CycloneDX
	$(UV) tool run -q --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml -o sbom.json

format: $(READY) ## format and mend what ruff can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

docs: $(READY)   ## write the generated documents
	.venv/bin/python docs/generate.py

pins: $(READY)   ## update the pinned versions of all packages
	for set in "requirements/uv.in -o requirements/uv.txt" "requirements/peer.in -o requirements/peer.txt" "requirements/lint.in -o requirements/lint.txt" "pyproject.toml -o requirements/run.txt" "--group dev pyproject.toml -o requirements/dev.txt"; do \
	  $(UV) pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $$set || exit 1; done

clean:           ## delete the environment and all caches
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis demo
