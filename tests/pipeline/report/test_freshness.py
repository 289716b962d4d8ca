"""What is said of tables that are older than those they were made from, and of manifests with invalid values."""

import json
import math
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.report.freshness import derived_tables, finished_stages, outdated
from pipeline.report.html import page
from pipeline.running.stage import manifest_digest
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.manifest import MANIFEST
from tests.pipeline.small_world import ONE_PROCESS, World

OLDER = "the sets are older than the verdicts and the error model; run split"


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def change(path: Path, **about: object) -> None:
    manifest = json.loads(path.read_text())
    manifest["about"] |= about
    path.write_text(json.dumps(manifest))


def test_a_fresh_build_and_a_dataset_alone_give_no_notes(built: Path, tmp_path: Path) -> None:
    assert outdated(str(built)) == []
    assert finished_stages(str(built)) == {"aggregate", "dedupe", "split"}
    shutil.copytree(built / "dataset", tmp_path / "dataset")
    assert outdated(str(tmp_path)) == []


def test_lists_of_an_earlier_version_are_of_the_same_build(copy: Path) -> None:
    path = copy / "split" / "examples" / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["about"]["made_from"]
    path.write_text(json.dumps(manifest))
    assert outdated(str(copy)) == []
    assert "split" in finished_stages(str(copy))


@pytest.mark.parametrize(
    ("table", "stage"), [("split/examples", "split"), ("aggregate/workers", "aggregate")]
)
def test_tables_of_different_builds_are_named_and_their_stage_is_not_finished(
    copy: Path, table: str, stage: str
) -> None:
    """As a commit leaves them that was killed between two of its tables."""
    change(copy / table / MANIFEST, made_from="another build")
    sentence = f"the tables of {stage} are of different builds; run {stage}"
    assert sentence in outdated(str(copy))
    assert stage not in finished_stages(str(copy))
    assert sentence in page(str(copy))


def test_sets_that_are_older_than_the_verdicts_are_named_until_split_has_run(
    world: World, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        "--config",
        str(world.config),
        "--output",
        str(copy),
        ONE_PROCESS,
        "--set=aggregate.min_votes=1",
    ]
    assert main(["aggregate", *common]) == 0
    assert outdated(str(copy)) == [OLDER]
    assert OLDER in page(str(copy))
    capsys.readouterr()
    assert main(["verify", str(copy / "dataset")]) == 0
    assert f"note: {OLDER}" in "".join(capsys.readouterr())
    for command in (["verify", str(copy / "dataset")], ["report", str(copy)]):
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["notes"] == [OLDER]
    assert main(["split", *common]) == 0
    assert outdated(str(copy)) == []


BAD = [None, "x", [], {}, {"a": 1}, math.nan, 10**400]


@pytest.mark.parametrize(
    ("folder", "keys"),
    [
        ("ingest/retrievals", ("config", "inputs")),
        ("aggregate/verdicts", ("inputs",)),
        ("dataset", ("config", "sets", "leaks")),
        ("dataset/red-0.20", ("classes", "class_names", "noise_level", "color")),
    ],
)
def test_manifests_with_invalid_values_end_in_an_error_and_no_traceback(
    copy: Path, folder: str, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.report.html.sheets", lambda *_: {}
    )  # images are slow, and not of interest here
    monkeypatch.setattr("pipeline.report.html.listed_thumbnails", lambda _: {})
    path = copy / folder / MANIFEST
    before = path.read_text()
    for key in keys:
        for value in BAD:
            path.write_text(before)
            change(path, **{key: value})
            with suppress(DataError):  # where the report needs the value
                page(str(copy))


@pytest.mark.parametrize("table", ["ingest/retrievals", "aggregate/verdicts", "dedupe/duplicates"])
@pytest.mark.parametrize("spoiled", ["text", "type"])
def test_shards_with_invalid_columns_end_in_an_error_and_no_traceback(
    copy: Path, table: str, spoiled: str
) -> None:
    folder = copy / table
    rows = pa.concat_tables(parquet.read_table(file) for file in sorted(folder.glob("*.parquet")))
    values = pa.array([b"\xff"] * rows.num_rows, pa.binary())
    rows = rows.set_column(
        rows.schema.get_field_index("image_id"),
        "image_id",
        values.view(pa.string()) if spoiled == "text" else values,
    )
    manifest = directory.read_manifest(str(folder))
    staged = write_shard(str(folder), directory.shard_stem("part", 0, 1), rows.schema, [rows])
    assert staged is not None
    commit.commit(str(folder), manifest.table, [staged], manifest.about)
    for _, place, inputs in derived_tables(str(copy)).values():  # as if the stages had read what is spoiled
        if (Path(place) / MANIFEST).exists():  # features and suspects are optional
            digests = {each: manifest_digest(path) for each, path in inputs.items()}
            change(Path(place) / MANIFEST, inputs=digests)
    with pytest.raises(DataError, match="part-00000-of-00001"):
        page(str(copy))
