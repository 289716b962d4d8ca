"""Search providers that need the key of an account."""

from collections.abc import Mapping
from typing import Any

from pipeline.retrieve.provider import (
    Candidate,
    Parameters,
    Provider,
    ResultPage,
    inner,
    items,
    number,
    text_of,
    url_of,
    usable,
)

# flickr.photos.licenses.getInfo: id → name, URL
FLICKR_LICENSES = {
    "0": ("All rights reserved", ""),
    "1": ("CC BY-NC-SA 2.0", "https://creativecommons.org/licenses/by-nc-sa/2.0/"),
    "2": ("CC BY-NC 2.0", "https://creativecommons.org/licenses/by-nc/2.0/"),
    "3": ("CC BY-NC-ND 2.0", "https://creativecommons.org/licenses/by-nc-nd/2.0/"),
    "4": ("CC BY 2.0", "https://creativecommons.org/licenses/by/2.0/"),
    "5": ("CC BY-SA 2.0", "https://creativecommons.org/licenses/by-sa/2.0/"),
    "6": ("CC BY-ND 2.0", "https://creativecommons.org/licenses/by-nd/2.0/"),
    "7": ("No known copyright restrictions", "https://www.flickr.com/commons/usage/"),
    "8": ("United States Government Work", "https://www.usa.gov/government-copyright"),
    "9": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "10": ("Public Domain Mark", "https://creativecommons.org/publicdomain/mark/1.0/"),
    "11": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "12": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "13": ("CC BY-ND 4.0", "https://creativecommons.org/licenses/by-nd/4.0/"),
    "14": ("CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "15": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
    "16": ("CC BY-NC-ND 4.0", "https://creativecommons.org/licenses/by-nc-nd/4.0/"),
}
FLICKR_SIZES = ("url_l", "url_c", "url_z", "url_m")  # 1,024, 800, 640 and 500 pixels along the longer side
FLICKR_RESULTS = 4000  # of one query, by the documentation of flickr.photos.search


class Google(Provider):
    """https://developers.google.com/custom-search/v1: Programmable Search, images only; key and engine needed."""

    endpoint = "https://customsearch.googleapis.com/customsearch/v1"
    pause = 0.6  # 100 requests per minute
    notice = "Google's Custom Search accepts no new customers and ends on 2027-01-01; brave and flickr are alternatives"
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
        candidates = []
        for item in items(answer, "items", absent_ok=True):
            candidate = Candidate(
                url_of(item, "link"), landing_url=url_of(inner(item, "image"), "contextLink")
            )
            candidates.append(usable(candidate, text_of(item, "mime").removeprefix("image/")))
        following = items(answer.get("queries", {}), "nextPage", absent_ok=True)
        start = number(following[0].get("startIndex")) if following else 0
        more = bool(candidates) and int(parameters["start"]) < start <= 91
        return ResultPage(candidates, {**parameters, "start": str(start)} if more else None)


class Brave(Provider):
    """https://api-dashboard.search.brave.com/api-reference/images/image_search: an independent index; key needed."""

    endpoint = "https://api.search.brave.com/res/v1/images/search"
    pause = 1.0  # a choice: the limit depends on the plan
    required = ("BRAVE_API_KEY",)

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._key = environment["BRAVE_API_KEY"]

    def headers(self) -> dict[str, str]:
        """Return the API key."""
        return {"X-Subscription-Token": self._key}

    def first(self, query: str) -> Parameters:
        """Return parameters of the only page, of 200 images; the query is not corrected by the spell checker."""
        return {"q": query, "count": "200", "country": "ALL", "safesearch": "strict", "spellcheck": "false"}

    def read(self, answer: Any, parameters: Parameters) -> ResultPage:  # noqa: ARG002  there is one page
        """Read results[].properties.url (the image), url and title (of its page)."""
        candidates = [
            usable(
                Candidate(
                    url_of(inner(result, "properties"), "url"),
                    landing_url=url_of(result, "url"),
                    title=text_of(result, "title"),
                ),
                "",
            )
            for result in items(answer, "results")
        ]
        return ResultPage(candidates, None)


class Flickr(Provider):
    """https://www.flickr.com/services/api/flickr.photos.search.html: public photos with their licenses; key needed.

    Flickr takes the key as a parameter only.
    """

    endpoint = "https://api.flickr.com/services/rest/"
    pause = 1.0  # the documentation asks for less than 3,600 requests per hour and key
    required = ("FLICKR_API_KEY",)
    temporary_errors = ("105", "106")  # the service is unavailable; the operation failed

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._key = environment["FLICKR_API_KEY"]

    def account(self) -> Parameters:
        """Return the API key."""
        return {"api_key": self._key}

    def first(self, query: str) -> Parameters:
        """Return parameters for pages of 100 photos, by relevance, of content that is safe for all; no screenshots."""
        return {
            "method": "flickr.photos.search",
            "format": "json",
            "nojsoncallback": "1",
            "text": query,
            "sort": "relevance",
            "media": "photos",
            "content_types": "0",
            "safe_search": "1",
            "extras": ",".join(("license", "owner_name", *FLICKR_SIZES)),
            "per_page": "100",
            "page": "1",
        }

    def read(self, answer: Any, parameters: Parameters) -> ResultPage:
        """Read photos.photo[].url_l (or a smaller size), license, ownername, owner, id; photos.pages."""
        photos = answer.get("photos") if isinstance(answer, dict) else None
        candidates = [_flickr_candidate(photo) for photo in items(photos, "photo")]
        assert isinstance(photos, dict)  # or items would have raised
        page = int(parameters["page"])
        pages = min(number(photos.get("pages")), FLICKR_RESULTS // int(parameters["per_page"]))
        more = bool(candidates) and page < pages
        return ResultPage(candidates, {**parameters, "page": str(page + 1)} if more else None)

    def error(self, answer: Any) -> str | None:
        """Return the code and the message of an answer with stat: fail."""
        if not isinstance(answer, dict) or answer.get("stat") != "fail":
            return None
        return f"{number(answer.get('code'))} {text_of(answer, 'message')}".strip()


def _flickr_candidate(photo: dict[str, Any]) -> Candidate | None:
    """Return the largest of FLICKR_SIZES that the owner offers, with the page of the photo."""
    url = next(filter(None, (url_of(photo, size) for size in FLICKR_SIZES)), "")
    code = str(photo.get("license", ""))[:8]
    name, license_url = FLICKR_LICENSES.get(code, (f"Flickr license {code}" if code.isdigit() else "", ""))
    owner, photo_id = text_of(photo, "owner"), text_of(photo, "id")
    page = f"https://www.flickr.com/photos/{owner}/{photo_id}" if owner and photo_id.isdigit() else ""
    return usable(
        Candidate(url, name, license_url, text_of(photo, "ownername"), page, text_of(photo, "title")), ""
    )
