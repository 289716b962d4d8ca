"""RandAugment (Cubuk et al., NeurIPS 2020) as torchvision.transforms.v2 has it, with reproducible draws."""

from collections.abc import Sequence

import torch
from torch import Tensor

OPERATIONS = 2  # per image, as in the paper's search space for ImageNet


def rand_augment(images: Tensor, seeds: Sequence[int], magnitude: int) -> Tensor:
    """Return images [B, C, H, W] with two random operations each, as uint8; image i depends on seeds[i] alone.

    Float images in [0, 255] are rounded first. torchvision draws from torch's global generator on the CPU, which is
    seeded for each image and restored afterwards.
    """
    from torchvision.transforms import v2  # torchvision takes a second to import

    transform = v2.RandAugment(num_ops=OPERATIONS, magnitude=magnitude)
    pixels = images if images.dtype == torch.uint8 else images.round().clamp(0, 255).to(torch.uint8)
    augmented = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(pixels, seeds, strict=True):
            torch.default_generator.manual_seed(seed)
            augmented.append(transform(image))
    return torch.stack(augmented).contiguous(memory_format=torch.channels_last)
