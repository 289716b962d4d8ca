"""Runs that stop, die or are started again: they resume bit-identically, and a run folder is never mixed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common.errors import UsageError
from tests.training.run_helpers import CPU, Make, equal, run_until, timeless
from training import checkpoint, metrics, run_clock
from training.config import METHODS, OptimizerConfig
from training.data.shards import ImageSet
from training.recipes.registry import configure
from training.run_directory import locked, read_result
from training.train import run_training
from training.trainer import Trainer


@pytest.mark.parametrize(
    ("method", "steps"),
    [*((method, 4) for method in METHODS), *((m, s) for m in ("mentormix", "dividemix") for s in (2, 3))],
)
def test_a_stopped_run_resumes_to_the_bit(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, method: str, steps: int
) -> None:
    config = tiny_config(method=method)
    whole = Trainer(config, *sets, CPU).run(tmp_path / "whole")
    run_until(steps, config, sets, tmp_path / "parts")
    assert read_result(tmp_path / "parts") is None
    parts = Trainer(config, *sets, CPU).run(tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "parts")
    assert timeless(metrics.read_rows(tmp_path / "whole")) == timeless(metrics.read_rows(tmp_path / "parts"))
    timed = {"seconds", "images_per_second", "predicted_seconds"}
    assert {k: v for k, v in whole.items() if k not in timed} == {
        k: v for k, v in parts.items() if k not in timed
    }


def test_a_run_with_adamw_resumes_to_the_bit(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(
        optimizer=OptimizerConfig("adamw", layer_decay=0.7, learning_rate=0.01, weight_decay=0.05)
    )
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    run_until(5, config, sets, tmp_path / "parts")
    Trainer(config, *sets, CPU).run(tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "parts")


LONG = {
    "epochs": 2000,
    "network": {"width": 2},
    "batch_size": 32,
    "memorized_every": 2000,
    "evaluate_every": 2000,
}


VICTIM = """
import sys, torch
from pathlib import Path
from tests.training.test_resuming import CPU, LONG, Trainer, configure, run_clock
from training.data.shards import load_pair
run_clock.CHECKPOINT_SECONDS, run_clock.CHECKPOINT_TIME_SHARE = 0, float("inf")
sets = load_pair(Path(sys.argv[1]), "blue-0.40", "test")
Trainer(configure("tiny", 0.4, LONG), *sets, CPU).run(Path(sys.argv[2]))
"""


def test_a_killed_run_resumes_to_the_bit(
    dataset: Path, sets: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    """SIGKILL at an arbitrary moment after the third epoch, with a checkpoint each step."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-c", VICTIM, str(dataset), str(killed)])
    deadline = time.monotonic() + 60
    while len(metrics.read_rows(killed)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    config = configure("tiny", 0.4, LONG)
    _, state = checkpoint.load(killed, CPU)
    assert state["step"] >= 6
    for directory in (killed, whole):
        run_until(state["step"] + 4, config, sets, directory)
    assert equal(killed, whole)
    assert timeless(metrics.read_rows(killed)) == timeless(metrics.read_rows(whole))


def write_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_clock, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(run_clock, "CHECKPOINT_TIME_SHARE", float("inf"))


@pytest.mark.parametrize("method", ["mentormix", "dividemix"])
def test_a_run_that_dies_in_a_long_epoch_goes_on_from_within_it(
    sets: tuple[ImageSet, ImageSet],
    tiny_config: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    config = tiny_config(method=method)
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    write_every_step(monkeypatch)
    run = Trainer(config, *sets, CPU)

    def die() -> bool:
        if run.step == 5:
            raise MemoryError
        return False

    with pytest.raises(MemoryError):
        run.run(tmp_path / "parts", stop=die)
    _, state = checkpoint.load(tmp_path / "parts", CPU)
    assert (state["step"], state["position"] > 0) == (4, True)
    Trainer(config, *sets, CPU).run(tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "parts")
    assert timeless(metrics.read_rows(tmp_path / "whole")) == timeless(metrics.read_rows(tmp_path / "parts"))


def test_a_finished_run_is_not_trained_again(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config(epochs=1)
    result = Trainer(config, *sets, CPU).run(tmp_path / "run")
    rows: list[object] = []
    assert Trainer(config, *sets, CPU).run(tmp_path / "run", resume=True, log=rows.append) == result
    assert rows == []


def test_a_run_folder_is_never_overwritten_or_mixed(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    Trainer(tiny_config(epochs=1), *sets, CPU).run(tmp_path / "run")
    with pytest.raises(UsageError, match="--resume"):
        Trainer(tiny_config(epochs=1), *sets, CPU).run(tmp_path / "run")
    other = tiny_config(epochs=1, optimizer=OptimizerConfig(learning_rate=0.3))
    with pytest.raises(UsageError, match=r"differs in config\.optimizer\.learning_rate;"):
        Trainer(other, *sets, CPU).run(tmp_path / "run", resume=True)
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary/today.txt").write_text("dear diary")
    with pytest.raises(UsageError, match="not empty"):
        Trainer(tiny_config(epochs=1), *sets, CPU).run(tmp_path / "diary")


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_a_run_is_trained_is_refused_to_a_second_one(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, resume: bool
) -> None:
    config, refused = tiny_config(), list[str]()
    alone = Trainer(config, *sets, CPU).run(tmp_path / "alone")

    def start_again(_row: object) -> None:
        with pytest.raises(UsageError) as error:
            Trainer(config, *sets, CPU).run(tmp_path / "run", resume=True)
        refused.append(str(error.value))
        with pytest.raises(UsageError, match="another command is training"):
            run_training(
                config, *sets, tmp_path / "run", device=CPU, features=tmp_path / "features", resume=True
            )

    first = Trainer(config, *sets, CPU).run(tmp_path / "run", log=start_again, resume=resume)
    assert (
        refused
        == [
            f"{tmp_path / 'run'}: another command is training in this folder; wait until it ends, or give another folder"
        ]
        * config.epochs
    )
    assert first["final_accuracy"] == alone["final_accuracy"]
    assert timeless(metrics.read_rows(tmp_path / "run")) == timeless(metrics.read_rows(tmp_path / "alone"))
    assert equal(tmp_path / "run", tmp_path / "alone")


def test_the_lock_of_a_run_that_was_killed_before_it_began_is_in_nobodys_way(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path
) -> None:
    with locked(tmp_path / "run"):
        pass
    assert Trainer(tiny_config(), *sets, CPU).run(tmp_path / "run")


def test_a_run_whose_only_checkpoint_is_damaged_says_so_and_starts_again(
    sets: tuple[ImageSet, ImageSet],
    tiny_config: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tiny_config()
    run_until(1, config, sets, tmp_path / "run")
    path = checkpoint.newest(tmp_path / "run")
    assert path
    path.write_bytes(path.read_bytes()[:100])
    Trainer(config, *sets, CPU).run(tmp_path / "run", resume=True)
    assert f"{path}: damaged" in capsys.readouterr().err
    assert path.with_name(path.name + ".damaged").stat().st_size == 100
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    assert timeless(metrics.read_rows(tmp_path / "run")) == timeless(metrics.read_rows(tmp_path / "whole"))


def test_the_newest_checkpoints_stay_and_the_one_before_serves_if_the_last_is_lost(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_every_step(monkeypatch)
    config = tiny_config(keep_checkpoints=2)
    Trainer(config, *sets, CPU).run(tmp_path / "run")
    assert [path.name for path in sorted((tmp_path / "run").glob("check*"))] == [
        f"checkpoint-{step:09d}.safetensors" for step in (11, 12)
    ]
    whole = load_file(checkpoint.newest(tmp_path / "run") or "")
    (checkpoint.newest(tmp_path / "run") or tmp_path).unlink()
    (tmp_path / "run/result.json").unlink()
    Trainer(config, *sets, CPU).run(tmp_path / "run", resume=True)
    again = load_file(checkpoint.newest(tmp_path / "run") or "")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
