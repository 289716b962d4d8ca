import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.vote.load import LoadedVote, VoteOptions, load
from pipeline.vote.server import MAX_BODY
from tests.pipeline.small_world import World
from tests.pipeline.vote.desk import Ask, served

TOKEN = "t0ken-of-this-run"


@pytest.fixture
def loaded(built: Path, world: World, tmp_path: Path) -> LoadedVote:
    from pipeline.config import load_config

    config = load_config(str(world.config), ["votes=[]"])
    return load(VoteOptions(str(built), str(tmp_path / "new.csv"), config))


def test_a_vote_by_http(loaded: LoadedVote, built: Path, tmp_path: Path) -> None:
    async def talk(ask: Ask, port: int) -> None:
        status, headers, page = await ask("/")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'; img-src 'self' data:;" in policy
        assert "connect-src 'self'" in policy
        assert "unsafe" not in policy
        assert policy.endswith("frame-ancestors 'none'")
        assert headers["Referrer-Policy"] == "no-referrer"
        assert b"web-ant" not in page
        status, headers, body = await ask("/api/start", "POST", {"worker": "anna"})
        reply = json.loads(body)
        assert (status, headers["Cache-Control"], len(reply["questions"])) == (200, "no-store", 4)
        current = reply["questions"][0]
        status, headers, image = await ask(f"/image/{current['image']}")
        assert (status, headers["Content-Type"], image[:4]) == (200, "image/png", b"\x89PNG")
        assert headers["Cache-Control"].startswith("private")
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        vote = {
            "worker": "anna",
            "question": current["id"],
            "answer": "no",
            "milliseconds": 1234,
            "request": "a",
        }
        for _ in range(2):
            status, _, body = await ask("/api/answer", "POST", vote)
            assert status == 200
        assert json.loads(body)["undo"] == current
        assert (tmp_path / "new.csv").read_text().count("anna,no") == 1
        assert ",1.234," in (tmp_path / "new.csv").read_text()
        status, _, body = await ask("/api/answer", "POST", vote | {"answer": "yes", "request": "b"})
        assert (status, "before" in json.loads(body)["error"]) == (409, True)
        _, _, body = await ask("/api/progress")
        assert sum(one["done"] for one in json.loads(body)["classes"]) == 1
        assert (await ask("/api/undo", "POST", {"worker": "anna", "question": current["id"]}))[0] == 200
        assert (tmp_path / "new.csv").read_text().count("\n") == 1

    served(loaded, built, talk)


def test_requests_of_other_pages_are_refused(loaded: LoadedVote, built: Path, tmp_path: Path) -> None:
    vote = {
        "worker": "anna",
        "question": f"{int(loaded.service.questions.keys[0]):016x}",
        "answer": "no",
        "request": "a",
    }

    async def talk(ask: Ask, port: int) -> None:
        for origin in (
            "http://evil.example",
            f"http://127.0.0.1:{port + 1}",
            "null",
            "",
            f"http://localhost:{port}",
        ):
            assert (await ask("/api/answer", "POST", vote, Origin=origin))[0] == 403, origin
        assert (await ask("/api/answer", "POST", vote, Sec_Fetch_Site="cross-site"))[0] == 403
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonx",
        ):
            assert (await ask("/api/answer", "POST", vote, Content_Type=kind))[0] == 415, kind
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", "", f"[::1]:{port}"):
            assert (await ask("/api/answer", "POST", vote, Host=host, Origin=f"http://{host}"))[0] == 421, (
                host
            )
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            assert (await ask("/api/answer", method))[0] == 405
        _, headers, _ = await ask("/api/answer", "OPTIONS", Origin="http://evil.example")
        assert not [name for name in headers if name.lower().startswith("access-control")]

    served(loaded, built, talk)
    assert (tmp_path / "new.csv").read_text().count("\n") == 1


