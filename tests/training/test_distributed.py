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
from training.distributed import Processes, join_processes
from training.method_config import CoTeachingConfig, MentorMixConfig, MentorNetConfig
from training.models.synchronized_batch_norm import SynchronizedBatchNorm, synchronize_batch_norms
from training.trainer import Trainer

METHODS = ("vanilla", "mixup", "mentornet", "mentormix", "co_teaching", "elr")
RUN = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from tests.training.test_distributed import METHODS, config, norm_steps, norms
from training.data.shards import load_pair
from training.trainer import Trainer
from training import evaluation, weight_decay_selection
from training.distributed import Processes, join_processes
from training.features.vectors import make_augmenter
from training.models.registry import make_network
from training.models.synchronized_batch_norm import synchronize_batch_norms
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
    for name, (norm, shape) in norms().items():
        results = norm_steps(synchronize_batch_norms(norm, 2), shape, processes.part(shape[0]))
        save_file(results, Path(sys.argv[2]) / f"{name}-{processes.rank}.safetensors")
    shares = {1e-4: processes.rank, 1e-3: 1 - processes.rank}  # the processes prefer different values
    shown = []
    weight_decay_selection.validation_accuracies = lambda *_, progress: shown.append(progress) or shares
    chosen, _ = weight_decay_selection.select_weight_decay(
        config("vanilla", weight_decays=tuple(shares)), sets[0], Path(sys.argv[2]) / "new", device, processes, progress=True)
    assert shown == [processes.rank == 0], "only the first process shows the progress of trials"
    assert chosen.optimizer.weight_decay == 1e-3, "not that of the first process"
assert processes.barrier_group() is None, "threads of a process group that is left while Python exits can abort the process"
"""


def config(method: str, weight_decays: tuple[float, ...] = ()) -> TrainConfig:
    return TrainConfig(
        method=method,  # type: ignore[arg-type]
        epochs=2, batch_size=32, precision="fp32", average_decay=0.9,
        network=NetworkConfig("small_cnn", 4), augment=AugmentConfig(crop_padding=1), optimizer=OptimizerConfig(learning_rate=0.05, weight_decays=weight_decays),
        mentornet=MentorNetConfig(loss_percentile="auto", schedule="ramp", balance=True, burn_in_percent=0),
        mentormix=MentorMixConfig(loss_percentile=0.6, burn_in_percent=0, second_reweight=True),
        co_teaching=CoTeachingConfig(forget_rate=0.4, ramp_epochs=0.5),
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which two processes have run RUN: `data`, and the results in `two`."""
    folder = tmp_path_factory.mktemp("processes")
    write_set(folder / "data/blue-0.40", striped(96, 0.4, seed=1), noise_level=0.4)
    write_set(folder / "data/test", striped(60, 0.0, seed=2), color=None)
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
            [sys.executable, "-c", RUN, str(folder / "data"), str(folder / "two")],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(180) for process in both] == [0, 0]
    return folder


def test_two_processes_compute_what_one_does(two_processes: Path) -> None:
    data = two_processes / "data"
    sets = load_pair(data, "blue-0.40", "test")
    for method in METHODS:
        Trainer(config(method), *sets, torch.device("cpu")).run(two_processes / "one" / method)
    for method in METHODS:
        ours, theirs = (two_processes / name / method for name in ("one", "two"))
        one, two = (load_file(checkpoint.newest(folder) or "") for folder in (ours, theirs))
        assert one.keys() == two.keys()
        for name in one:
            if "bins" not in name:  # a loss near the edge of a bin may fall to the other side
                assert torch.allclose(one[name], two[name], rtol=2e-3, atol=2e-4), (method, name)
        for a, b in zip(metrics.read_rows(ours), metrics.read_rows(theirs), strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-5)
            assert a["test_accuracy"] == pytest.approx(b["test_accuracy"], abs=0.02)  # of 60 images
    assert json.loads((two_processes / "two/vanilla/result.json").read_text())["epochs"] == 2


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


def test_other_batch_norms_are_refused() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), NormAndActivation(3))
    with pytest.raises(UsageError, match=r"network \(NormAndActivation\) cannot be synchronized"):
        synchronize_batch_norms(network, 2)
    assert synchronize_batch_norms(network, 1) is network


