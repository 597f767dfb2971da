"""Checkpoints: one symmetric save and load of all states, and readers of published files.

    python checkpoint.py 'log/my run/00000099-checkpoint.pth.tar' small.pth.tar     # for inference only

A checkpoint is a dictionary: state dicts by network name, ``optimizer_<name>``, ``epoch`` and, in ours, ``config``
(it rebuilds its own model), ``step`` and ``epoch_step`` (random states follow from them).
Loading is ``weights_only=True``: a file cannot run code.
"""

from __future__ import annotations

import argparse
import codecs
import copy
import hashlib
import os
import pickle
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description="Write a small copy of a checkpoint, for inference only.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("destination", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":  # PyTorch takes seconds to import: --help, and a first line, come before
    print(f"{parse_arguments().checkpoint}: a small copy for inference", flush=True)

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from media import OutputError, atomic_path, describe_error
from media.fingerprint import has_flipped_bytes
from modules import FAMILIES, build_networks, get_family
from modules.inference import prepare_for_inference
from parallel.workers import speak_any_alphabet
from settings.devices import settle_precision

ARCHIVES = b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"  # how they begin: gzip, bzip2, xz, 7-Zip, RAR
# Numbers of NumPy, which other programs keep beside their networks (``best_loss``); NumPy 1 called their module "core".
NUMBERS = [
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype, *{type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?SU"},
    codecs.encode,
]  # fmt: skip
EARLY_EXTRAS = ("conv1.", "conv2.")  # unused entries of the authors' early key point detector
State = dict[str, Tensor]


class CheckpointError(ValueError):
    """A checkpoint that is missing, broken, unsafe or of another model."""


# ------------------------------------------------------------------------------------------------ files
def read_checkpoint(path: str | Path) -> dict:
    """Read a checkpoint to the CPU.

    Raises:
        CheckpointError: missing, truncated, no checkpoint at all, or one that would run code.
    """
    path = checkpoint_file(path)
    if has_flipped_bytes(path):
        raise CheckpointError(f"{path} is damaged: its checksums do not fit. Copy or download it again")
    try:
        with torch.serialization.safe_globals(NUMBERS):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"(?:GLOBAL|class|type) ([\w.]+\w)", str(error)) if "nsupported" in str(error) else None
        raise CheckpointError(_refused(path, refused[1]) if refused else _broken(path)) from error
    except Exception as error:  # torch.load raises a different type for every way a file can be broken
        raise CheckpointError(_broken(path)) from error
    if not isinstance(data, dict) or not any(isinstance(value, dict) for value in data.values()):
        raise CheckpointError(f"{path} holds {type(data).__name__}, not a dictionary of state dicts")
    return data


def checkpoint_file(path: str | Path) -> Path:
    """``path``, where a file is.

    Raises:
        CheckpointError: there is none, or a folder.
    """
    path = Path(path)
    if path.is_dir():
        unpacked = any(path.glob("**/data.pkl"))
        what = "a checkpoint that was unpacked" if unpacked else "no checkpoint"
        remedy = "a .pth.tar is used as it was downloaded: do not unpack it" if unpacked else "name the file in it"
        raise CheckpointError(f"{path} is a folder, {what}: {remedy}")
    if not path.is_file():
        raise CheckpointError(f"no such checkpoint: {path}")
    return path


def _refused(path: Path, found: str = "a pickle of another program") -> str:
    return (
        f"{path} was refused: it holds more than tensors and numbers ({found}), and loading it could run code. "
        "If you trust its source, save its state dicts anew without the rest, where it was made: only what torch.load "
        "accepts with weights_only=True is read"
    )


