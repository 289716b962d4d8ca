"""Shared datasets, and repeated builds: which sets are written again, and the report on changes."""

import json
import shutil

import mlcroissant
import pytest
from pyarrow import parquet

from pipeline.__main__ import main
from pipeline.layout import Layout
from tests.pipeline.built_tables import digests, rows
from tests.pipeline.dataset_forgery import rewrite
from tests.pipeline.small_world import ONE_PROCESS, build

QUICK = ("--set", "noise.levels=[0, 0.2]", "--set", "noise.colors=[red, blue]")


def changes_of(output):
    return json.loads(open(Layout(str(output)).changes).read())


@pytest.fixture(scope="module")
def shared(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("shared") / "out"
    assert build(world, output, *QUICK, "--set", "shards.mode=shared") == 0
    return output


def test_a_shared_dataset_has_each_image_once_and_is_verified(shared, built):
    stored = [
        i
        for p in (shared / "dataset" / "images").glob("*.parquet")
        for i in parquet.read_table(p)["image_id"].to_pylist()
    ]
    assert len(set(stored)) == len(stored)
    for name in ("test", "red-0.20", "blue-0.20"):
        lists = [parquet.read_table(p) for p in (shared / "dataset" / name).glob("*.parquet")]
        assert all("image" not in table.column_names for table in lists)
        ids = {i for table in lists for i in table["image_id"].to_pylist()}
        assert ids <= set(stored)
        assert ids == rows(built / "dataset" / name).keys()
    assert main(["verify", str(shared / "dataset")]) == 0


def test_croissant_of_a_shared_dataset_describes_its_images(shared):
    folder = shared / "dataset"
    opened = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not opened.metadata.ctx.issues.errors
    records = list(opened.records("images"))
    stored = {
        i
        for p in (folder / "images").glob("*.parquet")
        for i in parquet.read_table(p)["image_id"].to_pylist()
    }
    assert {record["images/image_id"].decode() for record in records} == stored
    assert records[0]["images/image"].size == (32, 32)
    assert len(list(opened.records("red-0.20"))) == 60
    described = json.loads((folder / "croissant.json").read_text())["distribution"]
    listed = {item["@id"]: item["sha256"] for item in described if item["@type"] == "cr:FileObject"}
    for name in ("images", "test", "red-0.20"):
        for shard in json.loads((folder / name / "_manifest.json").read_text())["shards"]:
            assert listed[f"{name}/{shard['file']}"] == shard["sha256"]


def test_an_image_missing_from_a_shared_dataset_is_reported(shared, tmp_path, capsys):
    dataset = tmp_path / "dataset"
    shutil.copytree(shared / "dataset", dataset)
    rewrite(dataset, "images", lambda table: table.slice(1))
    assert main(["verify", str(dataset)]) == 1
    assert "whose image is missing" in capsys.readouterr().err


def test_a_fixed_set_without_an_image_id_is_named(world, built, tmp_path, capsys):
    shutil.copytree(built, tmp_path / "out")
    (tmp_path / "sets.csv").write_text("set_name,image_id,class_name\nmine,,ant\n")
    where = ("--config", str(world.config), "--output", str(tmp_path / "out"), ONE_PROCESS)
    assert main(["split", *where, "--set", f"noise.fixed_sets=[{tmp_path / 'sets.csv'}]"]) == 1
    error = capsys.readouterr().err
    assert "sets.csv:2: image_id is missing, as in all other rows; fill it in" in error


def test_more_votes_rewrite_only_what_they_touch_as_if_built_at_once(world, tmp_path):
    source, output = tmp_path / "source", tmp_path / "out"
    shutil.copytree(world.folder, source)
    arguments = ("--set", f"source={source}", *QUICK)
    assert build(world, output, *arguments) == 0
    first = digests(output / "dataset")
    # Overturn the verdict of a wrong image of red-0.20.
    used = next(
        row["image_id"] for row in rows(output / "dataset" / "red-0.20").values() if row["source"] == "web"
    )
    name = used.split("-")[1]
    with (source / "votes.csv").open("a") as votes:
        votes.writelines(f"{used},{name},late{k},yes,1\n" for k in range(9))
    assert build(world, output, *arguments) == 0

    report = changes_of(output)
    assert report["written"] == ["red-0.20"]
    assert report["changed"] == {"red-0.20": {"added": 1, "removed": 1, "relabeled": 0}}
    second = digests(output / "dataset")
    same = {path for path in first if path in second and first[path] == second[path]}
    assert all(path.startswith("red-0.20/") or "/" not in path for path in set(first) - same)

    assert build(world, tmp_path / "fresh", *arguments) == 0
    assert digests(tmp_path / "fresh" / "dataset") == second


def test_a_new_level_leaves_the_others_alone(world, tmp_path):
    output = tmp_path / "out"
    assert build(world, output, *QUICK) == 0
    (output / "dataset" / "_manifest.json").unlink()  # as if killed before old sets were removed
    shutil.copytree(output / "dataset" / "red-0.00", output / "dataset" / "mine")
    assert build(world, output, *QUICK, "--set", "noise.levels=[0.2, 0.4]") == 0
    assert (output / "dataset" / "mine").exists()
    report = changes_of(output)
    assert report["written"] == ["blue-0.40", "red-0.40"]
    assert report["changed"].keys() == {"blue-0.00", "red-0.00", "blue-0.40", "red-0.40"}
    assert not (output / "dataset" / "red-0.00").exists()
    assert main(["verify", str(output / "dataset")]) == 1  # "mine" is not part of the dataset
    shutil.rmtree(output / "dataset" / "mine")
    assert main(["verify", str(output / "dataset")]) == 0


def test_other_classes_than_those_of_ingest_are_an_error(world, built, tmp_path, capsys):
    shutil.copytree(built, tmp_path / "out", ignore=shutil.ignore_patterns("dataset", "split"))
    command = ["split", "--config", str(world.config), "--output", str(tmp_path / "out"), ONE_PROCESS]
    assert main([*command, "--set", "classes=[ant, bee, dog]"]) == 1
    assert "class 'cow' of the ingested images is not in 'classes'" in capsys.readouterr().err


def test_force_replaces_damaged_manifests(world, shared, tmp_path):
    shutil.copytree(shared, tmp_path / "out")
    for folder in ("dataset", "dataset/red-0.20", "split/examples"):
        (tmp_path / "out" / folder / "_manifest.json").write_text("damaged")
    command = ["split", "--config", str(world.config), "--output", str(tmp_path / "out"), ONE_PROCESS, *QUICK]
    assert main([*command, "--set", "shards.mode=shared", "--force"]) == 0
    assert digests(tmp_path / "out" / "dataset") == digests(shared / "dataset")
