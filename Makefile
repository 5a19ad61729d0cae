PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench setup lock clean

run: $(VENV)/.serve
	@$(BIN)/mcp-edge serve --port $(PORT)

setup: $(VENV)/.dev

test: $(VENV)/.dev tests/node_modules/.installed
	$(BIN)/pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
