"""`precision: auto`: where it is measured, that a run keeps it, and that the runs of a study share it."""

import json
from dataclasses import replace

import pytest
import torch

from common.errors import DataError
from training import precision
from training.config import TrainConfig
from training.precision import bf16_gain, choose_precision, has_bf16
from training.recipes.registry import configure
from training.train import run_training

CPU = torch.device("cpu")
SMALL = {"network": {"width": 2}, "epochs": 1, "batch_size": 32, "precision": "auto"}


@pytest.fixture
def config() -> TrainConfig:
    return configure("tiny", 0.4, SMALL)


def answer(monkeypatch: pytest.MonkeyPatch, *gains: float) -> list[float]:
    """Let a CPU with bf16 instructions measure these gains, one after the other; return those that are left."""
    left = list(gains)
    monkeypatch.setattr(precision, "has_bf16", lambda _: True)
    monkeypatch.setattr(precision, "step_flops", lambda *_: 1e9)
    monkeypatch.setattr(precision, "bf16_gain", lambda *_: left.pop(0))
    return left


def test_only_cpus_with_bf16_instructions_are_measured(sets, config, tmp_path, monkeypatch):
    assert has_bf16({"avx512_bf16": True, "amx_bf16": False})
    assert not has_bf16({"avx512_f": True, "amx_bf16": False})
    answer(monkeypatch)
    monkeypatch.setattr(precision, "has_bf16", lambda _: False)
    assert choose_precision(config, sets[0], tmp_path, CPU) == "fp32"
    assert choose_precision(replace(config, precision="bf16"), sets[0], tmp_path, CPU) == "bf16"


def test_steps_of_a_few_milliseconds_are_not_measured(sets, config, tmp_path, monkeypatch):
    answer(monkeypatch)
    monkeypatch.setattr(precision, "step_flops", lambda *_: 1e8)
    assert choose_precision(config, sets[0], tmp_path, CPU) == "fp32"


@pytest.mark.parametrize(("gain", "chosen"), [(0.5, "fp32"), (1.05, "fp32"), (1.2, "bf16")])
def test_the_faster_precision_is_chosen(sets, config, tmp_path, monkeypatch, gain, chosen):
    answer(monkeypatch, gain)
    assert choose_precision(config, sets[0], tmp_path, CPU) == chosen


def test_a_run_records_its_precision_and_keeps_it(sets, config, tmp_path, monkeypatch):
    left = answer(monkeypatch, 2.0, 0.5)
    result = run_training(config, *sets, tmp_path / "run", device=CPU, features=tmp_path)
    description = json.loads((tmp_path / "run/config.json").read_text())
    assert (result["precision"], description["precision"], description["config"]["precision"]) == (
        "bf16",
        "bf16",
        "auto",
    )
    assert choose_precision(config, sets[0], tmp_path / "run", CPU) == "bf16"
    assert left == [0.5]
    (tmp_path / "run/config.json").write_text(json.dumps(description | {"precision": "fp8"}))
    with pytest.raises(DataError, match="fp8"):
        choose_precision(config, sets[0], tmp_path / "run", CPU)


def test_runs_of_a_study_share_the_choice_for_a_network(sets, config, tmp_path, monkeypatch):
    left, shared = answer(monkeypatch, 2.0, 0.5, 0.7), tmp_path / "precision.json"
    wider = replace(config, network=replace(config.network, width=4))
    chosen = [
        choose_precision(c, sets[0], tmp_path, CPU, shared)
        for c in (config, wider, config, replace(config, seed=3))
    ]
    assert (chosen, left) == (["bf16", "fp32", "bf16", "bf16"], [0.7])


def test_the_gain_is_measured_without_touching_random_state(config):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert bf16_gain(config, (8, 8), 3) > 0
    assert (
        bf16_gain(replace(config, network=replace(config.network, weights="w", frozen=True)), (8, 8), 3) > 0
    )
    assert torch.equal(torch.rand(2), expected)


def test_a_frozen_network_is_measured_by_inference(sets, config, tmp_path, monkeypatch):
    network = replace(config.network, name="tf_efficientnet_lite0", weights="file", frozen=True)
    frozen = replace(config, network=network, augment=replace(config.augment, resize=32))
    monkeypatch.setattr(precision, "has_bf16", lambda _: True)
    monkeypatch.setattr(precision, "bf16_gain", lambda *_: 2.0)
    assert choose_precision(frozen, sets[0], tmp_path, CPU) == "bf16"
