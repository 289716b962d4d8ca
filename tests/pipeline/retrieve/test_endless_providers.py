"""A search ends, and its memory is bounded, whatever a provider answers."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.retrieve import search as search_module
from pipeline.retrieve.provider import BadAnswerError, Provider
from pipeline.retrieve.providers import PROVIDERS
from pipeline.retrieve.search import MAX_STALE_PAGES
from tests.pipeline.fetch.hostile_urls import HOSTILE_URLS, hostile_urls
from tests.pipeline.retrieve.answers import (
    openverse,
    openverse_image,
    wikimedia,
    wikimedia_page,
)
from tests.pipeline.retrieve.conftest import KEYS, Replay, Search


def test_a_repeated_page_ends_a_query(search: Search, replay: Replay) -> None:
    images = [openverse_image(str(i)) for i in range(20)]
    replay.answer = lambda asked: openverse(images, int(asked["page"]), 10**9)
    assert search("openverse", 50) == 0
    assert (len(search.rows()), len(replay.asked)) == (20, 1 + MAX_STALE_PAGES)
    assert search.counts()["short"] == ["crane"]


def test_alternating_pages_end_a_query(search: Search, replay: Replay) -> None:
    def answer(asked: Mapping[str, str]) -> Any:
        return openverse([openverse_image(str(int(asked["page"]) % 3))], int(asked["page"]), 10**9)

    replay.answer = answer
    assert search("openverse", 50) == 0
    assert (len(search.rows()), len(replay.asked)) == (3, 3 + MAX_STALE_PAGES)


def test_unusable_pages_end_a_query(search: Search, replay: Replay) -> None:
    def answer(asked: Mapping[str, str]) -> Any:
        page = int(asked["page"])
        return openverse([openverse_image(str(page), filetype="svg")], page, 10**9)

    replay.answer = answer
    assert search("openverse", 50) == 0
    assert (search.rows(), len(replay.asked)) == ([], MAX_STALE_PAGES)


def test_a_repeated_request_ends_a_query(search: Search, replay: Replay) -> None:
    numbers = iter(range(10**9))
    replay.answer = lambda _: wikimedia(
        [wikimedia_page(str(next(numbers)), 1)], {"gsroffset": 50, "continue": "x"}
    )
    assert search("wikimedia", 50) == 0
    assert len(replay.asked) == 2


def test_results_of_another_query_do_not_count_as_repeated(search: Search, replay: Replay) -> None:
    """The second query begins with seven pages of what the first one found, and has more behind them."""

    def answer(asked: Mapping[str, str]) -> Any:
        page = int(asked["page"])
        if asked["q"] == "crane" and page > 7:
            return openverse([], page, 7)
        return openverse([openverse_image(str(page))], page, 7 if asked["q"] == "crane" else 20)

    replay.answer = answer
    assert search("openverse", 20, "--query", "{class}", "--query", "a {class}") == 0
    assert len(search.rows()) == 20


def test_pages_are_limited(search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_PAGES", 12)
    replay.answer = lambda asked: openverse([openverse_image(asked["page"])], int(asked["page"]), 10**9)
    assert search("openverse", 50) == 0
    assert len(search.rows()) == 12


def test_an_interrupted_search_ends_like_a_complete_one(search: Search, replay: Replay) -> None:
    images = [openverse_image(str(i)) for i in range(20)]
    for stop in range(1, 1 + MAX_STALE_PAGES):
        replay.asked.clear()
        replay.answer = lambda asked, stop=stop: (
            openverse(images, int(asked["page"]), 10**9) if len(replay.asked) <= stop else (418, {}, {})
        )
        assert search("openverse", 50) == 1
        replay.answer = lambda asked: openverse(images, int(asked["page"]), 10**9)
        assert search("openverse", 50) == 0
        assert len(replay.asked) - 1 == 1 + MAX_STALE_PAGES
        search.output.unlink()


def test_parameters_of_the_next_page_have_a_limit(search: Search, replay: Replay) -> None:
    replay.in_turn(wikimedia([wikimedia_page("a", 1)], {"continue": "x" * 5000}))
    assert search("wikimedia", 5) == 1
    assert "'continue' has more than 4000 characters" in search.told.err


def test_urls_have_a_limit(search: Search, replay: Replay) -> None:
    long = "https://photos.test/" + "a" * 5000
    replay.in_turn(openverse([openverse_image("a", license_url=long, foreign_landing_url=long)]))
    assert search("openverse", 1) == 0
    assert [search.rows()[0][name] for name in ("license_url", "landing_url")] == ["", ""]


def test_hostile_urls_of_a_provider_affect_only_their_rows(search: Search, replay: Replay) -> None:
    urls = [*HOSTILE_URLS, *hostile_urls()]
    images = [openverse_image("x", url=url) for url in urls] + [openverse_image("good")]
    replay.in_turn(openverse(images))
    assert search("openverse", 2000) == 0
    rows = search.rows()
    assert rows[-1]["url"] == "https://photos.test/good.jpg"
    assert len(rows) + search.counts()["skipped"] + search.counts()["repeated"] == len(images)


NAMES = st.sampled_from(
    ["results", "url", "page_count", "filetype", "license", "query", "pages", "imageinfo", "index", "extmetadata", "continue",
     "error", "code", "value", "items", "link", "image", "photos", "photo", "owner", "id", "url_l", "stat", "properties", "queries", "nextPage", "startIndex", "mime", "Artist", "detail"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5) | st.just("http://x.test/a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


@pytest.mark.parametrize("name", PROVIDERS)
@settings(derandomize=True, deadline=None, max_examples=150)
@given(answer=JSON)
def test_any_answer_is_a_page_or_a_bad_answer(name: str, answer: Any) -> None:
    provider: Provider = PROVIDERS[name](KEYS)
    if provider.error(answer) is not None:
        return
    try:
        page = provider.read(answer, provider.first("crane"))
    except BadAnswerError:
        return
    assert all(candidate is None or candidate.url for candidate in page.candidates)
    assert page.next is None or all(isinstance(value, str) for value in page.next.values())
