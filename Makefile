# Everything a checkout can do. Each target first sees to it that .venv holds what requirements.lock says.
.DEFAULT_GOAL := help
.PHONY: help bootstrap demo dev test bench lint lock documents

BIN := .venv/bin

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## Install what is needed into .venv (every other target does it, too)
	@scripts/bootstrap

demo: bootstrap ## Run the sample workflow on the sample photo, with everything it needs; then stop it all
	@$(BIN)/weft demo

dev: bootstrap ## Run everything locally until Ctrl-C (PORT=8080 chooses the gateway's port)
	@exec $(BIN)/weft dev $(if $(PORT),--port $(PORT))

test: lint ## Check style, types and architecture, and run all tests
	$(BIN)/pytest

bench: bootstrap ## Measure Weft beside Celery (ARGS=--help says what can be chosen)
	$(BIN)/python -m benchmarks.run $(ARGS)

lint: bootstrap ## Check style, types and architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

lock: bootstrap ## Write requirements.lock anew from the pyproject.toml files
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lock

documents: bootstrap ## Write docs/asyncapi.json and docs/openapi.json anew from the code
	scripts/documents
