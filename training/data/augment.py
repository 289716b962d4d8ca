"""Random crop and flip of resident uint8 images as one gather; a whole epoch's draws are made at once."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from training.config import Augment
from training.randomness import generator


def to_float(images: Tensor) -> Tensor:
    """Scale uint8 pixels to float32 in [−1, 1], as the MentorMix code does; the memory format stays."""
    return images.float().mul_(2 / 255).sub_(1)


@dataclass(frozen=True)
class Draws:
    """One epoch's augmentation: crop offsets int64 [N] in 0…2·padding, and whether to mirror, bool [N]."""

    top: Tensor
    left: Tensor
    flip: Tensor


def draw(config: Augment, size: int, seed: int, epoch: int, device: torch.device, view: int = 0) -> Draws:
    """Draw the augmentation of `size` images for one epoch; each `view` is another one of the same images."""
    source = generator(seed, epoch, f"augment{view or ''}", device)
    span = 2 * config.crop_padding + 1
    top, left = torch.randint(span, (2, size), generator=source, device=device)
    flip = torch.rand(size, generator=source, device=device) < (0.5 if config.flip else 0.0)
    return Draws(top, left, flip)


class Augmenter:
    """Holds a set's images, padded once, and cuts batches from them."""

    def __init__(self, images: Tensor, config: Augment) -> None:
        """`images`: uint8 [N, C, H, W]."""
        self.height, self.width = images.shape[2:]
        border = config.crop_padding
        self.plain = border == 0 and not config.flip
        padded = pad(images, (border,) * 4) if border else images
        self.images = padded.contiguous(memory_format=torch.channels_last)
        self.rows = torch.arange(self.height, device=images.device)
        self.columns = torch.arange(self.width, device=images.device)

    def batch(self, index: Tensor, draws: Draws, chosen: slice) -> Tensor:
        """Return images `index` [B], changed by `draws` at `chosen`: float32 [B, C, H, W], channels-last."""
        _, channels, height, width = self.images.shape
        pixels_NC = self.images.permute(0, 2, 3, 1).reshape(-1, channels)
        if self.plain:
            return to_float(self.images[index])
        y_BH = draws.top[chosen, None] + self.rows
        columns_BW = torch.where(draws.flip[chosen, None], self.width - 1 - self.columns, self.columns)
        x_BW = draws.left[chosen, None] + columns_BW
        at_BHW = ((index[:, None] * height + y_BH) * width)[:, :, None] + x_BW[:, None, :]
        cut = pixels_NC.index_select(0, at_BHW.reshape(-1))
        return to_float(cut.view(len(index), self.height, self.width, channels).permute(0, 3, 1, 2))
