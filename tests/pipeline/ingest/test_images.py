import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest import images
from pipeline.ingest.fetch import Fetcher
from pipeline.ingest.images import Tools, ingest_images
from pipeline.ingest.normalise import open_stored
from pipeline.ingest.picture import make_picture
from pipeline.ingest.store import Store, begin_run
from pipeline.keyed_hash import place
from pipeline.rejections import Rejected
from schemas.image import IMAGES
from tests.pipeline.ingest.conftest import Encode, Web

Draw = Callable[[int, int, int], Image.Image]
CONFIG = IngestConfig(
    size=32, allow_private_hosts=True, timeout_seconds=2, host_per_second=0, host_fetches=64
)


def wanted(*lines: tuple[str, str | None, str | None]) -> pd.DataFrame:
    """Lines (image_id, path, url)."""
    frame = pd.DataFrame(lines, columns=["image_id", "path", "url"], dtype=object)
    return frame.assign(source="web", sha256=None)


def ingested(
    lines: pd.DataFrame, base: Path, config: IngestConfig = CONFIG, retry: tuple[str, ...] = ()
) -> tuple[pa.Table, dict[str, Rejected]]:
    """As one run does it; what it fetches is kept in `base`/fetched."""
    folder, rejected = str(base / "fetched"), dict[str, Rejected]()
    fetcher = Fetcher(str(base), config)
    store = Store(folder, begin_run(folder), lines["url"].dropna(), config)
    tables = list(
        ingest_images(
            lines,
            Tools(fetcher, store, config, partial(make_picture, config=config), frozenset(retry)),
            rejected,
        )
    )
    store.close()
    fetcher.close()
    return pa.concat_tables([IMAGES.schema.empty_table(), *tables]), rejected


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
    monkeypatch.setattr(images, "TABLE_ROWS", 3)
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


# The store


def test_what_was_fetched_is_not_fetched_again_whatever_is_made_of_it(
    smooth: Draw, encoded: Encode, tmp_path: Path, web: Web
) -> None:
    urls = [web.serve(f"/{i}", encoded(smooth(i, 40, 40), "PNG")) for i in range(6)]
    gone = web.url("/gone")
    first = ingested(wanted(*[(url, None, url) for url in [*urls[:4], gone]]), tmp_path)
    assert len(web.asked) == 5
    longer = wanted(*[(url, None, url) for url in [*urls, gone]])
    again = ingested(longer, tmp_path)
    assert sorted(web.asked) == sorted([f"/{i}" for i in range(6)] + ["/gone"])
    assert set(first[0]["image_id"].to_pylist()) < set(again[0]["image_id"].to_pylist())
    assert {i: (r.code, r.asked) for i, r in first[1].items()} == {
        i: (r.code, r.asked) for i, r in again[1].items()
    }
    small = ingested(longer, tmp_path, replace(CONFIG, size=16))[0]
    assert (small.num_rows, len(web.asked)) == (6, 7)
    assert small["sha256"] == again[0]["sha256"]


def test_failures_are_tried_again_where_that_is_asked_for_or_the_rules_have_changed(
    smooth: Draw, encoded: Encode, tmp_path: Path, web: Web
) -> None:
    late, page = web.url("/late"), web.serve("/page", b"<html>")
    lines = wanted(("late", None, late), ("page", None, page))

    def codes(**how: Any) -> dict[str, str]:
        return {name: rejected.code for name, rejected in ingested(lines, tmp_path, **how)[1].items()}

    assert codes() == {"late": "not_found", "page": "not_an_image"}
    for path in ("/late", "/page"):
        web.serve(path, encoded(smooth(0, 40, 40), "PNG"))
    assert codes() == {"late": "not_found", "page": "not_an_image"}
    assert codes(retry=("empty", "timeout")) == {"late": "not_found", "page": "not_an_image"}
    assert codes(retry=("not_an_image",)) == {"late": "not_found"}
    assert codes() == {"late": "not_found"}
    assert codes(config=replace(CONFIG, max_bytes=10_000_000)) == {}
    assert (sorted(web.asked[:2]), web.asked[2:]) == (["/late", "/page"], ["/page", "/late"])


def test_other_bytes_than_the_list_or_an_earlier_run_says_are_rejections(
    smooth: Draw, encoded: Encode, tmp_path: Path, web: Web
) -> None:
    config = replace(CONFIG, keep_fetched=False)
    data, other = (encoded(smooth(i, 40, 40), "PNG") for i in range(2))
    lines = wanted(("a", None, web.serve("/a", data)), ("b", None, web.serve("/b", data)))
    lines["sha256"] = [hashlib.sha256(data).hexdigest(), "0" * 64]
    assert {name: r.code for name, r in ingested(lines, tmp_path, config)[1].items()} == {
        "b": "sha256_mismatch"
    }
    lines["sha256"] = None
    web.serve("/a", other)
    table, rejected = ingested(lines, tmp_path, config)
    assert (table["image_id"].to_pylist(), rejected["a"].code) == (["b"], "content_changed")
    assert ingested(lines, tmp_path, config)[1]["a"].code == "content_changed"
    assert ingested(lines, tmp_path, config, retry=("content_changed",))[1] == {}
    assert ingested(lines, tmp_path, config)[1] == {}
    assert not list((tmp_path / "fetched").glob("*.bodies"))


def test_two_images_of_one_url_are_fetched_once(
    smooth: Draw, encoded: Encode, tmp_path: Path, web: Web
) -> None:
    url = web.serve("/a", encoded(smooth(0, 40, 40), "PNG"))
    table, _ = ingested(wanted(("a", None, url), ("b", None, url)), tmp_path)
    assert (table.num_rows, web.asked) == (2, ["/a"])


def test_a_slow_host_holds_up_no_other(smooth: Draw, encoded: Encode, tmp_path: Path, web: Web) -> None:
    """The fast ones are decoded while the slow one is waited for, and the order is that of place all the same."""
    data = encoded(smooth(0, 40, 40), "PNG")
    urls = [web.serve(f"/{i}", data) for i in range(8)]
    fast = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        assert fast.wait(5)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(data)

    lines = wanted(
        ("slow", None, web.raw("/slow", slow)), *[(f"fast-{i}", None, url) for i, url in enumerate(urls)]
    )
    fetcher = Fetcher(str(tmp_path), CONFIG)
    store = Store(str(tmp_path / "fetched"), 1, [], CONFIG)
    order = []
    for line, _ in fetcher.fetch_all(lines.to_dict("records"), store):  # type: ignore[arg-type]
        order.append(line["image_id"])
        if len(order) == 8:
            fast.set()
    fetcher.close()
    assert order[-1] == "slow"
