# make test, check, format, recipe, dist
VENV ?= .venv
PYTHON_IN_VENV = $(VENV)/bin/python

.PHONY: test check format recipe dist env
env:
	@bash tools/make_env.sh $(VENV) experiment,test

test: env check
	OMP_NUM_THREADS=2 $(PYTHON_IN_VENV) -m pytest $(ARGS)

check: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: env
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

recipe: env
	bash recipes/musdb18/run.sh $(ARGS)

dist: env
	$(PYTHON_IN_VENV) -m pip wheel --no-deps --wheel-dir dist .
