"""The search providers by name, and those that need no key."""

from collections.abc import Mapping
from typing import Any

from pipeline.retrieve.keyed_providers import Brave, Flickr, Google
from pipeline.retrieve.provider import (
    MAX_PARAMETERS,
    BadAnswerError,
    Candidate,
    Parameters,
    Provider,
    ResultPage,
    inner,
    items,
    number,
    text_of,
    text_of_html,
    url_of,
    usable,
)


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
        """Read results[].url, license, license_version, license_url, creator, foreign_landing_url, title, filetype."""
        candidates = []
        for result in items(answer, "results"):
            license_name = " ".join(
                filter(None, (text_of(result, "license"), text_of(result, "license_version")))
            )
            candidate = Candidate(
                url_of(result, "url"),
                license_name,
                url_of(result, "license_url"),
                text_of(result, "creator"),
                url_of(result, "foreign_landing_url"),
                text_of(result, "title"),
            )
            candidates.append(usable(candidate, text_of(result, "filetype")))
        page, pages = int(parameters["page"]), answer.get("page_count")
        more = isinstance(pages, int) and page < pages and bool(candidates)
        return ResultPage(candidates, {**parameters, "page": str(page + 1)} if more else None)


class Wikimedia(Provider):
    """https://commons.wikimedia.org/w/api.php: the files of Wikimedia Commons; no key needed."""

    endpoint = "https://commons.wikimedia.org/w/api.php"
    temporary_errors = ("maxlag", "ratelimited", "internal_api_error_DBQueryError", "readonly")
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

        One page of candidates may need several answers, each with the imageinfo of some candidates.
        """
        query = answer.get("query", {}) if isinstance(answer, dict) else answer
        candidates = []
        pages = items(query, "pages", absent_ok=True)
        for page in sorted(pages, key=lambda page: number(page.get("index"))):
            for info in items(page, "imageinfo", absent_ok=True)[:1]:
                metadata = inner(info, "extmetadata")
                candidate = Candidate(
                    url_of(info, "thumburl") or url_of(info, "url"),
                    text_of_html(inner(metadata, "LicenseShortName"), "value"),
                    url_of(inner(metadata, "LicenseUrl"), "value"),
                    text_of_html(inner(metadata, "Artist"), "value"),
                    url_of(info, "descriptionurl"),
                    text_of(page, "title").removeprefix("File:"),
                )
                candidates.append(usable(candidate, text_of(info, "mime").removeprefix("image/")))
        further = answer.get("continue")
        if not isinstance(further, dict) or not further:
            return ResultPage(candidates, None)
        # Values of earlier answers are not sent again: they would exclude images (API:Continue of MediaWiki).
        original = {name: parameters[name] for name in self.first("")}
        following = original | {str(key): str(value) for key, value in further.items()}
        if sum(len(key) + len(value) for key, value in following.items()) > MAX_PARAMETERS:
            raise BadAnswerError(f"'continue' has more than {MAX_PARAMETERS} characters")
        return ResultPage(candidates, following)

    def error(self, answer: Any) -> str | None:
        """Return the code of a MediaWiki error, such as maxlag or ratelimited."""
        error = answer.get("error") if isinstance(answer, dict) else None
        return (text_of(error, "code") or "unknown error") if isinstance(error, dict) else None


PROVIDERS: dict[str, type[Provider]] = {
    "openverse": Openverse, "wikimedia": Wikimedia, "brave": Brave, "flickr": Flickr, "google": Google,
}  # fmt: skip
