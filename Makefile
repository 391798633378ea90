# make test, check, format, recipe, bench, docs, dist, release
VENV ?= .venv
PYTHON_IN_VENV = $(VENV)/bin/python
# Some tests wait for processes that they start; one worker more than cores keeps the cores busy.
# tests/conftest.py orders the files. Byte code is kept: every worker and process imports it.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

.PHONY: test check format recipe bench docs dist release env
env:
	@bash tools/make_env.sh $(VENV) experiment,test

test: env check
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(PYTHON_IN_VENV) -m pytest -n $(WORKERS) \
		--dist loadfile --no-loadscope-reorder $(ARGS)

check: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	@bash tools/check_js.sh

format: env
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

recipe: env
	bash recipes/musdb18/run.sh $(ARGS)

bench: env
	$(PYTHON_IN_VENV) bench/separate.py $(ARGS)
	$(PYTHON_IN_VENV) bench/evaluate.py $(ARGS)
	$(PYTHON_IN_VENV) bench/train.py $(ARGS)
	$(PYTHON_IN_VENV) bench/web.py $(ARGS)

docs:
	@bash tools/make_env.sh $(VENV) docs
	NO_MKDOCS_2_WARNING=1 $(PYTHON_IN_VENV) -m mkdocs build $(ARGS)

dist: env
	$(PYTHON_IN_VENV) -m pip wheel --no-deps --wheel-dir dist .

release: env
	$(PYTHON_IN_VENV) tools/release.py $(ARGS)
