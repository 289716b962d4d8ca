"""Rendering of self-contained HTML pages: they load nothing, and only the script of this package runs."""

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from itertools import count
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from page.table import format_cell, sort_key
from page.text import is_link, visible_text


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@lru_cache
def _asset(name: str) -> str:
    return resources.files("page").joinpath(name).read_text(encoding="utf-8")


def content_security_policy(
    images: str = "data:", form: str = "'none'", connect: str = "", style: str = "", script: str = ""
) -> str:
    """Return the Content-Security-Policy of a page: style and script by digest, the given images, nothing else.

    connect: where the script may send requests to. style, script: texts of the page besides those of all pages.
    """
    styles, scripts = (
        " ".join(map(_digest, filter(None, texts)))
        for texts in ((_asset("page.css"), style), (_asset("page.js"), script))
    )
    connected = f"connect-src {connect}; " if connect else ""
    return (
        f"default-src 'none'; img-src {images}; style-src {styles}; script-src {scripts}; {connected}"
        f"base-uri 'none'; form-action {form}"
    )


@lru_cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible_text": visible_text, "format_cell": format_cell, "sort_key": sort_key}
    environment.tests["link"] = is_link
    return environment


def render(package: str, template: str, csp: str, **values: Any) -> str:
    """Fill a template of `package` that extends page.html. Equal values give equal bytes.

    All values are escaped. A missing value raises jinja2.UndefinedError.
    """
    numbers = count(1)
    text = _environment(package).get_template(template).render(
        page_policy=csp,
        page_style=_asset("page.css"),
        page_script=_asset("page.js"),
        number=lambda: next(numbers),  # for unique ids of elements
        **values,
    )  # fmt: skip
    return text + "\n"
