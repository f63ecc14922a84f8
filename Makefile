# emoray: `make` lists the targets. Every target sets up .venv by itself.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Where `make train` finds and leaves things; `make train MIDI=folder PRESET=baseline WORKERS=4`.
MIDI ?= midi
METADATA ?=
LABELS ?=
CORPUS ?= corpus
EMOTION ?= emotion.json
PRESET ?= expressive
RUN ?= runs/$(PRESET)
WORKERS ?= 1
TRAIN_OPTIONS ?=
CHECKPOINT ?= pretrained
EVALUATION ?= evaluation
# `make bench MIDI=folder`: what else it measures if it is given, and where the figures go.
FACES ?=
VOICES ?=
BENCH ?= bench
# What `make pretrain` learns from, MAESTRO v3.0.0 unpacked, and for how many minutes, by one worker a core.
MAESTRO ?= maestro-v3.0.0
MINUTES ?= 105
pretrain: WORKERS := 2
PRETRAIN ?= runs/pretrain
PRETRAINED := emoray/pretrained/expressive

# A cluster with a token takes no caller without it; RAY_ADDRESS names the cluster, if any.
ifdef RAY_ADDRESS
export RAY_AUTH_MODE ?= token
endif

.PHONY: help setup demo test test-fast test-full check format doctor ingest cluster train pretrain evaluate docs gallery bench lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## Install everything into .venv, as the lock files say

$(READY): requirements.lock requirements-no-deps.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "emoray needs Python 3.11 or newer; run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-compile --no-deps -r requirements-no-deps.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -qq -j 0 .venv/lib emoray || true # by all cores, as pip does not; some packages hold Python 2
	@touch $(READY)

demo: $(READY) ## Go through everything on the embedded pieces, and compose with the shipped network
	$(BIN)/emoray demo

test: $(READY) test-fast ## All tests: those without a cluster, then those on a local Ray
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not full" tests/faults tests/ray

test-fast: $(READY) ## The tests that start no Ray cluster
	$(BIN)/python -m pytest -q -n auto emoray tests/unit tests/fuzz tests/repository

test-full: $(READY) test-fast ## All tests at full length: ten kills, long trainings; takes an hour
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests/faults tests/ray

check: $(READY) ## Lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

doctor: $(READY) ## What is installed, what is missing, how to mend it
	$(BIN)/emoray doctor

ingest: $(READY) ## MIDI=folder [METADATA=csv] to CORPUS
	$(BIN)/emoray ingest $(MIDI) --out $(CORPUS) $(if $(METADATA),--metadata $(METADATA))

cluster: $(READY) ## CORPUS [LABELS=csv] to EMOTION
	$(BIN)/emoray cluster $(CORPUS) --out $(EMOTION) --preset $(PRESET) $(if $(LABELS),--labels $(LABELS))

train: $(READY) ## MIDI to CORPUS to EMOTION to RUN, here or on RAY_ADDRESS; what is there is kept
	test -f $(CORPUS)/_SUCCESS.json || $(MAKE) ingest
	test -f $(EMOTION) || $(MAKE) cluster
	$(BIN)/emoray train $(CORPUS) --emotion $(EMOTION) --preset $(PRESET) --out $(RUN) --workers $(WORKERS) $(if $(wildcard $(RUN)/run.json),--resume) $(TRAIN_OPTIONS)

pretrain: $(READY) ## MAESTRO=folder [MINUTES=105] to the shipped checkpoint; what is there is kept
	test -f $(PRETRAIN)/corpus/_SUCCESS.json || $(BIN)/emoray ingest $(MAESTRO) --out $(PRETRAIN)/corpus --metadata $(MAESTRO)/maestro-v3.0.0.csv --only-listed
	test -f $(PRETRAIN)/emotion.json || $(BIN)/emoray cluster $(PRETRAIN)/corpus --out $(PRETRAIN)/emotion.json --preset expressive $(if $(LABELS),--labels $(LABELS) --hold-out-judges)
	$(BIN)/emoray train $(PRETRAIN)/corpus --emotion $(PRETRAIN)/emotion.json --preset expressive --out $(PRETRAIN)/run --workers $(WORKERS) --max-minutes $(MINUTES) --half --music maestro $(if $(wildcard $(PRETRAIN)/run/run.json),--resume) $(TRAIN_OPTIONS)
	mkdir -p $(PRETRAINED)
	cd $(PRETRAIN)/run && cp weights.safetensors config.json emotion.json metrics.json README.md $(CURDIR)/$(PRETRAINED)

evaluate: $(READY) ## CHECKPOINT (by default the one that ships) on the test split of CORPUS: all figures, tables, pictures in EVALUATION
	$(BIN)/emoray evaluate $(CHECKPOINT) $(CORPUS) --split test --all --compare-with emoray/pretrained/baseline --json $(EVALUATION)/evaluation.json --page $(EVALUATION)

docs: $(READY) ## docs/reference anew, from the code
	$(BIN)/python docs/generate_reference.py

gallery: $(READY) ## docs/gallery anew, with the checkpoint that ships
	$(BIN)/emoray gallery --out docs/gallery

bench: $(READY) ## MIDI [FACES=folder VOICES=folder CORPUS]: all benchmarks at their small sizes, figures in BENCH
	$(BIN)/python benchmarks/ingest.py $(MIDI) --whole --json $(BENCH)/ingest.json
	$(BIN)/python benchmarks/ingest_scaling.py $(MIDI) --json $(BENCH)/ingest_scaling.json
	$(BIN)/python benchmarks/batch.py $(MIDI) $(if $(and $(FACES),$(VOICES)),--faces $(FACES) --voices $(VOICES)) --json $(BENCH)/batch.json
	$(if $(FACES),$(BIN)/python benchmarks/faces.py $(FACES))
	$(if $(VOICES),$(BIN)/python benchmarks/voices.py $(VOICES))
	$(if $(wildcard $(CORPUS)/_SUCCESS.json),$(BIN)/python benchmarks/guidance.py $(CORPUS))
	$(BIN)/python benchmarks/composing.py --json $(BENCH)/composing.json
	$(BIN)/python benchmarks/training.py --json $(BENCH)/training.json
	$(BIN)/python benchmarks/training.py --workers --json $(BENCH)/workers.json
	$(BIN)/python benchmarks/planning.py --rows 60 --json $(BENCH)/planning.json
	$(BIN)/python benchmarks/scaling.py --rows 10000 --json $(BENCH)/scaling.json
	$(BIN)/python benchmarks/latency.py --json $(BENCH)/latency.json
	$(BIN)/python benchmarks/soak.py --json $(BENCH)/soak.json

lock: ## Write requirements.lock anew from .venv
	$(BIN)/python -m pip freeze --all --exclude-editable | sed -E 's/\+cpu$$//' | grep -viE '^(fer|basic-pitch|tinysoundfont|emoray|pip|wheel)[= ]' > requirements.lock

clean: ## Remove .venv and what tests and demos left
	rm -rf .venv demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
