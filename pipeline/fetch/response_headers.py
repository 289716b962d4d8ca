"""Read from response headers whether a body is whole, and how it may be used."""

import re

from pipeline.fetch.http1 import Headers, Response
from pipeline.fetch.urls import Url, parse_location
from pipeline.rejections import Rejected, printable

_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_STRONG_ETAG = re.compile(r'"[!#-~]{1,200}"')
_RELATION = re.compile(r";\s*rel\s*=\s*(\"[^\"]*\"|[^\s;,]+)", re.IGNORECASE)


def is_whole(response: Response) -> bool:
    """Whether a successful response (2xx) has the whole image."""
    if response.status == 206:
        part = re.fullmatch(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})", response.headers.get("Content-Range"))
        return part is not None and int(part[1]) + 1 == int(part[2])
    return response.status not in (204, 205)


def strong_etag(headers: Headers) -> str | None:
    """Return the ETag if it is strong (RFC 9110, section 8.8.3), None if it is weak, unusual, or absent.

    Equal strong ETags of a URL promise equal bytes; weak ones only equal meaning.
    """
    values = headers.all("ETag")
    return values[0] if len(values) == 1 and _STRONG_ETAG.fullmatch(values[0]) else None


def kept_headers(url: Url, headers: Headers) -> dict[str, str | None]:
    """Return the columns of `fetched` that say where a body came from and how it may be used."""

    def joined(name: str) -> str | None:
        return printable(", ".join(headers.all(name))) or None

    return {
        "final_url": str(url),
        "license": _license(url, headers),
        "x_robots_tag": joined("X-Robots-Tag"),
        "tdm_reservation": joined("TDM-Reservation"),
        "tdm_policy": joined("TDM-Policy"),
    }


def _license(url: Url, headers: Headers) -> str | None:
    """Return the target of the first Link header with rel=license (RFC 8288), None if there is none or it is invalid."""
    for value in headers.all("Link"):
        for target, parameters in _LINK.findall(value):
            relation = _RELATION.search(parameters)
            if relation and "license" in relation[1].strip('"').lower().split():
                try:
                    return str(parse_location(target, url))
                except Rejected:  # an invalid license URL does not reject the image
                    return None
    return None
