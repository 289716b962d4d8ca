"""The published benchmark at true scale, ids only: 60,000 real clean ids, 212,588 web rows made up in the released format.

    python -m pytest benchmarks/published_scale.py --durations=0

The real votes and splits are not to be had freely, so web ids, verdicts and splits are drawn; the clean ids, their classes
and the test ids are the published ones. Skipped where these lists are absent (CNWL_IDS names their folder).
"""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.config import NoiseConfig
from pipeline.labels.columns import encode_votes
from pipeline.labels.majority import majority
from pipeline.noise.listed import listed_sets
from pipeline.noise.pools import make_pools
from pipeline.noise.splits import training_sets
from pipeline.published.cnwl import import_cnwl
from schemas.duplicate import DUPLICATE
from schemas.listed import LISTED_SET
from schemas.vote import VOTE

IDS = Path(os.environ.get("CNWL_IDS", Path(__file__).parents[2] / "shared" / "data" / "cnwl"))
WEB_ROWS, WRONG = 212_588, 54_400
RED_LEVELS = {"0.0": 0.0, "0.4": 0.4, "0.8": 0.8}
QUIET_BLUE = 14_457 / 60_000  # what a user counted in the published blue_noise_nl_0.4

pytestmark = pytest.mark.skipif(not IDS.exists(), reason="the published ids are not here")


def pairs(name):
    with gzip.open(IDS / name, "rt") as file:
        return [(line.split()[0].removesuffix(".jpg"), int(line.split()[1])) for line in file if line.strip()]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The import of a made-up release; returns (what it told, its folder, the splits as they were written)."""
    folder = tmp_path_factory.mktemp("scale")
    rng = np.random.default_rng(0)
    clean, tests = pairs("clean_pool.txt.gz"), pairs("clean_validation.txt.gz")
    web = [f"{number:016x}" for number in np.unique(rng.integers(0, 1 << 63, WEB_ROWS + 100))[:WEB_ROWS]]
    labels = np.arange(WEB_ROWS) % 100
    wrong = [web[i::100][: WRONG // 100] for i in range(100)]
    is_wrong = {image_id for of in wrong for image_id in of}
    items = [
        [{"image/uri": f"https://example.org/{i}.jpg", "image/id": i, "image/class/label": int(label),
          "image/class/label/is_clean": int(i not in is_wrong)}]
        for i, label in zip(web, labels, strict=True)
    ]  # fmt: skip
    part = [
        p
        for of in pd.DataFrame(clean).groupby(1)[0]
        for p in zip(of[1].iloc[:500], [of[0]] * 500, strict=True)
    ]
    splits = {}
    for name, level in RED_LEVELS.items():
        gone = round(level * 500)
        splits[f"red_noise_nl_{name}"] = [
            (wrong[label][i % 500], label) if i % 500 < gone else pair
            for i, (pair, label) in enumerate((p, p[1]) for p in part)
        ]
    for name, level in {"0.0": 0.0, "0.4": QUIET_BLUE}.items():
        flip = rng.permutation(60_000) < round(level * 60_000)
        splits[f"blue_noise_nl_{name}"] = [
            (i, (label + int(rng.integers(1, 100))) % 100 if f else label)
            for (i, label), f in zip(clean, flip, strict=True)
        ]
    release = folder / "dataset_no_images"
    (release / "mini-imagenet" / "split").mkdir(parents=True)
    (release / "mini-imagenet" / "class_names.txt").write_text((IDS / "class_names.txt").read_text())
    (release / "mini-imagenet-annotations.json").write_text(json.dumps({"data": items}))
    for name, of in {**splits, "clean_validation": tests}.items():
        (release / "mini-imagenet" / "split" / name).write_text(
            "\n".join(f"{i}.jpg {label}" for i, label in of)
        )
    images = folder / "all_images"
    images.mkdir()
    for image_id, _ in [*clean, *tests]:
        (images / f"{image_id}.jpg").touch()
    return (
        import_cnwl(str(release), [str(images)], str(folder / "lists"), "mini-imagenet"),
        folder / "lists",
        splits,
    )


@pytest.fixture(scope="module")
def tables(imported):
    """Class names, retrievals, verdicts and listed sets, as the stages of a build have them."""
    read = {name: parquet.read_table(imported[1] / f"{name}.parquet")
            for name in ("clean", "test", "web", "votes", "published_sets")}  # fmt: skip
    parts = []
    for source in ("clean", "test", "web"):
        table = read[source]
        column = table.column_names.index("source")
        parts.append(
            table.set_column(column, table.schema.field("source"), pa.array([source] * table.num_rows))
        )
    names = (IDS / "class_names.txt").read_text().split("\n")[:100]
    listed = read["published_sets"]
    rows = pa.table(
        [listed[name].cast(pa.string()) for name in LISTED_SET.schema.names]
        + [pa.array([f"l:{i}" for i in range(listed.num_rows)])],
        names=[*LISTED_SET.schema.names, "row"],
    )
    verdicts = majority(encode_votes(VOTE.conform(read["votes"], "votes")), min_votes=1)
    return names, pa.concat_tables(parts), verdicts, rows


def test_all_is_counted_and_the_quiet_blue_split_is_marked(imported):
    told = imported[0]
    assert told.counts["clean_images_found"] == 60_000
    assert told.counts["test_images_found"] == 5_000
    assert told.counts["web_pairs"] == WEB_ROWS
    assert told.counts["web_pairs_wrong"] == WRONG
    assert told.problems == {"missing_split": 15, "image_missing": WEB_ROWS}
    by_name = {split.split: split for split in told.splits}
    assert [name for name, split in by_name.items() if split.is_off] == ["blue_noise_nl_0.4"]
    assert by_name["blue_noise_nl_0.4"].flipped == 14_457
    assert by_name["red_noise_nl_0.8"].web_wrong == 40_000


def test_every_released_split_is_reproduced_exactly(imported, tables):
    names, retrievals, verdicts, rows = tables
    made = {s.name: s for s in listed_sets(rows, retrievals, verdicts, names)}
    assert len(made) == 5
    for name, of in imported[2].items():
        colour, _, _, level = name.split("_")
        split = made[f"published-{colour}-{float(level):.2f}"]
        ids, labels = (split.listed.examples[column].to_pylist() for column in ("image_id", "label"))
        assert set(zip(ids, labels, strict=True)) == set(of)
        assert split.measured["realised_noise"] == pytest.approx(
            QUIET_BLUE if name == "blue_noise_nl_0.4" else float(level)
        )


def test_one_s_own_splits_have_the_published_sizes(tables):
    names, retrievals, verdicts, _ = tables
    pools = make_pools(retrievals, verdicts, DUPLICATE.schema.empty_table(), names)
    config = NoiseConfig(
        colours=("red", "blue"), levels=(0.3, 0.8), clean_per_class=500, blue_size="all", on_shortage="shrink"
    )
    sizes = {
        s.name: s.listed.examples.num_rows for s in training_sets(pools.clean, pools.wrong, names, config, 0)
    }
    assert sizes == {"red-0.30": 50_000, "red-0.80": 50_000, "blue-0.30": 60_000, "blue-0.80": 60_000}
