"""Download files and stored bodies from object stores concurrently, shortly before they are decoded."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Self

from pipeline import files
from pipeline.ingest.process_image import ImageRejection, ImageRequest
from pipeline.ingest.source_folder import SourceFolder
from pipeline.rejections import Rejected

THREADS = 32  # a thread waits for the network most of the time
AHEAD = 2 * THREADS


class Downloads:
    """A temporary file of downloads. Requests for local files pass through unchanged."""

    def __init__(self, source: str, max_bytes: int) -> None:
        self._source = SourceFolder(source, max_bytes)
        self._spool = NamedTemporaryFile(prefix="bodies-")  # noqa: SIM115  closed by __exit__
        self._threads = ThreadPoolExecutor(THREADS)
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._spool.close()

    def fetch(
        self, requests: Iterable[tuple[int, ImageRequest]]
    ) -> Iterator[tuple[int, ImageRequest | ImageRejection]]:
        """Yield each request, in the same order, with its remote file replaced by the downloaded one."""
        pending: deque[tuple[int, ImageRequest, Future[bytes | ImageRejection] | None]] = deque()
        remaining = iter(requests)
        while True:
            for number, request in islice(remaining, AHEAD - len(pending)):
                is_remote = "://" in request.path if request.offset is not None else self._source.is_remote
                future = self._threads.submit(self._read, request) if is_remote else None
                pending.append((number, request, future))
            if not pending:
                return
            number, request, future = pending.popleft()
            if future is None:
                yield number, request
                continue
            result = future.result()
            yield number, result if isinstance(result, ImageRejection) else self._spooled(request, result)

    def _read(self, request: ImageRequest) -> bytes | ImageRejection:
        if request.offset is not None:
            (body,) = files.read_ranges([(request.path, request.offset, request.length)])
            return body or b""  # a missing body: its digest will not match
        try:
            return self._source.read(request.path)
        except Rejected as rejected:
            return ImageRejection(rejected.code, rejected.detail)

    def _spooled(self, request: ImageRequest, data: bytes) -> ImageRequest:
        self._spool.write(data)
        self._spool.flush()
        offset, self._end = self._end, self._end + len(data)
        return replace(request, path=self._spool.name, offset=offset, length=len(data))
