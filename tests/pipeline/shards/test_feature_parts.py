"""Sets of the color blue-instance, from a table of features: the number of parts changes no byte."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.__main__ import main
from pipeline.keyed_hash import bucket, keyed_hash, shard_key
from pipeline.layout import Layout
from pipeline.running.stage import manifest_digest
from pipeline.shards import commit, directory, split_inputs
from pipeline.shards.parquet import write_shard
from pipeline.verify.dataset import verify
from schemas.feature import feature_schema
from schemas.image import IMAGES
from tests.pipeline.built_tables import digests, rows
from tests.pipeline.small_world import ONE_PROCESS, World

DIMENSION = 8
FLAGS = [
    "--set",
    "noise.colors=[red, blue, blue-instance]",
    "--set",
    "embed.network=any",
    "--set",
    "embed.weights=any",
]


def copied(built: Path, output: Path) -> Path:
    return Path(shutil.copytree(built, output, ignore=shutil.ignore_patterns("dataset", "split")))


def write_features(output: Path) -> None:
    """Write a table of features that are a function of the ids."""
    layout = Layout(str(output))
    ids = directory.read_table(layout.images, IMAGES, ["image_id"])["image_id"]
    keys = shard_key(ids)
    values = np.stack([keyed_hash(ids, 0, f"feature-{i}") >> np.uint64(54) for i in range(DIMENSION)], axis=1)
    buckets = directory.read_manifest(layout.images).about["buckets"]
    commit.prepare(layout.features)
    shards = []
    for index in range(buckets):
        own = np.flatnonzero(bucket(keys, buckets) == index)
        own = own[np.argsort(keys[own])]
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array((values[own] / 512).astype(np.float16).ravel()), DIMENSION
        )
        columns = [ids.take(pa.array(own)).combine_chunks(), pa.array([""] * len(own)), vectors]
        table = pa.table(columns, schema=feature_schema(DIMENSION))
        shards.append(
            write_shard(layout.features, directory.shard_stem("part", index, buckets), table.schema, [table])
        )
    about = {"buckets": buckets, "inputs": {"images": manifest_digest(layout.images)}}
    commit.commit(layout.features, "feature", [shard for shard in shards if shard], about)


def split(world: World, output: Path, *flags: str) -> int:
    return main(
        ["split", "--config", str(world.config), "--output", str(output), ONE_PROCESS, *FLAGS, *flags]
    )


@pytest.mark.parametrize("kind", ["part-dependent", "cluster"])
def test_instance_dependent_sets_are_valid_and_do_not_depend_on_parts(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    found = []
    for name, together in (("one", split_inputs.ROWS_TOGETHER), ("many", 40)):
        monkeypatch.setattr(split_inputs, "ROWS_TOGETHER", together)
        output = copied(built, tmp_path / name)
        write_features(output)
        assert split(world, output, "--set", f"noise.instance={kind}") == 0
        found.append(digests(output / "dataset"))
    assert found[0] == found[1]
    assert verify(str(output / "dataset")).problems == ()
    about = directory.read_manifest(str(output / "dataset" / "blue-instance-0.50")).about
    assert about["instance"] == kind
    own, blue = (rows(output / "dataset" / f"{color}-0.50") for color in ("blue-instance", "blue"))
    assert {i for i, row in own.items() if not row["is_clean"]} == {
        i for i, row in blue.items() if not row["is_clean"]
    }
    assert own != blue


def test_without_features_the_stage_to_run_is_named(
    world: World, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert split(world, copied(built, tmp_path / "out")) == 1
    assert "the embed stage has not finished here; run `python -m pipeline embed`" in capsys.readouterr().err


def test_blue_instance_without_weights_is_an_error_of_the_configuration(
    world: World, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--set", "noise.colors=[blue-instance]"]
    assert main(["split", "--config", str(world.config), "--output", str(built), *flags]) == 2
    assert (
        "blue-instance, which needs features of the images; set embed.weights and embed.network"
        in capsys.readouterr().err
    )


def test_tables_that_are_older_than_those_of_ingest_are_refused(
    world: World, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dataset would state that the leak search has covered its images, and have the verdicts of other ones."""
    output = copied(built, tmp_path / "out")
    write_features(output)
    layout = Layout(str(output))
    for folder, made_from, title, stage in (
        (layout.verdicts, "retrievals", "the list of images", "aggregate"),
        (layout.duplicates, "images", "the images", "dedupe"),
        (layout.features, "images", "the images", "embed"),
    ):
        manifest = directory.read_manifest(folder)
        inputs = {**manifest.about["inputs"], made_from: "another one"}
        commit.swap(folder, replace(manifest, about={**manifest.about, "inputs": inputs}))
        assert split(world, output) == 1
        message = f"{folder}: the table is older than {title}; run `python -m pipeline {stage}`"
        assert message in capsys.readouterr().err
        commit.swap(folder, manifest)
    assert not (output / "dataset").exists()
