# Everything a checkout can do. Each target first sees to it that .venv holds what requirements.lock says.
.DEFAULT_GOAL := help
.PHONY: help bootstrap demo dev test chaos bench bench-large bench-replicas bench-history bench-crop bench-llm fuzz lint lock documents

BIN := .venv/bin

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## Install what is needed into .venv (every other target does it, too)
	@scripts/bootstrap

demo: bootstrap ## Run the sample workflow on the sample photo, with everything it needs; then stop it all
	@$(BIN)/weft demo

dev: bootstrap ## Run everything locally until Ctrl-C (PORT=8080 chooses the gateway's port)
	@exec $(BIN)/weft dev $(if $(PORT),--port $(PORT))

test: lint ## Check style, types and architecture, and run all tests
	$(BIN)/pytest

chaos: bootstrap ## Kill, cut and restart everything, again and again, for up to 20 minutes (ARGS='-k broker' chooses)
	$(BIN)/python -m tests.chaos $(ARGS)

bench: bootstrap ## Measure Weft beside its peers, 20 minutes (ARGS=--quick: 3; ARGS=--help says what can be chosen)
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-large: bootstrap ## Measure runs of 10,000 nodes, and what they cost others
	$(BIN)/python -m benchmarks.large $(ARGS)

bench-replicas: bootstrap ## Measure two and three orchestrators and run trackers beside one
	$(BIN)/python -m benchmarks.replicas $(ARGS)

bench-history: bootstrap ## Measure what is asked of a history of a million runs
	$(BIN)/python -m benchmarks.history $(ARGS)

bench-crop: bootstrap ## Measure crops beside the bare Pillow calls
	$(BIN)/python -m benchmarks.crop $(ARGS)

bench-llm: bootstrap ## Measure 1,000 model calls at a time
	$(BIN)/python -m benchmarks.llm $(ARGS)

fuzz: bootstrap ## Feed mutated pictures to the decoding processes (ARGS='--count 100000')
	$(BIN)/python -m tests.fuzz $(ARGS)

lint: bootstrap ## Check style, types and architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

lock: bootstrap ## Write requirements.lock anew from the pyproject.toml files
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lock

documents: bootstrap ## Write docs/asyncapi.json and docs/openapi.json anew from the code
	scripts/documents
