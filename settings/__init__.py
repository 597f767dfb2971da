"""YAML and ``--set key=value`` → checked settings, which also go into the run folder."""

from __future__ import annotations

from pathlib import Path

from settings.checks import check_config, check_keys, schema
from settings.files import ConfigError, apply_overrides, merge, read_yaml, resolve_base
from settings.keys import COLUMN_KEYS, COMPARE_DEFAULTS, COMPARE_KEYS, ROW_KEYS


def load_config(path: str | Path, overrides: list[str] | None = None) -> dict:
    """Read, resolve, override, check.

    Args:
        path: YAML file.
        overrides: ``section.key=value`` strings from ``--set``.

    Returns:
        the settings with every default filled in.
    """
    return check_config(apply_overrides(resolve_base(path), overrides or []))


def load_comparison(path: str | Path, overrides: list[str] | None = None) -> dict:
    """Read the YAML of ``--mode compare``: what is compared (``columns``), on which pairs (``rows``), and how shown.

    Raises:
        ConfigError: an unknown, missing or illegal key; a column without a checkpoint is named.
    """
    config = apply_overrides(resolve_base(path), overrides or [])
    check_keys(config, COMPARE_KEYS, None)
    for key, entries in (("columns", COLUMN_KEYS), ("rows", ROW_KEYS)):
        if key not in config:
            raise ConfigError(f"{path}: {key} is missing; legal: {COMPARE_KEYS[key].legal}")
        if isinstance(config[key], list):
            _check_entries(config[key], key, entries)
    if not (config.get("dataset_params") or {}).get("root_dir"):
        raise ConfigError(f"{path}: dataset_params.root_dir is missing; its test/ holds the clips of the rows")
    return merge(COMPARE_DEFAULTS, {key: value for key, value in config.items() if value is not None})


def _check_entries(entries: list, key: str, keys: dict) -> None:
    needed = [name for name in keys if name not in ("set", "frame")]
    for number, entry in enumerate(entries):
        place = f"{key}[{number}]"
        if not isinstance(entry, dict):
            raise ConfigError(f"{place} is {entry!r}; legal: a section with {', '.join(needed)}")
        called = f" ({entry['name']})" if "name" in entry else ""
        for name in needed:
            if entry.get(name) is None:
                raise ConfigError(f"{place}{called} has no {name}; every one of {key} needs {', '.join(needed)}")
        check_keys(entry, keys, None, f"{place}.")
    names = [entry.get("name") for entry in entries]
    twice = next((name for name in names if name is not None and names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"two {key} are called {twice!r}: their results would be mixed up. Rename one")
