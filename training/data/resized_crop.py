"""Random resized crops of batches, as torchvision.transforms.v2.RandomResizedCrop makes them for one image.

Each image is cropped to a random area and aspect ratio, and resized bilinearly with antialiasing. Resizing multiplies
the whole batch by one matrix per image and dimension, so that neither the CPU nor a GPU loops over images.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # torchvision's default ranges
ATTEMPTS = 10


@dataclass(frozen=True)
class CropBoxes:
    """Crops of N images in pixels, int64 [N] each."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    def select(self, rows: slice) -> Self:
        """Return the crops of some rows."""
        return type(self)(self.top[rows], self.left[rows], self.height[rows], self.width[rows])


def draw_boxes(count: int, height: int, width: int, source: torch.Generator) -> CropBoxes:
    """Draw crops of `count` images of height×width pixels.

    As in torchvision, the first of 10 attempts that fits into the image is used, else the largest central crop with an
    allowed aspect ratio.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=source, device=source.device)

    area = height * width * uniform(*AREA, ATTEMPTS, count)
    aspect = uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), ATTEMPTS, count).exp()
    widths, heights = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.int().argmax(dim=0, keepdim=True)  # the first attempt that fits
    any_fits = fits.any(dim=0)
    central_width = min(width, round(height * ASPECT[1]))
    central_height = min(height, round(width / ASPECT[0]))
    crop_width = torch.where(any_fits, widths.gather(0, first)[0], central_width)
    crop_height = torch.where(any_fits, heights.gather(0, first)[0], central_height)
    top = (uniform(0, 1, count) * (height - crop_height + 1)).long().clamp_max(height - crop_height)
    left = (uniform(0, 1, count) * (width - crop_width + 1)).long().clamp_max(width - crop_width)
    top = torch.where(any_fits, top, (height - crop_height) // 2)
    left = torch.where(any_fits, left, (width - crop_width) // 2)
    return CropBoxes(top, left, crop_height, crop_width)


def resized_crop(images: Tensor, boxes: CropBoxes, size: tuple[int, int]) -> Tensor:
    """Crop images [B, C, H, W] to boxes [B] and resize them to `size`; return float32 [B, C, *size], channels-last."""
    rows_BHh = _weights(boxes.top, boxes.height, images.shape[2], size[0])
    columns_BWw = _weights(boxes.left, boxes.width, images.shape[3], size[1])
    resized = rows_BHh[:, None] @ images.float() @ columns_BWw[:, None].mT
    return resized.contiguous(memory_format=torch.channels_last)


def _weights(start: Tensor, length: Tensor, total: int, size: int) -> Tensor:
    """Return the weight of each of `total` pixels for each of `size` output pixels, float32 [B, size, total].

    The filter is the triangle that torch.nn.functional.interpolate uses with mode="bilinear" and antialias=True.
    """
    pixels = (
        torch.arange(total, device=start.device) - start[:, None]
    )  # [B, total], from the start of the crop
    scale = length[:, None] / size
    centers = (torch.arange(size, device=start.device) + 0.5) * scale  # [B, size]
    distance = (pixels[:, None, :] + 0.5 - centers[:, :, None]).abs() / scale.clamp_min(1)[:, :, None]
    inside = (pixels >= 0) & (pixels < length[:, None])
    weights = (1 - distance).clamp_min(0) * inside[:, None, :]
    return weights / weights.sum(dim=2, keepdim=True)
