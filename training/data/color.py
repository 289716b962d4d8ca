"""The color distortion of the MentorMix code, on batches, in one of two orders that is drawn for each image.

Brightness, saturation, hue, contrast; or brightness, contrast, saturation, hue. As TensorFlow's image operations compute
them: brightness is added, saturation and hue change in HSV, contrast scales around each channel's mean over the image;
clipped to [0, 1] at the end alone.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

BRIGHTNESS, SATURATION, HUE, CONTRAST = 32 / 255, (0.5, 1.5), 0.2, (0.5, 1.5)


@dataclass(frozen=True)
class ColorDraws:
    """For each of N images, float32 [N]: what is added to all values, factor, turn of the wheel, factor, and order."""

    brightness: Tensor
    saturation: Tensor
    hue: Tensor
    contrast: Tensor
    contrast_first: Tensor
    """bool [N]: whether contrast comes before saturation and hue, or after them."""

    def at(self, chosen: slice) -> Self:
        """Return the draws of some pictures, shaped [B, 1, 1]."""
        return type(self)(*(getattr(self, name)[chosen, None, None] for name in self.__dataclass_fields__))


def draw_colors(count: int, source: torch.Generator) -> ColorDraws:
    """Draw uniformly from the ranges of the released code."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=source, device=source.device)

    return ColorDraws(
        uniform(-BRIGHTNESS, BRIGHTNESS), uniform(*SATURATION), uniform(-HUE, HUE), uniform(*CONTRAST),
        uniform(0, 1) < 0.5,
    )  # fmt: skip


def distort(images: Tensor, draws: ColorDraws) -> Tensor:
    """Distort pictures float [B, 3, H, W] in [0, 1] by draws [B, 1, 1]; the result stays in [0, 1]."""
    before, after = (
        torch.where(first, draws.contrast, 1) for first in (draws.contrast_first, ~draws.contrast_first)
    )
    hue, saturation, value = to_hsv(_contrast(images + draws.brightness[:, None], before))
    turned = (hue + draws.hue) % 1.0
    colored = to_rgb(turned, (saturation * draws.saturation).clamp(0, 1), value)
    return _contrast(colored, after).clamp(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale images [B, 3, H, W] by factors [B, 1, 1] around the mean of each channel."""
    return torch.lerp(images.mean(dim=(2, 3), keepdim=True), images, factor[:, None])


def to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in [0, 1), saturation and value of pictures [B, 3, H, W], each [B, H, W]."""
    value, which = rgb.max(dim=1)
    chroma = value - rgb.min(dim=1).values
    red, green, blue = rgb.unbind(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1)
    sides = torch.stack(((green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor))
    hue = sides.gather(0, which[None]).squeeze(0) / 6 % 1.0
    saturation = torch.where(value > 0, chroma / torch.where(value > 0, value, 1), 0)
    return torch.where(chroma > 0, hue, 0), saturation, value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] from hue, saturation and value, each [B, H, W]."""
    parts = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + 6 * hue) % 6
        parts.append(value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1))
    rgb = torch.stack(parts, dim=1)
    return rgb.contiguous(memory_format=torch.channels_last)
