"""Retry-After, robots.txt, and opt-outs."""

import datetime
import json
import time
from collections.abc import Callable
from email.utils import format_datetime

import pytest

from pipeline.fetch import robots
from pipeline.fetch.policies import TDM_FILE
from pipeline.fetch.robots import PathRules
from tests.pipeline.fetch.conftest import Get, Request, Web, body, refused

# Another try


def after(web: Web, path: str, *statuses: tuple[int, dict[str, str]]) -> str:
    """Answer with these statuses, one after the other, then with an image."""
    left = list(statuses)

    def answer(request: Request) -> None:
        status, headers = left.pop(0) if left else (200, {})
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(b"picture")

    return web.raw(path, answer)


def test_temporary_failures_are_retried_up_to_max_attempts(get: Get, web: Web) -> None:
    actual = get(after(web, "/a", (503, {}), (429, {})))
    assert (body(actual), actual.stats and actual.stats.attempts) == (b"picture", 3)
    actual = refused(get(after(web, "/b", (503, {}), (500, {}), (429, {}))))
    assert (actual.code, web.asked.count("/b")) == ("rate_limited", 3)
    assert refused(get(after(web, "/c", (503, {})), max_attempts=1)).code == "server_error"


def test_retry_after_pauses_all_requests_to_the_host(get: Get, web: Web) -> None:
    times: list[float] = []
    first = after(web, "/a", (429, {"Retry-After": "1"}))

    def answer(request: Request) -> None:
        times.append(time.monotonic())
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"x")

    start = time.monotonic()
    actual = get.all([first, web.raw("/b", answer)], host_concurrency=1)
    assert [body(result) for result in actual] == [b"picture", b"x"]
    assert times[0] - start > 0.9


@pytest.mark.parametrize("far", [True, False])
def test_retry_after_dates_are_read_and_long_waits_end_the_retries(get: Get, web: Web, far: bool) -> None:
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3600 if far else -5)
    actual = get(after(web, "/a", (503, {"Retry-After": format_datetime(when, usegmt=True)})))
    assert len(web.asked) == (1 if far else 2)
    assert (refused(actual).code if far else body(actual)) == ("server_error" if far else b"picture")


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "", "Mon, 99 Foo 2020"])
def test_an_invalid_retry_after_is_ignored(get: Get, web: Web, text: str) -> None:
    assert body(get(after(web, "/a", (503, {"Retry-After": text})))) == b"picture"


# What hosts wish


def test_robots_txt_is_requested_once_and_obeyed(get: Get, web: Web) -> None:
    rules = b"User-agent: *\nDisallow: /\n\nUser-agent: controlled-noise\nDisallow: /no\n"
    count = []

    def robots(request: Request) -> None:
        count.append(1)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(rules)

    web.raw("/robots.txt", robots)
    urls = [web.serve(f"/{name}", b"x") for name in ("yes", "yes2", "no/a")]
    actual = get.all(urls)
    assert [body(result) for result in actual[:2]] == [b"x", b"x"]
    assert refused(actual[2]).code == "robots_disallowed"
    assert (len(count), sorted(web.asked)) == (1, ["/yes", "/yes2"])
    assert body(get(urls[2], robots_txt=False)) == b"x"
    assert len(count) == 1


def test_the_robots_txt_of_a_redirect_target_is_obeyed(
    get: Get, web: Web, names: dict[str, list[str]]
) -> None:
    port = web.address.rsplit(":", 1)[1]
    names["other.test"] = ["127.0.0.1"]

    def robots(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(
            b"User-agent: *\nDisallow: /" + (b"" if "other" in request.headers["Host"] else b"x")
        )

    web.raw("/robots.txt", robots)
    actual = refused(get(web.redirect("/a", f"http://other.test:{port}/b")))
    assert (actual.code, web.asked) == ("robots_disallowed", ["/a"])


@pytest.mark.parametrize(
    ("status", "allowed"), [(404, True), (403, True), (401, True), (500, False), (503, False), (429, False)]
)
def test_a_missing_robots_txt_allows_and_an_unavailable_one_does_not(
    get: Get, web: Web, status: int, allowed: bool
) -> None:
    web.serve("/robots.txt", status=status)
    actual = get(web.serve("/a", b"x"))
    if allowed:
        assert body(actual) == b"x"
    else:
        assert refused(actual).code == "robots_disallowed"


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\x00", b"<html>", b"Disallow /", b"User-agent: *\nCrawl-delay: x"]
)
def test_an_invalid_robots_txt_allows(get: Get, web: Web, text: bytes) -> None:
    web.serve("/robots.txt", text)
    assert body(get(web.serve("/a", b"x"))) == b"x"


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226])
def test_rules_with_any_success_status_hold(get: Get, web: Web, status: int) -> None:
    web.serve("/robots.txt", b"User-agent: *\nDisallow: /\n", status)
    assert refused(get(web.serve("/a", b"x"))).code == "robots_disallowed"


