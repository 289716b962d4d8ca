import csv
import email.utils
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from pipeline.ingest.rows import check_rows
from pipeline.records import read_records
from pipeline.retrieve import client
from schemas.retrieval import RETRIEVAL
from tests.pipeline.retrieve.answers import (
    google,
    google_error,
    google_item,
    openverse,
    openverse_image,
    wikimedia,
    wikimedia_error,
    wikimedia_page,
)
from tests.pipeline.retrieve.conftest import Answer, Replay

KEYS = {
    "GOOGLE_API_KEY": "AIza-very-secret",
    "GOOGLE_CSE_ID": "0123-engine",
    "OPENVERSE_TOKEN": "token-secret",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client.random, "uniform", lambda *_: 0.001)  # no test waits for a back-off


class Search:
    """The command, with an output in a folder of its own."""

    def __init__(self, replay: Replay, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.replay, self.folder, self.capsys = replay, folder, capsys
        self.output = folder / "list.csv"

    def __call__(
        self, provider: str, per_class: int, *more: str, classes: tuple[str, ...] = ("crane",)
    ) -> int:
        arguments = [
            "retrieve",
            "--provider",
            provider,
            "--per-class",
            str(per_class),
            "--output",
            str(self.output),
        ]
        arguments += [
            "--endpoint",
            self.replay.endpoint,
            "--pause",
            "0",
            "--contact",
            "me@lab.test",
            "--json",
        ]
        code = main([*arguments, *(["--classes", *classes] if classes else []), *more])
        self.told = self.capsys.readouterr()
        return code

    def rows(self) -> list[dict[str, str]]:
        with self.output.open(newline="") as file:
            return list(csv.DictReader(file))

    def counts(self) -> dict[str, Any]:
        return json.loads(self.told.out)


@pytest.fixture
def search(replay: Replay, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Search:
    return Search(replay, tmp_path, capsys)


# What the three return


def test_openverse_is_read_page_by_page(search: Search, replay: Replay) -> None:
    replay.answer = lambda asked: openverse(
        [openverse_image(f"{asked['page']}-{i}") for i in range(20)], int(asked["page"]), 3
    )
    assert search("openverse", 45) == 0
    rows = search.rows()
    assert [row["rank"] for row in rows] == [str(i) for i in range(45)]
    assert rows[0] == {
        "image_id": rows[0]["image_id"],
        "class_name": "crane",
        "url": "https://photos.test/1-0.jpg",
        "method": "text",
        "rank": "0",
        "provider": "openverse",
        "query": "crane",
        "license": "by 2.0",
        "license_url": "https://creativecommons.org/licenses/by/2.0/",
        "creator": "Ann Example",
        "landing_url": "https://photos.test/page/1-0",
    }
    assert [asked["page"] for asked in replay.asked] == ["1", "2", "3"]
    assert replay.asked[0] == {"q": "crane", "page_size": "20", "page": "1"}
    assert "me@lab.test" in replay.headers[0]["user-agent"]
    assert "authorization" not in replay.headers[0]
    assert search.counts() == {"rows": 45, "requests": 3, "skipped": 0, "repeated": 0, "short": []}


def test_openverse_gives_no_more_than_it_says(search: Search, replay: Replay) -> None:
    replay.answer = lambda asked: openverse([openverse_image(asked["page"])], int(asked["page"]), 2)
    assert search("openverse", 100) == 0
    assert (len(search.rows()), len(replay.asked), search.counts()["short"]) == (2, 2, ["crane"])


def test_wikimedia_is_read_in_the_order_of_its_index(search: Search, replay: Replay) -> None:
    further = {"gsroffset": 50, "continue": "gsroffset||"}
    replay.in_turn(
        wikimedia([wikimedia_page("second", 2), wikimedia_page("first", 1)], further),
        wikimedia([wikimedia_page("third", 51, thumburl=None)]),
    )
    assert search("wikimedia", 10) == 0
    rows = search.rows()
    assert [row["url"].rsplit("/")[-1] for row in rows] == [
        "1280px-first.jpg",
        "1280px-second.jpg",
        "third.jpg",
    ]
    assert (rows[0]["license"], rows[0]["creator"]) == ("CC BY-SA 4.0", "B. & C.")
    assert rows[0]["landing_url"] == "https://commons.test/wiki/File:first.jpg"
    assert replay.asked[0]["gsrsearch"] == "filetype:bitmap crane"
    assert replay.asked[0]["gsrnamespace"] == "6"
    assert {key: replay.asked[1][key] for key in further} == {
        key: str(value) for key, value in further.items()
    }


def test_wikimedia_may_give_a_page_in_two_answers(search: Search, replay: Replay) -> None:
    bare = {key: value for key, value in wikimedia_page("second", 2).items() if key != "imageinfo"}
    replay.in_turn(
        wikimedia([wikimedia_page("first", 1), bare], {"iistart": "2", "continue": "||"}),
        wikimedia([{**wikimedia_page("first", 1), "imageinfo": []}, wikimedia_page("second", 2)]),
    )
    assert search("wikimedia", 10) == 0
    assert [row["rank"] for row in search.rows()] == ["0", "1"]
    assert search.counts()["repeated"] == 0


def test_google_is_read_up_to_its_hundred(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    def answer(asked: dict[str, str]) -> Answer:
        start = int(asked["start"])
        return google([google_item(str(i)) for i in range(start, start + 10)], start + 10)

    replay.answer = answer
    assert search("google", 500) == 0
    assert [asked["start"] for asked in replay.asked] == [str(start) for start in range(1, 100, 10)]
    assert (len(search.rows()), search.rows()[99]["rank"]) == (100, "99")
    assert search.rows()[0]["landing_url"] == "https://pages.test/1.html"
    asked = replay.asked[0]
    assert (asked["cx"], asked["searchType"], asked["num"], asked["q"]) == (
        "0123-engine",
        "image",
        "10",
        "crane",
    )
    assert replay.headers[0]["x-goog-api-key"] == KEYS["GOOGLE_API_KEY"]


@pytest.mark.parametrize(
    ("provider", "answer"),
    [("openverse", openverse([])), ("wikimedia", (200, {}, {"batchcomplete": True})), ("google", google([]))],
)
def test_nothing_found_is_a_short_class(
    search: Search, replay: Replay, provider: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    replay.in_turn(answer)
    assert search(provider, 5, classes=("crane", "bee")) == 0
    assert (search.rows(), search.counts()["short"]) == ([], ["crane", "bee"])


# The list


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_the_list_is_one_that_the_build_takes(search: Search, replay: Replay, ending: str) -> None:
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
    assert ids[:2] == ids[2:]  # the same picture for two classes is one picture
    if ending == "parquet":
        assert pq.read_table(search.output)["creator"][0].as_py() == 'Quote " comma, line é =1+1'


def test_what_cannot_be_fetched_or_read_is_left_out_but_keeps_its_rank(
    search: Search, replay: Replay
) -> None:
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
    assert [(row["class_name"], row["query"]) for row in search.rows()][20:22] == [
        ("crane", "tower crane")
    ] * 2
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


# Trouble

BUSY: Answer = (429, {"Retry-After": "0"}, {"detail": "Request was throttled."})


@pytest.mark.parametrize(
    "trouble",
    [
        [BUSY],
        [(503, {}, b"<html>busy</html>")],
        [(0, {}, b"")],
        [(429, {"Retry-After": email.utils.formatdate(usegmt=True)}, {})],
        [(429, {"Retry-After": "soon"}, {}), (500, {}, {}), (502, {}, {}), BUSY],
    ],
    ids=["429", "503", "hangs up", "a date", "four times"],
)
def test_passing_trouble_is_waited_out(search: Search, replay: Replay, trouble: list[Answer]) -> None:
    replay.in_turn(*trouble, openverse([openverse_image("a")]))
    assert search("openverse", 1) == 0
    assert (len(search.rows()), len(replay.asked)) == (1, len(trouble) + 1)


@pytest.mark.parametrize("code", ["maxlag", "ratelimited"])
def test_wikimedias_passing_errors_are_waited_out_too(search: Search, replay: Replay, code: str) -> None:
    replay.in_turn(wikimedia_error(code), wikimedia([wikimedia_page("a", 1)]))
    assert search("wikimedia", 1) == 0


def test_retry_after_is_obeyed(search: Search, replay: Replay) -> None:
    replay.in_turn((429, {"Retry-After": "1"}, {}), openverse([openverse_image("a")]))
    start = time.monotonic()
    assert search("openverse", 1) == 0
    assert time.monotonic() - start >= 1


def test_attempts_have_an_end(search: Search, replay: Replay) -> None:
    replay.in_turn(BUSY)
    assert search("openverse", 1) == 1
    assert len(replay.asked) == client.ATTEMPTS
    assert "HTTP 429: Request was throttled., after 5 attempts; run the same command later" in search.told.err


def test_whoever_is_to_wait_for_hours_is_told_so_at_once(search: Search, replay: Replay) -> None:
    replay.in_turn((429, {"Retry-After": "86400"}, {"detail": "Daily limit."}))
    assert search("openverse", 1) == 1
    assert len(replay.asked) == 1
    assert "asks to wait 86400 s" in search.told.err


@pytest.mark.parametrize(
    ("provider", "answer", "message"),
    [
        ("openverse", (400, {}, {"error": "InputError", "detail": "Invalid input given for fields."}), "HTTP 400: Invalid"),
        ("openverse", (401, {}, {"detail": "Authentication credentials were not provided."}), "HTTP 401: Authentication"),
        ("openverse", (302, {"Location": "http://169.254.169.254/"}, {}), "HTTP 302"),
        ("openverse", (200, {}, b"<html>login</html>"), "not in its documented form"),
        ("openverse", (200, {}, b"[" * 100_000), "not in its documented form"),
        ("openverse", (200, {}, {"results": "many"}), "'results' is no list of objects"),
        ("openverse", (200, {}, {"results": [1, None]}), "'results' is no list of objects"),
        ("openverse", (200, {}, b"null"), "not in its documented form"),
        ("openverse", (200, {}, b" " * 10_000_001), "larger or slower"),
        ("wikimedia", (200, {}, {"query": {"pages": {"-1": {}}}}), "'pages' is no list of objects"),
        ("wikimedia", (200, {}, {"query": [1]}), "not in its documented form"),
        ("wikimedia", wikimedia_error("invalidparammix"), "invalidparammix"),
        ("google", (200, {}, {"items": {"link": "x"}}), "'items' is no list of objects"),
        ("google", (200, {}, {"items": [{}], "queries": 7}), "not in its documented form"),
        ("google", google_error(403, "Requests to this API are blocked.", "PERMISSION_DENIED"), "HTTP 403: Requests to"),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_told_in_one_line(
    search: Search,
    replay: Replay,
    provider: str,
    answer: Answer,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    replay.in_turn(answer)
    assert search(provider, 5) == 1
    assert message in search.told.err
    assert "Traceback" not in search.told.err
    assert len(replay.asked) == 1
    assert not search.output.exists()


def test_fields_of_other_kinds_are_empty(search: Search, replay: Replay) -> None:
    odd: dict[str, Any] = {
        "license": 7,
        "creator": {"name": "x"},
        "foreign_landing_url": None,
        "license_url": [1],
    }
    replay.in_turn(openverse([openverse_image("a", **odd, filetype=3, license_version=True)]))
    assert search("openverse", 1) == 0
    row = search.rows()[0]
    assert [row[name] for name in ("license", "creator", "landing_url", "license_url")] == [""] * 4


def test_a_provider_that_promises_pages_for_ever_comes_to_an_end(search: Search, replay: Replay) -> None:
    replay.answer = lambda asked: openverse([], int(asked["page"]), 10**9)
    assert search("openverse", 5) == 0
    assert len(replay.asked) == 1


def test_no_key_is_said_written_or_put_into_a_url(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    echo = f"key {KEYS['GOOGLE_API_KEY']} of {KEYS['GOOGLE_CSE_ID']} is over its quota"
    replay.in_turn(google([google_item("a")], 11), google_error(403, echo, "RESOURCE_EXHAUSTED"))
    assert search("google", 5) == 1
    kept = "".join(path.read_text() for path in search.folder.iterdir())
    for text in (kept, search.told.err, search.told.out):
        assert not [value for value in KEYS.values() if value in text]
    assert KEYS["GOOGLE_API_KEY"] not in caplog.text + str(replay.asked)
    assert "key … of … is over its quota" in search.told.err
    search.output = search.folder / "other.csv"
    search("openverse", 5)
    assert replay.headers[-1]["authorization"] == "Bearer token-secret"


# A search that was stopped


def test_a_stopped_search_goes_on_and_asks_nothing_twice(search: Search, replay: Replay) -> None:
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


def test_what_another_search_left_is_not_mixed_in(search: Search, replay: Replay) -> None:
    replay.in_turn((400, {}, {}))
    assert search("openverse", 5) == 1
    assert search("openverse", 6) == 2
    assert (
        "list.csv.searching belongs to another search; finish that one, or remove the file" in search.told.err
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--query", "photo"], "--query 'photo': write {class} where the name of the class is to stand"),
        (["--contact", ""], "--contact: providers ask who searches"),
        (["--per-class", "0"], "--per-class is 1 or more, got 0"),
        (["--classes", "ant", "ant"], "classes are one or more, each named once"),
        (["--provider", "google"], "set GOOGLE_API_KEY and GOOGLE_CSE_ID in the environment"),
        (["--output", "gs://bucket/list.csv"], "give a local file that ends in .csv, .jsonl, .parquet"),
        (["--output", "list.txt"], "give a local file that ends in"),
        (["--surprise"], "retrieve does not know --surprise"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(
    search: Search, replay: Replay, flags: list[str], message: str
) -> None:
    assert search("openverse", 5, *flags) == 2
    assert message in search.told.err
    assert not replay.asked


def test_a_list_that_is_there_is_not_written_over(search: Search, replay: Replay) -> None:
    search.output.write_text("mine")
    assert search("openverse", 5) == 2
    assert (search.output.read_text(), replay.asked) == ("mine", [])


def test_synonyms_of_an_unknown_class_are_told(search: Search) -> None:
    words = search.folder / "words.yaml"
    words.write_text("crow: [raven]")
    assert search("openverse", 5, "--synonyms", str(words)) == 2
    assert "synonyms are given for 'crow', which is not among the classes" in search.told.err
    words.write_text("crane: bird")
    assert search("openverse", 5, "--synonyms", str(words)) == 2
    assert "'crane' needs a list of words" in search.told.err
