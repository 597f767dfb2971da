"""What results depend on besides the code: versions of packages, digests of model files."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path


def package_version(name: str) -> str:
    """Of an installed package; one that was unpacked by hand has no metadata."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"


def file_digest(path: Path) -> str:
    """The beginning of a file's SHA-256, to tell model files apart."""
    return f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
