import csv
from collections import Counter
from pathlib import Path

import pytest

from demo.planted_problems import COPIES, FAULTS
from demo.shapes import CLASSES
from demo.world import Size, make, write_lists
from pipeline.ingest.rows import check_rows
from pipeline.records import read_records
from schemas.retrieval import RETRIEVAL
from schemas.vote import VOTE

SIZE = Size(clean=3, test=2, right=3, wrong=7, workers=8, planted=2)


def written(folder):
    world = make(SIZE, folder, seed=0)
    write_lists(world, "http://127.0.0.1:1", SIZE.workers)
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return written(tmp_path_factory.mktemp("world"))


def rows_of(world, name):
    with (world.folder / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_files_and_pages(world, tmp_path):
    again = written(tmp_path)
    names = sorted(p.relative_to(world.folder) for p in world.folder.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for name in names:
        assert (world.folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert again.pages == world.pages


@pytest.mark.parametrize("name", ["clean.csv", "test.csv", "retrieval.csv"])
def test_lists_are_what_the_pipeline_reads(world, name):
    (records,) = read_records(str(world.folder / name), RETRIEVAL)
    good, bad = check_rows(records.rows, list(CLASSES), "web")
    assert not records.malformed
    planted = SIZE.planted if name == "retrieval.csv" else 0
    assert bad["code"].to_pylist() == ["unknown_class"] * planted
    assert good.num_rows > 0


def test_paths_lead_to_pictures_and_addresses_to_pages(world):
    for name, count in (("clean.csv", SIZE.clean), ("test.csv", SIZE.test)):
        rows = rows_of(world, name)
        assert Counter(row["class_name"] for row in rows) == dict.fromkeys(CLASSES, count)
        assert all((world.folder / row["path"]).is_file() for row in rows)
    addresses = {row["url"].removeprefix("http://127.0.0.1:1/") for row in rows_of(world, "retrieval.csv")}
    assert addresses == set(world.pages)


def test_every_problem_is_planted(world):
    planted = Counter(candidate.planted for candidate in world.candidates if candidate.planted)
    assert planted == dict.fromkeys((*FAULTS, *COPIES), SIZE.planted)
    ids = {candidate.image_id for candidate in world.candidates} | {
        Path(row["path"]).stem for name in ("clean.csv", "test.csv") for row in rows_of(world, name)
    }
    assert all(candidate.original in ids for candidate in world.candidates if candidate.planted in COPIES)


def test_wrong_hits_are_wrong_and_image_search_brings_near_things(world):
    candidates = [candidate for candidate in world.candidates if not candidate.planted]
    wrong = [candidate for candidate in candidates if candidate.shows != candidate.class_name]
    assert len(wrong) == SIZE.wrong * len(CLASSES)
    assert {candidate.shows in CLASSES for candidate in wrong} == {True, False}
    assert all(candidate.near for candidate in wrong if candidate.method == "image")


def test_votes_are_about_pictures_that_can_be_seen(world):
    (records,) = read_records(str(world.folder / "votes.csv"), VOTE)
    judged = set(records.rows["image_id"].to_pylist())
    assert judged == {candidate.image_id for candidate in world.candidates if candidate.planted not in FAULTS}
