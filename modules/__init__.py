"""Networks and losses.  One entry point builds them all: :func:`build_networks`."""

from __future__ import annotations

import difflib

from torch import nn

from modules.family import Family
from modules.first_order import FirstOrderFamily
from modules.mraa.family import MraaFamily

DEFAULT_FAMILY = "fpb_fomm"
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        FirstOrderFamily("fpb_fomm", facial_prior=True),
        FirstOrderFamily("fpb_tracked", facial_prior=True, tracked=True),
        FirstOrderFamily("fomm", facial_prior=False),
        MraaFamily(),
    )
}


def get_family(config: dict) -> Family:
    """The family that the YAML's ``model`` key names; ``fpb_fomm`` without one.

    Raises:
        ValueError: no such family.
    """
    name = config.get("model", DEFAULT_FAMILY)
    if name not in FAMILIES:
        near = difflib.get_close_matches(str(name), FAMILIES, n=1, cutoff=0.0)
        raise ValueError(f"model: {name!r} is unknown. Legal are {', '.join(FAMILIES)}; nearest is {near[0]!r}.")
    return FAMILIES[name]


def build_networks(config: dict) -> dict[str, nn.Module]:
    """Build the networks of a parsed YAML.

    Args:
        config: ``model`` (optional) and ``model_params`` as in the YAML files of FOMM, MRAA and the paper.

    Returns:
        ``{name: module}`` with the names checkpoints use: ``generator``, ``discriminator``, ``kp_detector``
        (``fpb_fomm``, ``fpb_tracked``, ``fomm``); ``generator``, ``region_predictor``, ``bg_predictor``,
        ``avd_network`` (``mraa``).

    Raises:
        ValueError: no such family, or ``model_params`` that are incomplete or illegal.
    """
    try:
        return get_family(config).build(config)
    except TypeError as error:  # a constructor's argument is missing or of another type
        raise ValueError(f"model_params does not fit the networks: {error}") from error
