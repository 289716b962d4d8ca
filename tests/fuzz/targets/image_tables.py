"""Parquet files of images are opened: sets for training, collections for `leaks` (training/data/shards.py, pipeline/leaks/inputs.py).

The first byte chooses the reader; the rest is a Parquet file. The manifest of a set states its true size and digest, as that
of a hostile publisher would. A file gives images or a `DataError` that names its folder. Of a set, each image is the bytes
that Arrow reads, labels are class ids, and ids are text. Of a collection, each row gives an image or a `Rejected`.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from common.errors import DataError
from pipeline.leaks.inputs import read_images
from pipeline.shards import directory
from schemas.example import EXAMPLE, example_schema
from schemas.manifest import MANIFEST, Manifest, Shard
from schemas.table import UNREADABLE
from tests.fuzz.inputs import check_error, check_rejection, choice, written
from tests.training.conftest import example, png
from training.data import shards
from training.data.encoded import locate_images, open_shard

CLASSES = ["circle", "square", "star"]
FILE = "train-00000-of-00001.parquet"
WORDS = (
    b"PAR1",
    b"image.bytes",
    b"image_id",
    b"label",
    b"is_clean",
    b"true_label",
    b"\x89PNG",
    b"\xff\xfe",
    b"ARROW:schema",
)


def set_file(rows: int = 2, **options: object) -> bytes:
    """Return a shard of a set."""
    made = [
        {
            name: example(i, png(np.full((2, 2, 3), 60 * i, np.uint8)), i % 3, None, True).get(name)
            for name in EXAMPLE.schema.names
        }
        for i in range(rows)
    ]
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(made, schema=example_schema(CLASSES)), file, **options)
    return file.getvalue()


def collection(images: pa.Array, ids: pa.Array) -> bytes:
    """Return a collection of images."""
    file = io.BytesIO()
    parquet.write_table(pa.table({"image": images, "image_id": ids}), file, compression="none")
    return file.getvalue()


def seeds() -> Iterator[bytes]:
    """Yield shards in several encodings, and collections with odd columns."""
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    made = set_file(**plain)
    yield b"\x00" + made
    yield b"\x00" + made.replace(b"id-0000", b"id-\xff\xfe00")
    yield b"\x00" + set_file(3, row_group_size=1, use_dictionary=True)
    yield b"\x00" + set_file(0)
    yield b"\x00" + made.replace(b"\x15\x00\x16\x04", b"\x15\x00\x16\x5d")  # columns of -47 values
    yield b"\x01" + made
    images = pa.array([b"x", None, b""])
    yield b"\x01" + collection(images, pa.array([b"a", b"\xff", None]).view(pa.string()))
    yield b"\x01" + collection(pa.array([{"bytes": b"x", "path": "y"}]), pa.array(["a"]))
    yield b"\x01" + collection(pa.array([{"bytes": {"bytes": b"x"}}]), pa.array(["a"]))
    yield b"\x01" + collection(pa.array(["text"]), pa.array(["a"]))
    yield b"\x01GIF89a" + made


def check(data: bytes) -> None:
    """Open a file in one of the two ways."""
    number, data = choice(data, 2)
    path = Path(written(f"images-{number}/{FILE}", data))
    try:
        check_set(path, data) if number == 0 else check_collection(path.parent)
    except DataError as error:
        check_error(error, str(path.parent))


def check_set(path: Path, data: bytes) -> None:
    try:
        rows = parquet.ParquetFile(path).metadata.num_rows
    except UNREADABLE:
        rows = 1
    shard = Shard(FILE, rows, len(data), hashlib.sha256(data).hexdigest())
    about = {"class_names": CLASSES, "noise_level": 0.0, "set_name": path.parent.name}
    written(f"{path.parent.name}/{MANIFEST}", Manifest("example", rows, (shard,), about).to_json().encode())
    table = directory.read_shard(str(path.parent), shard, check_digests=True)
    found = shards.load(path.parent, resident_bytes=0)
    assert len(found) == rows == table.num_rows
    assert ((found.labels >= 0) & (found.labels < len(CLASSES))).all()
    assert all(isinstance(image_id, str) for image_id in found.image_ids)
    images = locate_images(*open_shard(path, shard))
    values = [image["bytes"] or b"" for image in table["image"].to_pylist()]
    assert [images[i].tobytes() for i in range(rows)] == values


def check_collection(folder: Path) -> None:
    for image in read_images(str(folder)):
        assert isinstance(image.data, bytes)
        assert isinstance(image.image_id, str)
        if image.rejection is not None:
            check_rejection(image.rejection)
