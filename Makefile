# Everything a contributor runs. `make test` is what must be green; `.ci/run` calls it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=
JOBS ?= 4
FUZZ_SECONDS ?= 10
VENV := .venv
BIN := $(VENV)/bin
RUST := Cargo.toml Cargo.lock $(shell find rust/core rust/python -name '*.rs' -o -name Cargo.toml)

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Waypost needs Python 3.11 or later; name one with: make PYTHON=python3.12 …"; exit 1; }
	@command -v cargo > /dev/null || { echo "Waypost needs a Rust toolchain: see https://rustup.rs"; exit 1; }
	@echo "== Python packages into $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.built: $(VENV)/.installed pyproject.toml $(RUST)
	@echo "== The extension, in release mode (about a minute the first time)"
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked --quiet > $(VENV)/build.log 2>&1 \
		|| { cat $(VENV)/build.log; exit 1; }
	@touch $@

.PHONY: build
build: $(VENV)/.built ## Build the extension and install the package, editable, into .venv

.PHONY: demo
demo: build ## Run `waypost demo`; ARGS=--once ends by itself
	$(BIN)/waypost demo $(ARGS)

.PHONY: test
test: test-rust lint test-python ## Run everything that must be green

.PHONY: test-rust
test-rust:
	@echo "== Rust tests, clippy, rustfmt"
	cargo test --locked --quiet
	cargo clippy --locked --quiet --all-targets -- -D warnings
	cargo fmt --check

.PHONY: lint
lint: build
	@echo "== ruff, mypy, the stub of the extension"
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest waypost._native

.PHONY: test-python
test-python: build
	@echo "== Python tests: unit, property, conformance, end to end, $(JOBS) at a time"
	$(BIN)/pytest -n $(JOBS) --no-loadscope-reorder $(ARGS)

.PHONY: test-rolling
test-rolling: build ## Restart all endpoints under load, 20,000 messages each time (about a minute)
	WAYPOST_TEST_ROLLING=full $(BIN)/pytest -s tests/e2e/test_rolling.py $(ARGS)

# The scanner and everything else that is there once for each kind of processor.
.PHONY: test-aarch64
test-aarch64: ## Test the scanner for aarch64 in an emulator (needs rustup, gcc-aarch64-linux-gnu, qemu-user)
	rustup target add aarch64-unknown-linux-gnu
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
		cargo test --locked --quiet --package waypost-core --target aarch64-unknown-linux-gnu --lib $(or $(ARGS),json)

.PHONY: record-ruler
record-ruler: build ## Record Event Ruler's verdicts anew (needs a JDK and Maven)
	$(BIN)/python tests/conformance/event_ruler/record.py record

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZ_SECONDS (needs a C++ compiler)
	rust/fuzz/run.sh all $(FUZZ_SECONDS)

.PHONY: bench
bench: build ## Run the benches and print their tables
	$(BIN)/python -m benches $(ARGS)

.PHONY: wheel
wheel: $(VENV)/.installed ## Build the wheel for this machine into dist/
	rm -rf dist
	$(BIN)/maturin build --release --locked --quiet --out dist

$(VENV)-wheels/.installed: requirements/wheels.txt
	@echo "== maturin and zig into $(VENV)-wheels"
	$(PYTHON) -m venv $(VENV)-wheels
	$(VENV)-wheels/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/wheels.txt
	@touch $@

# zig links against the oldest C library that a tag allows: manylinux_2_17 is glibc 2.17, musllinux_1_2 is musl 1.2.
WHEELS ?= $(foreach arch,x86_64 aarch64,$(arch)-unknown-linux-gnu $(arch)-unknown-linux-musl)
.PHONY: wheels
wheels: $(VENV)-wheels/.installed ## Build manylinux_2_17 and musllinux wheels for x86-64 and aarch64 into dist/
	rm -rf dist
	for target in $(WHEELS); do \
		[ -d "$$(rustc --print target-libdir --target $$target)" ] || rustup target add $$target; \
	done
	$(MAKE) --no-print-directory -j2 wheels-x86_64 wheels-aarch64

# The wheels of one processor share what is compiled for the host.
.PHONY: wheels-x86_64 wheels-aarch64
wheels-x86_64 wheels-aarch64: wheels-%: $(VENV)-wheels/.installed
	for target in $(filter $*-%,$(WHEELS)); do \
		case $$target in *-gnu) tag=manylinux_2_17 ;; *) tag=musllinux_1_2 ;; esac; \
		PATH="$(CURDIR)/$(VENV)-wheels/bin:$$PATH" CARGO_TARGET_DIR=target/wheels-$* \
			maturin build --release --locked --quiet --zig --target $$target --compatibility $$tag --out dist; \
	done

.PHONY: fmt
fmt: $(VENV)/.installed ## Format Rust and Python
	cargo fmt
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: deny
deny: ## Check licences, bans and sources of the Rust dependencies (builds cargo-deny the first time)
	@command -v target/tools/bin/cargo-deny > /dev/null || cargo install --quiet --locked --root target/tools cargo-deny
	target/tools/bin/cargo-deny check bans licenses sources

$(VENV)-docs/.installed: requirements/docs.txt
	@echo "== The generator of the site into $(VENV)-docs"
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

# The theme announces the successor of its generator with each build, unless told not to.
.PHONY: docs
docs: $(VENV)-docs/.installed ## Build the site of docs/ into target/site/, with all links checked
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict

.PHONY: docs-generate
docs-generate: build ## Write the pages of docs/reference/ that are made from the code anew
	$(BIN)/python docs/generate.py

.PHONY: lock
lock: ## Write the lock files anew
	cargo update --workspace
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml -o requirements/runtime.txt
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--extra http2 pyproject.toml requirements/dev.in -o requirements/dev.txt
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		requirements/docs.in -o requirements/docs.txt
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		requirements/wheels.in -o requirements/wheels.txt
	rm -rf $(VENV)-lock

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(VENV) $(VENV)-* target dist
