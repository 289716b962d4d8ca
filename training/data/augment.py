"""Augmentation of batches as tensor operations on the CPU or a GPU. The draws of a whole epoch are made at once.

Training images are resized, padded, randomly cropped, mirrored and color-distorted as in the MentorMix code; crops may be
random resized crops instead. Images for evaluation are resized and center-cropped. Pixels end in [−1, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from training.config import AugmentConfig
from training.data.color import ColorDraws, distort, draw_colors
from training.data.rand_augment import rand_augment
from training.data.resized_crop import CropBoxes, draw_boxes, resized_crop
from training.randomness import generator


def to_float(images: Tensor) -> Tensor:
    """Scale pixels from 0…255 to float32 in [−1, 1], as the MentorMix code does, in the same memory format."""
    return images.float().mul_(2 / 255).sub_(1)


@dataclass(frozen=True)
class AugmentDraws:
    """The random draws of one epoch: crop offsets int64 [N], mirroring bool [N], and what is configured beyond these."""

    top: Tensor
    left: Tensor
    flip: Tensor
    colors: ColorDraws | None = None
    boxes: CropBoxes | None = None
    operations: Tensor | None = None  # int64 [N] on the CPU: seeds of RandAugment


class Augmenter:
    """Turns stored images of one size into inputs of a network."""

    def __init__(self, config: AugmentConfig, height: int, width: int, device: torch.device) -> None:
        """`height`, `width`: size of the stored images. Raises UsageError if the resized images are smaller than the crop."""
        self.config = config
        self.resized_size = config.resized_size((height, width))
        self.output_size = config.input_size((height, width))
        self.spans = [
            a + 2 * config.crop_padding - b + 1
            for a, b in zip(self.resized_size, self.output_size, strict=True)
        ]
        self.rows = torch.arange(self.output_size[0], device=device)
        self.columns = torch.arange(self.output_size[1], device=device)

    def draw(self, count: int, seed: int, epoch: int, device: torch.device, view: int = 0) -> AugmentDraws:
        """Draw the augmentation of `count` images of one epoch; each `view` is an independent augmentation of the same
        images."""
        source = generator(seed, epoch, f"augment{view or ''}", device)
        top, left = (torch.randint(span, (count,), generator=source, device=device) for span in self.spans)
        flip = torch.rand(count, generator=source, device=device) < (0.5 if self.config.flip else 0.0)
        colors = draw_colors(count, source) if self.config.color else None
        boxes = draw_boxes(count, *self.resized_size, source) if self.config.random_resized_crop else None
        operations = None
        if self.config.rand_augment:
            source = generator(seed, epoch, f"rand-augment{view or ''}", torch.device("cpu"))
            operations = torch.randint(2**62, (count,), generator=source)
        return AugmentDraws(top, left, flip, colors, boxes, operations)

    def train(self, images: Tensor, draws: AugmentDraws, rows: slice) -> Tensor:
        """Augment uint8 images [B, C, H, W] by rows `rows` of `draws`; return float32 [B, C, H', W'], channels-last."""
        images = self._resize(images)
        if draws.boxes is not None:
            images = resized_crop(images, draws.boxes.select(rows), self.output_size)
            images = torch.where(draws.flip[rows, None, None, None], images.flip(3), images)
        elif max(self.spans) > 1 or self.config.flip:
            images = self._crop(images, draws, rows)
        if draws.operations is not None:
            images = rand_augment(images, draws.operations[rows].tolist(), self.config.rand_augment)
        if draws.colors is None:
            return to_float(images)
        return distort(images.float() / 255, draws.colors.select(rows)).mul_(2).sub_(1)

    def evaluate(self, images: Tensor) -> Tensor:
        """Resize and center-crop uint8 images [B, C, H, W]; return float32 [B, C, H', W']."""
        images = self._resize(images)
        top, left = ((a - b) // 2 for a, b in zip(self.resized_size, self.output_size, strict=True))
        return to_float(images[:, :, top : top + self.output_size[0], left : left + self.output_size[1]])

    def _resize(self, images: Tensor) -> Tensor:
        """Resize bilinearly with antialiasing; return the uint8 images themselves if they have that size."""
        if images.shape[2:] == self.resized_size:
            return images
        return interpolate(
            images.float(), self.resized_size, mode="bilinear", antialias=True, align_corners=False
        )

    def _crop(self, images: Tensor, draws: AugmentDraws, rows: slice) -> Tensor:
        """Pad with black, crop and mirror by the draws, in one gather."""
        border = self.config.crop_padding
        padded = pad(images, (border,) * 4) if border else images
        batch, channels, height, width = padded.shape
        pixels_NC = padded.permute(0, 2, 3, 1).reshape(-1, channels)
        y_BH = draws.top[rows, None] + self.rows
        columns_BW = torch.where(draws.flip[rows, None], self.output_size[1] - 1 - self.columns, self.columns)
        x_BW = draws.left[rows, None] + columns_BW
        first_B = torch.arange(batch, device=images.device) * height
        index_BHW = ((first_B[:, None] + y_BH) * width)[:, :, None] + x_BW[:, None, :]
        crops = pixels_NC.index_select(0, index_BHW.reshape(-1))
        return crops.view(batch, *self.output_size, channels).permute(0, 3, 1, 2)
