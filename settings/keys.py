"""Which settings there are: every legal key, its legal values and its default; ``settings/checks.py`` checks.

A key maps to a :class:`Rule`, to a section (a dictionary), or to None: a leaf that its user checks, as the
networks' constructors do for ``model_params``.  A rule says the key's default too, where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any

NONE = Parameter.empty  # in place of a default


@dataclass(frozen=True)
class Rule:
    """Legal values of a setting, in words and as a test, and what it is where nobody sets it."""

    legal: str
    accepts: Callable[[Any], bool]
    default: Any = NONE

    def by_default(self, value: Any) -> Rule:
        """The same rule of a key that has a default."""
        return replace(self, default=value)


LARGEST = 2**31 - 1  # of whole numbers: what every library takes
MOST = 1e9  # of any other number: what is beyond is a slip, and overflows somewhere
MOST_PIXELS = 16_384  # of a frame's side: more is a slip, and beyond any memory


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def optional(rule: Rule) -> Rule:
    """``rule``, or null, which is the default."""
    return Rule(f"{rule.legal}, or null", lambda value: value is None or rule.accepts(value), None)


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
    return Rule(f"{first.legal}, or {second.legal}", lambda value: first.accepts(value) or second.accepts(value))


def defaults(keys: dict, *null: str) -> dict[str, Any]:
    """The defaults of the rules in ``keys`` that have one; what is named in ``null`` has no rule, and is null."""
    given = {name: None if name in null else getattr(rule, "default", NONE) for name, rule in keys.items()}
    return {name: value for name, value in given.items() if value is not NONE}


COUNT = Rule(f"a whole number from 1 to {LARGEST}", lambda value: _is_whole(value) and value > 0)
NATURAL = Rule(f"a whole number from 0 to {LARGEST}", lambda value: _is_whole(value) and value >= 0)
NUMBER = Rule("a number, at most 1e9 in size", _is_number)
POSITIVE = Rule("a number above 0, at most 1e9", lambda value: _is_number(value) and value > 0)
AMOUNT = Rule("a number from 0 to 1e9", lambda value: _is_number(value) and value >= 0)
SWITCH = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("a text", lambda value: isinstance(value, str) and bool(value))
SIDE = Rule(f"a number of pixels, at most {MOST_PIXELS}", lambda value: _is_whole(value) and 0 < value <= MOST_PIXELS)
SIZE = list_of(SIDE, f"[height, width, 3], at most {MOST_PIXELS} pixels", 2, 3)
FORMAT = one_of(".mp4", ".gif", ".png").by_default(".mp4")
ROOTS = either(Rule("a folder", TEXT.accepts), list_of(TEXT, "a list of folders"))
RATE = Rule("a number from 1 to 1000", lambda value: _is_number(value) and 1 <= value <= 1000)
HUE = Rule("a number from 0 to 0.5", lambda value: _is_number(value) and 0 <= value <= 0.5)
RANGE = list_of(NUMBER, "[from, to]", 2)
LAYERS = list_of(AMOUNT, "a list of five, one for each layer of the perceptual network", 5)
BLOCKS = list_of(AMOUNT, "a list, one for each of the discriminator's blocks")

DATASET_KEYS = {
    "root_dir": ROOTS,
    "frame_shape": optional(SIZE),
    "id_sampling": SWITCH.by_default(False),
    "pairs_list": optional(TEXT),
    "keypoint_folder": optional(TEXT),
    "frame_cache": {"folder": TEXT, "gigabytes": POSITIVE},
    "augmentation_params": {
        "flip_param": {"horizontal_flip": SWITCH, "time_flip": SWITCH},
        "jitter_param": {"brightness": AMOUNT, "contrast": AMOUNT, "saturation": AMOUNT, "hue": HUE},
        "crop_param": {"size": list_of(SIDE, f"[height, width], at most {MOST_PIXELS} pixels", 2)},
        "resize_param": {"ratio": list_of(POSITIVE, "[smallest, largest]", 2)},
        "rotation_param": {"degrees": either(AMOUNT, RANGE)},
    },
}
TRAINING_KEYS = {
    "num_epochs": COUNT,
    "num_repeats": COUNT.by_default(1),
    "epoch_milestones": Rule(
        "a list of epochs", lambda value: isinstance(value, list) and all(map(NATURAL.accepts, value)), []
    ),
    "batch_size": COUNT,
    "accumulate_steps": COUNT.by_default(1),
    "checkpoint_freq": COUNT.by_default(50),
    "dataloader_workers": optional(NATURAL),
    "seed": NATURAL.by_default(0),
    "precision": one_of("auto", "float32", "bf16", "fp16").by_default("float32"),
    "clip_grad_norm": optional(POSITIVE),
    "log_every": COUNT.by_default(50),
    "validate_every": optional(COUNT),
    "validate_pairs": COUNT.by_default(8),
    "validate_figure": one_of("skill", "rho", "vcor").by_default("skill"),
}
TRAIN_KEYS = {
    **TRAINING_KEYS,
    "scales": list_of(POSITIVE, "a list such as [1, 0.5, 0.25]").by_default([1]),
    "use_sync_bn": Rule("False: several processes always synchronise it", lambda value: value in (False, None)),
    "freeze_bn_after": None,
    "freeze_bn_except": Rule(
        "a list of networks or parts of them",
        lambda value: isinstance(value, list) and all(map(TEXT.accepts, value)),
        [],
    ),
    "perceptual_network": one_of("vgg19", "squeezenet").by_default("vgg19"),
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
    "reconstruction_params": {"num_videos": COUNT.by_default(1000), "format": FORMAT},
    "animate_params": {
        "num_pairs": COUNT.by_default(50),
        "format": FORMAT,
        "batch_size": COUNT.by_default(4),
        "precision": one_of("auto", "float32", "bf16").by_default("float32"),
        "fps": optional(POSITIVE),
        "output_fps": optional(RATE),
        "amplify": AMOUNT.by_default(1),
        "regions": None,
        "retime": optional(TEXT),
        "reference": optional(either(one_of("onset", "auto"), NATURAL)),
        "colour": one_of("model", "source").by_default("model"),
        "variety": AMOUNT.by_default(1),
        "dataset_out": optional(TEXT),
        "normalization_params": {
            "adapt_movement_scale": SWITCH,
            "use_relative_movement": SWITCH,
            "use_relative_jacobian": SWITCH,
        },
    },
    "visualizer_params": {
        "kp_size": POSITIVE.by_default(5),
        "draw_border": SWITCH.by_default(True),
        "colormap": TEXT.by_default("gist_rainbow"),
        "region_bg_color": list_of(AMOUNT, "[red, green, blue], each in 0 … 1", 3),
    },
}
# Keys of the training sections that a family brings along are checked by these, wherever the name occurs.
FAMILY_RULES = {
    **dict.fromkeys(("lr", "lr_generator", "lr_discriminator", "lr_kp_detector"), AMOUNT),
    **dict.fromkeys(("lambda_shift", "lambda_affine", "random_scale"), AMOUNT),
    "appearance_steps": NATURAL,
    "equivariance_prior": one_of("unmoved", "warped"),
}
# ``loss_weights``, by name, where they are not a number; null and 0 switch a loss off.
WEIGHT_RULES = {
    "facial_prior": optional(either(AMOUNT, LAYERS)),
    "perceptual": optional(either(one_of(0), LAYERS)),
    "feature_matching": optional(either(one_of(0), BLOCKS)),
}

DEFAULTS: dict[str, Any] = {
    "model": "fpb_fomm",
    "dataset_params": defaults(DATASET_KEYS, "frame_cache", "augmentation_params"),
    "reconstruction_params": defaults(SHARED_KEYS["reconstruction_params"]),
    "animate_params": defaults(SHARED_KEYS["animate_params"], "regions", "normalization_params"),
    "visualizer_params": defaults(SHARED_KEYS["visualizer_params"]),
}
TRAINING_DEFAULTS = defaults(TRAINING_KEYS)
TRAIN_DEFAULTS = {**defaults(TRAIN_KEYS, "freeze_bn_after"), "loss_weights": {}}

# A comparison's file (--mode compare) has keys of its own.
COLUMN_KEYS = {"name": TEXT, "config": TEXT, "checkpoint": TEXT, "set": list_of(TEXT, "a list of section.key=value")}
ROW_KEYS = {"driving": TEXT, "source": TEXT, "frame": NATURAL}
COMPARE_KEYS = {
    "title": TEXT.by_default("Comparison"),
    "dataset_params": {name: DATASET_KEYS[name] for name in ("root_dir", "frame_shape", "keypoint_folder")},
    "columns": Rule("a list of columns", lambda value: isinstance(value, list) and bool(value)),
    "rows": either(TEXT, Rule("a list of rows", lambda value: isinstance(value, list) and bool(value))),
    "truth": optional(TEXT),
    "slow_down": Rule("a number above 0, at most 1000", lambda value: _is_number(value) and 0 < value <= 1000, 4),
    "difference_gain": POSITIVE.by_default(8),
    "gif_width": SIDE.by_default(160),
}
COMPARE_DEFAULTS = {**defaults(COMPARE_KEYS), "dataset_params": defaults(COMPARE_KEYS["dataset_params"])}
