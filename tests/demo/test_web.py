import http.client
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from demo.web import WebResponse, serve

PAGES = {
    "a/b c.png": WebResponse(b"png"),
    "gone.jpg": WebResponse(b"gone", 410),
    "fake.jpg": WebResponse(b"<p>", 200, {"Content-Type": "text/html"}),
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


def test_stops_with_connections_still_open():
    with serve(PAGES) as base_url:
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc)
        for _ in range(2):  # on one connection: it is kept alive
            connection.request("GET", "/a/b%20c.png")
            assert connection.getresponse().read() == b"png"
    connection.close()
    with pytest.raises(OSError, match="refused"):
        urlopen(base_url)
