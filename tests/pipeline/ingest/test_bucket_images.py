import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from common.errors import DataError
from pipeline import remote
from pipeline.ingest import bucket_images, decode_pool, downloads
from pipeline.ingest.bucket_images import BucketContext, ingest_images
from pipeline.ingest.decode_pool import DecodePool
from pipeline.ingest.normalize import decode_stored
from pipeline.ingest.rows import OUTCOME
from pipeline.ingest_config import IngestConfig
from pipeline.keyed_hash import shard_key
from pipeline.rejections import Rejected, RequestStats
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL
from tests.pipeline.ingest.conftest import Encode

Draw = Callable[[int, int, int], Image.Image]
WANTED = [RETRIEVAL.schema.field(name) for name in ("image_id", "source", "path", "url", "sha256")]
Ingest = Callable[..., tuple[pa.Table, dict[str, Rejected]]]


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    """Return a function that ingests rows below the test's folder with decoding processes."""
    pools: dict[IngestConfig, DecodePool] = {}

    def run(lines: list[dict[str, Any]], **values: Any) -> tuple[pa.Table, dict[str, Rejected]]:
        config, rejected = IngestConfig(**{"size": 32, **values}), dict[str, Rejected]()
        pool = pools.setdefault(config, DecodePool(str(tmp_path), config, 1))
        done: list[int] = []
        tools = BucketContext(pool, config, str(tmp_path), str(tmp_path / "bodies"), done.append)
        tables = list(ingest_images(table_of(lines), tools, rejected))
        assert sum(done) == len(lines)
        return pa.concat_tables([IMAGES.schema.empty_table(), *tables]), rejected

    yield run
    for pool in pools.values():
        pool.close()


