"""The engine behind ``run.py --mode export``: key point detector and generator as ONNX files.

``kp_detector.onnx`` takes ``image`` (B, 3, H, W) in [0, 1] and, with the facial prior, ``keypoint`` (B, 18, 2) in
pixels, and gives ``value`` (B, K, 2) and ``jacobian`` (B, K, 2, 2).  ``generator.onnx`` takes ``source``
(B, 3, H, W), and ``value`` and ``jacobian`` of source and driving frame, and gives ``prediction`` (B, 3, H, W).
B is free; H and W are the data set's.  Relative motion is between the two: :func:`modules.animator.normalize_kp`.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from checkpoint import CheckpointError, LoadedModel
from media import atomic_path, open_output_folder
from modules import get_family
from modules.facial_prior import template_keypoints
from modules.inference import prepare_for_inference

OPSET = 18  # GridSample is there from 16
FAMILIES = ("fpb_fomm", "fomm")
DEFAULT_SIZE = (256, 256)


class Detector(nn.Module):
    """Key point detector with tensors in place of dictionaries."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, keypoint: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(self.network(image, keypoint).values())


class Generator(nn.Module):
    """Generator with tensors in place of dictionaries; gives the prediction alone."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, source: Tensor, value_source: Tensor, value_driving: Tensor, *jacobians: Tensor) -> Tensor:
        points = {"kp_source": {"value": value_source}, "kp_driving": {"value": value_driving}}
        for entry, jacobian in zip(points.values(), jacobians, strict=False):
            entry["jacobian"] = jacobian
        return self.network(source, **points)["prediction"]


def graphs(model: LoadedModel) -> dict[str, tuple[nn.Module, dict[str, Tensor], list[str]]]:
    """What is exported: file name → module, example inputs by name, names of the outputs.

    Raises:
        CheckpointError: a family that cannot be exported.
    """
    if model.family not in FAMILIES:
        raise CheckpointError(
            f"--mode export writes models of {' and '.join(FAMILIES)}; {model.family} has inputs of its own"
        )
    rebuilt = {name: prepare_for_inference(copy.deepcopy(net).cpu().eval()) for name, net in model.networks.items()}
    shape = model.config.get("dataset_params", {}).get("frame_shape")
    height, width = DEFAULT_SIZE if shape is None else shape[:2]
    image = torch.rand(2, 3, height, width)
    inputs = {"image": image}
    if get_family(model.config).uses_prior:
        inputs["keypoint"] = template_keypoints(height, width).expand(2, -1, -1).contiguous()
    detector = Detector(rebuilt["kp_detector"]).eval()
    with torch.no_grad():
        found = detector(*inputs.values())
    names = ["value", "jacobian"][: len(found)]
    points = {  # copies: the exporter takes one tensor for one input
        f"{name}_{role}": value.clone()
        for name, value in zip(names, found, strict=True)
        for role in ("source", "driving")
    }
    generator = Generator(rebuilt["generator"]).eval()
    return {
        "kp_detector.onnx": (detector, inputs, names),
        "generator.onnx": (generator, {"source": image, **points}, ["prediction"]),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own progress and the warnings about its insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def export(model: LoadedModel, out: str | Path) -> list[Path]:
    """Write the model's ONNX files into ``out``; returns their paths.

    Raises:
        CheckpointError: a family that cannot be exported, or PyTorch's exporter lacks packages.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckpointError(f"--mode export needs packages that are not installed: pip install {' '.join(missing)}")
    out, paths = open_output_folder(out, "--out", "an exported model", {}), []
    for name, (module, inputs, outputs) in graphs(model).items():
        batch = torch.export.Dim("batch", min=1)
        shapes = tuple({0: batch} for _ in inputs)
        if isinstance(module, Generator):  # what follows `value_driving` is one argument of any length
            shapes = (*shapes[:3], shapes[3:])
        with _quiet():
            program = torch.onnx.export(
                module, tuple(inputs.values()), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=list(inputs), output_names=outputs, dynamic_shapes=shapes,
            )  # fmt: skip
        with atomic_path(out / name) as temporary:
            program.save(temporary, external_data=False)
        paths.append(out / name)
    return paths
