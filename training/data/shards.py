"""Read a committed set of Parquet shards into tensors; refuse one that is unfinished, altered or inconsistent."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from schemas.errors import DataError
from schemas.example import EXAMPLE, PICTURE_SCHEMA
from schemas.manifest import MANIFEST, Manifest, Shard

UNKNOWN = -1  # stands for a true label that the table leaves null
COLUMNS = ["label", "is_clean", "image_id", "true_label"]
PICTURES = "images"  # beside the sets of a shared dataset, which are lists of examples


@dataclass(frozen=True)
class ImageSet:
    """A whole set, resident on one device.

    images: uint8 [N, 3, H, W], stored channels-last; labels: int64 [N], the given ones; is_clean: bool [N];
    true_labels: int64 [N], −1 where unknown; digest: of the manifest, so it names the bytes of every shard.
    """

    name: str
    images: Tensor
    labels: Tensor
    is_clean: Tensor
    true_labels: Tensor
    class_names: tuple[str, ...]
    noise_level: float
    colour: str | None
    digest: str

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Self:
        """Return the set on `device`."""
        moved = {
            name: getattr(self, name).to(device) for name in ("images", "labels", "is_clean", "true_labels")
        }
        return type(self)(**{**self.__dict__, **moved})


def read_manifest(directory: Path) -> tuple[Manifest, str]:
    """Return a set's manifest and its SHA-256. Raises DataError without one: such a set is unfinished."""
    path = directory / MANIFEST
    if not path.is_file():
        near = sorted(other.parent.name for other in directory.parent.glob(f"*/{MANIFEST}"))
        there = f"; finished sets beside it: {', '.join(near)}" if near else ""
        raise DataError(
            f"{directory}: no {MANIFEST}, no set: its build was not finished, run it again{there}"
        )
    data = path.read_bytes()
    manifest = Manifest.from_json(data.decode(), str(path))
    if manifest.table != EXAMPLE.name:
        raise DataError(f"{path}: holds a table of {manifest.table!r}, training needs {EXAMPLE.name!r}")
    for about in ("class_names", "noise_level", "colour"):
        if about not in manifest.about:
            raise DataError(f"{path}: says nothing about {about!r}; build the set again")
    if manifest.rows == 0:
        raise DataError(f"{path}: the set is empty; look at the counts of the build that made it")
    return manifest, hashlib.sha256(data).hexdigest()


def load(directory: Path) -> ImageSet:
    """Read, check and decode one set (a folder with a manifest) onto the CPU.

    Raises DataError, naming file and remedy, for a missing manifest, a missing or altered shard, wrong
    counts, labels outside the classes, undecodable images, and images of different sizes.
    """
    manifest, digest = read_manifest(directory)
    shared = manifest.about.get("mode") == "shared"
    columns = COLUMNS if shared else ["image", *COLUMNS]
    table = pa.concat_tables(_read_shard(directory / shard.file, shard, columns) for shard in manifest.shards)
    if table.num_rows != manifest.rows:
        raise DataError(f"{directory}: shards hold {table.num_rows} rows, the manifest says {manifest.rows}")
    names = tuple(manifest.about["class_names"])
    labels = table["label"].to_numpy()
    if labels.min() < 0 or labels.max() >= len(names):
        raise DataError(
            f"{directory}: labels run from {labels.min()} to {labels.max()}, but the manifest has {len(names)} "
            "class names; build the set again"
        )
    ids = table["image_id"].to_pylist()
    encoded = _shared_pictures(directory, ids) if shared else _bytes(table)
    images = _decode(encoded, ids, str(directory))
    true_labels = pa.compute.fill_null(table["true_label"], UNKNOWN).to_numpy()
    return ImageSet(
        name=directory.name,
        images=torch.from_numpy(images).permute(0, 3, 1, 2),
        labels=torch.tensor(labels, dtype=torch.int64),
        is_clean=torch.tensor(table["is_clean"].to_numpy(zero_copy_only=False)),
        true_labels=torch.tensor(true_labels, dtype=torch.int64),
        class_names=names,
        noise_level=float(manifest.about["noise_level"]),
        colour=manifest.about["colour"],
        digest=digest,
    )