def table_of(lines: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(lines, schema=pa.schema([*WANTED, *OUTCOME]))


def file(image_id: str, path: str, sha256: str | None = None) -> dict[str, Any]:
    return {"image_id": image_id, "source": "web", "path": path, "sha256": sha256}


def fetched(image_id: str, data: bytes, folder: Path, sha256: str | None = None) -> dict[str, Any]:
    """Return a row of an image whose body is stored after others."""
    path = folder / "bodies" / "1.bodies"
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as bodies:
        offset = bodies.tell()
        bodies.write(data)
    return {
        "image_id": image_id, "source": "web", "path": None, "sha256": sha256, "code": None, "detail": None,
        "body_file": path.name, "offset": offset, "length": len(data), "body_sha256": hashlib.sha256(data).hexdigest(),
        "host": "x.test", "status": 200, "bytes_seen": len(data), "seconds": 0.5, "attempts": 2,
    }  # fmt: skip


def failed(image_id: str, code: str) -> dict[str, Any]:
    return {
        "image_id": image_id, "source": "web", "path": None, "sha256": None, "code": code, "detail": "seen",
        "body_file": None, "offset": None, "length": None, "body_sha256": None,
        "host": "x.test", "status": 404, "bytes_seen": 0, "seconds": 0.1, "attempts": 1,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_fingerprints_are_those_of_the_stored_image(
    smooth: Draw, tmp_path: Path, ingest: Ingest, kind: str
) -> None:
    smooth(0, 60, 40).save(tmp_path / "a.bmp")
    table, rejected = ingest([file("a", "a.bmp")], format=kind)
    (row,) = table.to_pylist()
    stored = decode_stored(row["image"]["bytes"])
    data = (tmp_path / "a.bmp").read_bytes()
    assert not rejected
    assert f"{row['phash']:016x}" == str(imagehash.phash(stored))
    assert row["phash_256"].hex() == str(imagehash.phash(stored, hash_size=16, highfreq_factor=2))
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert (row["width"], row["height"], row["format"], row["bytes_in"]) == (60, 40, "BMP", len(data))
    assert (row["image"]["path"], stored.size) == (f"a.{kind}", (32, 32))


def test_every_image_gives_a_row_or_a_rejection_ordered_by_shard_key(
    smooth: Draw, encoded: Encode, tmp_path: Path, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_images, "BATCH", 4)
    monkeypatch.setattr(bucket_images, "TABLE_ROWS", 3)
    lines = []
    for i in range(10):
        data = encoded(smooth(i, 40, 40), "PNG")
        (tmp_path / f"{i}.png").write_bytes(data)
        lines += [file(f"file-{i}", f"{i}.png"), fetched(f"web-{i}", data, tmp_path)]
    lines += [fetched("page", b"<html>", tmp_path), failed("gone", "not_found"), file("no", "no.png")]
    table, rejected = ingest(lines)
    ids = table["image_id"].to_pylist()
    codes = {image_id: rejection.code for image_id, rejection in rejected.items()}
    assert codes == {"page": "not_an_image", "gone": "not_found", "no": "not_found"}
    assert rejected["gone"].stats == RequestStats("x.test", 404, 0, 0.1, 1)
    assert rejected["page"].stats == RequestStats("x.test", 200, 6, 0.5, 2)
    assert rejected["no"].stats is None
    assert sorted([*ids, *rejected]) == sorted(line["image_id"] for line in lines)
    assert (np.diff(shard_key(ids).astype(object)) >= 0).all()
    assert table.schema == IMAGES.schema
    assert ingest(lines[::-1])[0] == table


def test_a_batch_may_consist_of_rejections_only(ingest: Ingest) -> None:
    table, rejected = ingest([file("a", "a.png"), failed("b", "timeout")])
    assert (table.num_rows, set(rejected)) == (0, {"a", "b"})


def test_no_rows_give_no_images(ingest: Ingest) -> None:
    table, rejected = ingest([])
    assert (table.num_rows, rejected) == (0, {})


def test_a_file_with_another_digest_than_listed_is_rejected(
    smooth: Draw, encoded: Encode, tmp_path: Path, ingest: Ingest
) -> None:
    data = encoded(smooth(0, 40, 40), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    right, wrong = hashlib.sha256(data).hexdigest(), "0" * 64
    lines = [file("a", "a.png", right), file("b", "a.png", wrong)]
    lines += [fetched("c", data, tmp_path, right), fetched("d", data, tmp_path, wrong)]
    table, rejected = ingest(lines)
    assert sorted(table["image_id"].to_pylist()) == ["a", "c"]
    assert {image_id: rejection.code for image_id, rejection in rejected.items()} == {
        "b": "sha256_mismatch",
        "d": "sha256_mismatch",
    }


def test_a_body_fetched_under_a_higher_limit_is_rejected_as_too_large(
    smooth: Draw, encoded: Encode, tmp_path: Path, ingest: Ingest
) -> None:
    line = fetched("a", encoded(smooth(0, 40, 40), "PNG"), tmp_path)
    assert ingest([line], max_bytes=100)[1]["a"].code == "too_large"


def test_downloads_are_removed_as_soon_as_their_images_are_processed(
    smooth: Draw, encoded: Encode, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(bucket_images, "BATCH", 1)
    monkeypatch.setattr(downloads, "AHEAD", 4)
    monkeypatch.setattr(decode_pool, "MOST_AHEAD", 4)
    data, lines = encoded(smooth(0, 40, 40), "PNG"), []
    for i in range(40):
        remote.create(f"{bucket}/{i}.png", data)
        lines.append(file(f"file-{i}", f"{i}.png"))
    lines.append(file("no", "no.png"))
    config, rejected, stored = IngestConfig(size=32), dict[str, Rejected](), list[int]()

    def count(_: int) -> None:
        stored.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))

    with closing(DecodePool(bucket, config, 1)) as pool:
        context = BucketContext(pool, config, bucket, str(tmp_path), count)
        tables = list(ingest_images(table_of(lines), context, rejected))
    assert sum(table.num_rows for table in tables) == 40
    assert rejected["no"].code == "not_found"
    assert max(stored) <= 8 * len(data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_stored_body_fails_the_stage_with_a_remedy(
    smooth: Draw, encoded: Encode, tmp_path: Path, ingest: Ingest, damage: str
) -> None:
    line = fetched("a", encoded(smooth(0, 40, 40), "PNG"), tmp_path)
    path = tmp_path / "bodies" / "1.bodies"
    if damage == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-9] if damage == "cut" else data[:-9] + bytes(9))
    with pytest.raises(
        DataError, match=r"1\.bodies: a stored body is damaged or missing; run fetch with --force"
    ):
        ingest([line])
