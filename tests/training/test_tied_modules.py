"""A network that uses one module under two names, as coat_tiny of timm: checkpoints, averaged weights, export."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.run_helpers import CPU, Make, equal, run_until
from training import export_run, load_network
from training.config import NetworkConfig
from training.data.augment import to_float
from training.data.shards import ImageSet
from training.models.registry import NETWORKS
from training.trained_networks import load_trained_networks
from training.trainer import Trainer


class Tied(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem, self.first = (
            nn.Conv2d(3, width, 3),
            nn.Sequential(nn.Conv2d(width, width, 3), nn.BatchNorm2d(width)),
        )
        self.second, self.head = self.first, nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.second(self.first(self.stem(images)).relu()).relu()
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def test_a_network_with_a_tied_module_is_saved_restored_and_exported(
    sets: tuple[ImageSet, ImageSet], tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "tied", Tied)
    config = tiny_config(network=NetworkConfig("tied", 4), average_decay=0.95)
    Trainer(config, *sets, CPU).run(tmp_path / "whole")
    run_until(4, config, sets, tmp_path / "run")
    trainer = Trainer(config, *sets, CPU)
    trainer.run(tmp_path / "run", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "run")

    [average], [loaded] = trainer.averages, load_trained_networks(tmp_path / "run", 3, CPU).networks
    exported = load_network(export_run(tmp_path / "run", tmp_path / "model"))
    [images] = sets[1].images.batches([torch.arange(60)])
    with torch.inference_mode():
        raw, *logits = (
            network.eval()(to_float(images))
            for network in (trainer.networks[0], average.for_evaluation(), loaded, exported)
        )
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])
    assert not torch.allclose(raw, logits[0])
