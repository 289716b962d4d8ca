"""Manifests and configurations are read (schemas/manifest.py, pipeline/shards/dataset_manifests.py, common/config.py).

The first byte chooses what the text is. A manifest is read or is a `DataError` that names it; written again and read
again it is equal; its shards have plain names, so none leads out of its folder. A manifest of a dataset or of a set is
checked for its types. A configuration is read or is a `UsageError` that names it, and so is one value of `--set`.
"""

import json
from collections.abc import Iterator
from typing import Any

from common.config import build, parse_overrides, parse_yaml
from common.errors import DataError, UsageError
from pipeline.config import BuildConfig
from pipeline.shards import dataset_manifests, directory
from schemas.manifest import MANIFEST, Manifest, is_plain_name
from tests.fuzz.inputs import check_error, choice, written
from training.config import TrainConfig

SHARD = {"file": "train-00000-of-00001.parquet", "rows": 3, "bytes": 100, "sha256": "ab" * 32}
ABOUT = {
    "name": "x", "class_names": ["ant", "bee"], "sets": {"red-0.40": {"manifest_sha256": "ab" * 32}}, "noise_level": 0.4,
    "set_name": "red-0.40", "color": "red", "trial": 0, "mode": "full",
}  # fmt: skip
OF_SETS = {"image_settings", "classes", "fixed_set", "estimated_noise", "nested", "blue_size", "on_shortage"}
WORDS = (
    *(f'"{key}"'.encode() for key in ("version", "table", "rows", "shards", "about", *SHARD, *ABOUT)),
    *(
        b"../x.parquet",
        b"1e999",
        b"NaN",
        b"-1",
        b"1.0",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'"\\ud800"',
        b"0x10",
        b"1_0",
        b"&a",
        b"*a",
    ),
    *(
        b"<<: ",
        b"!!python/object:os.system",
        b"!!binary ",
        b"2026-11-30",
        b"1:30",
        b"? ",
        b"classes: ",
        b"noise: ",
        b"levels: ",
    ),
    *(b"ingest: ", b"preset: tfds", b"network: ", b"optimizer: ", b"learning_rate: ", b"epochs: "),
)


def seeds() -> Iterator[bytes]:
    """Yield manifests, configurations and overrides."""
    manifest: dict[str, Any] = {
        "version": 1,
        "table": "example",
        "rows": 3,
        "shards": [SHARD],
        "about": ABOUT,
    }
    for changes in (
        {},
        {"shards": [{**SHARD, "file": "../x"}]},
        {"rows": True},
        {"version": 2},
        {"about": []},
    ):
        for kind in (b"\x00", b"\x01"):
            yield kind + json.dumps({**manifest, **changes}).encode()
    yield b"\x02classes: [ant, bee]\nclean: [c.csv]\ntest: [t.csv]\nweb: [w.csv]\nvotes: [v.csv]\nnoise: {levels: [0, 0.4]}\n"
    yield b"\x02a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}\nyes: 2026-11-30\n? [1]\n: 3\n"
    yield b"\x03epochs: 3\noptimizer: {learning_rate: 1e-3}\nnetwork: {name: small_cnn}\n"
    yield b"\x04noise.levels=[0, 0.2]"
    yield b"\x04a.b={x: [1, 2], y: !!set {a}}"


def check(data: bytes) -> None:
    """Read a text."""
    number, data = choice(data, 5)
    if number < 2:
        path = written(f"dataset/{MANIFEST}", data)
        try:
            check_manifest(data, path) if number == 0 else check_dataset(path.removesuffix(f"/{MANIFEST}"))
        except DataError as error:
            check_error(error, path.removesuffix(f"/{MANIFEST}"))
        return
    text = data.decode("utf-8", "replace")
    try:
        if number == 4:
            assert isinstance(parse_overrides([text]), dict)
        else:
            build(BuildConfig if number == 2 else TrainConfig, parse_yaml(text, "x.yaml"), "x.yaml")
    except UsageError as error:
        check_error(error, "--set" if number == 4 else "x.yaml")


def check_manifest(data: bytes, path: str) -> None:
    manifest = Manifest.from_json(data, path)
    assert Manifest.from_json(manifest.to_json(), path) == manifest
    assert all(is_plain_name(shard.file) for shard in manifest.shards)


def check_dataset(folder: str) -> None:
    root, sets = dataset_manifests.read_root(folder)
    assert all(is_plain_name(name) for name in sets)
    assert set(dataset_manifests.invalid_values("red-0.40", root.about)) <= {*ABOUT, *OF_SETS}
    directory.check_sizes(folder, root)
