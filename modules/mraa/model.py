"""The full models of MRAA: networks and losses of one training step in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules import losses
from modules.losses import Batch, Losses
from modules.model import ReconstructingModel
from modules.mraa.regions import Regions, as_keypoints, revert_swap
from modules.transform import Transform


class ReconstructionModel(ReconstructingModel):
    """Losses of ``--mode train``: one frame of a clip made from another one.

    Args:
        generator, region_predictor, bg_predictor: the networks.
        train_params, network: as in :class:`~modules.model.ReconstructingModel`.
    """

    equivariance = ("equivariance_shift", "equivariance_affine")

    def __init__(
        self,
        generator: nn.Module,
        region_predictor: nn.Module,
        bg_predictor: nn.Module,
        train_params: dict,
        network: nn.Module | None = None,
    ):
        super().__init__(generator, train_params, network)
        self.region_predictor, self.bg_predictor = region_predictor, bg_predictor

    def forward(
        self, x: Batch, generated: dict | None = None, transform: Transform | None = None
    ) -> tuple[Losses, dict]:
        """One step's losses.

        Args:
            x: ``source``, ``driving`` (B, C, H, W) in [0, 1]; ``rows`` where it is a part of a larger batch, see
                :class:`modules.transform.Transform`.
            generated: not used, this is the first phase of a step.
            transform: of the equivariance losses; drawn at random when None.

        Returns:
            weighted losses by log name, and the generator's outputs with ``kp_source``, ``kp_driving``.
        """
        source, driving = self.region_predictor(x["source"]), self.region_predictor(x["driving"])
        background = self.bg_predictor(x["source"], x["driving"])
        generated = self.generator(x["source"], driving, source, background)
        generated.update(kp_source=as_keypoints(source), kp_driving=as_keypoints(driving))
        values = self.image_losses(x["driving"], generated)

        def detect(frame: Tensor, transform: Transform) -> dict[str, Tensor]:
            return as_keypoints(self.region_predictor(frame))

        values.update(self.equivariance_losses(x, generated, detect, transform))
        return values, generated

    def signed(self, ratio: Tensor) -> Tensor:
        return revert_swap(ratio) if self.generator.pixelwise_flow_predictor.revert_axis_swap else ratio


def random_scale(regions: Regions, amount: float, rows: tuple[int, int] | None = None) -> Regions:
    """Regions stretched along x and y by factors drawn uniformly from 1 ± ``amount``, a pair a batch item.

    ``rows`` is (first, total) where the items are rows of a larger batch that is worked on in parts.

    Drawn on the CPU, so that every device gets the same numbers for the same seed.
    """
    shift, affine = regions["shift"], regions["affine"]
    first, total = rows or (0, len(shift))
    factors = 1 + amount * (2 * torch.rand(total, 1, 2)[first : first + len(shift)] - 1)
    factors = factors.to(shift)  # (B, 1, 2)
    return {"shift": shift * factors, "affine": affine * factors[..., None]}


class AVDModel(nn.Module):
    """Losses of ``--mode train_avd``; the region predictor is frozen.

    Within a clip the shape is constant, so the pose of one frame given to the shape of another has to give
    the regions of the first.  The pose is stretched at random: its proportions say nothing, and the shape has
    to be taken from the other frame.

    Args:
        region_predictor, avd_network: the networks.
        params: the YAML's ``train_avd_params``: ``lambda_shift``, ``lambda_affine`` (1 if absent), and
            ``random_scale`` (0.25 if absent; the published values).
    """

    def __init__(self, region_predictor: nn.Module, avd_network: nn.Module, params: dict):
        super().__init__()
        self.region_predictor, self.avd_network = region_predictor, avd_network
        self.weights = {name: params.get(f"lambda_{name}", 1) for name in ("shift", "affine")}
        self.random_scale = params.get("random_scale", 0.25)

    @torch.no_grad()
    def _regions(self, image: Tensor) -> Regions:
        self.region_predictor.eval()  # frozen: BatchNorm too
        return self.region_predictor(image)

    def forward(self, x: Batch, generated: dict | None = None) -> tuple[Losses, dict]:
        """``rec_shift`` and ``rec_affine`` of ``x``: ``source`` and ``driving`` (B, C, H, W), B > 1."""
        if x["source"].shape[0] < 2:
            raise ValueError("train_avd_params.batch_size is 1; BatchNorm needs 2 or more")
        identity, pose = self._regions(x["source"]), self._regions(x["driving"])
        rebuilt = self.avd_network(x_id=identity, x_pose=random_scale(pose, self.random_scale, x.get("rows")))
        values = {f"rec_{name}": w * losses.l1(rebuilt[name], pose[name]) for name, w in self.weights.items()}
        return values, {}
