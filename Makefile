# The two commands of a newcomer: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
ENGINES := .venv-engines
FUZZ := .venv-fuzz
PRISM := github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0
RUN := $(VENV)/bin/python

.PHONY: demo test docs coverage wheel docker test-engines test-flink test-browser fuzz bench check format audit lock clean

demo: $(VENV)/ready
	$(RUN) -m demo --output out/demo

test: check
	$(RUN) -m pytest -n auto --dist worksteal --ignore tests/browser

# The site of docs/ in out/docs: every link between pages must lead somewhere.
docs: $(VENV)/ready
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs out/docs

# Which lines and branches the tests pass, those of worker processes included; what they do not, and why: docs/explanation/architecture.md.
coverage: $(VENV)/ready
	$(RUN) -m pytest -n auto --dist worksteal --ignore tests/browser --ignore tests/engines --cov --cov-report term --cov-report html:out/coverage

# The same jobs on Prism (built with Go, where there is one), on a Flink cluster (fetched with mvn, where there is one),
# and submitted to stand-ins for Google's services.
test-engines: $(ENGINES)/ready
	-command -v go >/dev/null && GOBIN=$(CURDIR)/$(ENGINES)/bin go install $(PRISM)
	-command -v mvn >/dev/null && mvn -q -B -f tests/engines/flink-pom.xml dependency:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(ENGINES)/flink
	PATH="$(CURDIR)/$(ENGINES)/bin:$$PATH" $(ENGINES)/bin/python -m pytest tests/engines

# A whole build on the Flink cluster; in test-engines there is one of its jobs, and a task manager killed in it.
test-flink: test-engines
	FLINK_WHOLE_BUILD=1 $(ENGINES)/bin/python -m pytest tests/engines/test_flink.py

# The HTML pages in a real Chromium without a screen: Debian's, which root may have installed here.
test-browser: $(VENV)/ready
	sh scripts/chromium.sh
	$(RUN) -m pytest tests/browser -rs

# Coverage-guided fuzzing of what reads strangers' bytes (CONTRIBUTING.md): TARGET is one of tests/fuzz/targets, or all of them.
SECONDS ?= 60
fuzz: $(FUZZ)/ready
	$(FUZZ)/bin/python -m tests.fuzz $(TARGET) --seconds $(SECONDS)

check: $(VENV)/ready
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/codespell
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# uv makes the environment from the locked versions; where it is absent, pip brings it into a folder of its own.
$(VENV)/ready: requirements.lock setup.py
	PYTHON=$(PYTHON) VENV=$(VENV) sh scripts/setup.sh
	touch $@

$(ENGINES)/ready: requirements-engines.lock setup.py
	PYTHON=$(PYTHON) VENV=$(ENGINES) LOCK=requirements-engines.lock sh scripts/setup.sh
	touch $@

# As $(VENV), and atheris, which has wheels for Linux alone.
$(FUZZ)/ready: requirements.lock requirements-fuzz.lock setup.py
	PYTHON=$(PYTHON) VENV=$(FUZZ) LOCK="requirements.lock requirements-fuzz.lock" sh scripts/setup.sh
	touch $@

# Builds the wheel, and uses it in empty environments as base, with [training] and with all.
wheel: $(VENV)/ready
	sh scripts/wheel.sh

# The image of the pipeline, and its version as the user of the image sees it.
docker:
	docker build -t controlled-noise .
	docker run --rm controlled-noise --version

# Peers need an environment of their own: their requirements and ours exclude each other. SPDL loads FFmpeg's libraries,
# such as Debian's libavdevice59.
PEERS := img2dataset faiss-cpu usearch spdl grain pylance mosaicml-streaming simplejpeg
bench: $(VENV)/ready
	$(VENV)/bin/python -m venv .venv-peers 2>/dev/null || uv venv --quiet --clear .venv-peers
	.venv-peers/bin/python -m pip --version >/dev/null 2>&1 \
	  && .venv-peers/bin/python -m pip install --quiet $(PEERS) \
	  || uv pip install --quiet --python .venv-peers $(PEERS)
	$(RUN) -m benchmarks --peers .venv-peers/bin/python $(if $(VOTES),--votes $(VOTES))

# Asks the advisory databases about the locked versions; needs the network.
audit:
	uvx pip-audit --disable-pip --require-hashes -r requirements.lock

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q setup.py \
	  --extra dev --extra training --extra report -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q setup.py \
	  --extra engines -c requirements.lock -o requirements-engines.lock
	printf '%s\n' 'atheris<3.1; python_version < "3.12"' 'atheris>=3.1; python_version >= "3.12"' | uv pip compile \
	  --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q - -o requirements-fuzz.lock

clean:
	rm -rf $(VENV) $(ENGINES) $(FUZZ) $(VENV)-uv $(ENGINES)-uv $(FUZZ)-uv .venv-peers out
