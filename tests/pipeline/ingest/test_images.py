import hashlib
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest import images
from pipeline.ingest.images import ingest_images, open_stored
from pipeline.keyed_hash import place
from pipeline.rejections import Rejected
from schemas.image import IMAGES
from tests.pipeline.ingest.conftest import Web

Draw = Callable[[int, int, int], Image.Image]
CONFIG = IngestConfig(size=32, allow_private_hosts=True, timeout_seconds=2)


def wanted(*lines: tuple[str, str | None, str | None]) -> pd.DataFrame:
    """Lines (image_id, path, url)."""
    frame = pd.DataFrame(lines, columns=["image_id", "path", "url"], dtype=object)
    return frame.assign(source="web")


def ingested(
    lines: pd.DataFrame, base: Path, config: IngestConfig = CONFIG
) -> tuple[pa.Table, dict[str, Rejected]]:
    tables, rejected = [IMAGES.schema.empty_table()], {}
    for table, some in ingest_images(lines, str(base), config):
        tables.append(table)
        rejected.update(some)
    return pa.concat_tables(tables), rejected


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_the_fingerprint_is_that_of_the_stored_picture(smooth: Draw, tmp_path: Path, kind: str) -> None:
    smooth(0, 60, 40).save(tmp_path / "a.bmp")
    table, rejected = ingested(wanted(("a", "a.bmp", None)), tmp_path, IngestConfig(size=32, format=kind))  # type: ignore[arg-type]
    (row,) = table.to_pylist()
    stored = open_stored(row["image"]["bytes"])
    data = (tmp_path / "a.bmp").read_bytes()
    assert not rejected
    assert f"{row['phash']:016x}" == str(imagehash.phash(stored))
    assert row["phash_256"].hex() == str(imagehash.phash(stored, hash_size=16, highfreq_factor=2))
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert (row["width"], row["height"], row["format"], row["bytes_in"]) == (60, 40, "BMP", len(data))
    assert (row["image"]["path"], stored.size) == (f"a.{kind}", (32, 32))


def test_every_image_is_a_row_or_a_rejection_in_the_order_of_place(
    smooth: Draw, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "BATCH", 4)
    lines = []
    for i in range(10):
        smooth(i, 40, 40).save(tmp_path / f"{i}.png")
        lines.append((f"file-{i}", f"{i}.png", None))
        lines.append((f"web-{i}", None, web.serve(f"/{i}", (tmp_path / f"{i}.png").read_bytes())))
    lines += [
        ("page", None, web.serve("/page", b"<html>")),
        ("gone", None, web.url("/gone")),
        ("no", "no.png", None),
    ]
    table, rejected = ingested(wanted(*lines), tmp_path)
    ids = table["image_id"].to_pylist()
    assert {image_id: r.code for image_id, r in rejected.items()} == {
        "page": "not_an_image",
        "gone": "not_found",
        "no": "not_found",
    }
    assert sorted([*ids, *rejected]) == sorted(line[0] for line in lines)
    assert (np.diff(place(ids).astype(object)) >= 0).all()
    assert table.schema == IMAGES.schema


def test_the_order_of_the_lines_does_not_matter(smooth: Draw, tmp_path: Path) -> None:
    for i in range(5):
        smooth(i, 40, 40).save(tmp_path / f"{i}.png")
    lines = [(f"i{i}", f"{i}.png", None) for i in range(5)]
    assert ingested(wanted(*lines), tmp_path)[0] == ingested(wanted(*reversed(lines)), tmp_path)[0]


def test_a_batch_of_rejections_alone_is_no_special_case(tmp_path: Path) -> None:
    table, rejected = ingested(wanted(("a", "a.png", None), ("b", "b.png", None)), tmp_path)
    assert (table.num_rows, set(rejected)) == (0, {"a", "b"})


def test_no_lines_are_no_images(tmp_path: Path) -> None:
    table, rejected = ingested(wanted(), tmp_path)
    assert (table.num_rows, rejected) == (0, {})
