"""JSON state files are parsed strictly, and errors name the file and a remedy."""

from dataclasses import dataclass

import pytest

from common.errors import DataError
from common.json_records import parse_given, parse_stored, to_json


@dataclass(frozen=True)
class Kept:
    name: str
    share: float = 0.0
    counts: tuple[int, ...] = ()


def test_a_record_comes_back_and_only_the_keys_that_it_had() -> None:
    assert parse_stored(Kept, b'{"name": "a", "counts": [1, 2]}', "a.json", "") == Kept("a", counts=(1, 2))
    given = {"name": "a", "share": 1.0, "more": [1]}
    assert parse_given(Kept, '{"name": "a", "share": 1, "more": [1]}', "a.json", "") == given


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\0" * 40, "Expecting value"),
        (b'{"name": "a', "Unterminated string"),
        (b'{"name": "\xff"}', "invalid start byte"),
        (b'{"name": "a", "share": NaN}', "NaN is not a number"),
        (b'{"name": "a", "share": -Infinity}', "-Infinity is not a number"),
        (b'{"name": "a", "share": 1e999}', "1e999 is too large"),
        (b'{"name": "a", "counts": [1' + b"0" * 5000 + b"]}", "Exceeds the limit"),
        (b'{"name": "a", "counts": [1' + b"0" * 400 + b"]}", "64-bit integer"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "expected keys and values, got list"),
        (b"3", "expected keys and values, got int"),
        (b"{}", "the key 'name' is missing"),
        (b'{"name": 3}', "name: expected str, got 3"),
        (b'{"name": "a", "nmae": "b"}', "unknown key 'nmae'"),
    ],
)
def test_errors_name_the_problem_and_the_remedy(text: bytes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_stored(Kept, text, "a.json", "delete it")
    message = str(caught.value)
    assert message.startswith("a.json: damaged (")
    assert message.endswith("; delete it")
    assert problem in message
    assert "--set" not in message


def test_what_json_cannot_say_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"share": float("nan")})