OURS = [
    "controlled-noise", "Controlled-Noise", "CONTROLLED-NOISE", "controlled-noise/1.0", "controlled-noise # us",
    "controlled-noise (any version)", "controlled-noise*",
]  # fmt: skip
OTHERS = [
    "controlled", "controlled-", "c", "noise", "controlled-noise-bot", "controlled-noise2", "controlled-noise.bot",
    "controlled noise", "my-controlled-noise", "controlled_noise", "c*", "**", "*bot", "", "googlebot", "others",
    "controlled-noisé", "# controlled-noise",
]  # fmt: skip
WRITTEN = ["User-agent: {}", " user agent {}", "USERAGENT:{}", "user-agent\t{}", "User-Agent :  {}  "]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_group_is_matched_by_the_whole_product_token(written: str) -> None:
    """RFC 9309, section 2.2.1; the groups that name us together outweigh the one for everybody."""
    for name in OURS:
        for everybody in ("*", "* # all"):
            text = f"{written.format(everybody)}\nDisallow: /a\n\n{written.format(name)}\nDisallow: /b\n"
            rules = PathRules(text.encode())
            assert (rules.allow("http://x.test/a"), rules.allow("http://x.test/b")) == (True, False), text
    for name in OTHERS:
        text = (
            f"{written.format(name)}\nDisallow: /b\nCrawl-delay: 9\n\n{written.format('*')}\nDisallow: /a\n"
        )
        rules = PathRules(text.encode())
        assert (rules.allow("http://x.test/a"), rules.allow("http://x.test/b")) == (False, True), text
        assert rules.delay == 0
        assert PathRules(f"{written.format(name)}\nDisallow: /\n".encode()).allow("http://x.test/a")


def test_several_groups_for_us_are_one() -> None:
    text = b"User-agent: controlled-noise\nDisallow: /a\n\nUser-agent: x\nUser-agent: Controlled-Noise/2\nDisallow: /b\n"
    rules = PathRules(text + b"\nUser-agent: *\nDisallow: /c\n")
    assert [rules.allow(f"http://x.test/{path}") for path in "abc"] == [False, False, True]


def test_only_line_ends_end_a_rule() -> None:
    for cut in ("\u2028", "\x0b", "\x1c", "\x85"):
        rules = PathRules(f"User-agent: *\rDisallow: /a{cut}b\r\nDisallow: /c".encode())
        assert [rules.allow(f"http://x.test/{path}") for path in ("a", "ax", "c")] == [True, True, False]


def test_a_robots_txt_of_any_length_is_read_to_its_limit(get: Get, web: Web) -> None:
    rules = b"User-agent: *\nDisallow: /no\n"
    web.serve("/robots.txt", rules + b"# comment\n" * 100_000 + b"Disallow: /late\n")
    actual = get.all([web.serve("/no", b"x"), web.serve("/late", b"x")], max_bytes=100)
    assert (refused(actual[0]).code, body(actual[1])) == ("robots_disallowed", b"x")


def test_a_robots_txt_with_many_robots_is_fast() -> None:
    """Protego keeps each rule once for each robot of its group."""
    agents = "".join(f"User-agent: bot{i}\n" for i in range(500))
    seen = set(robots._normalize_groups(agents).splitlines())
    assert len(seen) == 1
    assert not PathRules(f"{agents}User-agent: *\nDisallow: /a\n".encode()).allow("http://x.test/a")


