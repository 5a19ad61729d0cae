# PYTHON=… chooses the interpreter for the environments, PORT=… where `make run` listens, WORKERS=… how many processes
# run tests at once.
PYTHON ?= python3
PORT ?= 8000
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
LAMBDA := .venv-lambda
WORKER := .venv-worker-tools
WRANGLER := node_modules/.installed
NPM_STAMP := tests/node_modules/.installed
PIP := -m pip --disable-pip-version-check --quiet
LOCKED := install --require-hashes --no-deps
STALE = { echo "If $(@D) is older than $<, 'make clean' and try again."; exit 1; }
SOURCE := install --no-build-isolation --no-deps --no-index --editable .

# A container image may forbid to keep byte code: every process of the tests would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# uv trusts what the system trusts, as pip does.
export UV_SYSTEM_CERTS = 1

.PHONY: run setup test test-deep coverage check bench worker-packages worker-sources deploy-tools lock npm-lock clean
.DELETE_ON_ERROR:

run: $(VENV)/.serve
	@exec $(BIN)/mcp-edge serve --port $(PORT) --log-format text

setup: $(VENV)/.dev

# What is marked `serial` runs after everything else, with nothing beside it.
PARALLEL = $(BIN)/python -m pytest --numprocesses $(WORKERS)
SERIAL = $(BIN)/python -m pytest
TESTED = $(VENV)/.dev $(NPM_STAMP) $(WRANGLER) $(LAMBDA)/.installed $(WORKER)/.installed

test: $(TESTED)
	$(PARALLEL) -m "not serial and not deep"
	$(SERIAL) -m "serial and not deep"

# More inputs, engines and time for what `make test` shows too.
test-deep: $(TESTED)
	$(PARALLEL) -m "deep and not serial"
	$(SERIAL) -m "deep and serial"

# The tests that call the core in their own process: of what other processes run, nothing is counted.
IN_PROCESS = tests/wires tests/sdk tests/protocol tests/auth/identity tests/auth/resource tests/telemetry tests/my_server \
	tests/test_start.py tests/hosts/cloudflare/test_limiter.py
