"""Two processes compute what one process computes on the whole batch, up to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from common.errors import UsageError
from tests.training.conftest import striped, write_set
from training import checkpoint, metrics
from training.__main__ import main
from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.data.shards import load_pair
from training.distributed import CpuSyncBatchNorm, Processes, synchronize_batch_norms
from training.method_config import CoTeachingConfig, MentorMixConfig, MentorNetConfig
from training.trainer import Trainer

METHODS = ("vanilla", "mixup", "mentornet", "mentormix", "co_teaching", "elr")
RUN = """
import sys, torch
from pathlib import Path
from tests.training.test_distributed import METHODS, config
from training.data.shards import load_pair
from training.trainer import Trainer
from training import evaluation
from training.distributed import Processes, join_processes
from training.features.vectors import make_augmenter
from training.models.registry import make_network
with join_processes() as (processes, device):
    sets = load_pair(Path(sys.argv[1]), "blue-0.40", "test")
    for method in METHODS:
        Trainer(config(method), *sets, device, processes).run(Path(sys.argv[2]) / method)
    augmenter = make_augmenter(config("vanilla"), sets[1], device)
    networks = [make_network(config("vanilla").network, 3, seed) for seed in (0, 1)]
    for size in (1, 7, 11, 16, 100):  # of a batch: several rounds, an incomplete one, one batch for two processes
        evaluation.BATCH = size
        shared, alone = (torch.cat(list(evaluation.summed_logits(networks, sets[1], augmenter, False, one)))
                         for one in (processes, Processes()))
        assert torch.equal(shared, alone) and len(shared) == 60
"""


def config(method: str) -> TrainConfig:
    return TrainConfig(
        method=method,  # type: ignore[arg-type]
        epochs=2, batch_size=32, precision="fp32", average_decay=0.9,
        network=NetworkConfig("small_cnn", 4), augment=AugmentConfig(crop_padding=1), optimizer=OptimizerConfig(learning_rate=0.05),
        mentornet=MentorNetConfig(loss_percentile="auto", schedule="ramp", balance=True, burn_in_percent=0),
        mentormix=MentorMixConfig(loss_percentile=0.6, burn_in_percent=0, second_reweight=True),
        co_teaching=CoTeachingConfig(forget_rate=0.4, ramp_epochs=0.5),
    )  # fmt: skip


def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_set(data / "blue-0.40", striped(96, 0.4, seed=1), noise_level=0.4)
    write_set(data / "test", striped(60, 0.0, seed=2), color=None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": "",
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(data), str(tmp_path / "two")],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    sets = load_pair(data, "blue-0.40", "test")
    for method in METHODS:
        Trainer(config(method), *sets, torch.device("cpu")).run(tmp_path / "one" / method)
    assert [process.wait(120) for process in both] == [0, 0]
    for method in METHODS:
        ours, theirs = (tmp_path / name / method for name in ("one", "two"))
        one, two = (load_file(checkpoint.newest(folder) or "") for folder in (ours, theirs))
        assert one.keys() == two.keys()
        for name in one:
            if "bins" not in name:  # a loss near the edge of a bin may fall to the other side
                assert torch.allclose(one[name], two[name], rtol=2e-3, atol=2e-4), (method, name)
        for a, b in zip(metrics.read_rows(ours), metrics.read_rows(theirs), strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-5)
            assert a["test_accuracy"] == pytest.approx(b["test_accuracy"], abs=0.02)  # of 60 images
    assert json.loads((tmp_path / "two/vanilla/result.json").read_text())["epochs"] == 2


def test_torchrun_trains_through_the_command_line(dataset: Path, tmp_path: Path) -> None:
    settings = ("network.width=2", "batch_size=32", "epochs=1", "precision=fp32")
    command = ["train", "--data", str(dataset), "--set-name", "blue-0.40", "--json", "--recipe", "tiny"]
    command += ["--cache", str(tmp_path / "cache")]  # for an address alone
    for setting in settings:
        command += ["--set", setting]
    assert main([*command, "--output", str(tmp_path / "one")]) == 0
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, "training", *command, "--output", str(tmp_path / "two")],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "the first process alone tells the result"
    (one,), (two,) = (metrics.read_rows(tmp_path / name) for name in ("one", "two"))
    assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-5)


class NormAndActivation(nn.BatchNorm2d):
    """As timm has them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


def test_batch_norms_are_synchronized_or_refused() -> None:
    def module_types(network: nn.Module) -> set[type]:
        return {type(one) for one in network.modules()} - {nn.Sequential}

    two_processes, cpu, gpu = Processes(0, 2), torch.device("cpu"), torch.device("cuda")
    assert module_types(synchronize_batch_norms(nn.Sequential(nn.BatchNorm2d(3)), two_processes, cpu)) == {
        CpuSyncBatchNorm
    }
    assert module_types(synchronize_batch_norms(nn.Sequential(nn.BatchNorm2d(3)), two_processes, gpu)) == {
        nn.SyncBatchNorm
    }
    for device in (cpu, gpu):
        with pytest.raises(
            UsageError, match=r"batch norms of this network \(NormAndActivation\) cannot be synchronized"
        ):
            synchronize_batch_norms(
                nn.Sequential(nn.BatchNorm2d(3), NormAndActivation(3)), two_processes, device
            )


def test_batches_and_methods_that_cannot_be_shared_are_refused(dataset: Path) -> None:
    sets, cpu = load_pair(dataset, "blue-0.40", "test"), torch.device("cpu")
    with pytest.raises(UsageError, match="parts of 32 images cannot be divided evenly among 3 processes"):
        Trainer(config("vanilla"), *sets, cpu, Processes(0, 3))
    with pytest.raises(UsageError, match="dividemix trains in a single process"):
        Trainer(config("dividemix"), *sets, cpu, Processes(0, 2))
