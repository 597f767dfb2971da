"""What the workers of ``faces.onset`` have in common: imported by the fork server that they come from."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

from faces.detector import DetectorUnavailable
from faces.dlib_backend import load_finder, load_model
from faces.onset import SHARED_MODEL

if model := os.environ.get(SHARED_MODEL):
    with contextlib.suppress(DetectorUnavailable):  # said by the worker that needs it
        load_model(Path(model))
        load_finder()
gc.freeze()  # the garbage collector would copy what is shared, by looking at it