coverage: $(VENV)/.dev
	$(PARALLEL) --cov --cov-report=term -m "not serial and not deep" $(IN_PROCESS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(BENCH)/.installed $(NPM_STAMP)
	$(BENCH)/bin/python -m benchmarks

# What runs with a deployer's credentials, whole trees of it pinned by hashes: node_modules/.bin/wrangler, .venv-lambda/bin/sam.
deploy-tools: $(WRANGLER) $(LAMBDA)/.installed $(WORKER)/.installed

# `wrangler deploy` runs it first.
worker-packages: worker-sources $(WORKER)/.installed
	@$(WORKER)/bin/python requirements/vendor_worker.py

# What a Worker is made of, without what only other hosts choose.
UPLOAD := build/upload
WORKER_PRUNE := $(addprefix mcp_edge/,hosts/aws_lambda hosts/cli storage/choose.py storage/dynamodb*.py storage/sqlite.py \
	telemetry/powertools.py)
worker-sources:
	@rm -rf $(UPLOAD) && mkdir -p build && cp -R src $(UPLOAD) && cd $(UPLOAD) && rm -rf $(WORKER_PRUNE)

# A venv is made once; each lock is a stamp in it. What builds the project (hatchling) is in every lock, so that
# nothing is fetched without a hash. A lock is whole, so pip resolves nothing (--no-deps): pip before 23.3 does not apply
# the pin X==1 to a requirement X[extra]>=1 and takes the newest X, which has no hash here. `pip check` tells what a lock lacks.
$(VENV)/bin/python $(BENCH)/bin/python $(LAMBDA)/bin/python $(WORKER)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mcp-edge needs Python 3.11 or newer; PYTHON=… names one")'
	@echo "Making $(@D:/bin=) (once)"
	@$(PYTHON) -m venv $(@D:/bin=)

$(VENV)/.serve: requirements/serve.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing requirements/serve.txt"
	@$(BIN)/python $(PIP) $(LOCKED) -r requirements/serve.txt
	@$(BIN)/python $(PIP) $(SOURCE)
	@$(BIN)/python -m pip --disable-pip-version-check check || $(STALE)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing requirements/dev.txt"
	@$(BIN)/python $(PIP) $(LOCKED) -r requirements/dev.txt
	@$(BIN)/python $(PIP) $(SOURCE)
	@$(BIN)/python -m pip --disable-pip-version-check check || $(STALE)
	@touch $@ $(VENV)/.serve

$(BENCH)/.installed: requirements/bench.txt pyproject.toml | $(BENCH)/bin/python
	@echo "Installing requirements/bench.txt"
	@$(BENCH)/bin/python $(PIP) $(LOCKED) -r requirements/bench.txt
	@$(BENCH)/bin/python $(PIP) $(SOURCE)
	@$(BENCH)/bin/python -m pip --disable-pip-version-check check || $(STALE)
	@touch $@

$(LAMBDA)/.installed: requirements/lambda-test.txt | $(LAMBDA)/bin/python $(VENV)/.dev
	@echo "Installing requirements/lambda-test.txt"
	@$(BIN)/uv pip install --quiet --python $(LAMBDA)/bin/python --require-hashes --no-deps -r requirements/lambda-test.txt
	@$(BIN)/uv pip check --python $(LAMBDA)/bin/python || $(STALE)
	@touch $@

$(WORKER)/.installed: requirements/worker-tools.txt | $(WORKER)/bin/python
	@echo "Installing requirements/worker-tools.txt"
	@$(WORKER)/bin/python $(PIP) $(LOCKED) -r requirements/worker-tools.txt
	@$(WORKER)/bin/python -m pip --disable-pip-version-check check || $(STALE)
	@touch $@

# npm trusts what the system trusts, as pip and uv can: a network may have a certificate authority of its own.
NPM = NODE_USE_SYSTEM_CA=1 $(CURDIR)/$(BIN)/npm

$(WRANGLER): package-lock.json .npmrc | $(VENV)/.dev
	$(NPM) ci
	@touch $@

$(NPM_STAMP): tests/package-lock.json tests/.npmrc | $(VENV)/.dev
	cd tests && $(NPM) ci
	@touch $@

# `make lock` keeps what is pinned and fits; `make lock UPGRADE=--upgrade` takes the newest. The dev lock is made first
# and constrains the others, so that what is tested, measured and served is one set of versions.
LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command "make lock" $(UPGRADE)
COMPILE = $(BIN)/uv pip compile pyproject.toml $(LOCK)
# Tools only, without the project's own dependencies.
COMPILE_GROUP = $(BIN)/uv pip compile $(LOCK) --group
lock: $(VENV)/.dev npm-lock
	$(COMPILE) --extra serve --extra lambda --group dev -o requirements/dev.txt
	$(COMPILE) --extra serve --group build -c requirements/dev.txt -o requirements/serve.txt
	$(COMPILE) --group worker -c requirements/dev.txt -o requirements/worker.txt
	$(COMPILE) --extra lambda -c requirements/dev.txt -o requirements/lambda.txt
	$(COMPILE_GROUP) lambda-test -o requirements/lambda-test.txt
	$(COMPILE_GROUP) worker-tools -c requirements/dev.txt -o requirements/worker-tools.txt
	$(COMPILE) --extra serve --extra lambda --group dev --group bench -c requirements/dev.txt -o requirements/bench.txt

# .npmrc keeps `resolved`, which would name a registry's host, out of the locks.
npm-lock: $(VENV)/.dev
	$(NPM) install --package-lock-only
	cd tests && $(NPM) install --package-lock-only
	@! grep -n '"resolved"' package-lock.json tests/package-lock.json
	@for lock in package-lock.json tests/package-lock.json; do grep -q 'workerd-darwin-arm64": {' $$lock || { \
	  echo "This registry lacks some platforms' workerd: take their entries from $$lock as it was."; exit 1; }; done

clean:
	rm -rf $(VENV) $(BENCH) $(LAMBDA) $(WORKER) .aws-sam node_modules tests/node_modules build dist .pytest_cache .ruff_cache .coverage .hypothesis .import_linter_cache