def test_hostile_bodies_are_refused(loaded: LoadedVote, built: Path, tmp_path: Path) -> None:
    key = f"{int(loaded.service.questions.keys[0]):016x}"
    good = {"worker": "anna", "question": key, "answer": "no", "request": "a"}
    wrong: list[tuple[Any, int]] = [
        (b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b"\xff\xfe", 400), (b"[" * 4000, 400), (b'{"worker": ' + b"1" * 3000 + b"}", 400),
        (b'{"worker": "' + b"x" * MAX_BODY + b'"}', 413), ({}, 400), (good | {"worker": 7}, 400), (good | {"worker": ["anna"]}, 400),
        (good | {"worker": "x" * 2000}, 400), (good | {"worker": "\ud800"}, 400), (good | {"worker": "a\nb"}, 400), (good | {"worker": ""}, 400),
        (good | {"question": "../../etc/passwd"}, 404), (good | {"question": "0" * 16}, 404), (good | {"question": key.upper() + "g"}, 404),
        (good | {"question": "٠" * 16}, 404), (good | {"answer": "YES"}, 400), (good | {"answer": None}, 400), (good | {"seen_class": "<b>"}, 400),
        (good | {"seen_class": 1}, 400), (good | {"milliseconds": "1"}, 400), (good | {"milliseconds": True}, 400), (good | {"request": None}, 400),
    ]  # fmt: skip

    async def talk(ask: Ask, _port: int) -> None:
        for body, expected in wrong:
            assert (await ask("/api/answer", "POST", body))[0] == expected, body
        for path in (
            "/image/",
            "/image/0",
            "/image/" + "0" * 16,
            "/image/" + "Z" * 16,
            "/image/..%2f..%2fetc%2fpasswd",
            "/vote.js",
            "/api/none",
        ):
            assert (await ask(path))[0] in (404, 405), path
        hostile = "<img src=x onerror=alert(1)>"
        status, headers, body = await ask("/api/start", "POST", {"worker": hostile})
        assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert (await ask("/api/answer", "POST", good | {"worker": hostile}))[0] == 200
        assert (await ask("/api/answer", "POST", good | {"worker": '=cmd|"x"!A1', "milliseconds": 10**300}))[
            0
        ] == 200

    served(loaded, built, talk)
    lines = (tmp_path / "new.csv").read_text().splitlines()[1:]
    assert [("<img" in line, "\"'=cmd|" in line) for line in lines] == [(True, False), (False, True)]


def test_other_machines_need_the_token(loaded: LoadedVote, built: Path) -> None:
    async def talk(ask: Ask, port: int) -> None:
        paths = (
            "/",
            "/api/progress",
            f"/image/{'0' * 16}",
            "/api/start",
            "/?token=",
            "/?token=wrong",
            f"/?token={TOKEN}x",
            "/?token=%00%C3%A9",
        )
        for path in paths:
            status, headers, body = await ask(path)
            assert (status, b"complete link" in body) == (403, True), path
            assert TOKEN not in str(headers)
        for cookie in ("", "vote=x", f"vote-{port}=", f"vote-{port}=wrong", f"vote-{port + 1}={TOKEN}"):
            assert (await ask("/", Cookie=cookie))[0] == 403
            assert (await ask("/api/start", "POST", {"worker": "anna"}, Cookie=cookie))[0] == 403
        status, headers, body = await ask(f"/?token={TOKEN}")
        assert (status, headers["Location"], body) == (303, "/", b""), "the token leaves the address bar"
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert headers["Referrer-Policy"] == "no-referrer"
        session = cookie.partition(";")[0]
        status, headers, body = await ask("/", Cookie=session)
        assert status == 200
        assert TOKEN.encode() not in body
        assert (await ask("/api/start", "POST", {"worker": "anna"}, Cookie=session))[0] == 200
        assert (
            await ask("/api/start", "POST", {"worker": "anna"}, Cookie=session, Origin="http://evil.example")
        )[0] == 403
        for host, expected in (
            (f"192.0.2.5:{port}", 200),
            (f"[2001:db8::1]:{port}", 200),
            (f"evil.example:{port}", 421),
            ("192.0.2.5", 421),
        ):
            assert (await ask("/", Cookie=session, Host=host))[0] == expected, host

    served(loaded, built, talk, TOKEN)


def test_a_vote_that_cannot_be_stored_is_not_acknowledged(
    loaded: LoadedVote, built: Path, tmp_path: Path
) -> None:
    async def talk(ask: Ask, _port: int) -> None:
        (tmp_path / "new.csv").unlink()
        key = f"{int(loaded.service.questions.keys[0]):016x}"
        vote = {"worker": "anna", "question": key, "answer": "no", "request": "a"}
        status, _, body = await ask("/api/answer", "POST", vote)
        assert status == 503
        assert "was removed" in json.loads(body)["error"]
        _, _, body = await ask("/api/start", "POST", {"worker": "anna"})
        assert json.loads(body)["progress"]["own"] == 0

    served(loaded, built, talk)
