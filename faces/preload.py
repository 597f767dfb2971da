"""What the workers of ``faces.onset`` have in common: imported by the fork server that they come from."""

from __future__ import annotations

import contextlib
import gc
import os
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes: the parent decides what is finished

from pathlib import Path  # noqa: E402

from faces import onset  # noqa: E402
from faces.detector import DetectorUnavailable  # noqa: E402
from faces.dlib_backend import load_finder, load_model  # noqa: E402

if model := os.environ.get(onset.SHARED_MODEL):
    with contextlib.suppress(DetectorUnavailable):  # said by the worker that needs it
        load_model(Path(model))
        load_finder()
gc.freeze()  # the garbage collector would copy what is shared, by looking at it
