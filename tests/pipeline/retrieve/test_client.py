"""Failures of a provider: temporary ones are retried, others reported in one line without secrets."""

import email.utils
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.retrieve import client
from tests.pipeline.retrieve.answers import (
    brave_error,
    flickr,
    flickr_error,
    flickr_photo,
    google,
    google_error,
    google_item,
    openverse,
    openverse_image,
    wikimedia,
    wikimedia_error,
    wikimedia_page,
)
from tests.pipeline.retrieve.conftest import KEYS, Answer, Replay, Search

BUSY: Answer = (429, {"Retry-After": "0"}, {"detail": "Request was throttled."})


@pytest.mark.parametrize(
    "trouble",
    [
        [BUSY],
        [(503, {}, b"<html>busy</html>")],
        [(0, {}, b"")],
        [(429, {"Retry-After": email.utils.formatdate(usegmt=True)}, {})],
        [(429, {"Retry-After": "soon"}, {}), (500, {}, {}), (502, {}, {}), BUSY],
    ],
    ids=["429", "503", "hangs up", "a date", "four times"],
)
def test_temporary_failures_are_retried(search: Search, replay: Replay, trouble: list[Answer]) -> None:
    replay.in_turn(*trouble, openverse([openverse_image("a")]))
    assert search("openverse", 1) == 0
    assert (len(search.rows()), len(replay.asked)) == (1, len(trouble) + 1)


@pytest.mark.parametrize("code", ["maxlag", "ratelimited"])
def test_temporary_errors_of_mediawiki_are_retried(search: Search, replay: Replay, code: str) -> None:
    replay.in_turn(wikimedia_error(code), wikimedia([wikimedia_page("a", 1)]))
    assert search("wikimedia", 1) == 0


def test_retry_after_is_obeyed(search: Search, replay: Replay) -> None:
    replay.in_turn((429, {"Retry-After": "1"}, {}), openverse([openverse_image("a")]))
    start = time.monotonic()
    assert search("openverse", 1) == 0
    assert time.monotonic() - start >= 1


def test_attempts_are_limited(search: Search, replay: Replay) -> None:
    replay.in_turn(BUSY)
    assert search("openverse", 1) == 1
    assert len(replay.asked) == client.MAX_ATTEMPTS
    assert "HTTP 429: Request was throttled., after 5 attempts; run the same command later" in search.told.err


def test_a_long_retry_after_ends_the_search(search: Search, replay: Replay) -> None:
    replay.in_turn((429, {"Retry-After": "86400"}, {"detail": "Daily limit."}))
    assert search("openverse", 1) == 1
    assert len(replay.asked) == 1
    assert "asks to wait 86400 s" in search.told.err


