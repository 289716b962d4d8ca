"""Augmentation and color distortion, compared with a plain implementation for one image at a time."""

import colorsys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from common.errors import UsageError
from training.config import AugmentConfig, TrainConfig
from training.data.augment import Augmenter
from training.data.color import ColorDraws, distort, draw_colors
from training.data.shards import load
from training.models.forward_cost import check_image_size
from training.randomness import generator

CPU = torch.device("cpu")


def random_images(count: int, height: int, width: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=source)


@pytest.mark.parametrize(("padding", "size"), [(2, 0), (0, 4), (1, 5)])
def test_augmentation_equals_crop_and_flip_one_image_at_a_time(padding: int, size: int) -> None:
    images, config = random_images(3, 5, 7), AugmentConfig(crop_padding=padding, flip=True, size=size)
    augmenter = Augmenter(config, 5, 7, CPU)
    draws = augmenter.draw(6, seed=4, epoch=1, device=CPU)
    batch = augmenter.train(images, draws, slice(2, 5))
    height, width = (size or 5), (size or 7)
    for row, place in enumerate(range(2, 5)):
        padded = np.pad(images[row].numpy(), ((0, 0), (padding, padding), (padding, padding)))
        top, left = int(draws.top[place]), int(draws.left[place])
        cut = padded[:, top : top + height, left : left + width]
        assert cut.shape == (3, height, width)
        if draws.flip[place]:
            cut = cut[:, :, ::-1]
        assert batch[row].numpy() == pytest.approx(cut / 127.5 - 1, abs=1e-6)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_augmentation_draws_cover_their_range_and_differ_between_views() -> None:
    augmenter = Augmenter(AugmentConfig(crop_padding=1, flip=True), 8, 8, CPU)
    draws = augmenter.draw(1000, seed=0, epoch=0, device=CPU)
    assert set(draws.top.tolist()) == {0, 1, 2} == set(draws.left.tolist())
    assert 0.4 < draws.flip.double().mean().item() < 0.6
    assert not torch.equal(draws.top, augmenter.draw(1000, 0, 0, CPU, view=1).top)
    plain = Augmenter(AugmentConfig(crop_padding=1, flip=False), 8, 8, CPU)
    assert not plain.draw(1000, 0, 0, CPU).flip.any()


def test_rand_augment_equals_torchvision_and_depends_on_the_image_alone() -> None:
    images = random_images(6, 16, 16)
    augmenter = Augmenter(AugmentConfig(crop_padding=0, flip=False, rand_augment=9), 16, 16, CPU)
    draws = augmenter.draw(6, seed=2, epoch=1, device=CPU)
    assert draws.operations is not None
    torch.manual_seed(5)
    batch = augmenter.train(images, draws, slice(0, 6))
    state = torch.random.get_rng_state()
    for row, seed in enumerate(draws.operations.tolist()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expected = v2.RandAugment(num_ops=2, magnitude=9)(images[row])
        assert torch.equal(batch[row], expected.float() * (2 / 255) - 1)
    assert torch.equal(augmenter.train(images[4:], draws, slice(4, 6)), batch[4:])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(
        batch,
        Augmenter(AugmentConfig(crop_padding=0, flip=False), 16, 16, CPU).train(images, draws, slice(0, 6)),
    )


def test_evaluation_resizes_and_crops_the_center() -> None:
    images = random_images(2, 10, 10)
    middle = Augmenter(AugmentConfig(size=6), 10, 10, CPU).evaluate(images)
    assert torch.allclose(middle, images[:, :, 2:8, 2:8].float() / 127.5 - 1, atol=1e-6)
    assert Augmenter(AugmentConfig(resize=5), 10, 10, CPU).evaluate(images).shape == (2, 3, 5, 5)
    flat = torch.full((1, 3, 84, 84), 200, dtype=torch.uint8)
    large = Augmenter(AugmentConfig(resize=342, size=299, crop_padding=0), 84, 84, CPU)
    assert large.evaluate(flat).shape == (1, 3, 299, 299)
    assert large.evaluate(flat).mean().item() == pytest.approx(200 / 127.5 - 1, abs=1e-5)


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_a_crop_larger_than_the_images_is_refused_whatever_the_padding(padding: int, dataset: Path) -> None:
    config = AugmentConfig(size=12, crop_padding=padding)
    with pytest.raises(UsageError, match=r"augment.size=12 is larger than the images, 14×10 pixels; set"):
        Augmenter(config, 10, 14, CPU)
    with pytest.raises(UsageError, match=r"augment.size=12 is larger than the images, 8×8 pixels; set"):
        check_image_size(TrainConfig(augment=config), load(dataset / "test", 0))
    assert Augmenter(AugmentConfig(size=12, resize=12, crop_padding=padding), 8, 8, CPU).output_size == (
        12,
        12,
    )


def test_color_distortion_equals_the_operations_one_pixel_at_a_time() -> None:
    images = random_images(8, 3, 2).float() / 255
    images[3] = images[3, :1]  # gray
    draws = draw_colors(8, generator(0, 0, "test"))
    assert set(draws.contrast_first.tolist()) == {False, True}
    result = distort(images, draws.select(slice(0, 8)))

    def contrast(image: np.ndarray, factor: float) -> np.ndarray:
        mean = image.mean(axis=(1, 2), keepdims=True)
        return (image - mean) * factor + mean

    for i, image in enumerate(images.double().numpy()):
        bright = image + float(draws.brightness[i])
        if draws.contrast_first[i]:
            bright = contrast(bright, float(draws.contrast[i]))
        colored = np.empty_like(bright)
        for y, x in np.ndindex(3, 2):
            r, g, b = bright[:, y, x]
            shift = min(0.0, r, g, b)  # colorsys wants no negative values; hue and chroma do not change
            h, _, _ = colorsys.rgb_to_hsv(r - shift, g - shift, b - shift)
            top = max(r, g, b)
            s = (top - min(r, g, b)) / top if top > 0 else 0.0
            s = min(max(s * float(draws.saturation[i]), 0.0), 1.0)
            colored[:, y, x] = colorsys.hsv_to_rgb((h + float(draws.hue[i])) % 1.0, s, top)
        if not draws.contrast_first[i]:
            colored = contrast(colored, float(draws.contrast[i]))
        assert result[i].numpy() == pytest.approx(colored.clip(0, 1), abs=1e-4)


def test_neutral_draws_leave_the_image_unchanged_and_draws_stay_in_range() -> None:
    images = random_images(2, 4, 4).float() / 255
    none = ColorDraws(
        torch.zeros(2), torch.ones(2), torch.zeros(2), torch.ones(2), torch.tensor([False, True])
    )
    assert torch.allclose(distort(images, none.select(slice(0, 2))), images, atol=1e-5)
    draws = draw_colors(2000, generator(0, 0, "test"))
    assert draws.brightness.abs().max().item() <= 32 / 255
    assert 0.5 <= draws.saturation.min().item() < 0.51 < 1.49 < draws.saturation.max().item() <= 1.5
    assert 0.45 < draws.contrast_first.float().mean().item() < 0.55
    assert 0.19 < draws.hue.abs().max().item() <= 0.2
