# The two commands of a newcomer: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test check format lock clean

demo: $(VENV)/ready
	$(RUN) -m demo --output out/demo

test: check
	$(RUN) -m pytest -n auto --dist worksteal

check: $(VENV)/ready
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# uv makes the environment from the locked versions; where it is absent, pip brings it into a folder of its own.
$(VENV)/ready: requirements.lock setup.py
	PYTHON=$(PYTHON) VENV=$(VENV) sh scripts/setup.sh
	touch $@

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q setup.py \
	  --extra dev --extra training --extra report -o requirements.lock

clean:
	rm -rf $(VENV) out
