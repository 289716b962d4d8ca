"""Training throughput on synthetic 32×32 images: this trainer and a textbook loop, with the same network and machine.

The textbook loop is a Dataset of Pillow images with torchvision's RandomCrop, RandomHorizontalFlip and ToTensor in a
DataLoader, torch.optim.SGD, float32, and the default memory format.

    python -m benchmarks.step --network small_cnn --width 32 --threads 1
    python -m benchmarks.step --gpu     # PreAct-ResNet18, 50,000 images, CUDA graphs; about 10 minutes, most of
                                        # them for the textbook loop and torch.compile

On a GPU it also prints, for vanilla and MentorMix, the seconds per epoch of 50,000 images, the share of the GPU's bf16 peak
that the forward and backward passes reach (convolutions and dense layers only), and the share of time without a
running kernel according to torch.profiler.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import torch
from PIL import Image
from torch.autograd import DeviceType
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from benchmarks.rows import tell
from training.config import METHODS, AugmentConfig, NetworkConfig, TrainConfig
from training.data.image_stores import ResidentImages
from training.data.shards import ImageIds, ImageSet
from training.device import choose_device
from training.method_config import DivideMixConfig
from training.models.registry import make_network
from training.trainer import Trainer

CLASSES, BATCH = 10, 128


class TextbookDataset(Dataset[Any]):
    """The made-up images as Pillow images with torchvision transforms."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.labels = labels.tolist()
        self.transform = transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def synthetic_set(size: int) -> ImageSet:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (size, 32, 32, 3), dtype=torch.uint8, generator=rng).permute(0, 3, 1, 2)
    labels = torch.randint(CLASSES, (size,), generator=rng)
    names = tuple(map(str, range(CLASSES)))
    return ImageSet(
        "made-up",
        ImageIds(pa.chunked_array([list(map(str, range(size)))])),
        ResidentImages(images),
        labels,
        torch.ones(size, dtype=torch.bool),
        labels,
        names,
        "0",
    )


def textbook_speed(data: ImageSet, network: NetworkConfig, device: torch.device) -> float:
    model = make_network(network, CLASSES, 0).to(memory_format=torch.contiguous_format).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)
    loader = DataLoader(TextbookDataset(data.images.images, data.labels), BATCH, shuffle=True, drop_last=True)
    started = 0.0
    for epoch in range(2):  # the first warms up
        started = time.perf_counter()
        for images, labels in loader:
            loss = cross_entropy(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        del epoch
    return len(loader) * BATCH / (time.perf_counter() - started)


def trainer_speed(
    data: ImageSet, network: NetworkConfig, method: str, compiled: str, device: torch.device
) -> float:
    """Return the images per second of the last of three epochs."""
    config = TrainConfig(
        method=method,  # type: ignore[arg-type]
        epochs=3,
        batch_size=BATCH,
        compile=compiled,  # type: ignore[arg-type]
        evaluate_every=3,
        memorized_every=3,
        network=network,
        augment=AugmentConfig(4, flip=True),
        dividemix=DivideMixConfig(warmup_epochs=1),
    )
    test_set = data.take(torch.arange(BATCH))
    with tempfile.TemporaryDirectory() as folder:
        result = Trainer(config, data, test_set, device).run(Path(folder) / "run")
    return float(result["images_per_second"])


def multiplications(network: NetworkConfig, device: torch.device) -> float:
    """Return the multiply-adds of the forward pass of one image."""
    model = make_network(network, CLASSES, 0).to(device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32, device=device))
    return counter.get_total_flops() / 2


def share_idle(run: Callable[[], object]) -> float:
    """Return the share of time without a running kernel in the second half of a run, after compiling."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type == DeviceType.CUDA
    )
    begin, end = (spans[0][0] + spans[-1][1]) / 2, spans[-1][1]
    busy, reached = 0.0, begin
    for first, last in spans:
        busy += max(0.0, last - max(first, reached))
        reached = max(reached, last)
    return 1 - busy / (end - begin)


def print_gpu(
    speeds: dict[str, float],
    network: NetworkConfig,
    data: ImageSet,
    compiled: str,
    device: torch.device,
    peak: float,
) -> None:
    """Print the measurements that are made only on a GPU."""
    forward = 2 * multiplications(network, device)
    # forward passes per step; a backward pass costs two, and MentorMix has a second forward pass
    passes = {"vanilla": 3, "mentormix": 4}
    subset = data.take(torch.arange(min(len(data), 50 * BATCH)))
    for method, count in passes.items():
        if method not in speeds:
            continue
        achieved = count * forward * speeds[method]
        idle = share_idle(partial(trainer_speed, subset, network, method, compiled, device))
        print(
            f"{method}: an epoch of 50,000 images {50_000 / speeds[method]:.2f} s, {achieved / 1e12:.0f} TFLOP/s, "
            f"{achieved / peak:.1%} of {peak:.3g}, no kernel runs in {idle:.1%} of the time"
        )


def main() -> None:
    """Print images per second in training: each method next to the textbook loop with plain cross-entropy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="small_cnn")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--rounds", type=int, default=3, help="number of rounds; the best speed of each counts"
    )
    parser.add_argument("--compile", choices=("off", "default", "reduce-overhead"), default="off")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--peak",
        type=float,
        default=989e12,
        help="dense bf16 FLOP/s of the GPU (default: that of an H100 or H200)",
    )
    parser.add_argument("--gpu", action="store_true", help="use the settings for a GPU described above")
    arguments = parser.parse_args()
    if arguments.gpu:
        if not torch.cuda.is_available():
            parser.error("--gpu: no GPU is available to torch")
        parser.set_defaults(
            network="preact_resnet18", width=64, images=50_000, compile="reduce-overhead", rounds=1
        )
        arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network, data, device = (
        NetworkConfig(arguments.network, arguments.width),
        synthetic_set(arguments.images),
        choose_device(),
    )
    methods = list(dict.fromkeys(("vanilla", *arguments.methods)))
    peer, rounds = 0.0, []
    # interleaved, so that other load affects all equally
    for _ in range(arguments.rounds):
        peer = max(peer, textbook_speed(data, network, device))
        rounds.append(
            {method: trainer_speed(data, network, method, arguments.compile, device) for method in methods}
        )
    speeds = {method: max(speed[method] for speed in rounds) for method in methods}
    print(
        f"{arguments.network} width {arguments.width}, {device.type}, {arguments.threads} threads, images/s, "
        f"best of {arguments.rounds}; steps: median of the rounds"
    )
    print(f"{'textbook loop':>16} {peer:8.0f}")
    for method in methods:
        # compared within a round, in case the clock speed drifts
        step = median(speed["vanilla"] / speed[method] for speed in rounds)
        times = speeds[method] / peer
        print(
            f"{method:>16} {speeds[method]:8.0f}   {times:5.2f} times the textbook loop, step {step:4.2f} of vanilla's"
        )
        name = f"training, {arguments.network}, width {arguments.width}, {device.type}: {method}"
        tell(name, "images/s", speeds[method], "textbook loop, plain cross-entropy", peer)
    if device.type == "cuda":
        print_gpu(speeds, network, data, arguments.compile, device, arguments.peak)


if __name__ == "__main__":
    main()
