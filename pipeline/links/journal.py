"""Append the outcomes of one check to the ledger, each as soon as it is known."""

import json
from collections.abc import Mapping
from typing import IO, Any

from pipeline import files
from pipeline.fetch.url_fetcher import FetchedBody
from pipeline.ingest.formats import open_container
from pipeline.links.ledger import Check, lines_path, now, time_text
from pipeline.rejections import Rejected
from schemas.link_check import OUTCOMES

ROTATE_LINES = 1000  # of one file in an object store, which shows a file when it is closed
HEAD_BYTES = 64 << 10  # of a body, by which an image is recognized

_GONE = {"not_found", "http_status", "too_many_redirects", "bad_location", "empty", "not_an_image"}
_FORBIDDEN = {"robots_disallowed", "opted_out"}


def outcome_of(code: str) -> str:
    """Return the outcome of a URL that was rejected with this code."""
    if code in _GONE:
        return "gone"
    if code in _FORBIDDEN:
        return "forbidden"
    return "changed" if code == "too_large" else "unreachable"  # the image itself was within the limit


class CheckJournal:
    """Records the outcomes of one check (fetch_all.Recorder).

    expected: digest of the image of each URL, where one is known. listed: image_ids and class_names of each URL. part:
    number of the first file that is written.
    """

    def __init__(
        self,
        folder: str,
        check: Check,
        expected: Mapping[str, str],
        listed: Mapping[str, dict[str, list[str]]],
        part: int = 0,
    ) -> None:
        self._folder, self._check, self._part = folder, check, part
        self._expected, self._listed = expected, listed
        self._file: IO[bytes] | None = None
        self._written = 0

    def put(self, url: str, fetched: FetchedBody) -> dict[str, Any]:
        """Record what a URL gave."""
        expected, code = self._expected.get(url), None
        if fetched.sha256 == expected:
            outcome = "same"
        elif fetched.not_modified or begins_like_an_image(fetched.body):
            outcome = "changed" if expected else "first"
        else:
            outcome, code = "gone", "not_an_image"
        found = {
            "code": code,
            "status": fetched.stats.status,
            "sha256": fetched.sha256,
            "not_modified": fetched.not_modified,
            "final_url": fetched.headers["final_url"],
            "etag": None if code else fetched.etag,
        }
        return self._append(url, outcome, found)

    def put_failure(self, url: str, rejected: Rejected) -> dict[str, Any]:
        """Record why a URL gave no image."""
        status = rejected.stats.status if rejected.stats else None
        found = {"code": rejected.code, "detail": rejected.detail, "status": status, "not_modified": False}
        return self._append(url, outcome_of(rejected.code), found)

    def _append(self, url: str, outcome: str, found: dict[str, Any]) -> dict[str, Any]:
        assert outcome in OUTCOMES
        if self._file is None:
            self._file = files.open_append(lines_path(self._folder, self._check, self._part))
            self._file.write(_line(self._check.head))
            self._part, self._written = self._part + 1, 0
        row = {"url": url, "checked_at": time_text(now()), "outcome": outcome, **found}
        self._file.write(_line({**row, "expected_sha256": self._expected.get(url), **self._listed[url]}))
        self._written += 1
        if "://" in self._folder and self._written == ROTATE_LINES:
            self.close()
        return {}

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
        self._file = None


def begins_like_an_image(body: IO[bytes]) -> bool:
    """Return whether a body begins like an image file, and not like a web page."""
    body.seek(0)
    try:
        open_container(body.read(HEAD_BYTES))
    except Rejected as rejected:
        return rejected.code != "not_an_image"
    except Exception:  # a fault in the parser of a format, which reads only files that begin like this format
        return True
    return True


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"
