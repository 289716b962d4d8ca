"""Reading of sets: contents, and errors for damaged sets."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from common.errors import DataError
from schemas.manifest import MANIFEST, Manifest
from tests.training.conftest import example, png, write_set
from training.data.shards import ImageSet, load, load_pair, read_manifest, set_identity

RNG = np.random.default_rng(0)


def pixels(height: int = 8, width: int = 8) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def all_of(data: ImageSet) -> np.ndarray:
    [images] = data.images.batches([torch.arange(len(data))])
    return images.permute(0, 2, 3, 1).numpy()


def change_manifest(directory: Path, **changes: object) -> None:
    path = directory / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_images_and_labels_arrive_as_they_were_written(tmp_path: Path) -> None:
    pictures = [pixels(6, 9) for _ in range(5)]
    rows = [example(i, png(p), i % 3, None if i == 4 else i % 2, i != 1) for i, p in enumerate(pictures)]
    loaded = load(write_set(tmp_path / "red-0.20", rows, shards=1))
    assert loaded.images.size == (6, 9)
    assert np.array_equal(all_of(loaded), np.stack(pictures))
    assert loaded.labels.tolist() == [0, 1, 2, 0, 1]
    assert loaded.is_clean.tolist() == [True, False, True, True, True]
    assert loaded.true_labels.tolist() == [0, 1, 0, 1, -1]
    assert loaded.name == "red-0.20"


def test_shards_follow_each_other_in_the_manifests_order(tmp_path: Path) -> None:
    rows = [example(i, png(pixels()), i % 3, i % 3, True) for i in range(6)]
    loaded = load(write_set(tmp_path / "a", rows, shards=2))
    assert loaded.labels.tolist() == [0, 2, 1, 1, 0, 2]  # rows 0, 2, 4, then 1, 3, 5


def test_a_set_without_a_manifest_is_refused(dataset: Path) -> None:
    (dataset / "blue-0.40" / MANIFEST).unlink()
    with pytest.raises(
        DataError, match=r"no _manifest.json: the build of this set was interrupted; run it again"
    ):
        load(dataset / "blue-0.40")


def test_an_altered_shard_is_refused(dataset: Path) -> None:
    shard = sorted((dataset / "test").glob("*.parquet"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=f"{shard.name}: altered"):
        load(dataset / "test")


def test_a_missing_shard_is_refused(dataset: Path) -> None:
    shard = sorted((dataset / "test").glob("*.parquet"))[1]
    shard.unlink()
    with pytest.raises(DataError, match=f"{shard.name}: .*missing"):
        load(dataset / "test")


def test_a_wrong_row_count_is_refused(dataset: Path) -> None:
    change_manifest(dataset / "test", rows=61)
    with pytest.raises(DataError, match="60 rows, but the manifest says 61"):
        load(dataset / "test")


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        load(write_set(tmp_path / "none", []))


def test_a_table_of_another_kind_is_refused(dataset: Path) -> None:
    change_manifest(dataset / "test", table="verdict")
    with pytest.raises(DataError, match="'verdict', training needs 'example'"):
        load(dataset / "test")


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes_is_refused(tmp_path: Path, label: int) -> None:
    rows = [example(0, png(pixels()), 0, 0, True), example(1, png(pixels()), label, 0, True)]
    with pytest.raises(DataError, match="3 class names"):
        load(write_set(tmp_path / "set", rows))


@pytest.mark.parametrize("true_label", [-2, 3])
def test_a_true_label_outside_the_classes_is_refused(tmp_path: Path, true_label: int) -> None:
    rows = [example(0, png(pixels()), 0, 0, True), example(1, png(pixels()), 0, true_label, False)]
    with pytest.raises(DataError, match=r"true labels range .* 3 class names"):
        load(write_set(tmp_path / "set", rows))


def test_an_image_of_another_size_is_refused_by_id(tmp_path: Path) -> None:
    rows = [example(0, png(pixels()), 0, 0, True), example(1, png(pixels(8, 9)), 0, 0, True)]
    with pytest.raises(DataError, match="'id-00001' is 9×8 pixels, others are 8×8"):
        load(write_set(tmp_path / "set", rows, shards=1))


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", png(pixels())[:120]])
def test_an_invalid_image_is_refused_by_id(tmp_path: Path, data: bytes) -> None:
    rows = [example(0, png(pixels()), 0, 0, True), example(1, data, 0, 0, True)]
    with pytest.raises(DataError, match="'id-00001' cannot be decoded"):
        load(write_set(tmp_path / "set", rows, shards=1))


def replaced(column: str, values: pa.Array) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        table, out = pq.read_table(pa.BufferReader(data)), pa.BufferOutputStream()
        pq.write_table(table.set_column(table.column_names.index(column), column, values), out)
        return bytes(out.getvalue())

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"", "not a readable Parquet file .*empty"),
        (lambda data: data[:4] + bytes(400) + data[404:], "not a readable Parquet file"),
        (replaced("label", pa.array(["circle"] * 30)), "not a readable Parquet file .*circle"),
        (
            replaced("image_id", pa.array([b"\xff"] * 30).view(pa.string())),
            "not a readable Parquet file .*UTF",
        ),
        (replaced("is_clean", pa.nulls(30, pa.bool_())), "not a readable Parquet file .*is_clean"),
        (replaced("image", pa.array(["a.png"] * 30)), "the column 'image.bytes' is missing"),
    ],
)
def test_a_shard_with_invalid_content_is_refused(
    dataset: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    shards = json.loads((dataset / "test" / MANIFEST).read_text())["shards"]
    path = dataset / "test" / shards[1]["file"]
    data = change(path.read_bytes())
    path.write_bytes(data)
    shards[1] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change_manifest(dataset / "test", shards=shards)
    with pytest.raises(DataError, match=f"{path.name}: {message}"):
        load(dataset / "test")


def test_training_and_test_set_must_have_the_same_classes(dataset: Path) -> None:
    rows = [example(0, png(pixels()), 0, 0, True)]
    write_set(dataset / "other", rows, names=["circle", "square"])
    with pytest.raises(DataError, match="one class list"):
        load_pair(dataset, "blue-0.40", "other")


def test_training_and_test_images_must_be_of_one_size(dataset: Path) -> None:
    write_set(dataset / "large", [example(0, png(pixels(9, 9)), 0, 0, True)])
    with pytest.raises(DataError, match="8×8 pixels, of large 9×9"):
        load_pair(dataset, "blue-0.40", "large")


def write_root(dataset: Path, **digests: str) -> None:
    """Write the manifest of a dataset with its sets as they are, or with other digests."""
    sets = {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dataset.glob(f"*/{MANIFEST}")
    }
    sets = {name: {"manifest_sha256": digest} for name, digest in (sets | digests).items() if digest}
    (dataset / MANIFEST).write_text(Manifest("dataset", 0, (), {"sets": sets}).to_json())


def test_a_set_is_opened_in_its_dataset_and_copied_alone(dataset: Path, tmp_path: Path) -> None:
    write_root(dataset)
    assert load(dataset / "blue-0.40").digest == load(dataset / "blue-0.40" / ".").digest
    (dataset / "test").rename(tmp_path / "test")
    assert len(load(tmp_path / "test")) == 60


def change_about(directory: Path, **changes: object) -> None:
    about = json.loads((directory / MANIFEST).read_text())["about"]
    change_manifest(directory, about=about | changes)


def test_the_identity_of_a_set_does_not_depend_on_what_built_it(dataset: Path) -> None:
    first = load(dataset / "test")
    change_about(dataset / "test", versions={"pillow": "13.0"})
    again = load(dataset / "test")
    assert again.identity == first.identity
    assert again.digest != first.digest
    change_about(dataset / "test", class_names=["disk", "square", "star"])
    assert load(dataset / "test").identity != first.identity
    assert load(dataset / "blue-0.40").identity != first.identity


def test_a_set_of_a_shared_dataset_is_identified_by_its_manifest(dataset: Path) -> None:
    change_about(dataset / "test", mode="shared")
    manifest, digest = read_manifest(dataset / "test")
    assert set_identity(manifest, digest) == digest


@pytest.mark.parametrize("digest", ["0" * 64, ""])
def test_a_set_that_its_dataset_does_not_name_is_refused(dataset: Path, digest: str) -> None:
    write_root(dataset, **{"blue-0.40": digest})
    with pytest.raises(
        DataError, match=r"blue-0\.40: this set is not the one that .*interrupted.*run the build again"
    ):
        load(dataset / "blue-0.40")
    load(dataset / "test")


def test_exchanged_sets_are_refused(dataset: Path) -> None:
    write_root(dataset)
    (dataset / "blue-0.40").rename(dataset / "third")
    (dataset / "blue-0.00").rename(dataset / "blue-0.40")
    (dataset / "third").rename(dataset / "blue-0.00")
    for name in ("blue-0.40", "blue-0.00"):
        with pytest.raises(DataError, match="exchanged"):
            load(dataset / name)


@pytest.mark.parametrize(
    "sets", [None, [], "blue-0.40", {"blue-0.40": None}, {"blue-0.40": {"manifest_sha256": 1}}]
)
def test_a_root_manifest_of_other_types_raises_data_error(dataset: Path, sets: object) -> None:
    text = Manifest("dataset", 0, (), {"sets": sets}).to_json()
    (dataset / MANIFEST).write_text(text)
    if isinstance(sets, dict):
        with pytest.raises(DataError, match="not the one that"):
            load(dataset / "blue-0.40")
    else:
        load(dataset / "blue-0.40")
    (dataset / MANIFEST).write_bytes(b"\xff" + text.encode())
    with pytest.raises(DataError, match="not a manifest"):
        load(dataset / "blue-0.40")


@pytest.mark.parametrize(
    "about",
    [
        {"class_names": "abc"},
        {"class_names": [1]},
        {"class_names": []},
        {"noise_level": float("nan")},
        {"noise_level": "0"},
    ],
)
def test_a_manifest_with_invalid_values_is_refused(dataset: Path, about: dict[str, object]) -> None:
    old = json.loads((dataset / "test" / MANIFEST).read_text())["about"]
    change_manifest(dataset / "test", about=old | about)
    with pytest.raises(DataError, match=f"{next(iter(about))!r} has no valid value|not a manifest"):
        load(dataset / "test")
