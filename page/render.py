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


def content_security_policy(images: str = "data:", form: str = "'none'") -> str:
    """Return the Content-Security-Policy of a page: style and script by digest, the given images, nothing else."""
    style, script = _digest(_asset("page.css")), _digest(_asset("page.js"))
    return (
        f"default-src 'none'; img-src {images}; style-src {style}; script-src {script}; "
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
