"""retrieve-similar writes a list that a build reads, with the method `image`."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.__main__ import main
from pipeline.embed.bucket import feature_rows
from pipeline.keyed_hash import shard_key
from pipeline.layout import Layout
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.feature import FEATURE
from schemas.image import IMAGES
from schemas.retrieval import RETRIEVAL
from tests.pipeline.small_world import CLASSES, ONE_PROCESS, World


def vector(image_id: str) -> np.ndarray:
    """Features by the name: web-ant-7 looks like bees, the more the higher its number."""
    source, name, number = image_id.split("-")
    values = np.eye(4)[CLASSES.index(name)] * 10
    if (source, name) == ("web", "ant"):
        values += np.eye(4)[CLASSES.index("bee")] * int(number)
    return values


@pytest.fixture
def embedded(built: Path, tmp_path: Path) -> Path:
    """A build with planted features."""
    output = Path(shutil.copytree(built, tmp_path / "out"))
    layout = Layout(str(output))
    ids = directory.read_table(layout.images, IMAGES, ["image_id"])["image_id"].to_pylist()
    rows = feature_rows(ids, [""] * len(ids), np.stack([vector(each) for each in ids]).astype(np.float16))
    commit.prepare(layout.features)
    staged = write_shard(layout.features, directory.shard_stem("part", 0, 1), rows.schema, [rows])
    assert staged
    digest = directory.find_manifest(layout.duplicates).about["inputs"]["images"]  # type: ignore[union-attr]
    commit.commit(layout.features, FEATURE.name, [staged], {"inputs": {"images": digest}})
    return output


def similar(output: Path, file: Path, *more: str) -> int:
    return main(["retrieve-similar", str(output), "--per-class", "10", "--output", str(file), *more])


def test_the_nearest_web_images_are_listed_and_ingested_as_found_by_image(
    embedded: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(world.folder, tmp_path / "set"))
    assert similar(embedded, folder / "similar.csv") == 0
    assert "30 rows in" in capsys.readouterr().out
    with (folder / "similar.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    bees = [row for row in rows if row["class_name"] == "bee"]
    assert [row["image_id"] for row in bees] == [f"web-ant-{number}" for number in range(44, 34, -1)]
    assert [row["rank"] for row in bees] == [str(rank) for rank in range(10)]
    assert {row["method"] for row in rows} == {"image"}
    first = min((f"clean-bee-{i}" for i in range(20)), key=lambda name: shard_key([name])[0])
    assert {row["query_image_id"] for row in bees} == {first}
    assert (bees[0]["similarity"], bees[0]["path"], bees[0]["creator"]) == (
        "0.975", "images/web-ant-44.png", "artist 44",
    )  # fmt: skip
    config = yaml.safe_load(world.config.read_text()) | {
        "source": str(folder),
        "web": ["web.csv", "similar.csv"],
    }
    (folder / "more.yaml").write_text(yaml.safe_dump(config))
    assert (
        main(
            ["ingest", "--config", str(folder / "more.yaml"), "--output", str(tmp_path / "more"), ONE_PROCESS]
        )
        == 0
    )
    found = directory.read_table(Layout(str(tmp_path / "more")).retrievals, RETRIEVAL).to_pandas()
    added = found[found["location"].str.startswith("similar.csv")]
    assert (len(added), set(added["method"])) == (30, {"image"})


def test_old_or_absent_features_are_refused(
    embedded: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert similar(built, tmp_path / "a.csv") == 1
    assert "the embed stage has not finished here" in capsys.readouterr().err
    manifest = directory.read_manifest(str(embedded / "embed" / "features"))
    commit.swap(str(embedded / "embed" / "features"), type(manifest)(**{**vars(manifest), "about": {}}))
    assert similar(embedded, tmp_path / "a.csv") == 1
    assert "the table is older than the images; run `python -m pipeline embed`" in capsys.readouterr().err
    assert not (tmp_path / "a.csv").exists()
    assert similar(embedded, tmp_path / "a.txt") == 2


def test_a_folder_without_a_build_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert similar(tmp_path / "absent", tmp_path / "a.csv") == 1
    assert "absent: no such folder; give the folder that `build --output` wrote" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert similar(tmp_path / "empty", tmp_path / "a.csv") == 1
    assert "the ingest stage has not finished here" in capsys.readouterr().err
