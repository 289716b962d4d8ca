"""Precision of a run: `auto` is decided by a few timed steps of the network at hand.

Whether bf16 pays depends on the processor and on the network: with AVX512-BF16, dense convolutions gain 1.7 to 1.9
times, and depthwise ones lose half of their speed (`python -m benchmarks.precision`). The choice is part of the run's
description, since it changes results, and all runs of a study with the same network share one choice.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from common.errors import DataError
from common.locks import wait_for_lock
from training.config import TrainConfig
from training.data.shards import ImageSet
from training.device import use_bf16
from training.models.registry import make_network
from training.run_directory import recorded
from training.state_files import write_json
from training.threads import step_flops

Precision = Literal["fp32", "bf16"]
MIN_FLOPS = 2e8  # forward operations per batch, about 10 ms per step, below which there is little to gain
MIN_GAIN = 1.1  # bf16 must be this much faster, since a tie is better resolved in favor of fp32
MAX_IMAGES = 32  # per timed step; the gain hardly depends on it
ROUNDS = 4  # timed steps per precision, in turns; the fastest counts
_CPU_FEATURES = ("amx_bf16", "avx512_bf16", "arm_bf16", "arm_sve_bf16", "bf16", "sve_bf16")


def choose_precision(
    config: TrainConfig, train: ImageSet, directory: Path, device: torch.device, shared: Path | None = None
) -> Precision:
    """Return the precision of a run: the recorded one of a resumed run, else that of the configuration.

    `auto` is bf16 on GPUs with bf16 units (compute capability 8.0 and later) and fp32 on CPUs without bf16
    instructions or for steps of a few milliseconds. Otherwise it is measured. `shared` is a JSON file in which the choices for a study are kept.
    """
    if earlier := recorded(directory, "precision"):
        return _checked(earlier, directory)
    if config.precision != "auto":
        return config.precision
    if device.type != "cpu":
        return "bf16" if use_bf16(config.precision, device) else "fp32"
    if not has_bf16(torch.cpu.get_capabilities()) or step_flops(config, train) < MIN_FLOPS:
        return "fp32"
    if shared is None:
        return measure(config, train)
    key = json.dumps(
        [
            asdict(config.network),
            config.augment.input_size(train.images.size),
            min(config.batch_size, MAX_IMAGES),
        ]
    )
    shared.parent.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(f"{shared}.lock"):
        choices = json.loads(shared.read_text(encoding="utf-8")) if shared.is_file() else {}
        if key not in choices:
            choices[key] = measure(config, train)
            write_json(shared, choices)
        return _checked(choices[key], shared)


def has_bf16(capabilities: Mapping[str, Any]) -> bool:
    """Return whether a CPU has instructions that multiply bf16, given torch.cpu.get_capabilities()."""
    return any(capabilities.get(name) for name in _CPU_FEATURES)


def measure(config: TrainConfig, train: ImageSet) -> Precision:
    """Time training steps (of a frozen network: inference) of the network on the CPU, and return the faster precision."""
    gain = bf16_gain(config, config.augment.input_size(train.images.size), len(train.class_names))
    return "bf16" if gain >= MIN_GAIN else "fp32"


def bf16_gain(config: TrainConfig, size: tuple[int, int], classes: int) -> float:
    """Return the time of a step in fp32 divided by its time in bf16, on images of `size` (height, width) pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # weights are not read: their values do not change the time
        network = make_network(config.network.untrained(), classes, seed=0).to(
            memory_format=torch.channels_last
        )
        count = min(config.batch_size, MAX_IMAGES)
        images = torch.randn(count, 3, *size).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(0, classes, (count,))
        best = {False: float("inf"), True: float("inf")}
        for _ in range(ROUNDS + 1):  # the first round warms up
            for bf16 in best:
                seconds = _step_seconds(network, images, labels, bf16, training=not config.network.frozen)
                best[bf16] = min(best[bf16], seconds)
    return best[False] / best[True]


def _step_seconds(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, bf16: bool, *, training: bool
) -> float:
    network.train(training)
    started = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16), torch.set_grad_enabled(training):
        logits = network(images)
    if training:
        cross_entropy(logits.float(), labels).backward()
        network.zero_grad()
    return time.perf_counter() - started


def _checked(value: object, where: Path) -> Precision:
    for name in get_args(Precision):
        if value == name:
            return name
    raise DataError(f"{where}: precision {value!r} is neither fp32 nor bf16; delete the file")