def _broken(path: Path) -> str:
    """What a file is that torch does not read."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"version https://git-lfs"):
        return f"{path} is a Git LFS pointer, not the checkpoint itself: run `git lfs pull`"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return f"{path} is a web page, not the checkpoint: download the file itself, in a browser if need be"
    if zipfile.is_zipfile(path) or head.startswith(ARCHIVES) or head[257:262] == b"ustar":
        return f"{path} is an archive, and no checkpoint of torch: unpack it, and give the checkpoint that was in it"
    if head[8:9] == b"{" and b'"dtype"' in head:
        return f"{path} is a safetensors file, which holds no dictionary of networks: give the checkpoint it came from"
    if head[:1] == b"\x80" and head[1:2] > b"\x02":  # a plain pickle; torch writes protocol 2
        return _refused(path)
    return f"{path} is truncated or no checkpoint ({path.stat().st_size} bytes): copy or download it again"


def write_checkpoint(path: str | Path, data: dict) -> None:
    """Write a checkpoint atomically: a kill at any moment leaves the file that was there.

    Raises:
        OSError: it cannot be written, for example because the disk is full.
    """
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(data, file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:  # torch's own complaint while it handles the one of the file
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def without_optimizers(data: dict) -> dict:
    """A checkpoint without what only a resumed run needs; it is a third as large."""
    return {key: value for key, value in data.items() if not key.startswith("optimizer_") and key != "scaler"}


def thin_checkpoint(path: str | Path) -> None:
    """Take the optimisers' states out of one of our checkpoints: its networks, settings and date stay as they are."""
    data, dates = read_checkpoint(path), os.stat(path)
    thin = without_optimizers(data)
    if "config" in data and len(thin) < len(data):
        write_checkpoint(path, thin)
        os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))  # the newest of a run is found by them


