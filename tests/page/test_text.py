import pytest
from hypothesis import given
from hypothesis import strategies as st

from page.text import is_link, visible_text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("cat", "cat"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # escaped by the template
        ("a\u202ecod.exe", "a\\u202ecod.exe"),
        ("a\x00b\nc", "a\\x00b\\nc"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # Persian needs its joiner
        ("x" * 10_000, "x" * 120 + "… (10,000 characters)"),
    ],
)
def test_invisible_characters_are_escaped_and_long_text_is_truncated(text: str, seen: str) -> None:
    assert visible_text(text) == seen


@given(st.text())
def test_visible_text_has_no_control_characters_and_a_limited_length(text: str) -> None:
    seen = visible_text(text)
    assert not any(c in seen for c in "\x00\n\r\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    assert len(seen) <= 120 * len("\\U0010ffff") + 30


@pytest.mark.parametrize("url", ["http://a.example/x?y=1", "https://a.example", "HTTPS://a.example/"])
def test_http_addresses_are_links(url: str) -> None:
    assert is_link(url)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "\tjavascript:alert(1)", "data:text/html,x", "file:///etc/passwd",
        "//a.example", "http://", "http:///x", "http://[", "http://a.example/\u202etxt", "http://a b/", "vbscript:x", "",
    ],
)  # fmt: skip
def test_nothing_else_is(url: str) -> None:
    assert not is_link(url)
