"""Policy files and headers of hosts are read (pipeline/fetch/robots.py).

The input is a robots.txt, a tdmrep.json and an X-Robots-Tag header. Any bytes give rules: no exception is allowed. The
delay is a finite number of seconds from 0. The rules do not depend on the form of the line ends, nor on a byte order
mark, and a robots.txt without a group for us allows everything.
"""

import math
import re
from collections.abc import Iterator

from pipeline.fetch.robots import MAX_POLICY_BYTES, PRODUCT, PathRules, forbidding_tag, reservations
from tests.fuzz.inputs import SEPARATOR, parts

URLS = (
    "https://example.org/",
    "https://example.org/a/b.jpg?x=1",
    "https://example.org/%C3%A9/$",
    "http://x.test:81/private",
)
WORDS = (
    b"User-agent: ", b"Disallow: ", b"Allow: ", b"Crawl-delay: ", b"Request-rate: ", b"Sitemap: ", b"*", b"$", b"/a/",
    PRODUCT.encode(), b"\xef\xbb\xbf", b'"location"', b'"tdm-reservation"', b"noai", b"noindex", b"unavailable_after", b"1/10m",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield policy files in the forms of RFC 9309 and of the TDM Reservation Protocol."""
    robots = b"User-agent: *\nDisallow: /private\nAllow: /*.jpg$\nCrawl-delay: 2.5\n"
    ours = f"User-agent: {PRODUCT}/1.0 # us\nUser-agent: other\nDisallow: /a\n\nSitemap: https://x.test/\n".encode()
    reserved = b'[{"location": "/a/*", "tdm-reservation": 1, "tdm-policy": "https://x.test/"}]'
    tag = b"otherbot: noindex, noai, unavailable_after: 25 Jun 2027"
    yield SEPARATOR.join([robots, reserved, tag])
    yield SEPARATOR.join([ours, b'[{"location": "/private"}, 3, null]', b"noimageai"])
    yield SEPARATOR.join(
        [b"User-agent: *\nCrawl-delay: nan\nCrawl-delay: 1e999\nRequest-rate: 1/0s\n", b"{}", b""]
    )
    yield SEPARATOR.join([b"<html>not found</html>", b"<html>", b",,:,:"])
    yield SEPARATOR.join(
        [b"\xef\xbb\xbfUser agent *\rDisallow: /%zz\r\nAllow: /\xff\xfe", b"[" * 2000, b"\xe9: none"]
    )


def check(data: bytes) -> None:
    """Read the three texts of an input."""
    robots, tdm, tag = parts(data, 3)
    answers = answers_of(PathRules(robots))
    assert answers_of(PathRules(robots + b"\n")) == answers or len(robots) >= MAX_POLICY_BYTES
    if b"\r" not in robots:
        assert answers_of(PathRules(robots.replace(b"\n", b"\r\n"))) == answers
    if not robots.startswith(b"\xef\xbb\xbf"):
        assert answers_of(PathRules(b"\xef\xbb\xbf" + robots)) == answers
    if not re.search(rb"\*|" + re.escape(PRODUCT.encode()), robots, re.IGNORECASE):
        assert all(answers[0])
    allowed, delay = answers_of(reservations(tdm))
    assert delay == 0 or b"delay" in tdm.lower() or b"rate" in tdm.lower()
    assert all(allowed) or b"location" in tdm
    word = forbidding_tag([tag.decode("latin-1")])
    assert word is None or word in tag.decode("latin-1").lower()


def answers_of(rules: PathRules) -> tuple[list[bool], float]:
    """Return whether each of URLS is allowed, and the delay."""
    assert math.isfinite(rules.delay), rules.delay
    assert rules.delay >= 0, rules.delay
    return [rules.allow(url) for url in URLS], rules.delay
