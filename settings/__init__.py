"""YAML and ``--set key=value`` → checked settings, which also go into the run folder."""

from __future__ import annotations

from pathlib import Path

from settings.checks import check_config, schema
from settings.comparison import load_comparison
from settings.files import ConfigError, apply_overrides, merge, read_yaml, resolve_base


def load_config(path: str | Path, overrides: list[str] | None = None) -> dict:
    """Read, resolve, override, check.

    Args:
        path: YAML file.
        overrides: ``section.key=value`` strings from ``--set``.

    Returns:
        the settings with every default filled in.
    """
    return check_config(apply_overrides(resolve_base(path), overrides or []))
