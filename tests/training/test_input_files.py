"""A file of weights that is replaced or moved after a run: what needs its content says so, and nothing else does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from common.errors import DataError
from tests.training.run_helpers import CPU, Make, run_until
from tests.training.study.small_study import arguments
from training import export_run
from training.__main__ import main
from training.config import AugmentConfig, NetworkConfig, TrainConfig
from training.data.shards import load_pair
from training.method_config import MentorMixConfig
from training.methods.mentornet_pd import SHAPES
from training.models.registry import make_network
from training.run_directory import CONFIG
from training.train import run_training

NAME = "torchvision/shufflenet_v2_x0_5"
CHANGED = "the file has changed since .*put back the earlier file, or train in another folder"


def write_weights(path: Path, seed: int) -> None:
    network = make_network(NetworkConfig(NAME), 5, seed)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)


@pytest.fixture
def probe(tiny_config: Make, tmp_path: Path) -> TrainConfig:
    """A linear head on a network whose weights are in a folder, under its name."""
    (tmp_path / "weights").mkdir()
    write_weights(tmp_path / "weights/shufflenet_v2_x0_5.safetensors", seed=1)
    network = NetworkConfig(NAME, weights=str(tmp_path / "weights"), frozen=True)
    return tiny_config(network=network, augment=AugmentConfig(0, flip=False, resize=32), epochs=1)


def test_a_frozen_network_is_known_by_the_content_of_its_file(
    dataset: Path, probe: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets, run, options = (
        load_pair(dataset, "blue-0.40", "test", 0),
        tmp_path / "run",
        {"features": tmp_path / "f"},
    )
    result = run_training(probe, *sets, run, device=CPU, **options)
    [weights] = (tmp_path / "weights").iterdir()
    weights.rename(tmp_path / "earlier")
    write_weights(weights, seed=2)
    evaluate = [
        "evaluate",
        "--data",
        str(dataset),
        "--run",
        str(run),
        "--features",
        str(tmp_path / "f"),
        "--json",
    ]
    assert main(evaluate) == 1
    assert f"network.weights: the file has changed since {run} was trained" in capsys.readouterr().err
    with pytest.raises(DataError, match=CHANGED):
        export_run(run, tmp_path / "model")
    with pytest.raises(DataError, match=CHANGED):
        run_training(probe, *sets, run, device=CPU, resume=True, **options)
    description = json.loads((run / CONFIG).read_text())
    old = {
        key: value for key, value in description.items() if key != "input_digests"
    }  # of a run of version 0.2
    (run / CONFIG).write_text(json.dumps(old))
    export_run(run, tmp_path / "unchecked")

    (run / CONFIG).write_text(json.dumps(description))
    (tmp_path / "earlier").replace(weights)
    assert run_training(probe, *sets, run, device=CPU, resume=True, **options) == result
    export_run(run, tmp_path / "model")
    assert main(evaluate) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == result["final_accuracy"]


def test_a_study_does_not_mix_results_on_two_frozen_networks(
    dataset: Path, probe: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, study = probe.network, tmp_path / "study"
    command = arguments(dataset, study, "--levels", "0.4", "--colors", "blue", "--methods", "vanilla")
    for key in ("name", "weights", "frozen"):
        command += ["--set", f"network.{key}={getattr(network, key)}"]
    assert main([*command, "--seeds", "0"]) == 0
    write_weights(tmp_path / "weights/shufflenet_v2_x0_5.safetensors", seed=2)
    capsys.readouterr()
    assert main([*command, "--seeds", "0", "1"]) == 1
    assert "network.weights: the file has changed" in capsys.readouterr().err
    assert len(list((study / "runs").iterdir())) == 1


def test_a_mentor_is_needed_to_train_alone(
    dataset: Path, tiny_config: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mentor, run, sets = tmp_path / "pd.npz", tmp_path / "run", load_pair(dataset, "blue-0.40", "test")
    np.savez(mentor, **{name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})  # type: ignore[arg-type]
    config = tiny_config(method="mentormix", mentormix=MentorMixConfig(mentor="pd", weights=str(mentor)))
    run_until(4, config, sets, run)
    np.savez(mentor, **{name: np.ones(shape, np.float32) for name, shape in SHAPES.items()})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"mentormix.weights: {CHANGED}"):
        run_training(config, *sets, run, device=CPU, features=tmp_path, resume=True)
    np.savez(mentor, **{name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})  # type: ignore[arg-type]
    run_training(config, *sets, run, device=CPU, features=tmp_path, resume=True)
    os.remove(mentor)
    export_run(run, tmp_path / "model")
    assert main(["evaluate", "--data", str(dataset), "--run", str(run)]) == 0