def norms() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Return batch norms, and the shapes of their whole batches."""
    from timm.layers import BatchNormAct2d  # takes seconds to import

    return {
        "2d": (nn.BatchNorm2d(3), (8, 3, 5, 4)),
        "1d": (nn.BatchNorm1d(3), (8, 3)),
        "3d": (nn.BatchNorm3d(3, eps=0.1), (8, 3, 2, 2, 2)),
        "one value per process": (nn.BatchNorm1d(3), (2, 3)),
        "cumulative": (nn.BatchNorm2d(3, momentum=None), (8, 3, 2, 2)),
        "without weights": (nn.BatchNorm2d(3, affine=False), (8, 3, 2, 2)),
        "without statistics": (nn.BatchNorm2d(3, track_running_stats=False), (8, 3, 2, 2)),
        "of timm": (BatchNormAct2d(3), (8, 3, 2, 2)),
    }


def norm_steps(norm: nn.Module, shape: tuple[int, ...], part: slice) -> dict[str, torch.Tensor]:
    """Take three steps on a part of batches whose mean is large compared with their spread; return all results.

    Results `of images` belong to the images of the part, those to `sum` are gradients of its own loss, and the others
    have to be the same in all processes.
    """
    generator, results = torch.Generator().manual_seed(1), {}
    for step in range(3):
        x, target = (torch.randn(shape, generator=generator) for _ in range(2))
        x = (x + 30 + torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)))[part].requires_grad_()
        norm.zero_grad()
        y = norm(x)
        (y * target[part]).sum().backward()
        assert x.grad is not None
        results |= {f"of images/y{step}": y.detach(), f"of images/dx{step}": x.grad}
    if dict(norm.named_buffers()):  # without statistics, each process normalizes by its own images
        results["of images/evaluated"] = norm.eval()(x).detach()
    gradients = {f"sum/{name}": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    return results | gradients | {f"same/{name}": buffer for name, buffer in norm.named_buffers()}


def test_two_processes_normalize_as_one_does(two_processes: Path) -> None:
    for name, (norm, shape) in norms().items():
        whole = norm_steps(norm, shape, slice(None))
        parts = [load_file(two_processes / f"two/{name}-{rank}.safetensors") for rank in (0, 1)]
        assert whole.keys() == parts[0].keys() == parts[1].keys()
        for key, expected in whole.items():
            first, second = (part[key] for part in parts)
            kind = key.partition("/")[0]
            joined = torch.cat([first, second]) if kind == "of images" else first
            actual = first + second if kind == "sum" else joined
            assert torch.allclose(actual, expected, rtol=1e-4, atol=1e-5), (name, key)
            assert kind != "same" or torch.equal(first, second), (name, key)


def test_a_batch_norm_with_two_names_stays_one() -> None:
    norm = nn.BatchNorm2d(3)
    network = synchronize_batch_norms(nn.Sequential(norm, nn.Sequential(nn.ReLU(), norm)), 2)
    first, inner = network.children()
    assert isinstance(first, SynchronizedBatchNorm)
    assert list(inner.children())[1] is first
    assert isinstance(synchronize_batch_norms(norm, 2), SynchronizedBatchNorm)


def test_a_synchronized_batch_norm_waits_for_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for collective in ("all_gather_into_tensor", "all_reduce"):
        monkeypatch.setattr(
            torch.distributed, collective, lambda *_: None
        )  # meta tensors have no values to send
    norm = SynchronizedBatchNorm(nn.BatchNorm2d(3, momentum=None), 2).to("meta")
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.empty(4, 3, 2, 2, device="meta", dtype=dtype, requires_grad=True)
        y = norm(x)
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.dtype == y.dtype == dtype


def test_batches_and_methods_that_cannot_be_shared_are_refused(dataset: Path) -> None:
    sets, cpu = load_pair(dataset, "blue-0.40", "test"), torch.device("cpu")
    with pytest.raises(UsageError, match="parts of 32 images cannot be divided evenly among 3 processes"):
        Trainer(config("vanilla"), *sets, cpu, Processes(0, 3))
    with pytest.raises(UsageError, match="dividemix trains in a single process"):
        Trainer(config("dividemix"), *sets, cpu, Processes(0, 2))


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch would raise "CUDA error: invalid device ordinal" in the last processes, and the others would wait for them."""
    for name, value in {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(UsageError, match=r"than torch sees GPUs \(2\); set --nproc-per-node to at most 2"),
        join_processes(),
    ):
        pass