def test_long_urls_are_not_compared_with_thousands_of_wildcards() -> None:
    """The rules below would take a second for each URL of 8,000 characters, in which no other URL is fetched."""
    rules = PathRules(b"User-agent: *\n" + b"".join(b"Disallow: *bc%x\n" % i for i in range(20_000)))
    assert [rules.allow(f"http://x.test/{'b' * n}") for n in (100, 8000)] == [True, False]
    assert not rules.allow("http://x.test/bc4")
    rules = PathRules(b"User-agent: *\n" + b"".join(b"Disallow: *bc%x\n" % i for i in range(500)))
    assert rules.allow(f"http://x.test/{'b' * 8000}")
    reserved = [{"location": f"*bc{i}", "tdm-reservation": 1} for i in range(5000)]
    assert not robots.reservations(json.dumps(reserved).encode()).allow(f"http://x.test/{'b' * 8000}")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X_Robots_Tag", "noai"), ("X_Robots_Tag", "nofollow, NoImageAI"), ("X_Robots_Tag", "noindex"),
        ("X_Robots_Tag", "noimageindex"), ("X_Robots_Tag", "none"), ("X_Robots_Tag", "controlled-noise: noai"),
        ("X_Robots_Tag", "otherbot: nofollow, controlled-noise: noai"), ("TDM_Reservation", "1"),
    ],
)  # fmt: skip
def test_opt_outs_are_obeyed_unless_disabled(get: Get, web: Web, header: str, value: str) -> None:
    url = web.serve("/a", b"x", **{header: value})
    actual = refused(get(url))
    assert (actual.code, header.replace("_", "-") in actual.detail) == ("opted_out", True)
    assert body(get(url, opt_outs=False)) == b"x"


def test_tdmrep_json_is_requested_once_and_obeyed(get: Get, web: Web) -> None:
    rules = [
        {"location": "/art/*", "tdm-reservation": 1, "tdm-policy": "https://example.org/policy.json"},
        {"location": "/art/free/", "tdm-reservation": 0},
        {"location": "*.png$", "tdm-reservation": 1},
        {"location": "/line\nbreak", "tdm-reservation": 1}, {"location": 3}, "rubbish",
    ]  # fmt: skip
    count = []

    def reservations(request: Request) -> None:
        count.append(1)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(json.dumps(rules).encode())

    web.raw(TDM_FILE, reservations)
    free = [web.serve(path, b"x") for path in ("/a", "/art/free/b", "/c.png.jpg", "/line")]
    free.append(web.serve("/art/d", b"x", TDM_Reservation="0"))  # an answer's own word is the last one
    taken = [web.serve(path, b"x") for path in ("/art/e", "/f.png")]
    actual = get.all([*free, *taken])
    assert [body(result) for result in actual[: len(free)]] == [b"x"] * len(free)
    for result in actual[len(free) :]:
        assert (refused(result).code, TDM_FILE in refused(result).detail) == ("opted_out", True)
    assert len(count) == 1
    assert body(get(taken[0], opt_outs=False)) == b"x"


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"{}", b"[[1]]", b"[" * 100_000, b"\xff\xfe", b'[{"location": "/"}]']
)
def test_an_invalid_tdmrep_json_reserves_nothing(get: Get, web: Web, text: bytes) -> None:
    web.serve(TDM_FILE, text)
    assert body(get(web.serve("/a", b"x"))) == b"x"


def hang_up(request: Request) -> None:
    request.close_connection = True


def hang(request: Request) -> None:
    time.sleep(1)


def damage(request: Request) -> None:
    request.wfile.write(b"rubbish\r\n\r\n")


def cut_off(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[")


@pytest.mark.parametrize("answer", [hang_up, hang, damage, cut_off])
def test_a_tdmrep_json_that_times_out_reserves_nothing(
    get: Get, web: Web, answer: Callable[[Request], None]
) -> None:
    web.raw(TDM_FILE, answer)
    actual = get.all([web.serve(f"/{i}", b"x") for i in range(3)], timeout_seconds=0.3, max_attempts=1)
    assert [body(result) for result in actual] == [b"x"] * 3


@pytest.mark.parametrize(
    "to", ["http://10.0.0.1/", "http://nobody.invalid/", "http://[", "//127.0.0.1:1/", TDM_FILE]
)
def test_a_tdmrep_json_that_redirects_to_a_missing_page_reserves_nothing(get: Get, web: Web, to: str) -> None:
    web.redirect(TDM_FILE, to)
    actual = get(web.serve("/a", b"x"), timeout_seconds=0.3, max_attempts=1)
    assert body(actual) == b"x"


@pytest.mark.parametrize("status", [403, 410, 429, 503])
def test_an_unavailable_tdmrep_json_reserves_nothing(get: Get, web: Web, status: int) -> None:
    web.serve(TDM_FILE, status=status)
    assert body(get(web.serve("/a", b"x"))) == b"x"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X_Robots_Tag", "otherbot: noai, noindex"), ("X_Robots_Tag", "nofollow, all"), ("TDM_Reservation", "0"),
        ("X_Robots_Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST"), ("X_Robots_Tag", "max-snippet: 0"),
    ],
)  # fmt: skip
def test_headers_for_other_robots_are_ignored(get: Get, web: Web, header: str, value: str) -> None:
    assert body(get(web.serve("/a", b"x", **{header: value}))) == b"x"
