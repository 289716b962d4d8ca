"""Training throughput on synthetic 32×32 images: this trainer and a textbook loop, with the same network and machine.

The textbook loop is a Dataset of Pillow images with torchvision's RandomCrop, RandomHorizontalFlip and ToTensor in a
DataLoader, torch.optim.SGD, float32, and the default memory format.

    python -m benchmarks.step --network small_cnn --width 32 --threads 1
    python -m benchmarks.step --gpu     # PreAct-ResNet18, batch 512, 50,000 images, CUDA graphs, vanilla and MentorMix;
                                        # at most 150 s, most of them for torch.compile

Only steady steps count: the first epochs, which compile and warm up, are not timed. On a GPU it also prints the seconds per
epoch of 50,000 images, the share of the GPU's bf16 peak that the forward and backward passes reach (convolutions and
dense layers only), and the share of time without a running kernel, from torch.profiler in an epoch that is not timed.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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

from benchmarks.rows import record
from training.config import METHODS, AugmentConfig, NetworkConfig, TrainConfig
from training.data.image_stores import ResidentImages
from training.data.shards import ImageIds, ImageSet
from training.device import choose_device
from training.method_config import DivideMixConfig
from training.models.registry import make_network
from training.precision import choose_precision
from training.trainer import Trainer

CLASSES = 10
WARM_UP_EPOCHS = 2  # compile, and fill the caches of kernels
GPU_METHODS = ("vanilla", "mentormix")
TEXTBOOK_SECONDS = 10.0  # maximum duration of the timed epoch of the textbook loop
FORWARD_PASSES = {"vanilla": 3, "mentormix": 4}
"""Cost of a step in forward passes: a backward pass costs two, and MentorMix has a second forward pass."""


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
        name="made-up",
        image_ids=ImageIds(pa.chunked_array([list(map(str, range(size)))])),
        images=ResidentImages(images),
        labels=labels,
        is_clean=torch.ones(size, dtype=torch.bool),
        true_labels=labels,
        class_names=names,
        digest="0",
        identity="0",
    )


def textbook_speed(data: ImageSet, network: NetworkConfig, batch_size: int, device: torch.device) -> float:
    """Return the images per second of the textbook loop after one warm-up step."""
    model = make_network(network, CLASSES, 0).to(memory_format=torch.contiguous_format).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)
    assert isinstance(data.images, ResidentImages)
    dataset = TextbookDataset(data.images.images, data.labels)
    loader = DataLoader(dataset, batch_size, shuffle=True, drop_last=True)
    started, seconds, steps = 0.0, 0.0, -1
    for images, labels in loader:
        loss = cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        steps += 1
        if steps == 0:  # the first step warms up
            started = time.perf_counter()
        seconds = time.perf_counter() - started
        if steps and seconds > TEXTBOOK_SECONDS:
            break
    return steps * batch_size / seconds


@dataclass(frozen=True)
class Measurement:
    """Images per second in steady steps, and the share of time without a running kernel (None if not profiled)."""

    images_per_second: float
    idle_share: float | None


def measure(
    data: ImageSet,
    network: NetworkConfig,
    method: str,
    compiled: str,
    batch_size: int,
    device: torch.device,
    *,
    profiled: bool,
) -> Measurement:
    """Train the warm-up epochs and one timed epoch; if `profiled`, also one profiled epoch, and one that ends the run.

    The last epoch of a run measures accuracies, which must not be in the profile.
    """
    epochs = WARM_UP_EPOCHS + (3 if profiled else 1)
    config = TrainConfig(
        method=method,  # type: ignore[arg-type]
        epochs=epochs,
        batch_size=batch_size,
        compile=compiled,  # type: ignore[arg-type]
        evaluate_every=epochs,
        memorized_every=epochs,
        network=network,
        augment=AugmentConfig(4, flip=True),
        dividemix=DivideMixConfig(warmup_epochs=1),
    )
    rows: list[Mapping[str, Any]] = []
    on_gpu = device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    profiler = profile(activities=[activity]) if profiled else None

    def keep_row(row: Mapping[str, Any]) -> None:
        rows.append(row)
        if profiler and len(rows) == WARM_UP_EPOCHS + 1:
            profiler.start()
        elif profiler and len(rows) == WARM_UP_EPOCHS + 2:
            profiler.stop()

    test_set = data.take(torch.arange(batch_size))
    with tempfile.TemporaryDirectory() as folder:
        precision = choose_precision(config, data, Path(folder), device)  # as `python -m training train` does
        config = replace(config, precision=precision)
        Trainer(config, data, test_set, device).run(Path(folder) / "run", log=keep_row)
    idle = None
    if profiler:
        spans = [
            (event.time_range.start, event.time_range.end)
            for event in profiler.events() or ()
            if event.device_type == (DeviceType.CUDA if on_gpu else DeviceType.CPU)
        ]
        idle = idle_share(spans) if spans else None
    return Measurement(rows[WARM_UP_EPOCHS]["images_per_second"], idle)


def idle_share(spans: Iterable[tuple[float, float]]) -> float:
    """Return the share of time that no span (start, end) covers, from the first start to the last end."""
    spans = sorted(spans)
    busy, covered_until = 0.0, spans[0][0]
    for start, end in spans:
        busy += max(0.0, end - max(start, covered_until))
        covered_until = max(covered_until, end)
    return 1 - busy / (covered_until - spans[0][0])


def multiplications(network: NetworkConfig, device: torch.device) -> float:
    """Return the multiply-adds of the forward pass of one image."""
    model = make_network(network, CLASSES, 0).to(device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32, device=device))
    return counter.get_total_flops() / 2


def gpu_line(method: str, measured: Measurement, forward_flops: float, peak: float) -> str:
    """Return the line of measurements that are made only on a GPU."""
    speed = measured.images_per_second
    parts = [f"{method}: an epoch of 50,000 images {50_000 / speed:.2f} s"]
    if method in FORWARD_PASSES:
        achieved = FORWARD_PASSES[method] * forward_flops * speed
        parts.append(f"{achieved / 1e12:.0f} TFLOP/s, {achieved / peak:.1%} of {peak:.3g}")
    if measured.idle_share is not None:
        parts.append(f"no kernel runs in {measured.idle_share:.1%} of the time")
    return ", ".join(parts)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="small_cnn")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=METHODS,
        help="default: all; with --gpu: vanilla mentormix",
    )
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
    return parser


def main() -> None:
    """Print images per second in training: each method next to the textbook loop with plain cross-entropy."""
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.gpu:
        if not torch.cuda.is_available():
            parser.error("--gpu: torch sees no GPU; check the driver with nvidia-smi")
        parser.set_defaults(
            network="preact_resnet18", width=64, images=50_000, batch_size=512, compile="reduce-overhead",
            rounds=1, methods=GPU_METHODS,
        )  # fmt: skip
        arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network, data, device = (
        NetworkConfig(arguments.network, arguments.width),
        synthetic_set(arguments.images),
        choose_device(),
    )
    methods = list(dict.fromkeys(("vanilla", *arguments.methods)))
    on_gpu = device.type == "cuda"
    batch_size, last_round = arguments.batch_size, arguments.rounds - 1
    forward_flops = 2 * multiplications(network, device)
    print(
        f"{arguments.network} width {arguments.width}, batch {batch_size}, {device.type}, {arguments.threads} threads, "
        f"images/s, best of {arguments.rounds}; time of a step: median of the rounds",
        flush=True,
    )
    peer, rounds = 0.0, []
    # interleaved, so that other load affects all equally
    for number in range(arguments.rounds):
        peer = max(peer, textbook_speed(data, network, batch_size, device))
        if number == last_round:
            print(f"{'textbook loop':>16} {peer:8.0f}", flush=True)
        speeds: dict[str, float] = {}
        rounds.append(speeds)
        for method in methods:
            measured = measure(data, network, method, arguments.compile, batch_size, device, profiled=on_gpu)
            speeds[method] = measured.images_per_second
            if number < last_round:
                continue
            best = max(speed[method] for speed in rounds)
            # compared within a round, in case the clock speed drifts
            step = median(speed["vanilla"] / speed[method] for speed in rounds)
            print(
                f"{method:>16} {best:8.0f}   {best / peer:5.2f} times the textbook loop, step {step:4.2f} of vanilla's",
                flush=True,
            )
            name = f"training, {arguments.network}, width {arguments.width}, {device.type}: {method}"
            record(name, "images/s", best, "textbook loop, plain cross-entropy", peer)
            if on_gpu:
                print(gpu_line(method, measured, forward_flops, arguments.peak), flush=True)


if __name__ == "__main__":
    main()