def file_hash(path: str | Path) -> str:
    """First 16 hex digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


# ------------------------------------------------------------------------------------------------ networks
def _clean(state: State, network: str) -> State:
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if network == "kp_detector":
        state = {name: value for name, value in state.items() if not name.startswith(EARLY_EXTRAS)}
    return state


def family_of(checkpoint: dict) -> str | None:
    """The family a checkpoint belongs to, from its config or its networks; None where that cannot be told."""
    config = checkpoint.get("config")
    if isinstance(config, dict):
        return config.get("model", "fpb_fomm")
    states = {name: _clean(state, name) for name, state in checkpoint.items() if isinstance(state, dict)}
    generator = states.get("generator", {})
    if "region_predictor" in states or any(key.startswith("pixelwise_flow_predictor.") for key in generator):
        return "mraa"
    first = states.get("kp_detector", {}).get("predictor.encoder.down_blocks.0.conv.weight")
    if first is None:
        return None
    return "fpb_fomm" if first.shape[1] in (2, 4) else "fomm"


def untrained_networks(checkpoint: dict, family: str) -> set[str]:
    """Networks of ``family.later_networks`` that a checkpoint lacks, or carries as they were initialised."""
    own = "config" in checkpoint  # other programs' files may hold nothing but networks
    family = FAMILIES[family]
    return {
        name
        for name, mode in family.later_networks.items()
        if name not in checkpoint or (own and family.epoch_keys[mode] not in checkpoint)
    }


def compare_states(network: nn.Module, state: State, name: str) -> list[str]:
    """What keeps ``state`` from being loaded into ``network``: missing, unexpected and misshapen entries."""
    expected = network.state_dict()
    problems = [f"missing: {name}.{key}" for key in expected if key not in state]
    problems += [f"unexpected: {name}.{key}" for key in state if key not in expected]
    problems += [f"no tensor: {name}.{key}" for key in state if not isinstance(state[key], Tensor)]
    problems += [
        f"shape: {name}.{key} is {list(state[key].shape)} in the file, {list(expected[key].shape)} in the config"
        for key in expected
        if isinstance(state.get(key), Tensor) and state[key].shape != expected[key].shape
    ]
    return problems


def not_finite(state: State) -> list[str]:
    """Names of the entries that hold NaN or infinite values."""
    return [key for key, value in state.items() if isinstance(value, Tensor) and not torch.isfinite(value).all()]


def load_networks(networks: dict[str, nn.Module], checkpoint: dict, family: str, path: str | Path = "") -> None:
    """Load all ``networks`` from a checkpoint, or none.

    Raises:
        CheckpointError: another family (both are named), or keys that do not fit (they are listed).
    """
    theirs = family_of(checkpoint)
    if theirs is not None and theirs != family:
        raise CheckpointError(
            f"{path} is a checkpoint of model: {theirs}, but the config is of model: {family}. "
            f"Use a config of model: {theirs}, or another checkpoint."
        )
    states, problems = {}, []
    for name, network in networks.items():
        if not isinstance(checkpoint.get(name), dict):
            problems.append(f"missing: {name} (the file holds {', '.join(map(str, checkpoint))})")
            continue
        states[name] = _clean(checkpoint[name], name)
        problems += compare_states(network, states[name], name)
    if problems:
        shown = "\n  ".join(problems[:30]) + (f"\n  … and {len(problems) - 30} more" if len(problems) > 30 else "")
        raise CheckpointError(
            f"{path} does not fit the config's networks; nothing was loaded:\n  {shown}\n"
            "Give the model_params it was trained with: in the config, by --set, or as in the resolved.yaml of its run"
        )
    bad = [f"{name}.{key}" for name, state in states.items() for key in not_finite(state)]
    if bad:
        raise CheckpointError(
            f"{path} holds NaN or infinite values in {len(bad)} of its tensors, such as {bad[0]}: its training went "
            "wrong, or the file is damaged. Take an earlier checkpoint, or copy it again"
        )
    for name, state in states.items():
        networks[name].load_state_dict(state)


def warm_start(networks: dict[str, nn.Module], checkpoint: dict) -> tuple[list[str], list[str]]:
    """Take what fits from another model's checkpoint (``--init-from``).

    Entries of equal name and shape are taken.  A convolution with more input channels here than there takes the
    channels it knows (the detector's first convolution, and skips to its output, gain the region map's channel) and
    starts the others at zero; everything else stays as initialised.

    Returns:
        names taken, and names left with the reason.
    """
    taken, left = [], []
    for name, network in networks.items():
        theirs = _clean(checkpoint[name], name) if isinstance(checkpoint.get(name), dict) else {}
        own = network.state_dict()
        for key, value in own.items():
            label = f"{name}.{key}"
            other = theirs.get(key)
            if other is None:
                left.append(f"{label}: not in the file")
            elif not_finite({key: other}):
                left.append(f"{label}: holds NaN or infinite values")
            elif other.shape == value.shape:
                own[key] = other
                taken.append(label)
            elif _gains_inputs(value, other):
                widened = torch.zeros_like(value)
                widened[:, : other.shape[1]] = other
                own[key] = widened
                taken.append(f"{label} ({other.shape[1]} of {value.shape[1]} input channels)")
            else:
                left.append(f"{label}: {list(other.shape)} there, {list(value.shape)} here")
        network.load_state_dict(own)
    return taken, left


def _gains_inputs(value: Tensor, other: Tensor) -> bool:
    same = value.dim() == other.dim() == 4 and value.shape[0] == other.shape[0] and value.shape[2:] == other.shape[2:]
    return same and other.shape[1] < value.shape[1]


@dataclass
class LoadedModel:
    """Networks ready for inference, and the settings they were built from.

    With ``single_use`` the first animator takes the networks themselves, not copies: they are in memory once.
    """

    networks: dict[str, nn.Module]
    config: dict
    family: str
    single_use: bool = False

    @property
    def precision(self) -> str:
        """``animate_params.precision``: float32, as in settings that do not have the key, or bf16."""
        return (self.config.get("animate_params") or {}).get("precision", "float32")

    def animator(self, reconstruction: bool = False):
        """The family's animator, on networks rebuilt for inference at ``precision``: copies, but for ``single_use``.

        Raises:
            RuntimeError: a second one of a model for a single use.
        """
        dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[self.precision]
        if not self.networks:
            raise RuntimeError("this model was loaded for a single use, and an animator has its networks already")
        networks = self.networks if self.single_use else copy.deepcopy(self.networks)
        rebuilt = {name: prepare_for_inference(network.eval(), dtype) for name, network in networks.items()}
        if self.single_use:
            self.networks = {}
        return get_family(self.config).animator(rebuilt, self.config, reconstruction)


def load_for_inference(
    path: str | Path, config: dict | None, device: torch.device, single_use: bool = False
) -> LoadedModel:
    """Networks of a checkpoint in eval mode on ``device``.

    Args:
        path: the checkpoint.
        config: settings; None takes those inside the checkpoint (ours carry them).
        single_use: the model is for one animator, see :class:`LoadedModel`.
    """
    checkpoint = read_checkpoint(path)
    config = config or checkpoint.get("config")
    if config is None:
        raise CheckpointError(f"{path} carries no config (only this project's checkpoints do): give --config")
    _say_size(config, checkpoint, path)
    config, family = settle_precision(config, "animate_params", device), get_family(config)
    networks = build_networks(config)
    absent = untrained_networks(checkpoint, family.name) if family_of(checkpoint) in (family.name, None) else set()
    networks = {name: networks[name] for name in family.inference_networks if name in networks and name not in absent}
    load_networks(networks, checkpoint, family.name, path)
    for network in networks.values():
        network.to(device).eval().requires_grad_(False)
    return LoadedModel(networks, config, family.name, single_use)


def _say_size(config: dict, checkpoint: dict, path: str | Path) -> None:
    """Networks work on frames of any size, but know faces and movements of the one that they were trained on."""
    here, there = (
        (each.get("dataset_params") or {}).get("frame_shape") for each in (config, checkpoint.get("config") or {})
    )
    if here and there and list(here[:2]) != list(there[:2]):
        size = f"{there[1]}×{there[0]}"
        tqdm.write(
            f"{path} was trained on frames of {size} and now gets {here[1]}×{here[0]} (dataset_params.frame_shape): "
            f"its results will be poorer than with --set dataset_params.frame_shape=[{there[0]},{there[1]},3]"
        )


def _halved(key: str, value: Tensor) -> Tensor:
    keep = not value.is_floating_point() or "running_" in key  # small variances would become 0
    return value if keep else value.half()


def slim_checkpoint(checkpoint: dict) -> dict:
    """What inference needs of one of our checkpoints: weights in half precision, settings; no paths, no optimisers.

    Raises:
        CheckpointError: it carries no config.
    """
    config = checkpoint.get("config")
    if config is None:
        raise CheckpointError("only this project's checkpoints carry the settings that a slim one needs")
    family = get_family(config)
    untrained = untrained_networks(checkpoint, family.name)
    names = [name for name in family.inference_networks if name in checkpoint and name not in untrained]
    slim: dict = {name: {key: _halved(key, value) for key, value in checkpoint[name].items()} for name in names}
    kept = {key: config[key] for key in ("model", "model_params", "animate_params") if key in config}
    slim["config"] = {**kept, "dataset_params": {"frame_shape": config["dataset_params"]["frame_shape"]}}
    if "train_params" in config and family.needs_perceptual_network(config):  # a result that used it says so
        slim["perceptual_network"] = config["train_params"].get("perceptual_network", "vgg19")
    return slim | {key: checkpoint[key] for key in (*family.epoch_keys.values(), "step") if key in checkpoint}


def main(arguments: list[str] | None = None) -> int:
    """Entry point: write a slim copy of a checkpoint."""
    speak_any_alphabet()
    options = parse_arguments(arguments)
    try:
        if options.destination.exists():
            raise OutputError(f"{options.destination} is there: choose another name, or move it away")
        write_checkpoint(options.destination, slim_checkpoint(read_checkpoint(options.checkpoint)))
    except (ValueError, OSError) as error:
        print(f"error: {describe_error(error)}", file=sys.stderr)
        return 2
    print(f"{options.destination}: {options.destination.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
