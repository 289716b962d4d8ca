"""The interfaces of three search providers; this module does not use the network.

A provider maps a query to the parameters of its first page, and an answer to hits and the parameters of the next page.
"""

import html
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import UsageError
from pipeline.fetch.urls import is_web_url

# Formats of the decoder, as media types and as file extensions.
_READABLE = ("jpeg", "jpg", "png", "gif", "webp", "bmp", "avif")
_MAX_TEXT, _MAX_URL = 500, 2000
_MAX_PARAMETERS = 4000  # characters of the parameters of the next page

Parameters = dict[str, str]


@dataclass(frozen=True)
class Hit:
    """One search result; a field that the provider does not give is empty."""

    url: str
    license: str = ""
    license_url: str = ""
    creator: str = ""
    landing_url: str = ""


@dataclass(frozen=True)
class ResultPage:
    """The hits of one page in order, None for unusable ones, and the parameters of the next page."""

    hits: list[Hit | None]
    next: Parameters | None


class BadAnswerError(Exception):
    """The answer of the provider does not have its documented form."""


class Provider(ABC):
    """One search provider."""

    endpoint: str
    pause: float
    """Seconds between two requests, by its terms or its limit for users without an account."""
    required: tuple[str, ...] = ()
    """Environment variables that must be set."""
    optional: tuple[str, ...] = ()
    """Other environment variables that it uses."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        missing = [name for name in self.required if not environment.get(name)]
        if missing:
            raise UsageError(
                f"set {' and '.join(missing)} in the environment (see docs/how-to/web-images.md)"
            )
        for name in (*self.required, *self.optional):
            value = environment.get(name, "")
            if not (value.isascii() and value.isprintable()):
                raise UsageError(
                    f"{name}: the value has characters that an HTTP header cannot carry; set it again without them"
                )

    @abstractmethod
    def first(self, query: str) -> Parameters:
        """Return the parameters of the first page of a query."""

    @abstractmethod
    def read(self, answer: Any, parameters: Parameters) -> ResultPage:
        """Return a page, given the JSON of the answer and the parameters of the request. Raises BadAnswerError."""

    def headers(self) -> dict[str, str]:
        """Return headers with secrets, which must not be in URLs, since these appear in logs and messages."""
        return {}

    def account(self) -> Parameters:
        """Return parameters of every request that belong to the account of the user, and are not stored."""
        return {}

    def error(self, answer: Any) -> str | None:  # noqa: ARG002 – for those that override it
        """Return the code of an error that was sent with HTTP status 200, or None."""
        return None


class Openverse(Provider):
    """https://api.openverse.org/v1/images/: openly licensed images; no key needed."""

    endpoint = "https://api.openverse.org/v1/images/"
    pause = 3.0  # without an account: 20 requests per minute
    optional = ("OPENVERSE_TOKEN",)

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._token = environment.get("OPENVERSE_TOKEN")
        self.pause = 0.6 if self._token else Openverse.pause

    def headers(self) -> dict[str, str]:
        """Return the token, which allows more requests per minute."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def first(self, query: str) -> Parameters:
        """Return parameters for pages of 20, the maximum without an account."""
        return {"q": query, "page_size": "20", "page": "1"}

    def read(self, answer: Any, parameters: Parameters) -> ResultPage:
        """Read results[].url, license, license_version, license_url, creator, foreign_landing_url, filetype."""
        hits = []
        for result in _items(answer, "results"):
            license_name = " ".join(
                filter(None, (_text(result, "license"), _text(result, "license_version")))
            )
            hit = Hit(
                _text(result, "url"),
                license_name,
                _text(result, "license_url"),
                _text(result, "creator"),
                _text(result, "foreign_landing_url"),
            )
            hits.append(_usable(hit, _text(result, "filetype")))
        page, pages = int(parameters["page"]), answer.get("page_count")
        more = isinstance(pages, int) and page < pages and bool(hits)
        return ResultPage(hits, {**parameters, "page": str(page + 1)} if more else None)


class Wikimedia(Provider):
    """https://commons.wikimedia.org/w/api.php: the files of Wikimedia Commons; no key needed."""

    endpoint = "https://commons.wikimedia.org/w/api.php"
    pause = 0.5  # requests in series; there is no hard limit

    def first(self, query: str) -> Parameters:
        """Return parameters of a search among files (namespace 6), for images 1,280 pixels wide instead of originals."""
        return {
            "action": "query",
            "format": "json",
            "formatversion": "2",
            "maxlag": "5",
            "generator": "search",
            "gsrsearch": f"filetype:bitmap {query}",
            "gsrnamespace": "6",
            "gsrlimit": "50",
            "prop": "imageinfo",
            "iiprop": "url|mime|extmetadata",
            "iiurlwidth": "1280",
            "iiextmetadatafilter": "LicenseShortName|LicenseUrl|Artist",
        }

    def read(self, answer: Any, parameters: Parameters) -> ResultPage:
        """Read query.pages[].index, imageinfo[0].thumburl or url, descriptionurl, mime, extmetadata; continue.

        One page of hits may need several answers, each with the imageinfo of some hits.
        """
        query = answer.get("query", {}) if isinstance(answer, dict) else answer
        hits = []
        pages = _items(query, "pages", absent_ok=True)
        for page in sorted(pages, key=lambda page: _number(page.get("index"))):
            for info in _items(page, "imageinfo", absent_ok=True)[:1]:
                metadata = _inner(info, "extmetadata")
                license_name, license_url, artist = (
                    _plain(_text(_inner(metadata, name), "value"))
                    for name in ("LicenseShortName", "LicenseUrl", "Artist")
                )
                hit = Hit(
                    _text(info, "thumburl") or _text(info, "url"),
                    license_name,
                    license_url,
                    artist,
                    _text(info, "descriptionurl"),
                )
                hits.append(_usable(hit, _text(info, "mime").removeprefix("image/")))
        further = answer.get("continue")
        if not isinstance(further, dict) or not further:
            return ResultPage(hits, None)
        following = {**parameters, **{str(key): str(value) for key, value in further.items()}}
        if sum(len(key) + len(value) for key, value in following.items()) > _MAX_PARAMETERS:
            raise BadAnswerError(f"'continue' has more than {_MAX_PARAMETERS} characters")
        return ResultPage(hits, following)

    def error(self, answer: Any) -> str | None:
        """Return the code of a MediaWiki error, such as maxlag or ratelimited."""
        error = answer.get("error") if isinstance(answer, dict) else None
        return (_text(error, "code") or "unknown error") if isinstance(error, dict) else None


