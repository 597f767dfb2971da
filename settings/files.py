"""YAML files and ``--set key=value``, laid over one another: dictionaries that nobody has checked yet.

A file may start with ``base: other.yaml`` (relative to itself) and hold only the differences; a base of another family
is made one's own by setting null what only that family has.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from pathlib import Path
from typing import Any

import yaml

# Only such texts as 2e-4, which YAML 1.1 takes for words, are read differently from the standard: as numbers.
_EXPONENT = re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$")


MOST_VALUES, DEEPEST = 100_000, 50  # of a file of settings, all links followed; ours have some hundred, four deep


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``2e-4`` is a number."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


class ConfigError(ValueError):
    """A setting that is unknown, missing or illegal."""


def read_yaml(path: str | Path) -> dict:
    """One YAML file as a dictionary, safely, without resolving ``base``."""
    path = Path(path)
    if not path.is_file():
        folder = next((place for place in (path, path.parent) if place.is_dir()), Path("config"))
        names = sorted(str(p) for p in folder.glob("*.yaml"))
        near = [] if folder == path else difflib.get_close_matches(str(path), names, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else f" Configs there: {', '.join(names) or 'none'}."
        raise ConfigError(f"no such config: {path}.{hint}")
    data = _parse(path.read_bytes(), str(path))
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} should hold sections such as dataset_params and model_params; it holds {shorten(repr(data), 200)}"
        )
    return data


def _parse(text: str | bytes, where: str) -> Any:
    """What a YAML text holds, within bounds: one that links to itself, or repeats itself without end, has none.

    Raises:
        ConfigError: no YAML, or more than :data:`MOST_VALUES` values with all links followed.
    """
    try:
        data = yaml.load(text.decode("utf-8") if isinstance(text, bytes) else text, _Loader)  # noqa: S506 - safe
    except RecursionError as error:
        raise ConfigError(f"{where} nests too deeply, or links to itself") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # numbers and dates that are none are ValueErrors
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    waiting, count = [(data, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            raise ConfigError(f"{where} nests too deeply, or links to itself: expected a file such as config/base.yaml")
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, (list, tuple, set)):
            waiting += [(part, depth + 1) for part in value]
    return data


def shorten(text: str, length: int) -> str:
    """``text`` for a message, no longer than that."""
    return text if len(text) <= length else f"{text[:length]} …"


def merge(base: dict, changes: dict) -> dict:
    """``base`` with ``changes`` laid over it, section by section; lists and numbers are replaced."""
    out = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


def resolve_base(path: str | Path, seen: tuple[Path, ...] = ()) -> dict:
    """A YAML file with everything it is based on."""
    path = Path(path)
    real = Path(os.path.realpath(path))  # Path.resolve raises where links lead in a circle
    if real in seen:
        raise ConfigError(f"{path} is based on itself: {' → '.join(str(p) for p in (*seen, path))}")
    data = read_yaml(path)
    base = data.pop("base", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base is {base!r}; legal: the name of another YAML file")
    return merge(resolve_base(path.parent / base, (*seen, real)), data)


def apply_overrides(config: dict, overrides: list[str]) -> dict:
    """``section.key=value`` strings, the value in YAML syntax, laid over ``config``."""
    for text in overrides:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"--set {text!r}: expected section.key=value, e.g. train_params.batch_size=4")
        change = _parse(value, f"--set {shorten(text, 80)}: the value")
        parts = name.strip().split(".")
        if len(parts) > DEEPEST:
            raise ConfigError(f"--set {shorten(text, 80)}: {len(parts)} names; expected section.key=value")
        for part in reversed(parts):
            change = {part: change}
        config = merge(config, change)
    return config