def load_pair(data: Path, train: str, test: str) -> tuple[ImageSet, ImageSet]:
    """Read a training set and the test set of `data`; DataError if their classes or image sizes differ."""
    first, second = load(data / train), load(data / test)
    if first.class_names != second.class_names:
        raise DataError(
            f"{data}: {train} has the classes {list(first.class_names)}, {test} has {list(second.class_names)}; "
            "build both from one class list"
        )
    if first.images.shape[1:] != second.images.shape[1:]:
        raise DataError(
            f"{data}: images of {train} are {_size(first)}, of {test} {_size(second)}; build both at one size"
        )
    return first, second


def _size(images: ImageSet) -> str:
    return "×".join(map(str, reversed(images.images.shape[2:])))


def _shared_pictures(directory: Path, ids: list[str]) -> list[bytes]:
    """The encoded pictures of a shared dataset's set, in the order of `ids`."""
    folder = directory.parent / PICTURES
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{directory}: its pictures in {folder} are missing; copy them too, or build again")
    columns = PICTURE_SCHEMA.names
    wanted = pa.array(ids)
    found: dict[str, bytes] = {}
    for shard in Manifest.from_json(path.read_text(), str(path)).shards:
        table = _read_shard(folder / shard.file, shard, columns)
        table = table.filter(pa.compute.is_in(table["image_id"], wanted))
        found.update(zip(table["image_id"].to_pylist(), _bytes(table), strict=True))
    missing = [image_id for image_id in ids if image_id not in found]
    if missing:
        raise DataError(
            f"{directory}: {folder} lacks {len(missing)} of its pictures, {missing[0]!r} for one; build again"
        )
    return [found[image_id] for image_id in ids]


def _bytes(table: pa.Table) -> list[bytes]:
    return pa.compute.struct_field(table["image"].combine_chunks(), "bytes").to_pylist()


def _read_shard(path: Path, shard: Shard, columns: list[str]) -> pa.Table:
    if not path.is_file():
        raise DataError(f"{path}: the manifest names this shard, but it is missing; copy it or build again")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise DataError(f"{path}: altered since it was built (SHA-256 differs); copy it again or build again")
    try:
        parquet = pq.ParquetFile(io.BytesIO(data))
        missing = [column for column in columns if column not in parquet.schema_arrow.names]
        if missing:
            raise DataError(f"{path}: lacks the column {missing[0]!r}; build the set again")
        table = parquet.read(columns)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: no readable Parquet file ({error}); build again") from error
    if table.num_rows != shard.rows:
        raise DataError(f"{path}: {table.num_rows} rows, the manifest says {shard.rows}; build again")
    return table


def _decode(encoded: list[bytes], ids: list[str], where: str) -> np.ndarray:
    """Decode PNG, JPEG or WebP bytes to uint8 [N, H, W, 3], in threads (the decoders release the lock)."""

    def pixels(index: int) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(encoded[index]), formats=("PNG", "JPEG", "WEBP")) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, TypeError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{where}: image {ids[index]!r} cannot be decoded ({error}); build again"
            ) from error

    first = pixels(0)
    result = np.empty((len(encoded), *first.shape), dtype=np.uint8)

    def fill(start: int) -> None:
        for index in range(start, min(start + 256, len(encoded))):
            one = pixels(index)
            if one.shape != first.shape:
                raise DataError(
                    f"{where}: image {ids[index]!r} is {one.shape[1]}×{one.shape[0]}, {ids[0]!r} is "
                    f"{first.shape[1]}×{first.shape[0]}; build the set with one image size"
                )
            result[index] = one

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(fill, range(0, len(encoded), 256)))
    return result
