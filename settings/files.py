"""YAML files and ``--set key=value``, laid over one another: dictionaries that nobody has checked yet.

A file may start with ``base: other.yaml`` (relative to itself) and hold only the differences; a base of another family
is made one's own by setting null what only that family has.
"""

from __future__ import annotations

import copy
import difflib
import re
from pathlib import Path
from typing import Any

import yaml

# Only such texts as 2e-4, which YAML 1.1 takes for words, are read differently from the standard: as numbers.
_EXPONENT = re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$")


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
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} should hold sections such as dataset_params and model_params; it holds {data!r}")
    return data


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
    if path.resolve() in seen:
        raise ConfigError(f"{path} is based on itself: {' → '.join(str(p) for p in (*seen, path))}")
    data = read_yaml(path)
    base = data.pop("base", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base is {base!r}; legal: the name of another YAML file")
    return merge(resolve_base(path.parent / base, (*seen, path.resolve())), data)


def apply_overrides(config: dict, overrides: list[str]) -> dict:
    """``section.key=value`` strings, the value in YAML syntax, laid over ``config``."""
    for text in overrides:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"--set {text!r}: expected section.key=value, e.g. train_params.batch_size=4")
        try:
            change: Any = yaml.load(value, _Loader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text!r}: the value is not valid YAML ({error})") from error
        for part in reversed(name.strip().split(".")):
            change = {part: change}
        config = merge(config, change)
    return config
