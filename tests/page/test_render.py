import base64
import hashlib
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from page import render
from page.render import content_security_policy
from page.table import Column, IntervalCell, Listing, PageTable, format_cell, sort_key


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with one template."""
    package = tmp_path / "some_package"
    (package / "templates").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "templates" / "one.html").write_text(
        '{% extends "page.html" %}{% import "parts.html" as parts with context %}'
        "{% block title %}{{ name }}{% endblock %}{% block content %}{{ parts.table(table) }}{% endblock %}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    render._environment.cache_clear()
    return "some_package"


HOSTILE = "<img src=x onerror=alert(1)>'\"&"


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_nothing_else(template: str) -> None:
    table = PageTable("t", [Column("c")], [(HOSTILE,)])
    text = render.render(template, "one.html", content_security_policy(), name=HOSTILE, table=table)
    for kind in ("style", "script"):
        [inline] = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src &#39;sha256-{digest}&#39;" in text
    assert "default-src &#39;none&#39;; img-src data:;" in text
    assert "unsafe" not in text
    assert "<img src=x" not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;&#39;&#34;&amp;") == 2
    assert text == render.render(template, "one.html", content_security_policy(), name=HOSTILE, table=table)


def test_a_value_that_is_forgotten_is_an_error(template: str) -> None:
    with pytest.raises(UndefinedError, match="table"):
        render.render(template, "one.html", content_security_policy(), name="x")


@pytest.mark.parametrize(
    ("value", "column", "text", "by"),
    [
        (1234, Column("", "count"), "1,234", 1234),
        (Listing(5, ("a",), "SELECT"), Column("", "count"), "5", 5),
        (0.123, Column("", "share"), "12.3 %", 0.123),
        (IntervalCell(0.5, 0.25, 0.75), Column("", "share"), "50.0 % [25.0, 75.0]", 0.5),
        (IntervalCell(0.094, 0.09, 0.1), Column("", "number", 2), "0.09 [0.09, 0.10]", 0.094),
        (IntervalCell(None), Column("", "share"), "–", None),
        (None, Column("", "count"), "–", None),
        ("a\u202eb", Column(""), "a\\u202eb", None),
    ],
)
def test_cells_are_formatted_by_the_kind_of_their_column(
    value: object, column: Column, text: str, by: object
) -> None:
    assert (format_cell(value, column), sort_key(value)) == (text, by)
