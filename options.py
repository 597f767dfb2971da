"""YAML and ``--set key=value`` → checked settings.  An unknown key is an error that names the nearest known one.

A file may start with ``base: other.yaml`` (relative to itself) and hold only the differences.  :func:`load_config`
returns the resolved settings, which also go into the run folder.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from modules import FAMILIES, get_family

# Sections that all families share; None marks a leaf.
DATASET_KEYS = {
    "root_dir": None,
    "frame_shape": None,
    "id_sampling": None,
    "pairs_list": None,
    "keypoint_folder": None,
    "augmentation_params": {
        "flip_param": {"horizontal_flip": None, "time_flip": None},
        "jitter_param": {"brightness": None, "contrast": None, "saturation": None, "hue": None},
        "crop_param": {"size": None},
        "resize_param": {"ratio": None},
        "rotation_param": {"degrees": None},
    },
}
TRAINING_KEYS = {
    "num_epochs": None,
    "num_repeats": None,
    "epoch_milestones": None,
    "batch_size": None,
    "checkpoint_freq": None,
    "dataloader_workers": None,
    "seed": None,
    "precision": None,
    "clip_grad_norm": None,
    "log_every": None,
}
TRAIN_KEYS = {
    **TRAINING_KEYS,
    "scales": None,
    "use_sync_bn": None,
    "freeze_bn_after": None,
    "freeze_bn_except": None,
    "vgg_weights": None,
    "transform_params": {"sigma_affine": None, "sigma_tps": None, "points_tps": None},
    "loss_weights": {},
}
SHARED_KEYS = {
    "model": None,
    "dataset_params": DATASET_KEYS,
    "train_params": TRAIN_KEYS,
    "reconstruction_params": {"num_videos": None, "format": None},
    "animate_params": {
        "num_pairs": None,
        "format": None,
        "mode": None,
        "batch_size": None,
        "fps": None,
        "normalization_params": {
            "adapt_movement_scale": None,
            "use_relative_movement": None,
            "use_relative_jacobian": None,
        },
    },
    "visualizer_params": {"kp_size": None, "draw_border": None, "colormap": None, "region_bg_color": None},
}

DEFAULTS: dict[str, Any] = {
    "model": "fpb_fomm",
    "dataset_params": {
        "frame_shape": None,
        "id_sampling": False,
        "pairs_list": None,
        "keypoint_folder": "keypoint_folder",
        "augmentation_params": None,
    },
    "reconstruction_params": {"num_videos": 1000, "format": ".mp4"},
    "animate_params": {"num_pairs": 50, "format": ".mp4", "batch_size": 8, "fps": None, "normalization_params": None},
    "visualizer_params": {"kp_size": 5, "draw_border": True, "colormap": "gist_rainbow"},
}
TRAINING_DEFAULTS: dict[str, Any] = {
    "num_repeats": 1,
    "epoch_milestones": [],
    "checkpoint_freq": 50,
    "dataloader_workers": None,
    "seed": 0,
    "precision": "float32",
    "clip_grad_norm": None,
    "log_every": 50,
}
TRAIN_DEFAULTS: dict[str, Any] = {
    "scales": [1],
    "loss_weights": {},
    "freeze_bn_after": None,
    "freeze_bn_except": [],
    "vgg_weights": None,
}
FORMATS = (".mp4", ".gif", ".png")
PRECISIONS = ("float32", "bf16", "fp16")


class ConfigError(ValueError):
    """A setting that is unknown, missing or illegal."""


# ------------------------------------------------------------------------------------------------ reading
def read_yaml(path: str | Path) -> dict:
    """One YAML file as a dictionary, safely, without resolving ``base``."""
    path = Path(path)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("config")
        names = sorted(str(p) for p in folder.glob("*.yaml"))
        near = difflib.get_close_matches(str(path), names, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else f" Configs there: {', '.join(names) or 'none'}."
        raise ConfigError(f"no such config: {path}.{hint}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    return merge(resolve_base(path.parent / base, (*seen, path.resolve())), data)


def apply_overrides(config: dict, overrides: list[str]) -> dict:
    """``section.key=value`` strings, the value in YAML syntax, laid over ``config``."""
    for text in overrides:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"--set {text!r}: expected section.key=value, e.g. train_params.batch_size=4")
        change: Any = yaml.safe_load(value)
        for part in reversed(name.strip().split(".")):
            change = {part: change}
        config = merge(config, change)
    return config


# ------------------------------------------------------------------------------------------------ checking
def schema(family_name: str) -> dict:
    """All legal keys of a family, nested; None marks a leaf."""
    family = FAMILIES[family_name]
    keys = merge(SHARED_KEYS, {"model_params": family.model_keys()})
    for section in family.training_sections.values():
        keys = merge({section: TRAINING_KEYS}, keys)
    return merge(keys, family.train_keys())


def _paths(keys: dict, prefix: str = "") -> Iterator[str]:
    for name, value in keys.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{name}.")


def _check_keys(config: dict, keys: dict, family: str, prefix: str = "") -> None:
    for name, value in config.items():
        path = f"{prefix}{name}"
        if name not in keys:
            raise ConfigError(_unknown_key(str(name), prefix, keys, family))
        if isinstance(keys[name], dict) and value is not None:
            if not isinstance(value, dict):
                raise ConfigError(f"{path} should be a section with {', '.join(keys[name])}; it is {value!r}")
            _check_keys(value, keys[name], family, path + ".")


def _unknown_key(name: str, prefix: str, keys: dict, family: str) -> str:
    others = [
        other
        for other in FAMILIES
        if other != family and f"{prefix}{name}" in set(_paths(schema(other)))
    ]
    if others:
        return (
            f"{prefix}{name} is a key of model: {' and '.join(others)}, but this config is of model: {family}. "
            "Set the top-level key model accordingly, or remove it."
        )
    near = difflib.get_close_matches(name, [str(key) for key in keys], n=1, cutoff=0.0)
    elsewhere = [path for path in _paths(schema(family)) if path.split(".")[-1] == name]
    hint = f"It belongs to {elsewhere[0].rpartition('.')[0] or 'the top level'}." if elsewhere else (
        f"Nearest known key: {prefix}{near[0]}." if near else ""
    )  # fmt: skip
    return f"unknown key {prefix}{name} in the config. {hint}"


def _require(config: dict, path: str, check: Callable[[Any], bool], legal: str) -> None:
    value: Any = config
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ConfigError(f"{path} is missing from the config; legal: {legal}")
        value = value[part]
    if not check(value):
        raise ConfigError(f"{path} is {value!r}; legal: {legal}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_size(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) in (2, 3) and all(_is_count(v) for v in value))


def _check_values(config: dict) -> None:
    if "dataset_params" in config:
        is_root = lambda v: isinstance(v, str) or (isinstance(v, list) and v and all(isinstance(x, str) for x in v))  # noqa: E731
        _require(config, "dataset_params.root_dir", is_root, "a folder, or a list of folders")
        _require(config, "dataset_params.frame_shape", _is_size, "[height, width, 3], or null for the frames' own size")
    for section in ("reconstruction_params", "animate_params"):
        _require(config, f"{section}.format", lambda v: v in FORMATS, ", ".join(FORMATS))
    _require(config, "animate_params.batch_size", _is_count, "a whole number above 0")
    family = get_family(config)
    for section in family.training_sections.values():
        if section not in config:
            continue
        for name in ("num_epochs", "num_repeats", "batch_size", "checkpoint_freq"):
            _require(config, f"{section}.{name}", _is_count, "a whole number above 0")
        _require(config, f"{section}.precision", lambda v: v in PRECISIONS, ", ".join(PRECISIONS))
        _require(config, f"{section}.epoch_milestones", lambda v: isinstance(v, list), "a list of epochs")


def check_config(config: dict) -> dict:
    """Check a merged configuration and fill in the defaults.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a key of another family, an illegal value.
    """
    try:
        family = get_family(config)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _check_keys(config, schema(family.name), family.name)
    if not config.get("model_params"):
        raise ConfigError("model_params is missing from the config")
    given = {key: value for key, value in config.items() if value is not None}
    config = merge({key: value for key, value in DEFAULTS.items() if key in given or key != "dataset_params"}, given)
    for section in family.training_sections.values():
        if section in config:
            defaults = {**TRAINING_DEFAULTS, **(TRAIN_DEFAULTS if section == "train_params" else {})}
            config[section] = merge(defaults, config[section])
    _check_values(config)
    return config


def load_config(path: str | Path, overrides: list[str] | None = None) -> dict:
    """Read, resolve, override, check.

    Args:
        path: YAML file.
        overrides: ``section.key=value`` strings from ``--set``.

    Returns:
        the settings with every default filled in.
    """
    return check_config(apply_overrides(resolve_base(path), overrides or []))
