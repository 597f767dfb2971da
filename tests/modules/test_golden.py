"""The networks and losses against numbers computed once by an independent implementation (spec §5)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torchvision

from modules import build_networks
from modules.animator import normalize_kp
from modules.facial_prior import region_map, select_keypoints
from modules.model import DiscriminatorFullModel, GeneratorFullModel
from modules.perceptual import Vgg19
from modules.transform import Transform
from modules.util import ImagePyramid
from tests.conftest import LOSS_WEIGHTS, ROOT, golden_images, golden_state, load_golden, relative_error, tiny_config

OUTPUT_TOLERANCE, LOSS_TOLERANCE, TRAJECTORY_TOLERANCE = 2e-4, 1e-3, 2e-2
SCALES = [1, 0.5, 0.25, 0.125]
TRAIN_PARAMS = {
    "scales": SCALES,
    "loss_weights": LOSS_WEIGHTS,
    "transform_params": {"sigma_affine": 0.05, "sigma_tps": 0.005, "points_tps": 5},
}


def build(golden: dict, family: str = "fpb_fomm", train: bool = False) -> dict[str, torch.nn.Module]:
    networks = build_networks(tiny_config(family))
    for name, network in networks.items():
        state = golden_state(golden, name)
        if state or name != "discriminator":
            network.load_state_dict(state)
        network.train(train)
    return networks


def golden_vgg() -> Vgg19:
    features = torchvision.models.vgg19(weights=None).features[:30]
    for index, conv in enumerate(m for m in features if isinstance(m, torch.nn.Conv2d)):
        fan_in = conv.weight[0].numel()
        n = torch.arange(conv.weight.numel(), dtype=torch.float64)
        weight = torch.sin(0.7311 * n + index) * (2 / fan_in) ** 0.5 * 1.4142
        conv.weight.data = weight.view_as(conv.weight).float()
        conv.bias.data.zero_()
    return Vgg19(features)


def golden_transform(golden: dict) -> Transform:
    transform = Transform(2, 0.05, 0.005, 5)
    transform.theta, transform.control_params = golden["transform/theta"], golden["transform/control_params"]
    return transform


def golden_inputs(golden: dict) -> dict[str, torch.Tensor]:
    images = {name: golden_images(golden, name) for name in ("source", "driving")}
    return {**images, "keypoint": golden["in/keypoint"]}


@pytest.fixture(scope="module")
def inputs(fpb_golden):
    return golden_inputs(fpb_golden)


@pytest.fixture(scope="module")
def forward(fpb_golden, inputs):
    networks = build(fpb_golden)
    with torch.no_grad():
        kp = {n: networks["kp_detector"](inputs[n], inputs["keypoint"]) for n in ("source", "driving")}
        out = networks["generator"](inputs["source"], kp_source=kp["source"], kp_driving=kp["driving"])
        pyramid = ImagePyramid(SCALES, 3)(inputs["driving"])
        maps = networks["discriminator"](pyramid)
    return {"kp": kp, "gen": out, "pyramid": pyramid, "disc": maps}


def check(actual, expected, tolerance=OUTPUT_TOLERANCE):
    assert relative_error(actual, expected) <= tolerance


def test_region_map(fpb_golden):
    check(region_map(fpb_golden["mask/keypoints"], (256, 256), (64, 64))[:, 0], fpb_golden["mask/out"])


def test_select_keypoints(fpb_golden):
    selected = select_keypoints(fpb_golden["select/landmarks68"])
    assert torch.equal(selected, fpb_golden["select/keypoints18"])


@pytest.mark.parametrize("image", ["source", "driving"])
@pytest.mark.parametrize("part", ["value", "jacobian"])
def test_keypoint_detector(fpb_golden, forward, image, part):
    check(forward["kp"][image][part], fpb_golden[f"kp/{image}/{part}"])


@pytest.mark.parametrize(
    ("name", "step"),
    [("prediction", 4), ("deformed", 4), ("mask", 4), ("occlusion_map", 2), ("sparse_deformed", 8)],
)
def test_generator(fpb_golden, forward, name, step):
    check(forward["gen"][name][..., ::step, ::step], fpb_golden[f"gen/{name}"])


@pytest.mark.parametrize("scale", ["1", "0.5", "0.25", "0.125"])
def test_pyramid(fpb_golden, forward, scale):
    level = forward["pyramid"][f"prediction_{scale}"]
    check(level[..., ::4, ::4] if level.shape[-1] > 64 else level, fpb_golden[f"pyramid/prediction_{scale}"])


def test_discriminator(fpb_golden, forward):
    for index, features in enumerate(forward["disc"]["feature_maps_1"]):
        check(features[..., ::4, ::4], fpb_golden[f"disc/feature_maps_1/{index}"])
    check(forward["disc"]["prediction_map_1"], fpb_golden["disc/prediction_map_1"])


@pytest.mark.parametrize("scale", [0, 1])
@pytest.mark.parametrize("movement", [0, 1])
@pytest.mark.parametrize("jacobian", [0, 1])
def test_normalize_kp(fpb_golden, scale, movement, jacobian):
    def item(prefix):
        return {part: fpb_golden[f"{prefix}/{part}"][:1] for part in ("value", "jacobian")}

    out = normalize_kp(
        kp_source=item("kp/source"),
        kp_driving=item("norm/driving"),
        kp_driving_initial=item("norm/initial"),
        adapt_movement_scale=bool(scale),
        use_relative_movement=bool(movement),
        use_relative_jacobian=bool(jacobian),
    )
    for part in ("value", "jacobian"):
        check(out[part], fpb_golden[f"norm/out/scale{scale}_rel{movement}_jac{jacobian}/{part}"])


def test_transform(fpb_golden, inputs):
    transform, coordinates = golden_transform(fpb_golden), fpb_golden["transform/coords"]
    check(transform.warp_coordinates(coordinates), fpb_golden["transform/warped"])
    check(transform.jacobian(coordinates), fpb_golden["transform/jacobian"])
    check(transform.transform_frame(inputs["driving"])[..., ::4, ::4], fpb_golden["transform/frame"])


def test_vgg(fpb_golden, inputs):
    with torch.no_grad():
        features = golden_vgg()(inputs["driving"][:, :, ::4, ::4])
    for index, feature in enumerate(features):
        check(feature.abs().mean(), fpb_golden[f"vgg/{index}/mean_abs"])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_losses(fpb_golden, inputs, mode):
    networks = build(fpb_golden, train=mode == "train")
    model = GeneratorFullModel(
        networks["kp_detector"], networks["generator"], networks["discriminator"], TRAIN_PARAMS, golden_vgg()
    )
    with torch.no_grad():
        losses, generated = model(inputs, transform=golden_transform(fpb_golden))
        losses |= DiscriminatorFullModel(networks["discriminator"], TRAIN_PARAMS)(inputs, generated)[0]
    expected = {key.split("/")[-1] for key in fpb_golden if key.startswith(f"loss/{mode}/")}
    assert set(losses) == expected
    for name in expected:
        check(losses[name], fpb_golden[f"loss/{mode}/{name}"], LOSS_TOLERANCE)


KERNELS = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # what every x86 processor of today has


def test_trajectory():
    """Four training steps: the losses follow the reference, so gradients and update order are right too.

    Rounding grows from step to step (Adam's first steps are signs of gradients): by the fourth, kernels for other
    processors are 1 to 4 % apart.  So one kind of kernel is taken on all, which a process chooses as it starts.
    """
    program = "from tests.modules.test_golden import trajectory_error; print(trajectory_error())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | KERNELS, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) <= TRAJECTORY_TOLERANCE


def trajectory_error() -> float:
    """Largest relative difference of any loss, in any of the steps."""
    golden = load_golden("fpb_fomm")
    networks, batch = build(golden, train=True), golden_inputs(golden)
    model = GeneratorFullModel(
        networks["kp_detector"], networks["generator"], networks["discriminator"], TRAIN_PARAMS, golden_vgg()
    )
    critic = DiscriminatorFullModel(networks["discriminator"], TRAIN_PARAMS)
    adam = {n: torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n, m in networks.items()}
    names = [str(name) for name in golden["trajectory/names"]]
    errors = []
    for expected in golden["trajectory/losses"]:
        losses, generated = model(batch, transform=golden_transform(golden))
        sum(losses.values()).backward()
        for name in ("generator", "kp_detector"):
            adam[name].step()
            adam[name].zero_grad()
        adam["discriminator"].zero_grad()
        losses |= critic(batch, generated)[0]
        losses["disc_gan"].backward()
        adam["discriminator"].step()
        adam["discriminator"].zero_grad()
        actual = torch.tensor([losses[name].item() for name in names], dtype=torch.float64)
        errors.append(((actual - expected).abs() / expected.abs()).max())
    return float(torch.stack(errors).max())


def test_fomm(fomm_golden):
    networks = build(fomm_golden, "fomm")
    images = {name: golden_images(fomm_golden, name) for name in ("source", "driving")}
    with torch.no_grad():
        kp = {name: networks["kp_detector"](image) for name, image in images.items()}
        out = networks["generator"](images["source"], kp_source=kp["source"], kp_driving=kp["driving"])
    for name in images:
        for part in ("value", "jacobian"):
            check(kp[name][part], fomm_golden[f"kp/{name}/{part}"])
    check(out["prediction"][..., ::4, ::4], fomm_golden["gen/prediction"])
    check(out["occlusion_map"], fomm_golden["gen/occlusion_map"])
