"""Which settings there are: every legal key, its legal values and its default; ``settings/checks.py`` checks.

A key maps to a :class:`Rule`, to a section (a dictionary), or to None: a leaf that its user checks, as the
networks' constructors do for ``model_params``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """Legal values of a setting: in words, and as a test."""

    legal: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def optional(rule: Rule) -> Rule:
    """``rule``, or null."""
    return Rule(f"{rule.legal}, or null", lambda value: value is None or rule.accepts(value))


def one_of(*values: Any) -> Rule:
    """Any of ``values``."""
    return Rule(", ".join(str(value) for value in values), lambda value: value in values)


def list_of(rule: Rule, legal: str, *lengths: int) -> Rule:
    """A list whose entries obey ``rule``, of one of ``lengths`` (any but 0 without)."""

    def accepts(value: Any) -> bool:
        if not isinstance(value, list) or not all(rule.accepts(entry) for entry in value):
            return False
        return len(value) in lengths if lengths else bool(value)

    return Rule(legal, accepts)


def either(first: Rule, second: Rule) -> Rule:
    """What one of two rules accepts."""
    return Rule(
        f"{first.legal}, or {second.legal}", lambda value: first.accepts(value) or second.accepts(value)
    )


COUNT = Rule("a whole number above 0", lambda value: _is_whole(value) and value > 0)
NATURAL = Rule("a whole number from 0", lambda value: _is_whole(value) and value >= 0)
NUMBER = Rule("a number", _is_number)
POSITIVE = Rule("a number above 0", lambda value: _is_number(value) and value > 0)
AMOUNT = Rule("a number from 0", lambda value: _is_number(value) and value >= 0)
SWITCH = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("a text", lambda value: isinstance(value, str) and bool(value))
SIZE = list_of(COUNT, "[height, width, 3]", 2, 3)
FORMAT = one_of(".mp4", ".gif", ".png")
ROOTS = either(Rule("a folder", TEXT.accepts), list_of(TEXT, "a list of folders"))
RATE = Rule("a number from 1 to 1000", lambda value: _is_number(value) and 1 <= value <= 1000)
HUE = Rule("a number from 0 to 0.5", lambda value: _is_number(value) and 0 <= value <= 0.5)
RANGE = list_of(NUMBER, "[from, to]", 2)
LAYERS = list_of(AMOUNT, "a list of five, one for each of VGG's layers", 5)
BLOCKS = list_of(AMOUNT, "a list, one for each of the discriminator's blocks")

DATASET_KEYS = {
    "root_dir": ROOTS,
    "frame_shape": optional(SIZE),
    "id_sampling": SWITCH,
    "pairs_list": optional(TEXT),
    "keypoint_folder": TEXT,
    "frame_cache": {"folder": TEXT, "gigabytes": POSITIVE},
    "augmentation_params": {
        "flip_param": {"horizontal_flip": SWITCH, "time_flip": SWITCH},
        "jitter_param": {"brightness": AMOUNT, "contrast": AMOUNT, "saturation": AMOUNT, "hue": HUE},
        "crop_param": {"size": list_of(COUNT, "[height, width]", 2)},
        "resize_param": {"ratio": list_of(POSITIVE, "[smallest, largest]", 2)},
        "rotation_param": {"degrees": either(AMOUNT, RANGE)},
    },
}
TRAINING_KEYS = {
    "num_epochs": COUNT,
    "num_repeats": COUNT,
    "epoch_milestones": Rule(
        "a list of epochs", lambda value: isinstance(value, list) and all(NATURAL.accepts(v) for v in value)
    ),
    "batch_size": COUNT,
    "accumulate_steps": COUNT,
    "checkpoint_freq": COUNT,
    "dataloader_workers": optional(NATURAL),
    "seed": NATURAL,
    "precision": one_of("float32", "bf16", "fp16"),
    "clip_grad_norm": optional(POSITIVE),
    "log_every": COUNT,
    "validate_every": optional(COUNT),
    "validate_pairs": COUNT,
    "validate_figure": one_of("skill", "rho", "vcor"),
}
TRAIN_KEYS = {
    **TRAINING_KEYS,
    "scales": list_of(POSITIVE, "a list such as [1, 0.5, 0.25]"),
    "use_sync_bn": Rule("False: several processes always synchronise it", lambda value: value in (False, None)),
    "freeze_bn_after": None,
    "freeze_bn_except": Rule(
        "a list of networks or parts of them",
        lambda value: isinstance(value, list) and all(map(TEXT.accepts, value)),
    ),
    "vgg_weights": optional(TEXT),
    "transform_params": {
        "sigma_affine": AMOUNT,
        "sigma_tps": optional(AMOUNT),
        "points_tps": optional(COUNT),
    },
    "loss_weights": {},
}
SHARED_KEYS = {
    "model": None,
    "dataset_params": DATASET_KEYS,
    "train_params": TRAIN_KEYS,
    "reconstruction_params": {"num_videos": COUNT, "format": FORMAT},
    "animate_params": {
        "num_pairs": COUNT,
        "format": FORMAT,
        "batch_size": COUNT,
        "precision": one_of("float32", "bf16"),
        "fps": optional(POSITIVE),
        "output_fps": optional(RATE),
        "amplify": AMOUNT,
        "regions": None,
        "retime": optional(TEXT),
        "reference": optional(either(one_of("onset", "auto"), NATURAL)),
        "colour": one_of("model", "source"),
        "dataset_out": optional(TEXT),
        "normalization_params": {
            "adapt_movement_scale": SWITCH,
            "use_relative_movement": SWITCH,
            "use_relative_jacobian": SWITCH,
        },
    },
    "visualizer_params": {
        "kp_size": POSITIVE,
        "draw_border": SWITCH,
        "colormap": TEXT,
        "region_bg_color": list_of(AMOUNT, "[red, green, blue], each in 0 … 1", 3),
    },
}
# Keys of the training sections that a family brings along are checked by these, wherever the name occurs.
FAMILY_RULES = {
    "lr": AMOUNT,
    "lr_generator": AMOUNT,
    "lr_discriminator": AMOUNT,
    "lr_kp_detector": AMOUNT,
    "appearance_steps": NATURAL,
    "equivariance_prior": one_of("unmoved", "warped"),
    "lambda_shift": AMOUNT,
    "lambda_affine": AMOUNT,
    "random_scale": AMOUNT,
}
LISTED_WEIGHTS = {"perceptual": LAYERS, "facial_prior": LAYERS, "feature_matching": BLOCKS}

DEFAULTS: dict[str, Any] = {
    "model": "fpb_fomm",
    "dataset_params": {
        "frame_shape": None,
        "id_sampling": False,
        "pairs_list": None,
        "keypoint_folder": "keypoint_folder",
        "frame_cache": None,
        "augmentation_params": None,
    },
    "reconstruction_params": {"num_videos": 1000, "format": ".mp4"},
    "animate_params": {
        "num_pairs": 50,
        "format": ".mp4",
        "batch_size": 4,
        "precision": "float32",
        "fps": None,
        "output_fps": None,
        "amplify": 1,
        "regions": None,
        "retime": None,
        "reference": None,
        "colour": "model",
        "dataset_out": None,
        "normalization_params": None,
    },
    "visualizer_params": {"kp_size": 5, "draw_border": True, "colormap": "gist_rainbow"},
}
TRAINING_DEFAULTS: dict[str, Any] = {
    "num_repeats": 1,
    "epoch_milestones": [],
    "accumulate_steps": 1,
    "checkpoint_freq": 50,
    "dataloader_workers": None,
    "seed": 0,
    "precision": "float32",
    "clip_grad_norm": None,
    "log_every": 50,
    "validate_every": None,
    "validate_pairs": 8,
    "validate_figure": "skill",
}
TRAIN_DEFAULTS: dict[str, Any] = {
    "scales": [1],
    "loss_weights": {},
    "freeze_bn_after": None,
    "freeze_bn_except": [],
    "vgg_weights": None,
}

# A comparison's file (--mode compare) has keys of its own.
COLUMN_KEYS = {"name": TEXT, "config": TEXT, "checkpoint": TEXT, "set": list_of(TEXT, "a list of section.key=value")}
ROW_KEYS = {"driving": TEXT, "source": TEXT, "frame": NATURAL}
COMPARE_KEYS = {
    "title": TEXT,
    "dataset_params": {name: DATASET_KEYS[name] for name in ("root_dir", "frame_shape", "keypoint_folder")},
    "columns": Rule("a list of columns", lambda value: isinstance(value, list) and bool(value)),
    "rows": either(TEXT, Rule("a list of rows", lambda value: isinstance(value, list) and bool(value))),
    "truth": optional(TEXT),
    "slow_down": POSITIVE,
    "difference_gain": POSITIVE,
    "gif_width": COUNT,
}
COMPARE_DEFAULTS: dict[str, Any] = {
    "title": "Comparison",
    "dataset_params": {"frame_shape": None, "keypoint_folder": "keypoint_folder"},
    "truth": None,
    "slow_down": 4,
    "difference_gain": 8,
    "gif_width": 160,
}


def weight_rule(name: str) -> Rule:
    """Legal values of ``loss_weights.<name>``; null and 0 switch a loss off."""
    if name == "facial_prior":
        return optional(either(AMOUNT, LAYERS))
    if name in LISTED_WEIGHTS:
        return optional(either(one_of(0), LISTED_WEIGHTS[name]))
    return optional(AMOUNT)
