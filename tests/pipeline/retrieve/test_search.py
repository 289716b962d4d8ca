"""The list of a search, and how an interrupted search continues."""

import os
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.locks import open_locked
from pipeline.ingest.rows import check_rows
from pipeline.records import read_records
from schemas.retrieval import RETRIEVAL
from tests.pipeline.retrieve.answers import (
    openverse,
    openverse_image,
)
from tests.pipeline.retrieve.conftest import Answer, Replay, Search


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_the_list_is_accepted_by_a_build(search: Search, replay: Replay, ending: str) -> None:
    odd = {"creator": 'Quote " comma,\nline é =1+1', "license": None, "license_version": None}
    replay.in_turn(openverse([openverse_image("a", **odd), openverse_image("b")]))
    search.output = search.folder / f"list.{ending}"
    assert search("openverse", 5, classes=("crane", "bee")) == 0
    (records,) = read_records(str(search.output), RETRIEVAL)
    good, bad = check_rows(records.rows, ["crane", "bee"], "web")
    assert (good.num_rows, bad.num_rows, records.malformed) == (4, 0, [])
    assert good["rank"].to_pylist() == [0, 1, 0, 1]
    assert set(good["method"].to_pylist()) == {"text"}
    ids = good["image_id"].to_pylist()
    bare = records.rows.set_column(0, "image_id", pa.nulls(4, pa.string()))
    assert (
        check_rows(bare, ["crane", "bee"], "web")[0]["image_id"].to_pylist() == ids
    )  # as the build would make them
    assert ids[:2] == ids[2:]  # the same image for two classes is one image
    if ending == "parquet":
        assert pq.read_table(search.output)["creator"][0].as_py() == 'Quote " comma, line é =1+1'


def test_unusable_candidates_are_skipped_and_ranks_are_kept(search: Search, replay: Replay) -> None:
    images = [
        openverse_image("drawing", filetype="svg"),
        openverse_image("ftp", url="ftp://photos.test/a.jpg"),
        openverse_image("file", url="file:///etc/passwd"),
        openverse_image("none", url=None),
        openverse_image("list", url=["https://photos.test/a.jpg"]),
        openverse_image("port", url="https://photos.test:99999999/a.jpg"),
        openverse_image("long", url="https://photos.test/" + "a" * 3000),
        openverse_image("good", filetype=None),
        openverse_image("good"),
    ]
    replay.in_turn(openverse(images))
    assert search("openverse", 9) == 0
    assert [(row["url"], row["rank"]) for row in search.rows()] == [("https://photos.test/good.jpg", "7")]
    assert (search.counts()["skipped"], search.counts()["repeated"]) == (7, 1)


def test_several_queries_share_a_class(search: Search, replay: Replay) -> None:
    def answer(asked: dict[str, str]) -> Answer:
        name = asked["q"].replace(" ", "-")
        many = 2 if name == "tower-crane" else 20
        return openverse(
            [openverse_image(f"{name}-{asked['page']}-{i}") for i in range(many)], int(asked["page"]), 1
        )

    replay.answer = answer
    words = search.folder / "words.yaml"
    words.write_text("crane: [crane bird, tower crane]\n")
    flags = ["--synonyms", str(words), "--query", "{class}", "--query", "photo of a {class}"]
    assert search("openverse", 60, *flags, classes=("crane", "bee")) == 0
    queries = list(dict.fromkeys(asked["q"] for asked in replay.asked))
    assert queries == [
        "crane bird", "tower crane", "photo of a crane bird", "photo of a tower crane", "bee", "photo of a bee"
    ]  # fmt: skip
    assert [(row["class_name"], row["query"]) for row in search.rows()][15:17] == [
        ("crane", "tower crane")
    ] * 2
    found = Counter(row["query"] for row in search.rows())
    assert found["crane bird"] == 15 + 3  # its share, and what the others do not find
    assert search.counts()["short"] == ["bee"]


def test_classes_and_contact_come_from_a_configuration_or_a_list(search: Search, replay: Replay) -> None:
    replay.in_turn(openverse([openverse_image("a")]))
    (search.folder / "names.txt").write_text("crane\n\n bee \n")
    assert search("openverse", 1, "--class-list", str(search.folder / "names.txt"), classes=()) == 0
    assert [row["class_name"] for row in search.rows()] == ["crane", "bee"]
    search.output = search.folder / "other.csv"
    (search.folder / "build.yaml").write_text(
        "{source: ., classes: [ant, cow], clean: [c.csv], test: [t.csv], web: [w.csv], votes: [v.csv]}"
    )
    assert search("openverse", 1, "--config", str(search.folder / "build.yaml"), classes=()) == 0
    assert [row["class_name"] for row in search.rows()] == ["ant", "cow"]


