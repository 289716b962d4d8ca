"""Files of training runs and of networks are read (training/run_directory.py, metrics.py, checkpoint.py, models, features).

The first byte chooses the file. A file gives its content or a `DataError` that names its folder. Weights are read without
running code: a pickle gives tensors or a `DataError`. A damaged file of features is removed.
"""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save

from common.errors import DataError, UsageError
from common.json_records import to_json
from tests.fuzz.inputs import check_error, choice, folder, written
from training import checkpoint, metrics, run_directory
from training.config import TrainConfig
from training.features.store import FeatureStore
from training.models.load import load_network
from training.models.weights import read_weights

PROGRESS = {"step": 3, "epoch": 1, "position": 0, "seconds": 1.5}
EPOCH = {
    "step": 3,
    "epoch": 1,
    "learning_rate": 0.1,
    "train_loss": 1.0,
    "images_per_second": 9.0,
    "seconds": 1.0,
}
RESULT = {
    "final_accuracy": 0.5,
    "final_accuracy_raw": 0.5,
    "best_accuracy": 0.5,
    "best_epoch": 1,
    "epochs": 1,
    "steps": 3,
    "seconds": 1.0,
}
DATA = {
    "train": "red-0.40",
    "train_digest": "ab",
    "test": "test",
    "test_digest": "cd",
    "class_names": ["ant", "bee"],
    "image_size": [8, 8],
}
EXPORTED = {
    "network": {"name": "small_cnn", "width": 4},
    "label_names": ["ant", "bee"],
    "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
}
WORDS = (
    *(f'"{key}": '.encode() for key in dict.fromkeys([*PROGRESS, *EPOCH, *RESULT, *DATA, *EXPORTED, "digest", "data", "config"])),
    *(b"\n", b"null", b"[]", b"{}", b"NaN", b"1e999", b"-1", b"1e18", b'"__metadata__"', b'"dtype":"F32"', b'"shape":[', b'"data_offsets":['),
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield a file of each kind, and some with faults."""
    config = json.loads(json.dumps(asdict(TrainConfig(epochs=1))))
    yield b"\x00" + json.dumps({"digest": "x", "data": DATA, "config": config}).encode()
    yield (
        b"\x00"
        + json.dumps({"digest": "x", "data": {**DATA, "picture_size": 3}, "config": {"epochs": "x"}}).encode()
    )
    yield b"\x01" + json.dumps(RESULT).encode()
    yield (
        b"\x02"
        + json.dumps(EPOCH).encode()
        + b"\n"
        + json.dumps({**EPOCH, "loss_histogram": []}).encode()
        + b"\n{"
    )
    tensors = {
        "a": torch.zeros(2),
        "digests": torch.zeros(1, 32, dtype=torch.uint8),
        "features": torch.zeros(1, 2),
    }
    yield b"\x03" + save(tensors, {"state": to_json(PROGRESS)})
    yield b"\x03" + save({}, {"state": "{}"})
    for kind in (b"\x04", b"\x06"):
        yield kind + save(tensors)
        yield kind + save({"digests": torch.zeros(3, 5), "features": torch.zeros(2, dtype=torch.int64)})
    pickled = io.BytesIO()
    torch.save(tensors, pickled)
    yield b"\x05" + pickled.getvalue()
    yield b"\x05cos\nsystem\n(S'false'\ntR."
    yield b"\x07" + json.dumps(EXPORTED).encode()
    yield (
        b"\x07"
        + json.dumps(
            {**EXPORTED, "label_names": 3, "network": {"name": "small_cnn", "width": 10**9}}
        ).encode()
    )


def check(data: bytes) -> None:
    """Read a file."""
    number, data = choice(data, 8)
    shutil.rmtree(folder("run"))
    run = folder("run")
    name = ("config.json", "result.json", "metrics.jsonl", "checkpoint-000000003.safetensors", "w.safetensors", "w.pth",
            "part-0.safetensors", "config.json")[number]  # fmt: skip
    path = Path(written(f"run/{name}", data))
    try:
        if number == 0:
            run_directory.read_data(run)
        elif number == 1:
            run_directory.read_result(run)
        elif number == 2:
            assert all(row.keys() >= EPOCH.keys() for row in metrics.read_rows(run))
        elif number == 3:
            check_checkpoint(run)
        elif number in (4, 5):
            assert all(isinstance(tensor, torch.Tensor) for tensor in read_weights(path).values())
        elif number == 6:
            check_features(run, path)
        else:
            load_network(run)
    except (DataError, UsageError) as error:
        check_error(error, str(run))


def check_checkpoint(run: Path) -> None:
    tensors, state = checkpoint.load(run, torch.device("cpu"))
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    assert state.keys() == PROGRESS.keys()


def check_features(run: Path, path: Path) -> None:
    store = FeatureStore(run)
    assert path.is_file() or store.missing([bytes(32)])
    if not store.missing([bytes(32)]):
        assert len(store.get([bytes(32)])) == 1
