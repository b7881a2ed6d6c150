# Two commands, for ever: `make demo` runs the whole product, `make test` proves it. Both make the environment they need.
PYTHON ?= python3
VENV = .venv
RUN = $(VENV)/bin/python -m
# What is started again and again, as tests do by the hundred, is compiled once.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test torture fuzz screenshots bench soak check format lint types lock wheel clean

demo: $(VENV)/runs
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

# Every page in every state and what staff see in Slack as pictures; screenshots/index.html has them all.
screenshots: $(VENV)/ready
	$(RUN) tests.screenshots

# The table of benchmarks/RESULTS.md, on this machine; apt-get install wrk nginx.
bench: $(VENV)/ready
	$(RUN) benchmarks

# Ten thousand viewers and twenty changes, straight and through the edge, then half an hour of coming and going
# beside 5,000 imported incidents.
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

# Writes both lock files anew from pyproject.toml: what runs, which the wheel ships, and what develops. uv must be installed.
LOCK = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml
lock:
	$(LOCK) --no-annotate -o constraints.txt --upgrade
	$(LOCK) --group dev -c constraints.txt -o requirements.txt --upgrade

# What runs needs no tools of ours, and no pip of its own, which takes longest: `make demo` is up soon.
INSTALL = install --disable-pip-version-check --require-hashes --no-deps -r
$(VENV)/runs: constraints.txt
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(VENV)/bin/python $(INSTALL) constraints.txt --no-compile \
		|| { $(RUN) ensurepip && $(RUN) pip $(INSTALL) constraints.txt --no-compile; }
	touch $@

$(VENV)/ready: $(VENV)/runs requirements.txt pyproject.toml
	$(RUN) ensurepip
	$(RUN) pip $(INSTALL) requirements.txt
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