@pytest.mark.parametrize(
    ("provider", "answer", "message"),
    [
        ("openverse", (400, {}, {"error": "InputError", "detail": "Invalid input given for fields."}), "HTTP 400: Invalid"),
        ("openverse", (401, {}, {"detail": "Authentication credentials were not provided."}), "HTTP 401: Authentication"),
        ("openverse", (302, {"Location": "http://169.254.169.254/"}, {}), "HTTP 302"),
        ("openverse", (200, {}, b"<html>login</html>"), "not in its documented form"),
        ("openverse", (200, {}, b"[" * 100_000), "not in its documented form"),
        ("openverse", (200, {}, {"results": "many"}), "'results' is not a list of objects"),
        ("openverse", (200, {}, {"results": [1, None]}), "'results' is not a list of objects"),
        ("openverse", (200, {}, b"null"), "not in its documented form"),
        ("openverse", (200, {}, b" " * 10_000_001), "larger than any page of results"),
        ("wikimedia", (200, {}, {"query": {"pages": {"-1": {}}}}), "'pages' is not a list of objects"),
        ("wikimedia", (200, {}, {"query": [1]}), "not in its documented form"),
        ("wikimedia", wikimedia_error("invalidparammix"), "invalidparammix"),
        ("google", (200, {}, {"items": {"link": "x"}}), "'items' is not a list of objects"),
        ("google", (200, {}, {"items": [{}], "queries": 7}), "not in its documented form"),
        ("google", google_error(403, "Requests to this API are blocked.", "PERMISSION_DENIED"), "HTTP 403: Requests to"),
        ("brave", brave_error(422, "The provided subscription token is invalid.", "SUBSCRIPTION_TOKEN_INVALID"), "HTTP 422: The provided"),
        ("brave", (200, {}, {"results": {}}), "'results' is not a list of objects"),
        ("flickr", flickr_error(100, "Invalid API Key (Key has invalid format)"), "100 Invalid API Key"),
        ("flickr", (200, {}, {"stat": "ok"}), "'photo' is not a list of objects"),
    ],
)  # fmt: skip
def test_permanent_failures_are_reported_in_one_line(
    search: Search,
    replay: Replay,
    provider: str,
    answer: Answer,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    replay.in_turn(answer)
    assert search(provider, 5) == 1
    assert message in search.told.err
    assert "Traceback" not in search.told.err
    assert len(replay.asked) == 1
    assert not search.output.exists()


@pytest.mark.parametrize(
    "location",
    [
        "http://xn--a.example/x.jpg",
        "https://[v1.a]*:1@",
        "http://[",
        "//",
        "http://\xff/",
        "http://x:99999/",
        "\x01",
        "",
    ],
)
def test_redirects_are_not_followed(search: Search, replay: Replay, location: str) -> None:
    replay.in_turn((302, {"Location": location}, {}))
    assert search("openverse", 1) == 1
    assert search.told.err.startswith(f"error: {replay.endpoint}: ")
    assert "Traceback" not in search.told.err


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://xn--a.example/", "unknown host (xn--a.example"),
        ("http://nobody.invalid/", "unknown host (nobody.invalid"),
        ("http://127.0.0.1:1/", "the connection failed ("),
    ],
)
def test_an_unreachable_endpoint_is_reported(
    search: Search, replay: Replay, endpoint: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_ATTEMPTS", 1)
    replay.endpoint = endpoint
    assert search("openverse", 1) == 1
    assert search.told.err.startswith(f"error: {endpoint}: {message}")
    remedy = "check the address and the network, then run the same command later to continue the search"
    assert search.told.err.endswith(f", after 1 attempt; {remedy}\n")


def test_a_refused_certificate_is_reported_at_once(
    search: Search, replay: Replay, secure: Callable[[bool], int]
) -> None:
    replay.endpoint = f"https://127.0.0.1:{secure(False)}/"
    assert search("openverse", 1) == 1
    assert search.told.err == (
        f"error: {replay.endpoint}: the certificate is refused (self-signed certificate); "
        "check the address, and the clock and certificates of this machine\n"
    )


def test_a_connection_that_is_closed_early_is_reported(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_ATTEMPTS", 2)
    replay.in_turn((200, {"Content-Length": "100"}, b'{"results": '))
    assert search("openverse", 1) == 1
    assert "failed (the connection ended within the body), after 2 attempts; check the" in search.told.err


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
        ("", bytes),
        ("utf-8", bytes),
    ],
)
def test_compressed_answers_are_decompressed(
    search: Search, replay: Replay, encoding: str, pack: Callable
) -> None:
    answer = json.dumps(openverse([openverse_image("a")])[2]).encode()
    replay.in_turn((200, {"Content-Encoding": encoding}, pack(answer)))
    assert search("openverse", 1) == 0
    assert len(search.rows()) == 1


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_a_compression_bomb_is_rejected(search: Search, replay: Replay, layers: int) -> None:
    data = bytes(50_000_000)
    for _ in range(layers):
        data = gzip.compress(data, 1)
    replay.in_turn((200, {"Content-Encoding": ", ".join(["gzip"] * layers)}, data))
    assert search("openverse", 1) == 1
    assert "larger than any page of results" in search.told.err


@pytest.mark.parametrize(
    ("encoding", "data"), [("gzip", b"junk"), (", ".join(["gzip"] * 6), b"x"), ("deflate", b"\xff" * 99)]
)
def test_a_damaged_compressed_answer_is_reported(
    search: Search, replay: Replay, encoding: str, data: bytes
) -> None:
    replay.in_turn((200, {"Content-Encoding": encoding}, data))
    assert search("openverse", 1) == 1
    assert "the answer cannot be read" in search.told.err


