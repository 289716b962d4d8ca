"""Statuses, redirects and request headers of one URL."""

from pathlib import Path

import pytest

from common.errors import DataError
from pipeline.config import FetchConfig
from pipeline.fetch.fetch_all import FetchPlan, fetch_all
from pipeline.fetch.host_limits import HostLimits
from pipeline.fetch.journal import Journal
from pipeline.fetch.url_fetcher import FetchRequest
from tests.pipeline.fetch.conftest import Get, Web, body, refused

# Answers


def test_a_200_gives_a_body_and_metrics(get: Get, web: Web) -> None:
    result = get(web.serve("/a", b"picture"))
    assert body(result) == b"picture"
    asked = result.stats
    assert asked is not None
    assert (asked.host, asked.status, asked.bytes_seen, asked.attempts) == ("127.0.0.1", 200, 7, 1)
    assert 0 < asked.seconds < 1


@pytest.mark.parametrize(
    ("status", "code", "attempts"),
    [
        (404, "not_found", 1), (410, "not_found", 1), (401, "http_status", 1), (403, "http_status", 1),
        (451, "http_status", 1), (206, "http_status", 1), (205, "http_status", 1), (204, "http_status", 1), (304, "http_status", 1),
        (300, "http_status", 1), (429, "rate_limited", 3), (500, "server_error", 3), (503, "server_error", 3),
        (599, "server_error", 3),
    ],
)  # fmt: skip
def test_other_statuses_are_rejections_with_the_status(
    get: Get, web: Web, status: int, code: str, attempts: int
) -> None:
    result = refused(get(web.serve("/a", status=status)))
    assert (result.code, f"HTTP {status}" in result.detail) == (code, True)
    assert result.stats is not None
    assert (result.stats.status, result.stats.attempts) == (status, attempts)
    assert len(web.asked) == attempts


@pytest.mark.parametrize("status", [200, 201, 202, 203, 226])
def test_every_2xx_with_a_whole_body_is_a_success(get: Get, web: Web, status: int) -> None:
    assert body(get(web.serve("/a", b"picture", status))) == b"picture"


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("bytes 0-6/7", True),
        ("bytes 0-6/9", False),
        ("bytes 1-7/7", False),
        ("bytes 0-6/*", False),
        ("7", False),
    ],
)
def test_a_206_is_accepted_if_it_is_the_whole_body(get: Get, web: Web, part: str, whole: bool) -> None:
    result = get(web.serve("/a", b"picture", 206, Content_Range=part))
    assert (body(result) if whole else refused(result).code) == (b"picture" if whole else "http_status")


def test_an_empty_200_is_empty(get: Get, web: Web) -> None:
    assert refused(get(web.serve("/a"))).code == "empty"


def test_html_and_svg_are_fetched_like_any_bytes(get: Get, web: Web) -> None:
    assert body(get(web.serve("/a", b"<html>", Content_Type="image/jpeg"))) == b"<html>"


def test_the_user_agent_has_the_contact(get: Get, web: Web) -> None:
    get(web.serve("/a", b"x"))
    sent = web.headers[0]
    assert sent["User-Agent"].startswith("controlled-noise/")
    assert "test@example.org" in sent["User-Agent"]
    assert not {"Cookie", "Authorization", "Referer"} & set(sent)


def test_without_a_contact_no_url_is_requested(tmp_path: Path) -> None:
    config = FetchConfig()
    with pytest.raises(DataError, match=r"fetch\.contact is empty; set it to a mail address or web page"):
        fetch_all(
            [FetchRequest("http://93.184.215.14/")],
            FetchPlan(config, 1000, HostLimits.from_config(config)),
            Journal(str(tmp_path), "1", ""),
        )


def test_names_and_passwords_of_a_url_are_not_sent(get: Get, web: Web) -> None:
    url = web.serve("/a", b"x").replace("127.0.0.1", "user:word@127.0.0.1")
    assert body(get(url)) == b"x"
    assert "Authorization" not in web.headers[0]


def test_cookies_are_not_kept(get: Get, web: Web) -> None:
    web.serve("/end", b"x")
    assert body(get(web.serve("/a", status=302, Location="/end", Set_Cookie="a=b"))) == b"x"
    assert all("Cookie" not in headers for headers in web.headers)


def test_proxies_of_the_environment_are_ignored(get: Get, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert body(get(web.serve("/a", b"picture"))) == b"picture"


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(get: Get, web: Web, status: int) -> None:
    web.serve("/end", b"picture")
    assert body(get(web.redirect("/start", "/end", status))) == b"picture"


def chain(web: Web, length: int) -> str:
    web.serve(f"/{length}", b"picture")
    for i in range(length):
        web.redirect(f"/{i}", f"/{i + 1}")
    return web.url("/0")


def test_five_redirects_are_followed_and_six_are_not(get: Get, web: Web) -> None:
    start = chain(web, 6)
    result = refused(get(start))
    assert (result.code, "more than 5 redirects" in result.detail) == ("too_many_redirects", True)
    assert body(get(start.replace("/0", "/1"))) == b"picture"


def test_a_loop_of_redirects_ends(get: Get, web: Web) -> None:
    web.redirect("/b", "/a")
    assert refused(get(web.redirect("/a", "/b"))).code == "too_many_redirects"
    assert len(web.asked) == 6


def test_a_redirect_without_a_location_is_rejected_by_its_status(get: Get, web: Web) -> None:
    assert refused(get(web.serve("/a", status=302))).code == "http_status"


@pytest.mark.parametrize(
    "to",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://x/", "http://[", "http://", "data:,x",
        "http://127.0.0.1:99999999/", "http://x:port/", "//[::1", "http://\x7f/", "http://127.0.0.1:0/",
        "javascript:alert(1)", "http://a b/",
    ],
)  # fmt: skip
def test_a_redirect_to_an_invalid_url_is_rejected(get: Get, web: Web, to: str) -> None:
    assert refused(get(web.redirect("/a", to))).code == "bad_location"
