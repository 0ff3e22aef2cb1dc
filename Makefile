# Everything is installed into .venv, .frameworks, .observe, web/node_modules and examples/*/node_modules of this checkout.
# On a fresh machine with make, Python 3.11+ and Node 20.19+, `make run` and `make test` are all.

VENV := .venv
BIN := $(VENV)/bin
PYTHON_STAMP := $(VENV)/.installed
WEB_STAMP := web/node_modules/.installed
NODE_CLIENT_STAMP := examples/node-client/node_modules/.installed
NEXTJS_STAMP := examples/nextjs/node_modules/.installed
ASSISTANT_UI_STAMP := examples/assistant-ui/node_modules/.installed
PACKAGES_STAMP := web/node_modules/.packages
FRAMEWORKS_STAMP := .frameworks/.installed
PAGE := edge/static/index.html
PACKAGE_SOURCES := $(shell find web/packages \( -name node_modules -o -name 'dist*' \) -prune -o -type f -print 2>/dev/null)
WEB_SOURCES := $(shell find web \( -name node_modules -o -name 'dist*' \) -prune -o -type f -print 2>/dev/null)
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# Tests go on without Node (and say so at their end), unless this is CI.
HAVE_NODE := $(shell scripts/require_node.sh 2>/dev/null && echo yes)
NEEDS_NODE := $(if $(HAVE_NODE)$(CI),$(WEB_STAMP) $(NODE_CLIENT_STAMP) $(NEXTJS_STAMP) $(ASSISTANT_UI_STAMP) $(PAGE))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Container images often set it. The tests start some 500 processes, and each would compile all that it
# imports: 1.4 s of CPU for an edge instead of 0.5.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: export TOKENWIRE_AGENT ?= assistant portfolio
run observe: export TOKENWIRE_MODEL_TOOLS ?= calculator portfolio
run: $(PYTHON_STAMP) $(PAGE) model ## install, build, fetch the model, and serve the page (ARGS="--port 8080")
	@exec $(BIN)/tokenwire up $(ARGS)

.PHONY: observe
observe: $(PYTHON_STAMP) $(PAGE) model ## run with Prometheus and Phoenix (730 MB, once), and show a stall (ARGS="--help")
	@exec $(BIN)/python -m scripts.observe $(ARGS)

.PHONY: test test-setup
test-setup: system $(PYTHON_STAMP) $(FRAMEWORKS_STAMP) $(NEEDS_NODE) model
test: test-setup ## run all tests, after installing what they need (ARGS="-k cli")
	@PYTHON=$(BIN)/python scripts/run_tests.sh $(ARGS)

.PHONY: check
check: check-lint check-types check-boundaries check-proto check-tree check-docs check-deploy check-web check-coverage ## lint, types, boundaries, contract, generated code, locks, docs, deployment, coverage

