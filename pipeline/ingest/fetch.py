"""Fetches the bytes of one image, from below the base folder or over http(s), up to a limit."""

import os
import time

import httpx

from pipeline import files
from pipeline.config import IngestConfig
from pipeline.ingest.guard import check_path, check_url
from pipeline.rejections import Rejected
from schemas.errors import DataError

USER_AGENT = "controlled-noise/0.1 (builds datasets of images for research)"
MAX_REDIRECTS = 5
DOWNLOAD_TIMEOUTS = (
    30  # a whole download may take so many timeouts: a server that drips holds no thread for long
)


class Fetcher:
    """Fetches by path or by URL; keeps its connections open between images, and is safe to use from threads."""

    def __init__(self, base: str, config: IngestConfig) -> None:
        self._base = base
        self._real_base = os.path.realpath(base) + os.sep
        self._config = config
        limits = httpx.Limits(
            max_connections=config.fetch_threads, max_keepalive_connections=config.fetch_threads
        )
        # trust_env=False: a proxy or .netrc of the worker's environment is no business of a stranger's URL.
        self._client = httpx.Client(
            timeout=config.timeout_seconds,
            limits=limits,
            headers={"user-agent": USER_AGENT, "accept": "image/*", "accept-encoding": "identity"},
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(self, path: str | None, url: str | None) -> bytes:
        """The bytes at `path` (where it is given) or `url`. Raises Rejected with the reason."""
        data = self._from_path(path) if path else self._from_url(url or "")
        if not data:
            raise Rejected("empty", path or url or "")
        return data

    def _from_path(self, path: str) -> bytes:
        full = files.join(self._base, *check_path(path))
        if "://" not in full and not os.path.realpath(full).startswith(self._real_base):
            raise Rejected("bad_location", f"{path}: a link that leads out of the source folder")
        try:
            with files.open_read(full) as file:
                data = file.read(self._config.max_bytes + 1)
        except DataError as error:
            forbidden = isinstance(error.__cause__, PermissionError)
            raise Rejected("fetch_failed" if forbidden else "not_found", str(error)) from error
        except OSError as error:
            raise Rejected("fetch_failed", f"{path}: {error.strerror}") from error
        if len(data) > self._config.max_bytes:
            raise Rejected("too_large", f"{path}: more than {self._config.max_bytes} bytes")
        return data

    def _from_url(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            checked = check_url(url, self._config.allow_private_hosts)
            try:
                with self._client.stream("GET", checked) as response:
                    if response.has_redirect_location:
                        url = str(checked.join(response.headers["location"]))
                        continue
                    return self._body(response, url)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise Rejected("fetch_failed", f"{url}: {type(error).__name__} {error}") from error
        raise Rejected("fetch_failed", f"{url}: more than {MAX_REDIRECTS} redirects")

    def _body(self, response: httpx.Response, url: str) -> bytes:
        if response.status_code in (404, 410):
            raise Rejected("not_found", f"{url}: HTTP {response.status_code}")
        if response.status_code != 200:
            raise Rejected("http_status", f"{url}: HTTP {response.status_code}")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":  # unpacking would make of some bytes as many as a stranger likes
            raise Rejected("fetch_failed", f"{url}: content-encoding {encoding}, which was not asked for")
        data = bytearray()
        deadline = time.monotonic() + DOWNLOAD_TIMEOUTS * self._config.timeout_seconds
        for piece in response.iter_raw():
            data += piece
            if time.monotonic() > deadline:
                raise Rejected("fetch_failed", f"{url}: too slow, {len(data)} bytes so far")
            if len(data) > self._config.max_bytes:
                raise Rejected("too_large", f"{url}: more than {self._config.max_bytes} bytes")
        return bytes(data)
