"""The full models of MRAA: networks and losses of one training step in one module (spec §2, §3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules import losses
from modules.image_losses import Batch, ImageLosses, Losses
from modules.mraa.regions import Regions, as_keypoints, revert_swap
from modules.transform import Transform
from modules.util import inverse_2x2, matmul_2x2


class ReconstructionModel(nn.Module):
    """Losses of ``--mode train``: one frame of a clip made from another one.

    Args:
        generator, region_predictor, bg_predictor: the networks.
        train_params: the YAML's ``train_params``: ``scales``, ``loss_weights``, ``transform_params``.
        vgg: :class:`modules.vgg.Vgg19`; required by the perceptual loss.
    """

    def __init__(
        self,
        generator: nn.Module,
        region_predictor: nn.Module,
        bg_predictor: nn.Module,
        train_params: dict,
        vgg: nn.Module | None = None,
    ):
        super().__init__()
        self.generator, self.region_predictor, self.bg_predictor = generator, region_predictor, bg_predictor
        self.train_params, self.loss_weights = train_params, train_params["loss_weights"]
        self.image_losses = ImageLosses(train_params, generator.final.out_channels, vgg)

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
        values.update(self._equivariance_losses(x, driving, generated, transform))
        return values, generated

    def _equivariance_losses(
        self, x: Batch, regions: Regions, generated: dict, transform: Transform | None
    ) -> Losses:
        frame = x["driving"]
        shift_weight = self.loss_weights.get("equivariance_shift") or 0
        affine_weight = self.loss_weights.get("equivariance_affine") or 0
        if not shift_weight and not affine_weight:
            return {}
        if transform is None:
            transform = Transform(frame.shape[0], **self.train_params["transform_params"], rows=x.get("rows"))
        moved_frame = transform.transform_frame(frame, self.generator.align_corners)
        moved = self.region_predictor(moved_frame)
        generated.update(transformed_frame=moved_frame, transformed_kp=as_keypoints(moved))
        values: Losses = {}
        if shift_weight:
            warped = transform.warp_coordinates(moved["shift"])
            values["equivariance_shift"] = shift_weight * losses.l1(regions["shift"], warped)
        if affine_weight and "affine" in regions:
            ratio = self._affine_ratio(regions, moved, transform)
            identity = torch.eye(2, device=ratio.device)
            values["equivariance_affine"] = affine_weight * losses.l1(ratio, identity)
        return values

    def _affine_ratio(self, regions: Regions, moved: Regions, transform: Transform) -> Tensor:
        """A_driving⁻¹·∇T·A_moved (B, K, 2, 2), the identity if the regions follow the transform."""
        warped = matmul_2x2(transform.jacobian(moved["shift"]), moved["affine"])
        ratio = matmul_2x2(inverse_2x2(regions["affine"]), warped)
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
