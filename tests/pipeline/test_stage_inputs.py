"""What a stage reads decides whether it is up to date."""

import shutil
from pathlib import Path

import pytest

from pipeline import plan
from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.layout import Layout
from pipeline.shards import commit, directory
from tests.pipeline.built_tables import digests
from tests.pipeline.small_world import ONE_PROCESS, World, build


@pytest.mark.parametrize("stage", ["ingest", "aggregate", "dedupe", "split"])
def test_every_table_that_a_stage_reads_is_one_of_its_inputs(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
):
    output = str(shutil.copytree(built, tmp_path / "out"))
    config, flags = load_config(str(world.config), []), [ONE_PROCESS]
    read, read_shard, find_manifest = set[str](), directory.read_shard, directory.find_manifest

    def recorded_shard(folder: str, *arguments, **keywords):
        read.add(folder)
        return read_shard(folder, *arguments, **keywords)

    def recorded_manifest(folder: str):
        read.add(folder)
        return find_manifest(folder)

    monkeypatch.setattr(directory, "read_shard", recorded_shard)
    monkeypatch.setattr(directory, "find_manifest", recorded_manifest)
    plan.JOBS[stage].run(config, output, flags, force=True)
    own = Layout(output).outputs(stage)
    others = {folder for folder in read if not folder.startswith(own)}
    assert others <= set(plan.inputs(stage, config, output))
    assert {Path(folder).name for folder in others} <= set(
        plan.JOBS[stage].stage_of(config, output).inputs
    ) | {"rejections"}  # of which only the content counts


@pytest.mark.parametrize("table", ["verdicts", "error_model", "gold_votes"])
def test_a_split_between_two_runs_of_an_interrupted_aggregate_stage_is_not_kept(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
):
    """The commit is killed before the manifest of `table`, so that the tables before it are new and the others old."""
    output, whole, swap = tmp_path / "out", tmp_path / "whole", commit.swap
    shutil.copytree(built, output)
    head, *votes = (world.folder / "votes.csv").read_text().split("\n")
    changed = [vote.replace(",no,", ",yes,") if row % 7 == 0 else vote for row, vote in enumerate(votes)]
    (tmp_path / "votes.csv").write_text("\n".join([head, *changed]))
    change = ["--set", f"votes=[{tmp_path / 'votes.csv'}]"]
    flags = ["--config", str(world.config), "--output", str(output), ONE_PROCESS, *change]

    def killed(folder: str, manifest: object) -> None:
        if folder == str(output / "aggregate" / "error_model"):
            raise KeyboardInterrupt
        swap(folder, manifest)

    monkeypatch.setattr(commit, "swap", killed)
    assert main(["aggregate", *flags]) == 130
    monkeypatch.setattr(commit, "swap", swap)
    assert main(["split", *flags]) == 0
    assert build(world, output, *change) == build(world, whole, *change) == 0
    assert digests(output / "dataset") == digests(whole / "dataset")
