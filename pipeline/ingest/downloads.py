"""Download files and stored bodies from object stores concurrently, shortly before they are decoded."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from pipeline import files
from pipeline.ingest.process_image import ImageRejection, ImageRequest
from pipeline.ingest.source_folder import SourceFolder
from pipeline.rejections import Rejected

THREADS = 32  # a thread waits for the network most of the time
AHEAD = 2 * THREADS


class Downloads:
    """A temporary folder with a file for each download. Requests for local files pass through unchanged.

    `discard` removes a file once its image is processed, so the folder never holds a whole bucket.
    """

    def __init__(self, source: str, max_bytes: int) -> None:
        self._source = SourceFolder(source, max_bytes)
        self._folder = TemporaryDirectory(prefix="downloads-")
        self._threads = ThreadPoolExecutor(THREADS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._folder.cleanup()

    def fetch(
        self, requests: Iterable[tuple[int, ImageRequest]]
    ) -> Iterator[tuple[int, ImageRequest | ImageRejection]]:
        """Yield each request, in the same order, with its remote file replaced by the downloaded one.

        The numbers are all different.
        """
        pending: deque[tuple[int, ImageRequest, Future[ImageRequest | ImageRejection] | None]] = deque()
        remaining = iter(requests)
        while True:
            for number, request in islice(remaining, AHEAD - len(pending)):
                is_remote = "://" in request.path if request.offset is not None else self._source.is_remote
                future = self._threads.submit(self._download, number, request) if is_remote else None
                pending.append((number, request, future))
            if not pending:
                return
            number, request, future = pending.popleft()
            yield number, future.result() if future else request

    def discard(self, number: int) -> None:
        """Remove the downloaded file of a request, if it has one."""
        with suppress(FileNotFoundError):
            os.remove(self._path(number))

    def _path(self, number: int) -> str:
        return os.path.join(self._folder.name, str(number))

    def _download(self, number: int, request: ImageRequest) -> ImageRequest | ImageRejection:
        try:
            data = self._read(request)
        except Rejected as rejected:
            return ImageRejection(rejected.code, rejected.detail)
        path = self._path(number)
        with open(path, "xb") as file:
            file.write(data)
        return replace(request, path=path, offset=0, length=len(data))

    def _read(self, request: ImageRequest) -> bytes:
        if request.offset is None:
            return self._source.read(request.path)
        (body,) = files.read_ranges([(request.path, request.offset, request.length)])
        return body or b""  # a missing body: its digest will not match
