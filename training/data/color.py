"""Color distortion of the MentorMix code, on batches.

The order is drawn per image: brightness, saturation, hue, contrast; or brightness, contrast, saturation, hue. The
operations are TensorFlow's: brightness is added, saturation and hue change in HSV, and contrast scales around the mean
of each channel of the image. Values are clipped to [0, 1] at the end only.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

BRIGHTNESS, SATURATION, HUE, CONTRAST = 32 / 255, (0.5, 1.5), 0.2, (0.5, 1.5)


@dataclass(frozen=True)
class ColorDraws:
    """The color distortion of N images: float32 [N] offsets (brightness, hue) and factors (saturation, contrast)."""

    brightness: Tensor
    saturation: Tensor
    hue: Tensor
    contrast: Tensor
    contrast_first: Tensor
    """bool [N]: whether contrast is changed before saturation and hue, or after them."""

    def select(self, rows: slice) -> Self:
        """Return the draws of some rows, shaped [B, 1, 1]."""
        return type(self)(*(getattr(self, name)[rows, None, None] for name in self.__dataclass_fields__))


def draw_colors(count: int, source: torch.Generator) -> ColorDraws:
    """Draw the color distortion of `count` images uniformly from the ranges of the MentorMix code."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=source, device=source.device)

    return ColorDraws(
        uniform(-BRIGHTNESS, BRIGHTNESS), uniform(*SATURATION), uniform(-HUE, HUE), uniform(*CONTRAST),
        uniform(0, 1) < 0.5,
    )  # fmt: skip


def distort(images: Tensor, draws: ColorDraws) -> Tensor:
    """Distort images float [B, 3, H, W] in [0, 1] by draws [B, 1, 1]; return images in [0, 1]."""
    before, after = (
        torch.where(first, draws.contrast, 1) for first in (draws.contrast_first, ~draws.contrast_first)
    )
    hue, saturation, value = to_hsv(_contrast(images + draws.brightness[:, None], before))
    shifted = (hue + draws.hue) % 1.0
    colored = to_rgb(shifted, (saturation * draws.saturation).clamp(0, 1), value)
    return _contrast(colored, after).clamp(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale images [B, 3, H, W] by factors [B, 1, 1] around the mean of each channel."""
    return torch.lerp(images.mean(dim=(2, 3), keepdim=True), images, factor[:, None])


def to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue in [0, 1), saturation and value, each [B, H, W], of RGB images [B, 3, H, W]."""
    value, channel = rgb.max(dim=1)
    chroma = value - rgb.min(dim=1).values
    red, green, blue = rgb.unbind(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1)
    sides = torch.stack(((green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor))
    hue = sides.gather(0, channel[None]).squeeze(0) / 6 % 1.0
    saturation = torch.where(value > 0, chroma / torch.where(value > 0, value, 1), 0)
    return torch.where(chroma > 0, hue, 0), saturation, value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return RGB images [B, 3, H, W] of hue, saturation and value, each [B, H, W]."""
    parts = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + 6 * hue) % 6
        parts.append(value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1))
    rgb = torch.stack(parts, dim=1)
    return rgb.contiguous(memory_format=torch.channels_last)