def test_a_slow_answer_times_out(search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(client, "MAX_ATTEMPTS", 2)

    def slow(_: dict[str, str]) -> Answer:
        time.sleep(1)
        return (200, {}, {})

    replay.answer = slow
    assert search("openverse", 1) == 1
    assert "no complete answer in time, after 2 attempts; run the same command later" in search.told.err


def test_the_total_wait_of_a_search_is_limited(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wait for each page is no more than any provider may ask for; a thousand pages would make it a day."""
    monkeypatch.setattr(client, "MAX_TOTAL_WAIT_SECONDS", 3.0)
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    pages = [openverse([openverse_image(str(i))], i, 1000) for i in range(1, 100)]
    replay.in_turn(*[answer for page in pages for answer in ((429, {"Retry-After": "1"}, {}), page)])
    assert search("openverse", 90) == 1
    assert "HTTP 429" in search.told.err
    assert len(replay.asked) == 7  # the fourth wait is one too many


def test_fields_of_other_types_are_empty(search: Search, replay: Replay) -> None:
    odd: dict[str, Any] = {
        "license": 7,
        "creator": {"name": "x"},
        "foreign_landing_url": None,
        "license_url": [1],
    }
    replay.in_turn(openverse([openverse_image("a", **odd, filetype=3, license_version=True)]))
    assert search("openverse", 1) == 0
    row = search.rows()[0]
    assert [row[name] for name in ("license", "creator", "landing_url", "license_url")] == [""] * 4


def test_an_empty_page_ends_a_query(search: Search, replay: Replay) -> None:
    replay.answer = lambda asked: openverse([], int(asked["page"]), 10**9)
    assert search("openverse", 5) == 0
    assert len(replay.asked) == 1


@pytest.mark.parametrize("pause", ["inf", "nan", "-3", "1e9"])
def test_a_pause_out_of_range_is_a_usage_error(search: Search, replay: Replay, pause: str) -> None:
    assert search("openverse", 1, f"--pause={pause}") == 2
    assert search.told.err == (
        f"error: --pause {float(pause):g}: give a number of seconds from 0 to 2,592,000\n"
    )
    assert replay.asked == []


def test_a_key_that_no_header_can_carry_is_a_usage_error(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENVERSE_TOKEN", "secret\r\nHost: other.example")
    assert search("openverse", 1) == 2
    assert search.told.err.startswith("error: OPENVERSE_TOKEN: ")
    assert "secret" not in search.told.err
    assert replay.asked == []


def test_no_key_is_printed_written_or_put_into_a_url(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    echo = f"key {KEYS['GOOGLE_API_KEY']} of {KEYS['GOOGLE_CSE_ID']} is over its quota"
    replay.in_turn(google([google_item("a")], 11), google_error(403, echo, "RESOURCE_EXHAUSTED"))
    assert search("google", 5) == 1
    kept = "".join(path.read_text() for path in search.folder.iterdir())
    for text in (kept, search.told.err, search.told.out):
        assert not [value for value in KEYS.values() if value in text]
    assert KEYS["GOOGLE_API_KEY"] not in caplog.text + str(replay.asked)
    assert "key … of … is over its quota" in search.told.err
    search.output = search.folder / "other.csv"
    search("openverse", 5)
    assert replay.headers[-1]["authorization"] == "Bearer token-secret"


def test_an_unavailable_flickr_is_asked_again_and_its_key_appears_nowhere(
    search: Search, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLICKR_API_KEY", KEYS["FLICKR_API_KEY"])
    unavailable = flickr_error(105, f"Service currently unavailable for {KEYS['FLICKR_API_KEY']}")
    replay.in_turn(unavailable, flickr([flickr_photo(1)], 1, 2), unavailable)
    assert search("flickr", 5) == 1
    assert "105 Service currently unavailable for …" in search.told.err
    kept = "".join(path.read_text() for path in search.folder.iterdir())
    assert KEYS["FLICKR_API_KEY"] not in kept + search.told.err + search.told.out
