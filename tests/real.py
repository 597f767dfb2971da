"""Real clips for local trials: they may not be shipped, so they are read from ``shared/real`` beside or above the
checkout, and tests that need them skip where they are absent.
"""

from __future__ import annotations

from pathlib import Path

import pytest

PLACES = [parent / "shared" / "real" for parent in Path(__file__).resolve().parents]
REAL = next((place for place in PLACES if place.is_dir()), PLACES[-1])
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no folder shared/real with the real clips")
