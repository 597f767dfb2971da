# Two commands: `make demo` shows a micro-expression moving from one face to another, `make test` runs the suite.
# Both set themselves up in .venv on first use; PYTHON chooses the interpreter (3.10-3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes of the test suite, one thread each: a third was no faster on two cores.
JOBS ?= 2

.PHONY: demo test lint docs sup-mat setup clean

demo: $(VENV)/.installed
	$(BIN)/python demo.py $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/python -m compileall -q -x '/\.venv' .

# What docs/ takes from the code: the settings, the rooms, the method's figure.
docs: $(VENV)/.installed
	$(BIN)/python -m docs.settings
	$(BIN)/python -m docs.house
	$(BIN)/python -m docs.figure

# The pictures of sup-mat/, from the models there.
sup-mat: $(VENV)/.installed
	$(BIN)/python -m benchmarks.supplement $(ARGS)

setup: $(VENV)/.installed

# face-alignment asks for the desktop build of OpenCV, which needs libGL; where that is missing the headless one serves.
$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -c "import cv2" 2>/dev/null || $(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf demo .pytest_cache .ruff_cache
