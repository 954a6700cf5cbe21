# The two commands: `make reproduce` and `make test`. Everything lives in .venv; `make help` lists the rest.
PYTHON ?= python3
unexport PYTHONDONTWRITEBYTECODE  # modules are compiled once, not in each of some hundred processes
BIN := .venv/bin
READY := .venv/ready
NOTEBOOKS := $(BIN)/pytest --papermill --nbval-cell-timeout 300 -p no:cacheprovider -n 2 --dist loadfile

.PHONY: help reproduce seeds test test-all unit mutants notebooks portable portable-quick lint lab setup clean weights experiment pictures benchmarks outputs slides handout site browser
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(READY)  ## install the exact versions of requirements.lock into .venv

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13: call make with PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

reproduce: $(READY)  ## the whole way on procedural faces, into runs/faces (again: only what is missing)
	$(BIN)/lorral reproduce --profile smoke

test: lint unit notebooks portable-quick  ## what CI runs: linters, tests, notebooks under papermill against their outputs

test-all: lint unit notebooks  ## the above, the slow tests, the mutants, the solutions, and all under other arithmetic (1.5 hours)
	$(BIN)/pytest tests -m slow -rs -n 2 --dist load --durations 10
	$(MAKE) mutants
	$(NOTEBOOKS) notebooks/solutions
	$(MAKE) portable

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

unit: $(READY)
	$(BIN)/pytest tests -m "not slow" -n 2 --dist loadfile --durations 5

mutants: $(READY)  ## one changed line each: do the tests notice?
	$(BIN)/python tests/mutants.py

notebooks: $(READY)  ## papermill runs every notebook, nbval compares its outputs with the stored ones
	$(NOTEBOOKS) notebooks --ignore notebooks/solutions --durations 5

portable: $(READY)  ## notebooks and tests under the arithmetic of other processors: what do their tolerances absorb?
	$(BIN)/python tests/portable.py

portable-quick: $(READY)
	$(BIN)/python tests/portable.py --quick

browser: $(READY)  ## real Chromium (installed with apt when missing) runs notebooks in JupyterLab
	command -v chromium || { sudo=$$(command -v sudo); $$sudo apt-get update && $$sudo apt-get install -y chromium; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep -E '^(playwright|greenlet)==' requirements.lock)
	$(BIN)/pytest tests/browser -m slow -rs

site: $(READY)  ## every notebook as a page of static HTML with an index, into site/
	$(BIN)/python tools/build_site.py

handout: $(READY)  ## the notebooks for a class, without solutions: handout/ and handout.zip
	$(BIN)/python tools/handout.py

weights: $(READY)  ## keep the weights, metrics and report of runs/faces as the ones that ship (then: make outputs)
	$(BIN)/python -c "from lorral_lite.reproduce.plan import publish; publish('runs/faces/fold1_seed0', 'data/weights/faces_lite')"
	mkdir -p data/results && cp runs/faces/fold1_seed0/report.json data/results/faces_lite.json
	$(BIN)/lorral report --write

seeds: $(READY)  ## three trainings on the faces of make reproduce: how much does another seed change?
	$(BIN)/lorral reproduce runs/faces/data --out runs/seeds --seed 0 1 2 --no-notebooks
	cp runs/seeds/report.json data/results/faces_seeds.json
	$(BIN)/lorral report --write

experiment: $(READY)  ## which reading works, when do parts pay, do relation modules help? (hours; goes on when stopped)
	set -e; for part in readings parts teaching; do $(BIN)/lorral experiment $$part --results data/results/$$part; done
	$(BIN)/lorral experiment --out runs/relations --results data/results/relations.json
	$(BIN)/lorral report --write

pictures: $(READY)  ## draw the picture of the README anew
	$(BIN)/python -c "from lorral_lite.course.ch01_faces import people_sheet; people_sheet().savefig('data/pictures/faces.jpg', pil_kwargs={'quality': 85})"

benchmarks: $(READY)  ## measure speed, memory and difficulty anew, into benchmarks/ (an hour; leave the machine alone)
	set -e; for name in layers model faces threads step2 difficulty; do $(BIN)/python -m benchmarks $$name --out benchmarks/$$name.json; done
	$(BIN)/python -m benchmarks step2 --compare runs/faces/fold1_seed0 --out benchmarks/step2_compared.json
	$(BIN)/python -m benchmarks coverage --out data/results/coverage.json
	$(BIN)/python -m benchmarks deviations --keep runs/deviations --out benchmarks/deviations.json
	$(BIN)/python -c "from benchmarks import write_page; write_page('benchmarks')"
	$(BIN)/lorral report --write

outputs: $(READY)  ## execute every notebook in place, to refresh the stored outputs
	$(BIN)/python tests/notebooks/execute.py --times data/results/notebook_seconds.json notebooks/*.ipynb
	$(BIN)/python tests/notebooks/execute.py notebooks/solutions/*.ipynb

slides: $(READY)  ## set what of each notebook is a slide, without running it
	$(BIN)/python tests/notebooks/execute.py --slides notebooks/*.ipynb notebooks/solutions/*.ipynb

lab: $(READY)  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks/01_action_units_and_faces.ipynb

clean:  ## remove the environment and everything the commands made
	rm -rf .venv runs prepared prediction site handout handout.zip