.PHONY: check-lint check-types check-boundaries check-proto check-tree check-docs check-deploy check-web check-coverage
check-lint: $(PYTHON_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
check-types: $(PYTHON_STAMP)
	$(BIN)/mypy
check-boundaries: $(PYTHON_STAMP)
	$(BIN)/lint-imports
check-proto: $(PYTHON_STAMP)
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against proto/released.binpb
	$(BIN)/python scripts/gen_proto.py --check
check-tree: $(PYTHON_STAMP)
	$(BIN)/python scripts/check_tree.py
	$(BIN)/python scripts/check_locks.py
check-docs: $(PYTHON_STAMP)
	$(BIN)/python scripts/gen_settings.py --check
	$(BIN)/python -m scripts.gen_reasons --check
	$(BIN)/python scripts/check_hints.py
check-deploy: $(PYTHON_STAMP)
	VENV=$(VENV) scripts/check_deploy.sh
check-web: $(WEB_STAMP)
	npm --prefix web run check
check-coverage: $(PYTHON_STAMP)
	$(BIN)/python scripts/check_coverage.py

.PHONY: format
format: $(PYTHON_STAMP) $(WEB_STAMP) ## put all sources into their form
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	$(BIN)/buf format --write
	npm --prefix web run format

.PHONY: bench bench-full bench-log
bench: $(PYTHON_STAMP) ## our edge beside a naive bridge, Go, Node and raw uvloop: cost, latency, budgets (10 minutes; needs a C compiler)
	$(BIN)/python -m bench.streams --out bench/results/streams.json --page $(ARGS)
bench-full: $(PYTHON_STAMP) ## ... and grpc-gateway, idle streams, storms, slow readers, cancelling, 100,000 disconnects (15 minutes)
	$(BIN)/python -m bench.streams --full --out bench/results/streams-full.json --page $(ARGS)
bench-log: $(PYTHON_STAMP) ## ... what each store of runs adds to a token, and its budgets (8 minutes)
	$(BIN)/python -m bench.run_log --out bench/results/run-log.json --page docs/performance.md

.PHONY: rolling-restart
rolling-restart: $(PYTHON_STAMP) ## restart edges and cores under 200 live streams, with and without time to drain
	$(BIN)/python -m bench.rolling_restart --json bench/results/rolling-restart.json $(ARGS)
	$(BIN)/python -m bench.rolling_restart --drain 2 --json bench/results/rolling-restart-short-drain.json $(ARGS)

.PHONY: vanish
vanish: $(PYTHON_STAMP) ## clients that vanish at random: what is left of them (ARGS="--clients 2000")
	$(BIN)/python -m bench.vanish $(ARGS)

.PHONY: soak
soak: $(PYTHON_STAMP) ## ten minutes of mixed load: does anything grow, is anything lost? (ARGS="--seconds 120")
	$(BIN)/python -m bench.soak --json bench/results/soak.json $(ARGS)

.PHONY: proto
proto: $(PYTHON_STAMP) ## generate tokenwire/v1 from proto/
	$(BIN)/buf format --write
	$(BIN)/buf lint
	$(BIN)/python scripts/gen_proto.py

.PHONY: docs
docs: $(PYTHON_STAMP) ## renew the tables of docs/operations.md after a change of settings or options
	$(BIN)/python scripts/gen_settings.py

.PHONY: lock
lock: $(PYTHON_STAMP) ## renew requirements/ after a change of pyproject.toml (UPGRADE=1: newest versions)
	$(LOCK) pyproject.toml --extra embedded --group dev -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra embedded --constraint requirements/dev.txt -o requirements/runtime.txt
	echo uv | $(LOCK) - --constraint requirements/dev.txt -o requirements/uv.txt
	echo 'arize-phoenix>=20.26.1' | $(LOCK) - -o requirements/observe.txt
	printf '%s\n' 'langchain-core>=1.0' 'langgraph>=1.0' 'openai-agents>=0.20' | $(LOCK) - --constraint requirements/dev.txt -o requirements/frameworks.txt

.PHONY: page
page: $(PAGE) ## build the page into edge/static

.PHONY: packages
packages: $(WEB_STAMP) ## build the packages for npm into web/dist, as tarballs
	npm --prefix web run build --workspace @tokenwire/client --workspace @tokenwire/react
	@mkdir -p web/dist
	npm --prefix web pack --workspace @tokenwire/client --workspace @tokenwire/react --pack-destination "$(CURDIR)/web/dist" --silent
	@ls web/dist/*.tgz

.PHONY: node24
node24: $(WEB_STAMP) ## build and test the packages for npm under Node 24, which npm brings (190 MB, once)
	@scripts/test_node.sh 24

.PHONY: clients
clients: system $(PYTHON_STAMP) ## build the clients of examples/ in each language whose tools are here, and run them against real cores
	@PYTHON=$(BIN)/python scripts/run_clients.sh $(ARGS)

.PHONY: venv
venv: $(PYTHON_STAMP) ## install Python's packages into .venv

.PHONY: frameworks
frameworks: $(FRAMEWORKS_STAMP) ## install LangGraph, LangChain and OpenAI's Agents SDK into .frameworks, for their tests

.PHONY: model
model: $(PYTHON_STAMP) ## fetch the embedded model (93 MB, once) into the user's cache folder
	@$(BIN)/python -m agent_core.agents.embedded

.PHONY: system
system: ## say which programs the tests need; as root on Debian, install them
	@scripts/ensure_system.sh

.PHONY: clean
clean: ## remove what was built and all caches
	rm -rf edge/static examples/nextjs/.next examples/assistant-ui/dist examples/*-client/target dist build web/dist web/packages/*/dist htmlcov tests/artifacts .coverage* .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find . -name node_modules -prune -o -name .venv -prune -o -name .frameworks -prune -o -name .observe -prune \
		-o -name __pycache__ -type d -print0 | xargs -0 rm -rf

.PHONY: distclean
distclean: clean ## ... and all that was installed into this checkout
	rm -rf $(VENV) .frameworks .observe web/node_modules examples/*/node_modules examples/rust-client/Cargo.lock examples/python-client/tokenwire

$(PYTHON_STAMP): requirements/dev.txt requirements/uv.txt pyproject.toml examples/portfolio/pyproject.toml
	scripts/make_venv.sh $(VENV)
	@touch $@

$(FRAMEWORKS_STAMP): requirements/frameworks.txt scripts/make_frameworks.sh $(PYTHON_STAMP)
	scripts/make_frameworks.sh $(VENV) .frameworks
	@touch $@

$(WEB_STAMP): web/package-lock.json
	@scripts/require_node.sh
	npm --prefix web ci
	@touch $@

$(NODE_CLIENT_STAMP): examples/node-client/package-lock.json
	@scripts/require_node.sh
	npm --prefix examples/node-client ci
	@touch $@

# The examples install copies of our packages, as they are when packed: built before, and anew after each change of
# them. A stamp, and not what is built: `make check` builds it too, beside the tests.
$(PACKAGES_STAMP): $(WEB_STAMP) $(PACKAGE_SOURCES)
	npm --prefix web run build --workspace @tokenwire/client --workspace @tokenwire/react
	@touch $@

$(NEXTJS_STAMP): examples/nextjs/package-lock.json $(PACKAGES_STAMP)
	npm --prefix examples/nextjs ci
	@touch $@

$(ASSISTANT_UI_STAMP): examples/assistant-ui/package-lock.json $(PACKAGES_STAMP)
	npm --prefix examples/assistant-ui ci
	@touch $@

$(PAGE): $(WEB_STAMP) $(WEB_SOURCES)
	npm --prefix web run build
	@touch $@
