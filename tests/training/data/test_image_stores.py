"""Images of shards: located in the file, decoded as Pillow does, streamed or resident."""

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from simplejpeg import decode_jpeg

import training.data.decode as decode_module
from common.errors import DataError
from schemas.example import example_schema
from tests.training.conftest import NAMES, example, png, write_set
from training import open_set
from training.data import encoded
from training.data.decode import OtherSizeError, decode
from training.data.image_stores import StreamedImages
from training.data.shards import load

RNG = np.random.default_rng(0)


def jpeg(height: int, width: int, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    smooth = RNG.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(
        buffer, "JPEG", **options
    )
    return buffer.getvalue()


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {"quality": 72}), ("RGB", {"subsampling": 0}), ("L", {}), ("RGB", {"progressive": True})],
)
def test_decoding_gives_pillows_pixels(mode: str, options: dict[str, Any]) -> None:
    data = jpeg(31, 45, mode, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode(array(data)), expected)


def test_png_is_decoded_and_invalid_images_raise() -> None:
    pixels = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(decode(array(png(pixels))), pixels)
    for data in (b"\xff\xd8\xff garbage", b"GIF89a", jpeg(8, 8)[:-100]):
        with pytest.raises((OSError, ValueError)):
            decode(array(data))


def declare_size(data: bytes, height: int, width: int) -> bytes:
    """Return a baseline JPEG whose header declares another size."""
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[start + 4 :]


@pytest.mark.parametrize("place", [0, 1])
def test_no_memory_is_taken_for_a_jpeg_that_declares_too_many_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    images = [jpeg(8, 8), jpeg(8, 8)]
    images[place] = bomb = declare_size(images[place], 65_500, 65_500)

    def decode_small(data: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        assert data.tobytes() != bomb, "the large image was decoded"
        pixels: np.ndarray = decode_jpeg(data, *args, **options)
        return pixels

    monkeypatch.setattr(decode_module, "decode_jpeg", decode_small)
    rows = [example(i, data, 0, 0, True) for i, data in enumerate(images)]
    with pytest.raises(DataError, match=f"'id-0000{place}' "):
        load(write_set(tmp_path / "set", rows, shards=1))


@pytest.mark.parametrize("encode", [jpeg, lambda height, width: png(np.zeros((height, width, 3), np.uint8))])
def test_an_image_of_another_size_is_not_decoded(encode: Callable[[int, int], bytes]) -> None:
    data = array(encode(9, 8))
    assert decode(data, (9, 8)).shape == (9, 8, 3)
    with pytest.raises(OtherSizeError, match="is 8×9 pixels, others are 9×8"):
        decode(data, (8, 9))


def write_plain(path: Path, rows: list[dict[str, Any]], **options: Any) -> None:
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows, schema=example_schema(NAMES)), path, **options)


def open_images(path: Path) -> encoded.EncodedImages:
    import mmap

    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return encoded.locate_images(mapped, pq.ParquetFile(path))


@pytest.mark.parametrize("plain", [True, False])
def test_images_are_located_over_pages_and_row_groups(tmp_path: Path, plain: bool) -> None:
    rows = [example(i, bytes(RNG.integers(0, 256, int(n), dtype=np.uint8)), 0, 0, True)
            for i, n in enumerate(RNG.integers(0, 900, 300))]  # fmt: skip
    for one in rows[::7]:
        one["image"]["bytes"] = b"\x04\x00\x00\x00same"  # equal ones, which look like lengths
    stored: dict[str, Any] = {"compression": {"image.bytes": "none"}, "use_dictionary": ["label"]}
    write_plain(
        tmp_path / "a.parquet", rows, row_group_size=70, data_page_size=2000, **(stored if plain else {})
    )
    result = open_images(tmp_path / "a.parquet")
    assert [bytes(result[i]) for i in range(300)] == [row["image"]["bytes"] for row in rows]
    sizes = {len(buffer) for buffer in result.buffers}
    assert (sizes == {(tmp_path / "a.parquet").stat().st_size}) is plain  # in the file, or held in memory


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    rows = [example(i, jpeg(12, 10), i % 3, i % 3, True) for i in range(40)]
    return write_set(tmp_path / "blue-0.00", rows, shards=3), rows


def test_streamed_and_resident_images_are_equal_in_any_order(pair: tuple[Path, Any]) -> None:
    resident, streamed = load(pair[0]), load(pair[0], resident_bytes=0)
    assert isinstance(streamed.images, StreamedImages)
    assert resident.images.size == streamed.images.size == (12, 10)
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(0)).split(7)
    one, other = (list(data.images.batches(rows)) for data in (resident, streamed))
    assert len(one) == 6
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(b.is_contiguous(memory_format=torch.channels_last) for b in one + other)
    some = torch.tensor([5, 3, 39])
    taken = [next(data.take(some).images.batches([torch.arange(3)])) for data in (resident, streamed)]
    assert torch.equal(*taken)


def test_a_stream_that_is_left_early_leaves_no_thread(pair: tuple[Path, Any]) -> None:
    before = threading.active_count()
    stream = load(pair[0], resident_bytes=0).images.batches(torch.arange(40).split(2))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_invalid_image_in_a_stream_is_named(tmp_path: Path) -> None:
    rows = [example(i, jpeg(12, 10), 0, 0, True) for i in range(3)]
    rows[1]["image"]["bytes"] = jpeg(12, 10)[:80]
    rows[2]["image"]["bytes"] = jpeg(12, 11)
    data = load(write_set(tmp_path / "set", rows, shards=1), resident_bytes=0)
    with pytest.raises(DataError, match="'id-00001' cannot be decoded"):
        list(data.images.batches([torch.tensor([0, 1])]))
    with pytest.raises(DataError, match="'id-00002' is 11×12 pixels, others are 10×12"):
        list(data.images.batches([torch.tensor([0, 2])]))


def test_a_dataset_takes_images_of_several_sizes_and_names_a_damaged_one(tmp_path: Path) -> None:
    images = [png(np.zeros((height, 8, 3), np.uint8)) for height in (8, 9)] + [b"damaged"]
    rows = [example(i, data, 0, 0, True) for i, data in enumerate(images)]
    data = open_set(write_set(tmp_path / "set", rows, shards=1), transform=lambda pixels: pixels)
    assert sorted(data[row][0].shape[1] for row, name in enumerate(data.image_ids) if name != "id-00002") == [
        8,
        9,
    ]
    damaged = list(data.image_ids).index("id-00002")
    with pytest.raises(DataError, match="image 'id-00002' cannot be decoded"):
        data[damaged]
