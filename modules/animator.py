"""Animation of one source by one driving clip in batches; the source is encoded once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.motion_control import MotionControl
from modules.track import Carrier, Track, limit_slope, normalised_units
from modules.util import inverse_2x2

KeyPoints = dict[str, Tensor]
NO_REGIONS = (
    "animate_params.regions needs a model with the facial prior (fpb_fomm, fpb_tracked): the learned key points of "
    "this one have no fixed place on the face"
)


def convex_hull_area(points: Tensor) -> float:
    """Area of the convex hull of (K, 2) points, in their squared units; 0 where they lie on a line."""
    from scipy.spatial import ConvexHull, QhullError  # a fifth of a second, which every command would wait

    try:
        return float(ConvexHull(points.detach().cpu().double().numpy()).volume)  # SciPy's volume is an area in 2-D
    except QhullError:
        return 0.0


def movement_scale(source: Tensor, driving: Tensor) -> Tensor:
    """s = sqrt(hull area of the source / of the driving points), a batch item each: (B, K, 2) twice → (B, 1, 1)."""
    ratios = []
    for source_points, driving_points in zip(source, driving, strict=True):
        area = convex_hull_area(driving_points)
        if area <= 0:
            raise ValueError("the driving key points lie on a line: adapt_movement_scale has no scale to adapt to")
        ratios.append((convex_hull_area(source_points) / area) ** 0.5)
    return torch.tensor(ratios, dtype=source.dtype, device=source.device).view(-1, 1, 1)


def normalize_kp(
    kp_source: KeyPoints,
    kp_driving: KeyPoints,
    kp_driving_initial: KeyPoints,
    adapt_movement_scale: bool = False,
    use_relative_movement: bool = False,
    use_relative_jacobian: bool = False,
) -> KeyPoints:
    """Driving key points carried over to the source (FOMM Eq. 12).

    With ``use_relative_movement``: value = source + s·(driving − initial), s the movement scale or 1; and with
    ``use_relative_jacobian`` too: jacobian = driving·initial⁻¹·source.  Otherwise the driving's own.

    Args:
        kp_source, kp_driving_initial: ``value`` (1 or B, K, 2), ``jacobian`` (1 or B, K, 2, 2).
        kp_driving: the same with B frames.
    """
    out = dict(kp_driving)
    if not use_relative_movement:
        return out
    movement = kp_driving["value"] - kp_driving_initial["value"]
    if adapt_movement_scale:
        movement = movement * movement_scale(kp_source["value"], kp_driving_initial["value"])
    out["value"] = kp_source["value"] + movement
    if use_relative_jacobian and "jacobian" in kp_driving:
        relative = kp_driving["jacobian"] @ inverse_2x2(kp_driving_initial["jacobian"])
        out["jacobian"] = relative @ kp_source["jacobian"]
    return out


def repeat(tensor: Tensor | None, frames: int) -> Tensor | None:
    """(1, ...) → (frames, ...), without copying; None stays None."""
    return None if tensor is None else tensor.expand(frames, *tensor.shape[1:])


def repeat_all(tensors: KeyPoints, frames: int) -> KeyPoints:
    """:func:`repeat` of each."""
    return {name: repeat(tensor, frames) for name, tensor in tensors.items()}


def interpolate(motion: KeyPoints, positions: Tensor) -> KeyPoints:
    """Motion between frames, linear: tensors (T, ...) at ``positions`` (N,) in 0 … T − 1 → (N, ...).

    Whole positions give the frames themselves, exactly.
    """
    below = positions.floor().long()
    share = (positions - below).float()
    above = (below + 1).clamp_max(len(next(iter(motion.values()))) - 1)
    out = {}
    for name, frames in motion.items():
        weight = share.to(frames.device).view(-1, *[1] * (frames.dim() - 1))
        out[name] = torch.lerp(frames[below], frames[above], weight.to(frames.dtype))
    return out


def movement(motion: KeyPoints, reference: int = 0) -> Tensor:
    """How much each frame moves: RMS displacement of the key points (or MRAA's regions) from the frame ``reference``,
    their common shift taken out; of their Jacobians where the key points stand still.  (T, ...) → (T,).
    """
    places = motion["value"] if "value" in motion else motion["shift"]
    moved = places - places[reference]
    moved = moved - moved.mean(1, keepdim=True)
    if not moved.any() and "jacobian" in motion:
        moved = motion["jacobian"] - motion["jacobian"][reference]
    return moved.flatten(1).square().mean(1).sqrt()


class Animator:
    """What the animators of all families have in common: a source encoded once, and rendered batch after batch.

    Subclasses define ``start`` (prepare a pair: it sets ``kp_source``), ``motion`` (of the next driving frames) and
    ``generate`` (what :meth:`render` returns, of T copies of the source, its key points and its features).

    Args:
        generator: the network, in eval mode.
        control: strength and place of the movement; None: as driven.
    """

    def __init__(self, generator: nn.Module, control: MotionControl | None):
        self.generator, self.control = generator, control or MotionControl()

    @property
    def is_relative(self) -> bool:
        """Whether the movement is one since the onset, which can be made stronger or weaker."""
        raise TypeError(f"{type(self).__name__} does not define is_relative")

    def magnify(self, motion: KeyPoints, times: float) -> KeyPoints:
        """What :meth:`motion` gave, moving ``times`` as strongly, on top of the control; only where it is relative."""
        return MotionControl(times)(self.kp_source, motion)

    def encode(self, source: Tensor) -> None:
        """Keep a source (1, C, H, W) and its features, in float32, as they are warped batch after batch."""
        self.source, self.features = source, [level.float() for level in self.generator.encode(source)]

    @torch.inference_mode()
    def render(self, motion: KeyPoints) -> dict[str, Tensor]:
        """The source with T sets of key points (or MRAA's regions).

        Returns:
            the generator's outputs, ``prediction`` (T, C, H, W) among them, with ``kp_source``, ``kp_driving``.
        """
        frames = len(next(iter(motion.values())))
        features = [repeat(level, frames) for level in self.features]
        return self.generate(repeat(self.source, frames), repeat_all(self.kp_source, frames), motion, features)

    interpolate = staticmethod(interpolate)  # other families have their own way

    def animate(self, driving: Tensor, *track: Track) -> dict[str, Tensor]:
        """:meth:`render` of the ``motion`` of the next T driving frames."""
        return self.render(self.motion(driving, *track))


class KeyPointAnimator(Animator):
    """Animator of the ``fpb_fomm`` and ``fomm`` families.

    Args:
        networks: ``generator`` and ``kp_detector``, in eval mode, on one device.
        normalization: flags of :func:`normalize_kp`; None for reconstruction, where driving and source are one clip.
        control: strength and place of the movement; needs relative movement and Jacobians, as only they say what
            the movement is.

    Raises:
        ValueError: a control without relative movement, or regions without the facial prior.
    """

    def __init__(
        self, networks: dict[str, nn.Module], normalization: dict | None, control: MotionControl | None = None
    ):
        super().__init__(networks["generator"], control)
        self.detector, self.normalization = networks["kp_detector"], normalization
        if not self.control:
            return
        if not self.is_relative:
            raise ValueError(
                "animate_params.amplify and regions change the movement since the onset, which only relative mode "
                f"knows: set animate_params.normalization_params.{self._absent[0]}: True"
            )
        if self.control.regions and not self.detector.facial_prior:
            raise ValueError(NO_REGIONS)

    @property
    def _absent(self) -> list[str]:
        needed = ["use_relative_movement"] + ["use_relative_jacobian"] * (self.detector.jacobian is not None)
        return [name for name in needed if not (self.normalization or {}).get(name)]

    @property
    def is_relative(self) -> bool:
        return not self._absent

    def _regions(self, keypoint: Tensor | None, size: tuple[int, int]) -> Tensor | None:
        return self.detector.region_map(keypoint, *size) if self.detector.facial_prior else None

    @torch.inference_mode()
    def start(
        self,
        source: Tensor,
        driving_initial: Tensor,
        keypoint_source: Tensor | None = None,
        keypoint_driving: Tensor | None = None,
    ) -> None:
        """Prepare a pair: source and initial (onset) driving frame (1, C, H, W); key points (1, 18, 2) in pixels."""
        self.encode(source)
        size = source.shape[-2:]
        self.kp_source = self.detector(source, keypoint_source, self._regions(keypoint_source, size))
        self.keypoint_driving = keypoint_driving
        self.regions = self._regions(keypoint_driving, size)
        self.kp_initial = self.detector(driving_initial, keypoint_driving, self.regions)

    @torch.inference_mode()
    def motion(self, driving: Tensor, *track: Track) -> KeyPoints:
        """The key points that the source is to have in the next T driving frames.

        Args:
            driving: (T, C, H, W) in [0, 1].
            track: their movement, for :class:`TrackedAnimator` alone.

        Returns:
            ``value`` (T, K, 2), ``jacobian`` (T, K, 2, 2): smooth functions of time, so they may be interpolated.
        """
        return self.control(self.kp_source, self._carried(driving, *track))

    def _carried(self, driving: Tensor) -> KeyPoints:
        """Key points of the driving frames, carried over to the source."""
        frames = driving.shape[0]
        detected = self.detector(driving, repeat(self.keypoint_driving, frames), repeat(self.regions, frames))
        if self.normalization is None:
            return detected
        return normalize_kp(self.kp_source, detected, self.kp_initial, **self.normalization)

    def generate(self, source: Tensor, kp_source: KeyPoints, kp_driving: KeyPoints, features: list[Tensor]) -> dict:
        out = self.generator(source, kp_source, kp_driving, features)
        return {**out, "kp_source": kp_source, "kp_driving": kp_driving}


class TrackedAnimator(KeyPointAnimator):
    """Animator of the ``fpb_tracked`` family: the driving face's movement since a reference frame, from its track.

    Args:
        networks, normalization, control: as above; movement is always relative.
        keep_head: the head's motion is carried over too; False leaves the face's own alone.
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        normalization: dict | None,
        control: MotionControl | None = None,
        keep_head: bool = False,
    ):
        super().__init__(networks, normalization, control)
        self.keep_head = keep_head

    @torch.inference_mode()
    def start(self, source: Tensor, driving_initial: Tensor, keypoint_source: Tensor, reference: Track) -> None:
        """Prepare a pair, as above; ``reference`` is the track's row of the initial driving frame."""
        super().start(source, driving_initial, keypoint_source, reference.points)
        self.kp_source["field"] = torch.zeros_like(reference.field)
        if self.normalization is None:
            return
        size, rescale = tuple(source.shape[-2:]), self.normalization["adapt_movement_scale"]
        self.carrier = Carrier(keypoint_source[0], size, reference, rescale, self.keep_head)
        self.initial_field, self.initial_points = self.carrier.field(reference), self.carrier.points(reference)

    def motion(self, driving: Tensor, track: Track) -> KeyPoints:
        """As above, and ``field``, a displacement at the source's cells that can be inverted."""
        out = super().motion(driving, track)
        return {**out, "field": limit_slope(out["field"])}

    def magnify(self, motion: KeyPoints, times: float) -> KeyPoints:
        out = super().magnify(motion, times)
        return {**out, "field": limit_slope(out["field"])}

    def _carried(self, driving: Tensor, track: Track) -> KeyPoints:
        size = driving.shape[-2:]
        detected = self.detector(driving, track.points, self._regions(track.points, size))
        if self.normalization is None:
            return {**detected, "field": track.displacement()}
        moved = self.carrier.points(track) - self.initial_points
        out = {
            "value": self.kp_source["value"] + 2 * moved / moved.new_tensor([size[1], size[0]]),
            "field": self.carrier.field(track) - self.initial_field,
        }
        if "jacobian" in detected:
            out["jacobian"] = self._jacobian(detected["jacobian"], size)
        return out

    def _jacobian(self, driving: Tensor, size: tuple[int, int]) -> Tensor:
        """Jacobians (T, K, 2, 2) of the driving face, relative to the reference and turned into the source's axes."""
        if not self.normalization["use_relative_jacobian"]:
            return driving
        units = normalised_units(size, driving)
        turn = units[:, None] * self.carrier.turn / units  # in normalised coordinates
        relative = driving @ inverse_2x2(self.kp_initial["jacobian"])
        return turn @ relative @ torch.linalg.inv(turn) @ self.kp_source["jacobian"]
