"""What all search providers have in common, and how their answers are read; this module does not use the network.

A provider maps a query to the parameters of its first page, and an answer to candidates and the parameters of the next page.
"""

import html
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import UsageError
from pipeline.fetch.urls import is_web_url

# Formats of the decoder, as media types and as file extensions.
_READABLE = ("jpeg", "jpg", "png", "gif", "webp", "bmp", "avif")
_MAX_TEXT, _MAX_URL = 500, 2000
_MAX_ENCODED = 4000  # characters of HTML text; html.unescape fails for numbers of more than 4,300 digits
_MARKUP = re.compile(r"<[^<>]*>")
MAX_PARAMETERS = 4000  # characters of the parameters of the next page

Parameters = dict[str, str]


@dataclass(frozen=True)
class Candidate:
    """One search result; a field that the provider does not give is empty."""

    url: str
    license: str = ""
    license_url: str = ""
    creator: str = ""
    landing_url: str = ""
    title: str = ""


@dataclass(frozen=True)
class ResultPage:
    """The candidates of one page in order, None for unusable ones, and the parameters of the next page."""

    candidates: list[Candidate | None]
    next: Parameters | None


class BadAnswerError(Exception):
    """The answer of the provider does not have its documented form."""


class Provider(ABC):
    """One search provider."""

    endpoint: str
    pause: float
    """Seconds between two requests, by its terms or its limit for users without an account."""
    required: tuple[str, ...] = ()
    """Environment variables that must be set."""
    optional: tuple[str, ...] = ()
    """Other environment variables that it uses."""
    temporary_errors: tuple[str, ...] = ()
    """Codes of errors, sent with HTTP status 200, after which the same request may succeed."""
    notice: str = ""
    """What a user should know before the search, printed once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        missing = [name for name in self.required if not environment.get(name)]
        if missing:
            raise UsageError(
                f"set {' and '.join(missing)} in the environment (see docs/how-to/web-images.md)"
            )
        for name in (*self.required, *self.optional):
            value = environment.get(name, "")
            if not (value.isascii() and value.isprintable()):
                raise UsageError(
                    f"{name}: the value has characters that an HTTP header cannot carry; set it again without them"
                )

    @abstractmethod
    def first(self, query: str) -> Parameters:
        """Return the parameters of the first page of a query."""

    @abstractmethod
    def read(self, answer: Any, parameters: Parameters) -> ResultPage:
        """Return a page, given the JSON of the answer and the parameters of the request. Raises BadAnswerError."""

    def headers(self) -> dict[str, str]:
        """Return headers with secrets, which must not be in URLs, since these appear in logs and messages."""
        return {}

    def account(self) -> Parameters:
        """Return parameters of every request that belong to the account of the user, and are not stored."""
        return {}

    def error(self, answer: Any) -> str | None:  # noqa: ARG002 – for those that override it
        """Return an error that was sent with HTTP status 200, as a code and perhaps a message, or None."""
        return None


def items(answer: Any, name: str, *, absent_ok: bool = False) -> list[dict[str, Any]]:
    """Return a field that must be a list of objects. Raises BadAnswerError if it is not."""
    items = answer.get(name, [] if absent_ok else None) if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadAnswerError(f"{name!r} is not a list of objects")
    return items


def inner(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a field that is an object, empty if it is missing or none."""
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def text_of(item: Mapping[str, Any], name: str) -> str:
    """Return a field as one line of at most 500 characters, empty if it is missing or not text."""
    return _line(item, name)[:_MAX_TEXT]


def url_of(item: Mapping[str, Any], name: str) -> str:
    """Return a field as a URL of at most 2,000 characters, empty if it is missing, not text, or longer: a URL is never cut."""
    line = _line(item, name)
    return line if len(line) <= _MAX_URL else ""


def text_of_html(item: Mapping[str, Any], name: str) -> str:
    """Return the text of a field in HTML, as metadata of Wikimedia Commons are, with the limit of text_of.

    The markup is removed before the text is cut, since a link may be longer than the limit.
    """
    text = _MARKUP.sub(" ", _line(item, name))
    text = _printable(html.unescape(text[:_MAX_ENCODED]))
    return " ".join(text.split())[:_MAX_TEXT]


def _line(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return _printable(value) if isinstance(value, str) else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()


def number(value: Any) -> int:
    """Return a field that is a whole number, 0 if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def usable(candidate: Candidate, image_format: str) -> Candidate | None:
    """Return the candidate if its URL can be fetched and its format, if given, can be decoded; else None."""
    if image_format and image_format.lower() not in _READABLE:
        return None
    return candidate if is_web_url(candidate.url) else None
