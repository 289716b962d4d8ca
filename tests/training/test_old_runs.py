"""Runs of version 0.1: checkpoints with energy, tables with the column `set`, and picture_size in config.json."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from schemas.label_trust import FILE
from training import checkpoint, distrusted
from training.config import TrainConfig
from training.data.shards import load_pair
from training.run_directory import CONFIG, read_data
from training.trainer import Trainer

CPU = torch.device("cpu")


def test_a_run_of_version_0_1_can_be_resumed_and_read(
    dataset: Path, tiny_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    sets, config, run = load_pair(dataset, "blue-0.40", "test"), tiny_config(), tmp_path / "run"
    whole = Trainer(config, *sets, CPU).run(tmp_path / "whole")
    trainer = Trainer(config, *sets, CPU)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(run, stop=lambda: trainer.step >= 4)
    path = checkpoint.newest(run)
    assert path
    with safe_open(path, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
    save_file(load_file(path), path, metadata={"state": json.dumps(state | {"energy": {"cpu": 2.0}})})
    description = json.loads((run / CONFIG).read_text())
    description["data"]["picture_size"] = description["data"].pop("image_size")
    (run / CONFIG).write_text(json.dumps(description))

    resumed = Trainer(config, *sets, CPU).run(run, resume=True)
    assert resumed["final_accuracy"] == whole["final_accuracy"]
    assert read_data(run).image_size == (8, 8)
    table = distrusted.read(run)
    old_names = ["set" if name == "set_name" else name for name in table.column_names]
    pq.write_table(table.rename_columns(old_names), run / FILE)
    assert distrusted.read(run).equals(table)
