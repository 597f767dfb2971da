"""What the engines need to know of a model family: how to build it, train it and animate with it.

A family is a folder or file under ``modules/`` that subclasses :class:`Family`, and a line in ``modules/__init__.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from modules.losses import layered_weights


@dataclass
class Phase:
    """One update of a training step: a loss model and the optimisers that step on its losses."""

    # ``forward(batch, generated) -> (losses, generated)``; losses are weighted scalars by log name, ``generated`` what
    # the phases before it made ({} for the first).  May have ``set_step(step)``.
    model: nn.Module
    # Name → (names of the networks it trains, key of its learning rate in ``train_params``).  Checkpoints hold
    # ``optimizer_<name>``.
    optimizers: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    # Entries of ``generated`` without which the phase is left out.
    needs: tuple[str, ...] = ()


def keywords(network: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a network's constructor and of its bases', by name: the YAML keys it takes."""
    constructors = [inspect.signature(vars(kind)["__init__"]) for kind in network.__mro__ if "__init__" in vars(kind)]
    parameters = [p for constructor in reversed(constructors) for p in constructor.parameters.values()]
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def leaves(network: type[nn.Module], without: Iterable[str]) -> dict[str, None]:
    """Legal keys of a network's section, for :meth:`Family.model_keys`."""
    return dict.fromkeys(sorted(keywords(network).keys() - set(without)))


def construct(network: type[nn.Module], common: dict, params: dict, **own: Any) -> nn.Module:
    """A network from its section ``params``, ``own`` arguments, and those of the ``common`` settings that it takes.

    Raises:
        ValueError: a setting that is none of the kind that its constructor says, or of which no network can be made.
    """
    legal, given = keywords(network), {**pick(common, keywords(network)), **params}
    for name, value in given.items():
        what, accepts = _KINDS.get(getattr(legal.get(name), "annotation", None), ("", None))
        if accepts is not None and not accepts(value):
            raise ValueError(f"model_params: {name} is {str(value)[:80]!r}; legal: {what}")
    try:
        return network(**given, **own)
    except (TypeError, ZeroDivisionError, OverflowError, MemoryError, RuntimeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"model_params: no {network.__name__} can be made of {str(given)[:300]}: {reason}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# Annotation of a constructor's parameter: its legal values, in words and as a test.
_KINDS = {
    "int": ("a whole number from 0 to 4096", lambda v: isinstance(v, int) and _is_number(v) and 0 <= v <= 4096),
    "float": ("a number above 0, at most 1e6", lambda value: _is_number(value) and 0 < value <= 1e6),
    "float | None": ("a number, or null", lambda value: value is None or (_is_number(value) and abs(value) <= 1e6)),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
}


def pick(params: dict, names: Iterable[str]) -> dict:
    """The entries of ``params`` called ``names``."""
    return {name: params[name] for name in names if name in params}


def section(params: dict, name: str) -> dict:
    """``model_params.<name>``.

    Raises:
        ValueError: it is missing or empty.
    """
    if not params.get(name):
        raise ValueError(f"model_params.{name} is missing from the config")
    return params[name]


class Family:
    """Base class; see :class:`modules.first_order.FirstOrderFamily` for the complete example."""

    name: str  # value of the YAML's ``model`` key
    networks: tuple[str, ...]  # their names, as checkpoints have them
    inference_networks: tuple[str, ...]  # those that animation needs
    uses_prior: bool = False  # whether clips need key point files
    uses_tracks: bool = False  # whether they need the key points of every frame
    animation_modes: tuple[str, ...] = ()  # legal values of ``animate_params.mode``; the first is the default
    # Keys of ``animate_params`` that only this family has, and their legal values; the first is the default.
    animation_keys: dict[str, tuple[str, ...]] = {}
    # Flags of ``animate_params.normalization_params`` that mean something to it.
    normalization: tuple[str, ...] = ("adapt_movement_scale", "use_relative_movement", "use_relative_jacobian")
    training_sections: dict[str, str] = {"train": "train_params"}  # mode of ``run.py`` → section that rules it
    epoch_keys: dict[str, str] = {"train": "epoch"}  # training mode → key of the epoch in checkpoints
    # Network → the training mode that makes it, upon what ``train`` has made.  Checkpoints hold such a network once
    # that mode has trained it, and are whole without.
    later_networks: dict[str, str] = {}

    def model_keys(self) -> dict:
        """Legal keys under ``model_params``: nested dictionaries; None marks a leaf."""
        raise TypeError(f"{type(self).__name__} does not define model_keys")

    def train_keys(self) -> dict:
        """Legal keys of the training sections that only this family has, nested like :meth:`model_keys`."""
        return {}

    def build(self, config: dict) -> dict[str, nn.Module]:
        """The networks, by name."""
        raise TypeError(f"{type(self).__name__} does not define build")

    def needs_perceptual_network(self, config: dict, mode: str = "train") -> bool:
        """Whether the loss weights ask for the features of ``train_params.perceptual_network``."""
        return mode == "train" and bool(layered_weights(config["train_params"]["loss_weights"]))

    def phases(
        self, networks: dict[str, nn.Module], config: dict, perceptual: nn.Module | None = None, mode: str = "train"
    ) -> list[Phase]:
        """The phases of a training step."""
        raise TypeError(f"{type(self).__name__} does not define phases")

    def animator(self, networks: dict[str, nn.Module], config: dict, reconstruction: bool = False):
        """A :class:`modules.animator.Animator`."""
        raise TypeError(f"{type(self).__name__} does not define animator")
