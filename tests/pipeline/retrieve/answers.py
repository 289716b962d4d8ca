"""Answers in the documented forms of the providers, with invented images."""

from typing import Any

from tests.pipeline.retrieve.conftest import Answer

# https://api.openverse.org/v1/ (image search, 200 and 400)


def openverse_image(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": "4bc43a04-ef46-4544-a0c1-63c63f56e276",
        "title": name,
        "indexed_on": "2022-08-27T17:39:48Z",
        "foreign_landing_url": f"https://photos.test/page/{name}",
        "url": f"https://photos.test/{name}.jpg",
        "creator": "Ann Example",
        "creator_url": None,
        "license": "by",
        "license_version": "2.0",
        "license_url": "https://creativecommons.org/licenses/by/2.0/",
        "provider": "flickr",
        "source": "flickr",
        "category": None,
        "filesize": None,
        "filetype": "jpg",
        "tags": [{"accuracy": None, "name": "bird", "unstable__provider": "flickr"}],
        "fields_matched": ["title"],
        "mature": False,
        "height": 4016,
        "width": 6016,
    } | changes


def openverse(images: list[dict[str, Any]], page: int = 1, pages: int = 1) -> Answer:
    return (
        200,
        {},
        {"result_count": 20 * pages, "page_count": pages, "page_size": 20, "page": page, "results": images},
    )


# https://www.mediawiki.org/wiki/API:Imageinfo, formatversion=2


def wikimedia_page(name: str, index: int, **changes: Any) -> dict[str, Any]:
    info = {
        "thumburl": f"https://upload.test/thumb/{name}.jpg/1280px-{name}.jpg",
        "thumbwidth": 1280,
        "thumbheight": 853,
        "url": f"https://upload.test/{name}.jpg",
        "descriptionurl": f"https://commons.test/wiki/File:{name}.jpg",
        "descriptionshorturl": "https://commons.test/w/index.php?curid=1",
        "mime": "image/jpeg",
        "extmetadata": {
            "LicenseShortName": {"value": "CC BY-SA 4.0", "source": "commons-desc-page", "hidden": ""},
            "LicenseUrl": {
                "value": "https://creativecommons.org/licenses/by-sa/4.0",
                "source": "commons-desc-page",
            },
            "Artist": {
                "value": '<a href="//commons.test/wiki/User:B" title="User:B">B. &amp; C.</a>',
                "source": "x",
            },
        },
    } | changes
    return {
        "pageid": index,
        "ns": 6,
        "title": f"File:{name}.jpg",
        "index": index,
        "imagerepository": "local",
        "imageinfo": [info],
    }


def wikimedia(pages: list[dict[str, Any]], further: dict[str, Any] | None = None) -> Answer:
    body: dict[str, Any] = {"query": {"pages": pages}}
    return 200, {}, body | ({"continue": further} if further else {"batchcomplete": True})


def wikimedia_error(code: str) -> Answer:
    return 200, {"Retry-After": "0"}, {"error": {"code": code, "info": "…", "docref": "…"}, "servedby": "mw1"}


# https://developers.google.com/custom-search/v1/reference/rest/v1/Search


def google_item(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "customsearch#result",
        "title": name,
        "htmlTitle": f"<b>{name}</b>",
        "link": f"https://pages.test/{name}.jpg",
        "displayLink": "pages.test",
        "snippet": name,
        "mime": "image/jpeg",
        "fileFormat": "image/jpeg",
        "image": {
            "contextLink": f"https://pages.test/{name}.html",
            "height": 1532,
            "width": 2043,
            "byteSize": 1063166,
            "thumbnailLink": "https://thumbs.test/x",
            "thumbnailHeight": 112,
            "thumbnailWidth": 150,
        },
    } | changes


def google(items: list[dict[str, Any]], following: int | None = None) -> Answer:
    queries: dict[str, Any] = {"request": [{"count": len(items), "startIndex": 1, "searchType": "image"}]}
    if following:
        queries["nextPage"] = [{"count": 10, "startIndex": following, "searchType": "image"}]
    body = {"kind": "customsearch#search", "queries": queries, "searchInformation": {"totalResults": "9000"}}
    return 200, {}, body | ({"items": items} if items else {})


def google_error(code: int, message: str, status: str) -> Answer:
    reason = [{"message": message, "domain": "global", "reason": "rateLimitExceeded"}]
    return code, {}, {"error": {"code": code, "message": message, "errors": reason, "status": status}}


# https://api-dashboard.search.brave.com/app/documentation/image-search/responses


def brave_result(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "image_result",
        "title": name,
        "url": f"https://pages.test/{name}.html",
        "source": "pages.test",
        "page_fetched": "2026-11-02T10:00:00Z",
        "thumbnail": {"src": f"https://imgs.search.brave.test/{name}", "width": 200, "height": 150},
        "properties": {
            "url": f"https://pages.test/{name}.jpg",
            "placeholder": "x",
            "width": 640,
            "height": 480,
        },
        "meta_url": {"scheme": "https", "netloc": "pages.test", "hostname": "pages.test", "path": "x"},
        "confidence": "high",
    } | changes


def brave(results: list[dict[str, Any]]) -> Answer:
    query = {"original": "crane", "spellcheck_off": True, "show_strict_warning": False}
    return (
        200,
        {},
        {"type": "images", "query": query, "results": results, "extra": {"might_be_offensive": False}},
    )


def brave_error(status: int, detail: str, code: str) -> Answer:
    error = {"id": "1", "status": status, "code": code, "detail": detail, "meta": {}}
    return status, {}, {"type": "ErrorResponse", "error": error, "time": 1}


# https://www.flickr.com/services/api/flickr.photos.search.html, format=json


def flickr_photo(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "owner": "51035734193@N01",
        "secret": "653a19d017",
        "server": "3059",
        "farm": 4,
        "title": f"photo {number}",
        "ispublic": 1,
        "isfriend": 0,
        "isfamily": 0,
        "license": "4",
        "ownername": "Ann Example",
        "url_l": f"https://live.test/{number}_b.jpg",
        "height_l": 683,
        "width_l": 1024,
        "url_m": f"https://live.test/{number}.jpg",
    } | changes


def flickr(photos: list[dict[str, Any]], page: int = 1, pages: int = 1) -> Answer:
    facts = {"page": page, "pages": pages, "perpage": 100, "total": 100 * pages, "photo": photos}
    return 200, {}, {"photos": facts, "stat": "ok"}


def flickr_error(code: int, message: str) -> Answer:
    return 200, {}, {"stat": "fail", "code": code, "message": message}