def test_an_interrupted_search_continues_without_repeated_requests(search: Search, replay: Replay) -> None:
    def page(asked: dict[str, str]) -> Answer:
        return openverse(
            [openverse_image(f"{asked['q']}-{asked['page']}-{i}") for i in range(20)], int(asked["page"]), 3
        )

    classes = ("crane", "bee")
    replay.answer = page
    assert search("openverse", 60, classes=classes) == 0
    whole, everything = search.output.read_bytes(), len(replay.asked)
    search.output.unlink()
    for stop in range(everything):
        replay.asked.clear()
        replay.answer = lambda asked, stop=stop: page(asked) if len(replay.asked) <= stop else (418, {}, {})
        assert search("openverse", 60, classes=classes) == 1
        journal = search.folder / "list.csv.searching"
        with journal.open("ab") as file:
            file.write(b'{"key": "half a li')  # killed while it wrote
        replay.answer = page
        before = len(replay.asked) - 1
        assert search("openverse", 60, classes=classes) == 0
        assert (search.output.read_bytes(), before + search.counts()["requests"]) == (whole, everything)
        assert not journal.exists()
        search.output.unlink()


def test_the_journal_of_another_search_is_an_error(search: Search, replay: Replay) -> None:
    replay.in_turn((400, {}, {}))
    assert search("openverse", 5) == 1
    assert search("openverse", 6) == 2
    assert "list.csv.searching belongs to another search" in search.told.err


def test_a_search_that_ended_within_the_first_line_of_its_journal_begins_again(
    search: Search, replay: Replay
) -> None:
    """A full disk or a kill leaves any part of that line; a file of something else is kept."""
    replay.in_turn((400, {}, {}))
    assert search("openverse", 1) == 1
    journal = search.folder / "list.csv.searching"
    head = journal.read_bytes().removesuffix(b"\n")
    for length in range(0, len(head) + 1, 7):
        journal.write_bytes(head[:length])
        replay.in_turn(openverse([openverse_image("a")]))
        assert search("openverse", 1) == 0
        assert not journal.exists()
        search.output.unlink()
    journal.write_bytes(b"my notes")
    assert search("openverse", 1) == 2
    assert journal.read_bytes() == b"my notes"


def test_a_second_search_for_the_same_list_is_refused(search: Search, replay: Replay) -> None:
    """Both would record their pages in one journal, and a search that continues would stop at the first repeated page."""
    replay.in_turn((400, {}, {}))
    assert search("openverse", 1) == 1
    journal = search.folder / "list.csv.searching"
    before = journal.read_bytes()
    file = open_locked(str(journal))
    assert file is not None
    assert search("openverse", 1) == 2
    assert "list.csv.searching: another `retrieve` is searching for this list" in search.told.err
    assert journal.read_bytes() == before
    os.close(file)
    replay.in_turn(openverse([openverse_image("a")]))
    assert search("openverse", 1) == 0


@pytest.mark.parametrize(
    "line",
    [b"x", b"[]", b'{"key": "a"}', b'{"key": "a", "candidates": [{"x": 1}], "next": null}', b"[" * 20_000],
)
def test_a_damaged_journal_is_named_with_the_line(search: Search, replay: Replay, line: bytes) -> None:
    replay.in_turn((400, {}, {}))
    assert search("openverse", 5) == 1
    journal = search.folder / "list.csv.searching"
    journal.write_bytes(journal.read_bytes() + line + b"\n")
    assert search("openverse", 5) == 1
    assert "list.csv.searching, line 2: damaged" in search.told.err
    assert "remove the file to search again from the start" in search.told.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--query", "photo"], "--query 'photo': write {class} in place of the class name"),
        (["--contact", ""], "--contact: providers require it"),
        (["--per-class", "0"], "--per-class 0: give a number of 1 or more"),
        (["--classes", "ant", "ant"], "--classes: give one or more classes"),
        (["--provider", "google"], "set GOOGLE_API_KEY and GOOGLE_CSE_ID in the environment"),
        (["--endpoint", "http://[::1"], "--endpoint http://[::1: give an http or https URL"),
        (["--endpoint", "ftp://x.test/"], "--endpoint ftp://x.test/: give an http or https URL"),
        (["--output", "gs://bucket/list.csv"], "give a local file that ends in .csv, .jsonl, .parquet"),
        (["--output", "list.txt"], "give a local file that ends in"),
        (["--surprise"], "retrieve: unknown argument --surprise"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(
    search: Search, replay: Replay, flags: list[str], message: str
) -> None:
    assert search("openverse", 5, *flags) == 2
    assert message in search.told.err
    assert not replay.asked


def test_an_existing_list_is_not_overwritten(search: Search, replay: Replay) -> None:
    search.output.write_text("mine")
    assert search("openverse", 5) == 2
    assert (search.output.read_text(), replay.asked) == ("mine", [])


def test_synonyms_of_an_unknown_class_are_an_error(search: Search) -> None:
    words = search.folder / "words.yaml"
    words.write_text("crow: [raven]")
    assert search("openverse", 5, "--synonyms", str(words)) == 2
    assert "unknown class 'crow'" in search.told.err
    words.write_text("crane: bird")
    assert search("openverse", 5, "--synonyms", str(words)) == 2
    assert "'crane' has 'bird'; give a list of words" in search.told.err
