"""Odd replies that other clients accept are accepted; the others have a code."""

from tests.pipeline.fetch.conftest import Fetched, Get
from tests.pipeline.fetch.odd_replies import BODY, REPLIES, serving


def test_odd_replies_give_the_body_or_their_code(get: Get) -> None:
    with serving() as urls:
        actual = get.all(list(urls.values()), max_attempts=1)
    for name, result in zip(urls, actual, strict=True):
        code = REPLIES[name][1]
        if code is None:
            assert isinstance(result, Fetched), (name, result)
            assert result.data == BODY, name
        else:
            assert not isinstance(result, Fetched), name
            assert result.code == code, (name, result)
