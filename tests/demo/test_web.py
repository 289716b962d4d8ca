import http.client
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from demo.web import Page, serve

PAGES = {
    "a/b c.png": b"png",
    "gone.jpg": Page(b"gone", 410),
    "fake.jpg": Page(b"<p>", 200, {"Content-Type": "text/html"}),
}


def test_serves_pages_with_the_content_type_of_their_name():
    with serve(PAGES) as base_url, urlopen(f"{base_url}/a/b%20c.png?x=1") as answer:
        assert answer.read() == b"png"
        assert answer.headers["Content-Type"] == "image/png"


def test_headers_of_a_page_win():
    with serve(PAGES) as base_url, urlopen(f"{base_url}/fake.jpg") as answer:
        assert answer.headers.get_all("Content-Type") == ["text/html"]


@pytest.mark.parametrize(("path", "status"), [("gone.jpg", 410), ("never.jpg", 404), ("", 404)])
def test_answers_with_the_status(path, status):
    with serve(PAGES) as base_url, pytest.raises(HTTPError) as raised:
        urlopen(f"{base_url}/{path}")
    assert raised.value.code == status


def test_serves_a_folder_and_nothing_outside_it(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "one.jpg").write_bytes(b"one")
    with serve(tmp_path / "site") as base_url:
        assert urlopen(f"{base_url}/one.jpg").read() == b"one"
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc)
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/"):
            connection.request("GET", path)  # on one connection: it is kept alive
            answer = connection.getresponse()
            assert answer.status == 404
            assert b"secret" not in answer.read()
        connection.close()


def test_stops_with_connections_still_open():
    with serve(PAGES) as base_url:
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc)
        connection.request("GET", "/a/b%20c.png")
        connection.getresponse().read()
    connection.close()
    with pytest.raises(OSError, match="refused"):
        urlopen(base_url)