class Google(Provider):
    """https://developers.google.com/custom-search/v1: Programmable Search, images only; key and engine needed."""

    endpoint = "https://customsearch.googleapis.com/customsearch/v1"
    pause = 0.6  # 100 requests per minute
    required = ("GOOGLE_API_KEY", "GOOGLE_CSE_ID")

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._key, self._engine = environment["GOOGLE_API_KEY"], environment["GOOGLE_CSE_ID"]

    def headers(self) -> dict[str, str]:
        """Return the API key."""
        return {"X-Goog-Api-Key": self._key}

    def account(self) -> Parameters:
        """Return the search engine id."""
        return {"cx": self._engine}

    def first(self, query: str) -> Parameters:
        """Return parameters for pages of 10, which start at result 1 to 91."""
        return {"q": query, "searchType": "image", "num": "10", "start": "1"}

    def read(self, answer: Any, parameters: Parameters) -> ResultPage:
        """Read items[].link, mime, image.contextLink; queries.nextPage[0].startIndex."""
        hits = []
        for item in _items(answer, "items", absent_ok=True):
            hit = Hit(_text(item, "link"), landing_url=_text(_inner(item, "image"), "contextLink"))
            hits.append(_usable(hit, _text(item, "mime").removeprefix("image/")))
        following = _items(answer.get("queries", {}), "nextPage", absent_ok=True)
        start = _number(following[0].get("startIndex")) if following else 0
        more = bool(hits) and int(parameters["start"]) < start <= 91
        return ResultPage(hits, {**parameters, "start": str(start)} if more else None)


PROVIDERS: dict[str, type[Provider]] = {"openverse": Openverse, "wikimedia": Wikimedia, "google": Google}


def _items(answer: Any, name: str, *, absent_ok: bool = False) -> list[dict[str, Any]]:
    items = answer.get(name, [] if absent_ok else None) if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadAnswerError(f"{name!r} is not a list of objects")
    return items


def _inner(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def _text(item: Mapping[str, Any], name: str) -> str:
    """Return a field as one line of text, empty if it is missing or not text."""
    value = item.get(name)
    if not isinstance(value, str):
        return ""
    line = "".join(c if c.isprintable() else " " for c in value).strip()
    if name.endswith(("url", "Link", "link")):
        return line if len(line) <= _MAX_URL else ""
    return line[:_MAX_TEXT]


def _plain(text: str) -> str:
    """Remove HTML markup, which metadata of Wikimedia Commons contain."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _usable(hit: Hit, image_format: str) -> Hit | None:
    """Return the hit if its URL can be fetched and its format, if given, can be decoded; else None."""
    if len(hit.url) > _MAX_URL or (image_format and image_format.lower() not in _READABLE):
        return None
    return hit if is_web_url(hit.url) else None
