# Two commands, for ever: `make demo` runs the whole product, `make test` proves it. Both make the environment they need.
PYTHON ?= python3
VENV = .venv
RUN = $(VENV)/bin/python -m

.PHONY: demo test torture fuzz screenshots bench soak check format lint types lock wheel clean

demo: $(VENV)/ready
	$(RUN) monostat demo

test: $(VENV)/ready
	$(RUN) pytest -n auto --dist worksteal --durations=10

# Kills the daemon ROUNDS times among vendors that fail, then counts: nothing lost, nothing doubled. SEED replays a run.
ROUNDS ?= 200
SEED ?= 1
torture: $(VENV)/ready
	$(RUN) tests.torture --rounds $(ROUNDS) --seed $(SEED)

# Vendors that answer anything at all, FUZZ times as many examples as `make test` tries of each.
FUZZ ?= 50
fuzz: $(VENV)/ready
	FUZZ=$(FUZZ) $(RUN) pytest -o timeout=0 tests/test_nonsense.py

# Every page in every state as pictures, and screenshots/index.html to see them all.
screenshots: $(VENV)/ready
	$(RUN) tests.screenshots

# The table of benchmarks/RESULTS.md, on this machine; apt-get install wrk nginx.
bench: $(VENV)/ready
	$(RUN) benchmarks

# Ten thousand viewers and twenty changes, straight and through the edge, then half an hour of coming and going.
SECONDS = 1800
soak: $(VENV)/ready
	$(RUN) benchmarks.soak --seconds $(SECONDS)

check: $(VENV)/ready lint types test

lint:
	$(RUN) ruff format --check .
	$(RUN) ruff check .

types:
	$(RUN) mypy

format: $(VENV)/ready
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

wheel: $(VENV)/ready
	$(RUN) hatchling build -t wheel

# Writes the lock file anew from pyproject.toml; uv must be installed.
lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --group dev pyproject.toml -o requirements.txt --no-header --upgrade

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
