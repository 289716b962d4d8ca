"""Answers of the providers become rows."""

import pytest

from pipeline.__main__ import main
from tests.pipeline.retrieve.answers import (
    brave,
    brave_result,
    flickr,
    flickr_photo,
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
        "title": "1-0",
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


def test_wikimedia_gets_the_newest_continue_only(search: Search, replay: Replay) -> None:
    """MediaWiki gives images whose names sort before `iicontinue` no URL, in whatever batch."""
    batches = [["mallard", "nuthatch"], ["avocet", "owl"]]

    def answer(asked: dict[str, str]) -> Answer:
        offset, start = int(asked.get("gsroffset", "0")), asked.get("iicontinue", "")
        further: dict[str, str] = {"gsroffset": "1", "continue": "gsroffset||"} if not offset else {}
        given = [name for name in batches[offset] if name >= start]
        if len(given) > 1:  # one image for each answer
            further = {"iicontinue": given.pop(), "continue": "||"}
            further |= {"gsroffset": str(offset), "continue": "gsroffset||"} if offset else {}
        return wikimedia([wikimedia_page(name, 1) for name in given], further)

    replay.answer = answer
    assert search("wikimedia", 10) == 0
    assert [row["title"] for row in search.rows()] == [
        "mallard.jpg",
        "nuthatch.jpg",
        "avocet.jpg",
        "owl.jpg",
    ]
    assert [asked.get("iicontinue") for asked in replay.asked] == [None, "nuthatch", None, "owl"]


@pytest.mark.parametrize(
    ("artist", "creator"),
    [
        (f'<a href="https://example.org/{"x" * 3000}">Jane Doe</a>', "Jane Doe"),
        (f"<div>Jane <b>{'Doe ' * 300}</b></div>", ("Jane " + "Doe " * 300)[:500]),
        ("Jane&nbsp;Doe&#x202e;&#10;&lt;b&gt;", "Jane Doe <b>"),
        ("&#" + "9" * 5000 + ";", "\ufffd"),
        ("<" * 200_000, "<" * 500),
    ],
)
def test_markup_is_removed_before_a_text_is_cut(
    search: Search, replay: Replay, artist: str, creator: str
) -> None:
    license_url = "https://example.org/license?" + "a" * 600
    metadata = {"Artist": {"value": artist}, "LicenseUrl": {"value": license_url}}
    replay.in_turn(wikimedia([wikimedia_page("a", 1, extmetadata=metadata)]))
    assert search("wikimedia", 1) == 0
    (row,) = search.rows()
    assert (row["creator"], row["license_url"]) == (creator, license_url)


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


def test_google_is_said_to_end(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    replay.in_turn(google([google_item("a")]))
    command = [
        "retrieve",
        "--provider",
        "google",
        "--classes",
        "crane",
        "--per-class",
        "1",
        "--contact",
        "me@lab.test",
    ]
    assert main([*command, "--endpoint", replay.endpoint, "--output", str(search.output)]) == 0
    assert (
        "note: Google's Custom Search accepts no new customers and ends on 2027-01-01"
        in capsys.readouterr().out
    )


def test_brave_gives_one_page(search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAVE_API_KEY", KEYS["BRAVE_API_KEY"])
    results = [brave_result(str(i)) for i in range(200)]
    results[1] = brave_result("1", properties={})
    results[2] = brave_result("2", properties=None)
    replay.in_turn(brave(results))
    assert search("brave", 500) == 0
    rows = search.rows()
    assert (len(rows), len(replay.asked), search.counts()["skipped"]) == (198, 1, 2)
    assert rows[0]["url"] == "https://pages.test/0.jpg"
    assert rows[0]["landing_url"] == "https://pages.test/0.html"
    assert (rows[0]["license"], rows[0]["method"], rows[1]["rank"]) == ("", "text", "3")
    assert replay.asked == [
        {"q": "crane", "count": "200", "country": "ALL", "safesearch": "strict", "spellcheck": "false"}
    ]
    assert replay.headers[0]["x-subscription-token"] == KEYS["BRAVE_API_KEY"]


def test_flickr_is_read_page_by_page_up_to_its_limit(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLICKR_API_KEY", KEYS["FLICKR_API_KEY"])

    def answer(asked: dict[str, str]) -> Answer:
        page = int(asked["page"])
        return flickr([flickr_photo(100 * page + i) for i in range(100)], page, 100)

    replay.answer = answer
    assert search("flickr", 5000) == 0
    assert [asked["page"] for asked in replay.asked] == [str(page) for page in range(1, 41)]
    assert len(search.rows()) == 4000
    asked = replay.asked[0]
    assert (asked["method"], asked["text"], asked["format"], asked["media"]) == (
        "flickr.photos.search", "crane", "json", "photos",
    )  # fmt: skip
    assert asked["api_key"] == KEYS["FLICKR_API_KEY"]


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        (flickr_photo(7), ("https://live.test/7_b.jpg", "CC BY 2.0", "https://creativecommons.org/licenses/by/2.0/")),
        (flickr_photo(7, url_l=f"https://live.test/{'a' * 600}", license="0"), (f"https://live.test/{'a' * 600}", "All rights reserved", "")),
        (flickr_photo(7, url_l=None, license=9), ("https://live.test/7.jpg", "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/")),
        (flickr_photo(7, license="15"), ("https://live.test/7_b.jpg", "CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/")),
        (flickr_photo(7, license="0"), ("https://live.test/7_b.jpg", "All rights reserved", "")),
        (flickr_photo(7, license="99"), ("https://live.test/7_b.jpg", "Flickr license 99", "")),
        (flickr_photo(7, license={"x": 1}), ("https://live.test/7_b.jpg", "", "")),
    ],
)  # fmt: skip
def test_flickr_gives_the_largest_size_and_the_license(
    search: Search,
    replay: Replay,
    photo: dict,
    expected: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLICKR_API_KEY", KEYS["FLICKR_API_KEY"])
    replay.in_turn(flickr([photo, flickr_photo(8, url_l=None, url_m=None)]))
    assert search("flickr", 2) == 0
    (row,) = search.rows()
    assert (row["url"], row["license"], row["license_url"]) == expected
    assert (row["creator"], row["landing_url"]) == (
        "Ann Example", "https://www.flickr.com/photos/51035734193@N01/7",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "answer"),
    [
        ("openverse", openverse([])),
        ("wikimedia", (200, {}, {"batchcomplete": True})),
        ("google", google([])),
        ("brave", brave([])),
        ("flickr", flickr([])),
    ],
)
def test_a_class_without_results_is_reported(
    search: Search, replay: Replay, provider: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    replay.in_turn(answer)
    assert search(provider, 5, classes=("crane", "bee")) == 0
    assert (search.rows(), search.counts()["short"]) == ([], ["crane", "bee"])
