"""Replies of search providers are read (pipeline/retrieve).

The first byte chooses the provider, the rest is the body of its reply. A reply gives a page, a `BadAnswerError`, or an
error of the provider. Each candidate has a URL that can be fetched, and texts of one line and limited length; the parameters of
the next page are short texts that differ from those of this page.
"""

import json
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

from pipeline.fetch.urls import is_web_url
from pipeline.publish.licenses import license_class
from pipeline.retrieve.provider import MAX_PARAMETERS, BadAnswerError, Provider
from pipeline.retrieve.providers import PROVIDERS
from tests.fuzz.inputs import choice

LONGEST = 2000
SECRETS = dict.fromkeys(
    ("BRAVE_API_KEY", "FLICKR_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CSE_ID", "OPENVERSE_TOKEN"), "secret"
)
MADE: list[Provider] = [kind(SECRETS) for kind in PROVIDERS.values()]
REPLIES: dict[str, list[Any]] = {
    "openverse": [{"page_count": 3, "results": [{"url": "https://a.test/b.jpg", "license": "by", "filetype": "jpg"}, {}]}],
    "wikimedia": [
        {"continue": {"gsroffset": 50, "continue": "gsroffset||"}, "query": {"pages": [{"index": 1, "title": "File:A.jpg", "imageinfo": [
            {"thumburl": "https://a.test/1.jpg", "mime": "image/jpeg", "extmetadata": {"Artist": {"value": "<b>A &amp; B</b>"}}}]}]}},
        {"error": {"code": "maxlag"}},
    ],
    "brave": [{"results": [{"properties": {"url": "https://a.test/1.jpg"}, "url": "https://a.test/", "title": "A\nB"}]}],
    "flickr": [
        {"photos": {"pages": 3, "photo": [{"url_l": "https://a.test/1.jpg", "license": "4", "owner": "1@N0", "id": "5"}]}},
        {"stat": "fail", "code": 105, "message": "x"},
    ],
    "google": [{"items": [{"link": "https://a.test/1.jpg", "mime": "image/jpeg", "image": {"contextLink": "https://a.test/"}}],
                "queries": {"nextPage": [{"startIndex": 11}]}}],
}  # fmt: skip
WORDS = (
    *(
        b'"results"',
        b'"page_count"',
        b'"continue"',
        b'"query"',
        b'"pages"',
        b'"imageinfo"',
        b'"photos"',
        b'"photo"',
        b'"items"',
    ),
    *(
        b'"queries"',
        b'"nextPage"',
        b'"startIndex"',
        b'"url"',
        b'"error"',
        b'"stat"',
        b'"license"',
        b"null",
        b"true",
        b"1e999",
    ),
    *(
        b"[]",
        b"{}",
        b'"\\ud800"',
        b'"\\u2028"',
        b"CC BY-SA 4.0",
        b"https://creativecommons.org/licenses/by/4.0/",
    ),
)


def seeds() -> Iterator[bytes]:
    """Yield replies of each provider."""
    for number, name in enumerate(PROVIDERS):
        for reply in [*REPLIES[name], [], {"results": 3, "items": {}, "photos": [], "query": 3}]:
            yield bytes([number]) + json.dumps(reply).encode()


def check(data: bytes) -> None:
    """Read a reply as the client does."""
    number, data = choice(data, len(MADE))
    provider = MADE[number]
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    error = provider.error(answer)
    if error is not None:
        assert isinstance(error, str)
        return
    parameters = provider.first("ant")
    try:
        page = provider.read(answer, parameters)
    except BadAnswerError:
        return
    for candidate in page.candidates:
        if candidate is not None:
            assert is_web_url(candidate.url)
            assert all(len(text) <= LONGEST and "\n" not in text for text in astuple(candidate))
            assert license_class(candidate.license, candidate.license_url)
    if page.next is not None:
        assert page.next != parameters
        assert all(isinstance(text, str) for pair in page.next.items() for text in pair)
        assert sum(map(len, [*page.next, *page.next.values()])) <= MAX_PARAMETERS
