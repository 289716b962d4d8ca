"""Augmentation of a batch as tensor operations, the same on CPU and GPU; a whole epoch's draws are made at once.

Resize, pad, random crop, mirror, then the color distortion of the MentorMix code; pixels end in [−1, 1]. A picture
that is only looked at is resized and cut in the middle.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from common.errors import UsageError
from training.config import AugmentConfig
from training.data.color import ColorDraws, distort, draw_colors
from training.randomness import generator


def to_float(images: Tensor) -> Tensor:
    """Scale pixels 0…255 to float32 in [−1, 1], as the MentorMix code does; the memory format stays."""
    return images.float().mul_(2 / 255).sub_(1)


@dataclass(frozen=True)
class AugmentDraws:
    """One epoch's augmentation: crop offsets int64 [N], whether to mirror, bool [N], and colors perhaps."""

    top: Tensor
    left: Tensor
    flip: Tensor
    colors: ColorDraws | None = None


class Augmenter:
    """What becomes of stored pictures of one size before a network sees them."""

    def __init__(self, config: AugmentConfig, height: int, width: int, device: torch.device) -> None:
        """`height`, `width`: of the stored pictures. Raises UsageError if they are smaller than the crop."""
        self.config = config
        self.scaled = (config.resize or height, config.resize or width)
        self.out = (config.size or self.scaled[0], config.size or self.scaled[1])
        self.spans = [a + 2 * config.crop_padding - b + 1 for a, b in zip(self.scaled, self.out, strict=True)]
        if min(self.spans) < 1:
            raise UsageError(
                f"augment.size={config.size} is more than the pictures have, {self.scaled[1]}×{self.scaled[0]}; "
                "set augment.resize, or build the set larger"
            )
        self.rows = torch.arange(self.out[0], device=device)
        self.columns = torch.arange(self.out[1], device=device)

    def draw(self, count: int, seed: int, epoch: int, device: torch.device, view: int = 0) -> AugmentDraws:
        """Draw for `count` pictures of one epoch; each `view` is another augmentation of the same pictures."""
        source = generator(seed, epoch, f"augment{view or ''}", device)
        top, left = (torch.randint(span, (count,), generator=source, device=device) for span in self.spans)
        flip = torch.rand(count, generator=source, device=device) < (0.5 if self.config.flip else 0.0)
        colors = draw_colors(count, source) if self.config.color else None
        return AugmentDraws(top, left, flip, colors)

    def train(self, images: Tensor, draws: AugmentDraws, chosen: slice) -> Tensor:
        """Change uint8 pictures [B, C, H, W] as `draws` says at `chosen`: float32 [B, C, H', W'], channels-last."""
        images = self._scale(images)
        if min(self.spans) > 1 or max(self.spans) > 1 or self.config.flip:
            images = self._cut(images, draws, chosen)
        if draws.colors is None:
            return to_float(images)
        return distort(images.float() / 255, draws.colors.at(chosen)).mul_(2).sub_(1)

    def evaluate(self, images: Tensor) -> Tensor:
        """Resize uint8 pictures [B, C, H, W] and cut their middle: float32 [B, C, H', W']."""
        images = self._scale(images)
        top, left = ((a - b) // 2 for a, b in zip(self.scaled, self.out, strict=True))
        return to_float(images[:, :, top : top + self.out[0], left : left + self.out[1]])

    def _scale(self, images: Tensor) -> Tensor:
        """Resize to `scaled`, bilinear with antialiasing; untouched uint8 where that is the stored size."""
        if images.shape[2:] == self.scaled:
            return images
        return interpolate(images.float(), self.scaled, mode="bilinear", antialias=True, align_corners=False)

    def _cut(self, images: Tensor, draws: AugmentDraws, chosen: slice) -> Tensor:
        """Pad with black, cut at the drawn place and mirror where drawn, in one gather."""
        border = self.config.crop_padding
        padded = pad(images, (border,) * 4) if border else images
        batch, channels, height, width = padded.shape
        pixels_NC = padded.permute(0, 2, 3, 1).reshape(-1, channels)
        y_BH = draws.top[chosen, None] + self.rows
        columns_BW = torch.where(draws.flip[chosen, None], self.out[1] - 1 - self.columns, self.columns)
        x_BW = draws.left[chosen, None] + columns_BW
        first_B = torch.arange(batch, device=images.device) * height
        at_BHW = ((first_B[:, None] + y_BH) * width)[:, :, None] + x_BW[:, None, :]
        cut = pixels_NC.index_select(0, at_BHW.reshape(-1))
        return cut.view(batch, *self.out, channels).permute(0, 3, 1, 2)
