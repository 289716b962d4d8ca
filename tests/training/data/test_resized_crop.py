"""Random resized crops, compared with torchvision's for one image at a time."""

from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2

from common.errors import UsageError
from tests.training.run_helpers import CPU, Make, equal, run_until
from training.config import AugmentConfig
from training.data.augment import Augmenter, to_float
from training.data.resized_crop import AREA, draw_boxes, resized_crop
from training.data.shards import load_pair
from training.randomness import generator
from training.recipes.registry import configure
from training.trainer import Trainer

META = torch.device("meta")


def random_images(count: int, height: int, width: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=source)


@pytest.mark.parametrize("size", [(8, 8), (24, 24), (60, 50)])
def test_crops_equal_those_of_torchvision(size: tuple[int, int]) -> None:
    images, boxes = random_images(40, 40, 30), draw_boxes(40, 40, 30, generator(0, 0, "test"))
    crops = resized_crop(images, boxes, size)
    assert crops.is_contiguous(memory_format=torch.channels_last)
    for row, image in enumerate(images.float()):
        box = [int(part[row]) for part in (boxes.top, boxes.left, boxes.height, boxes.width)]
        expected = v2.functional.resized_crop(image, *box, list(size), antialias=True)
        assert torch.allclose(crops[row], expected, atol=1e-3), box


@pytest.mark.parametrize(("height", "width"), [(40, 40), (20, 90)])
def test_boxes_are_distributed_as_in_torchvision(height: int, width: int) -> None:
    boxes, image = draw_boxes(20_000, height, width, generator(0, 0, "test")), torch.zeros(3, height, width)
    assert bool(((boxes.top >= 0) & (boxes.top + boxes.height <= height)).all())
    assert bool(((boxes.left >= 0) & (boxes.left + boxes.width <= width)).all())
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop(8, scale=AREA)
    peers = torch.tensor([list(transform.make_params([image]).values()) for _ in range(4000)]).double()
    own = torch.stack((boxes.top, boxes.left, boxes.height, boxes.width), dim=1).double()
    assert own.mean(dim=0).tolist() == pytest.approx(peers.mean(dim=0).tolist(), rel=0.05, abs=0.1)
    assert own.std(dim=0).tolist() == pytest.approx(peers.std(dim=0).tolist(), rel=0.05, abs=0.1)


def test_the_augmenter_crops_and_mirrors_by_its_draws() -> None:
    config = AugmentConfig(crop_padding=0, flip=True, size=6, random_resized_crop=True)
    augmenter, images = Augmenter(config, 9, 12, CPU), random_images(8, 9, 12)
    draws = augmenter.draw(10, 3, 1, CPU)
    assert draws.boxes is not None
    batch = augmenter.train(images, draws, slice(2, 10))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    crops = to_float(resized_crop(images, draws.boxes.select(slice(2, 10)), (6, 6)))
    for row, mirrored in enumerate(draws.flip[2:].tolist()):
        assert torch.equal(batch[row], crops[row].flip(2) if mirrored else crops[row])
    assert augmenter.evaluate(images).shape == (8, 3, 6, 6)


def test_a_run_with_resized_crops_resumes_bit_identically(
    dataset: Path, tiny_config: Make, tmp_path: Path
) -> None:
    sets = load_pair(dataset, "blue-0.40", "test")
    config = tiny_config(augment=AugmentConfig(crop_padding=0, random_resized_crop=True))
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    run_until(5, config, sets, tmp_path / "parts")
    Trainer(config, *sets, CPU).run(tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "parts")


def test_a_crop_needs_no_value_on_the_host() -> None:
    boxes = draw_boxes(4, 9, 9, generator(0, 0, "test"))
    on_meta = type(boxes)(*(part.to(META) for part in (boxes.top, boxes.left, boxes.height, boxes.width)))
    assert resized_crop(torch.empty(4, 3, 9, 9, device=META), on_meta, (6, 6)).shape == (4, 3, 6, 6)


def test_padding_and_resized_crops_exclude_each_other() -> None:
    with pytest.raises(UsageError, match=r"random_resized_crop=true needs augment\.crop_padding=0"):
        configure("tiny", 0.4, {"augment": {"random_resized_crop": True, "crop_padding": 4}})
