"""Size, build time and load time of the report, and page times of the viewer.

python -m benchmarks.report --build out/cifar10n   # the report of a build; needs Chromium
python -m benchmarks.report --images 200000        # the viewer, on a synthetic build of so many images
"""

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.report.html import write_report
from pipeline.report.images import StoredImages
from pipeline.report.tables import BuildTables
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from pipeline.view.gallery import Gallery
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL

CLASSES = [f"class {number}" for number in range(100)]
SHARD = 2048


def measure_report(build: str) -> None:
    """Make the report, and load it five times."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        path = Path(write_report(build, folder))
        print(
            f"report of {build}: {path.stat().st_size / 1e6:.2f} MB, made in {time.monotonic() - began:.1f} s"
        )
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            loads = []
            for _ in range(5):
                page = browser.new_page()
                page.goto(path.as_uri())
                loads.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
                page.close()
            reported = ", ".join(f"{one:.0f}" for one in loads)
            print(
                f"load in Chromium {browser.version}: median {statistics.median(loads):.0f} ms of {reported}"
            )
            for scheme in ("light", "dark"):
                page = browser.new_context(color_scheme=scheme).new_page()
                page.goto(path.as_uri())
                result = Axe().run(page).response
                grave = [
                    one["id"] for one in result["violations"] if one["impact"] in ("serious", "critical")
                ]
                others = [one["id"] for one in result["violations"] if one["id"] not in grave]
                print(
                    f"axe, {scheme}: {len(result['passes'])} rules passed, serious: {grave}, others: {others}"
                )
            browser.close()


def make_build(folder: Path, count: int, picture_bytes: int = 8000) -> None:
    """Write the tables of an ingest stage with `count` images that are noise, of one size each."""
    rng = np.random.default_rng(0)
    shards: dict[str, list] = {"images": [], "retrievals": []}
    total = -(-count // SHARD)
    for index in range(total):
        ids = [f"image-{number:08d}" for number in range(index * SHARD, min(count, (index + 1) * SHARD))]
        n, name = len(ids), directory.shard_stem("part", index, total)
        pictures = [{"bytes": b"\x89PNG" + rng.bytes(picture_bytes), "path": None} for _ in ids]
        known = {"image_id": ids, "image": pictures, "source": ["web"] * n, "format": ["PNG"] * n,
                 "width": [224] * n, "height": [224] * n, "bytes_in": [picture_bytes] * n, "sha256": ["0" * 64] * n}  # fmt: skip
        rows = {"image_id": ids, "source": ["web"] * n, "class_name": [CLASSES[i % 100] for i in range(n)]}
        for table, schema, columns in (
            ("images", IMAGES.schema, known),
            ("retrievals", RETRIEVAL.schema, rows),
        ):
            arrays = [
                pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(n, f.type)
                for f in schema
            ]
            loose = pa.schema([field.with_nullable(True) for field in schema])
            shards[table].append(
                write_shard(str(folder / "ingest" / table), name, loose, [pa.table(arrays, loose)])
            )
    for table, written in shards.items():
        about = {"config": {"classes": CLASSES}, "inputs": {}, "buckets": total}
        commit.commit(str(folder / "ingest" / table), table, written, about)


def measure_view(count: int) -> None:
    """Open a build of `count` images, and turn pages of it with their sixty images."""
    with tempfile.TemporaryDirectory() as folder:
        make_build(Path(folder), count)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        gallery, pictures = Gallery(BuildTables(folder), CLASSES, []), StoredImages(folder)
        print(f"{count:,} pictures opened in {time.monotonic() - began:.1f} s")
        for what, asked in (("a page of all", {}), ("a page of a class", {"class": CLASSES[7]})):
            rows, read = [], []
            for page in range(1, 21):
                began = time.monotonic()
                chosen = gallery.select({**asked, "page": str(page)})
                rows.append(time.monotonic() - began)
                began = time.monotonic()
                for row in chosen.rows:
                    pictures.read(row["position"])
                read.append(time.monotonic() - began)
            print(
                f"{what}: rows {1000 * statistics.median(rows):.0f} ms, pictures {1000 * statistics.median(read):.0f} ms"
            )
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"peak memory: {before / 1024:,.0f} MB before, {after / 1024:,.0f} MB after")


def main() -> None:
    """The report of a build, and the browser of images on a made-up one: ours alone, there is no peer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", help="folder that `build --output` wrote")
    parser.add_argument("--images", type=int, help="of a synthetic build")
    arguments = parser.parse_args()
    if not (arguments.build or arguments.images):
        parser.error("give --build, --images, or both")
    if arguments.build:
        measure_report(arguments.build)
    if arguments.images:
        measure_view(arguments.images)


if __name__ == "__main__":
    main()
