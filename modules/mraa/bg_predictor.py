"""Background motion predictor: how the camera moved between frames (MRAA, "Background motion estimation")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.util import Encoder, full_precision

# Which entries of the 3×3 matrix are predicted, row by row; the others are the identity's.
PREDICTED = {
    "zero": [],
    "shift": [2, 5],
    "affine": [0, 1, 2, 3, 4, 5],
    "perspective": [0, 1, 2, 3, 4, 5, 6, 7],
}


class BGMotionPredictor(nn.Module):
    """Motion of the background as one 3×3 matrix on homogeneous normalised coordinates (x, y, 1).

    Args:
        bg_type: ``zero`` (the identity; no parameters), ``shift``, ``affine`` or ``perspective``.
    """

    def __init__(
        self,
        *,
        block_expansion: int,
        num_channels: int,
        max_features: int,
        num_blocks: int,
        bg_type: str = "zero",
    ):
        super().__init__()
        if bg_type not in PREDICTED:
            raise ValueError(f"bg_predictor_params.bg_type is {bg_type!r}; legal: {', '.join(PREDICTED)}")
        self.bg_type, self.entries = bg_type, PREDICTED[bg_type]
        if self.entries:
            self.encoder = Encoder(block_expansion, 2 * num_channels, num_blocks, max_features)
            self.fc = nn.Linear(self.encoder.out_features, len(self.entries))
            nn.init.zeros_(self.fc.weight)
            self.fc.bias.data.copy_(torch.eye(3).flatten()[self.entries])

    def extra_repr(self) -> str:
        return f"bg_type={self.bg_type}"

    def forward(self, source_image: Tensor, driving_image: Tensor) -> Tensor:
        """Two frames (B, C, H, W) → (B, 3, 3), from the driving frame's coordinates to the source's."""
        identity = torch.eye(3, device=source_image.device).flatten().expand(len(source_image), -1)  # (B, 9)
        if not self.entries:
            return identity.unflatten(1, (3, 3))
        features = self.encoder(torch.cat([source_image, driving_image], dim=1))[-1]
        with full_precision(features):
            predicted = self.fc(features.float().mean((2, 3)))
        columns = torch.tensor(self.entries, device=identity.device)
        return identity.index_copy(1, columns, predicted).unflatten(1, (3, 3))
