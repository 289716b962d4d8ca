"""Answers of the three providers become rows."""

import pytest

from tests.pipeline.retrieve.answers import (
    google,
    google_item,
    openverse,
    openverse_image,
    wikimedia,
    wikimedia_page,
)
from tests.pipeline.retrieve.conftest import KEYS, Answer, Replay, Search


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


def test_google_is_read_up_to_100_results(
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
def test_a_class_without_results_is_reported(
    search: Search, replay: Replay, provider: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    replay.in_turn(answer)
    assert search(provider, 5, classes=("crane", "bee")) == 0
    assert (search.rows(), search.counts()["short"]) == ([], ["crane", "bee"])
