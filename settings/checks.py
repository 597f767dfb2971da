"""A configuration against what is legal, with the defaults filled in.

An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from modules import FAMILIES, get_family
from modules.animator import NO_REGIONS
from modules.family import Family
from modules.losses import active
from modules.motion_control import parse_regions
from settings import keys as legal
from settings.files import ConfigError, merge, shorten
from settings.keys import AMOUNT, DEFAULTS, TRAINING_KEYS, WEIGHT_RULES, Rule, one_of, optional


def schema(family_name: str) -> dict:
    """All legal keys of a family, nested, with their rules; None marks a leaf that its user checks."""
    family = FAMILIES[family_name]
    keys = merge(legal.SHARED_KEYS, {"model_params": family.model_keys()})
    if family.animation_modes:
        keys["animate_params"]["mode"] = one_of(*family.animation_modes)
    keys["animate_params"] |= {name: one_of(*values) for name, values in family.animation_keys.items()}
    flags = keys["animate_params"]["normalization_params"]
    keys["animate_params"]["normalization_params"] = {name: flags[name] for name in family.normalization}
    for section in family.training_sections.values():
        keys = merge({section: TRAINING_KEYS}, keys)
    keys = merge(keys, family.train_keys())
    for section in family.training_sections.values():
        keys[section] |= {name: legal.FAMILY_RULES[name] for name in keys[section] if name in legal.FAMILY_RULES}
        if "loss_weights" in keys[section]:
            names = keys[section]["loss_weights"]
            keys[section]["loss_weights"] = {name: WEIGHT_RULES.get(name, optional(AMOUNT)) for name in names}
    return keys


def _paths(keys: dict, prefix: str = "") -> Iterator[str]:
    for name, value in keys.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{name}.")


def _foreign_paths(family: str) -> set[str]:
    """Paths of all keys that only other families have."""
    others = {path for other in FAMILIES if other != family for path in _paths(schema(other))}
    return others - set(_paths(schema(family)))


def _without_foreign_nulls(config: dict, keys: dict, foreign: set[str], prefix: str = "") -> dict:
    """``config`` without what is null and a key of another family: so a file takes a key of its base away."""
    kept = {}
    for name, value in config.items():
        if value is None and f"{prefix}{name}" in foreign:
            continue
        below = keys.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            value = _without_foreign_nulls(value, below, foreign, f"{prefix}{name}.")
        kept[name] = value
    return kept


def check_keys(config: dict, keys: dict, family: str | None, prefix: str = "") -> None:
    for name, value in config.items():
        path = f"{prefix}{name}"
        if name not in keys:
            raise ConfigError(_unknown_key(str(name), prefix, keys, family))
        if isinstance(keys[name], dict) and value is not None:
            if not isinstance(value, dict):
                shown = shorten(repr(value), 200)
                raise ConfigError(f"{path} should be a section with {', '.join(keys[name])}; it is {shown}")
            check_keys(value, keys[name], family, path + ".")
        elif isinstance(keys[name], Rule) and not keys[name].accepts(value):
            raise ConfigError(f"{path} is {shorten(repr(value), 200)}; legal: {keys[name].legal}")


def _unknown_key(name: str, prefix: str, keys: dict, family: str | None) -> str:
    if family is None:
        near = difflib.get_close_matches(name, list(keys), n=1, cutoff=0.0)[0]
        return f"unknown key {prefix}{name}. Nearest known key: {prefix}{near}; legal are {', '.join(keys)}."
    own = set(_paths(schema(family)))
    known = {other: set(_paths(schema(other))) for other in FAMILIES if other != family}
    remedy = f"but this config is of model: {family}. Set the top-level key model accordingly, or remove it."
    others = [other for other, paths in known.items() if f"{prefix}{name}" in paths]
    if others:
        return f"{prefix}{name} is a key of model: {' and '.join(others)}, {remedy}"
    if not any(path.split(".")[-1] == name for path in own):  # nowhere in this family: perhaps elsewhere in another
        places = {path: other for other, paths in known.items() for path in paths if path.split(".")[-1] == name}
        if places:
            path, other = min(places.items())
            return f"{prefix}{name} is unknown; {path} is a key of model: {other}, {remedy}"
    near = difflib.get_close_matches(name, [str(key) for key in keys], n=1, cutoff=0.0)
    elsewhere = [path for path in _paths(schema(family)) if path.split(".")[-1] == name]
    hint = f"It belongs to {elsewhere[0].rpartition('.')[0] or 'the top level'}." if elsewhere else (
        f"Nearest known key: {prefix}{near[0]}." if near else ""
    )  # fmt: skip
    return f"unknown key {prefix}{name} in the config. {hint}"


def _check_values(config: dict, family: Family) -> None:
    """What no rule of a single key can tell."""
    if "dataset_params" in config and not config["dataset_params"].get("root_dir"):
        raise ConfigError("dataset_params.root_dir is missing from the config; legal: a folder, or a list of folders")
    channels = (config["model_params"].get("common_params") or config["model_params"]).get("num_channels", 3)
    if channels != 3:
        raise ConfigError(f"num_channels is {channels}; legal: 3, as all frames are read as RGB")
    for section in family.training_sections.values():
        for name in ("num_epochs", "batch_size"):
            if section in config and config[section].get(name) is None:
                raise ConfigError(f"{section}.{name} is missing from the config; legal: {TRAINING_KEYS[name].legal}")
    if "train_params" in config:
        _check_losses(config["train_params"], config["model_params"])
    _check_control(config["animate_params"], family)


def _check_control(params: dict, family: Family) -> None:
    if params.get("regions") is None:
        return
    if not family.uses_prior:
        raise ConfigError(NO_REGIONS)
    if not isinstance(params["regions"], (str, list)):
        raise ConfigError(f"animate_params.regions is {params['regions']!r}; legal: names such as brows, or a list")
    try:
        params["regions"] = list(parse_regions(params["regions"]))
    except ValueError as error:
        raise ConfigError(f"animate_params.regions: {error}") from error


def _check_losses(params: dict, model_params: dict) -> None:
    weights = params["loss_weights"]
    if not any(active(weight) for weight in weights.values()):
        raise ConfigError("train_params.loss_weights: no loss has a weight, so there is nothing to train")
    moving = [name for name, weight in weights.items() if name.startswith("equivariance") and active(weight)]
    if moving and not params.get("transform_params"):
        raise ConfigError(
            f"train_params.transform_params is missing from the config, and {moving[0]} needs it; the published "
            "values are {sigma_affine: 0.05, sigma_tps: 0.005, points_tps: 5}"
        )
    if not active(weights.get("generator_gan")):
        return
    discriminator = model_params.get("discriminator_params")
    if not discriminator:
        raise ConfigError(
            "loss_weights.generator_gan needs model_params.discriminator_params, which is missing from the config. "
            "Add it, or set loss_weights.generator_gan: 0"
        )
    matching, blocks = weights.get("feature_matching"), discriminator.get("num_blocks")
    if active(matching) and blocks is not None and len(matching) != blocks:
        raise ConfigError(
            f"loss_weights.feature_matching has {len(matching)} entries, but the discriminator has {blocks} blocks "
            "(model_params.discriminator_params.num_blocks): give one weight a block"
        )


def check_config(config: dict) -> dict:
    """Check a merged configuration and fill in the defaults.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a key of another family, an illegal value.
    """
    try:
        family = get_family(config)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    keys = schema(family.name)
    config = _without_foreign_nulls(config, keys, _foreign_paths(family.name))
    check_keys(config, keys, family.name)
    if not config.get("model_params"):
        raise ConfigError("model_params is missing from the config")
    given = {key: value for key, value in config.items() if value is not None}
    config = merge({key: value for key, value in DEFAULTS.items() if key in given or key != "dataset_params"}, given)
    for section in family.training_sections.values():
        if section in config:
            defaults = legal.TRAIN_DEFAULTS if section == "train_params" else legal.TRAINING_DEFAULTS
            config[section] = merge(defaults, config[section])
    if config.get("train_params", {}).get("loss_weights", {}) is None:
        config["train_params"]["loss_weights"] = {}
    _check_values(config, family)
    return config
