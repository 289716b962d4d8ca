"""Fetches the images of a bucket, many at once: files from below the base folder, URLs from the store or the web.

Waiting is most of the work of a fetch. So an event loop in a thread of its own does the asking, while whoever takes the
results decodes them.
"""

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any

from pipeline import files
from pipeline.config import IngestConfig
from pipeline.ingest.guard import check_path
from pipeline.ingest.store import Store
from pipeline.ingest.web import Web
from pipeline.rejections import Asked, Rejected
from pipeline.remote import NOT_THERE
from schemas.errors import DataError

WAITING_THREADS = 32  # for names and files; a dead name server keeps one waiting for seconds
TAKEN_TOGETHER = 8  # bodies; the loop is told of fewer when there are no more to take
Line = dict[str, Any]  # image_id, path, url, sha256: what is wanted


@dataclass(frozen=True)
class Fetched:
    """The bytes of one image; `asked` is None for a file."""

    data: bytes
    sha256: str
    asked: Asked | None = None


@dataclass(frozen=True)
class _Body:
    """A body as it came from the web, which takes room until it is read."""

    file: IO[bytes]
    sha256: str
    asked: Asked


class Fetcher:
    """Fetches by path or by URL. What is remembered of hosts, and their limits, last as long as it does."""

    def __init__(self, base: str, config: IngestConfig) -> None:
        self._base, self._config = base, config
        self._real_base = os.path.join(os.path.realpath(base), "")  # with a separator behind it
        self._waits_for_files = "://" in base
        self._loop: asyncio.AbstractEventLoop | None = None
        self._web: Web | None = None
        self._taken_bodies = 0  # since the loop was last told of it

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._loop is None:
            return
        if self._web:
            asyncio.run_coroutine_threadsafe(self._web.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._loop.close()
        self._loop = self._web = None

    def fetch_all(
        self, lines: Sequence[Line], store: Store, retry: Collection[str] = (), fresh: bool = False
    ) -> Iterator[tuple[Line, Fetched | Rejected]]:
        """Yield every line with its bytes or the reason why there are none, in the order in which they come.

        What the store knows of a URL is not asked again, unless it is a failure with a code of `retry`, or everything
        is to be `fresh`. Other bytes than the store has recorded are a rejection, but where something is retried.
        """
        near, far, by_url = [], [], dict[str, list[Line]]()
        for line in lines:
            if not line["path"]:
                by_url.setdefault(line["url"], []).append(line)
            elif self._waits_for_files:
                far.append(line)
            else:
                near.append(line)
        known = {} if fresh else {url: store.known[url] for url in by_url if url in store.known}
        failed = {url: e.rejected for url, e in known.items() if e.rejected and e.rejected.code not in retry}
        kept = [url for url in known if store.keeps(url)]
        lost = set(kept)  # until its body has been read
        new = [url for url in by_url if url not in failed and url not in lost]
        with self._asked(far, new, store, accept_changed=bool(retry)) as coming:
            for line in near:
                yield line, self._file(line["path"])
            for url, rejected in failed.items():
                yield from ((line, rejected) for line in by_url[url])
            for url, data in store.bodies(kept):
                lost.remove(url)
                fetched = Fetched(data, str(known[url].sha256), known[url].asked)
                yield from ((line, fetched) for line in by_url[url])
            for key, found in coming:
                yield from ((line, found) for line in ([far[key]] if isinstance(key, int) else by_url[key]))
        if lost:
            yield from self.fetch_all(
                [line for url in kept if url in lost for line in by_url[url]], store, fresh=True
            )

    def _file(self, path: str) -> Fetched | Rejected:
        try:
            data = self._read(path)
        except Rejected as rejected:
            return rejected
        return Fetched(data, hashlib.sha256(data).hexdigest())

    def _read(self, path: str) -> bytes:
        full = files.join(self._base, *check_path(path))
        try:
            with files.open_read(full) if self._waits_for_files else self._open_local(path, full) as file:
                data = file.read(self._config.max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Rejected("not_found", f"{path}: no such file") from error
        except DataError as error:
            if isinstance(error.__cause__, PermissionError):
                raise Rejected("unreadable_file", str(error)) from error
            if isinstance(error.__cause__, NOT_THERE):
                raise Rejected("not_found", str(error)) from error
            raise  # no network or no credentials: the fault is not the image's
        except OSError as error:
            raise Rejected("unreadable_file", f"{path}: {error.strerror or error}") from error
        if len(data) > self._config.max_bytes:
            raise Rejected("too_large", f"{path}: more than {self._config.max_bytes} bytes")
        if not data:
            raise Rejected("empty", path)
        return data

    def _open_local(self, path: str, full: str) -> IO[bytes]:
        if not os.path.realpath(full).startswith(self._real_base):
            raise Rejected("bad_location", f"{path}: a link that leads out of the source folder")
        # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
        file = open(os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise Rejected("unreadable_file", f"{path}: no regular file")
        return file

    @contextmanager
    def _asked(
        self, far: Sequence[Line], urls: Sequence[str], store: Store, accept_changed: bool
    ) -> Iterator[Iterator[tuple[str | int, Fetched | Rejected]]]:
        """Begin to fetch files and URLs in the background; gives (number of the file, or URL; what it gave)."""
        if not far and not urls:
            yield iter(())
            return
        results: SimpleQueue[tuple[str | int, _Body | Fetched | Rejected] | BaseException] = SimpleQueue()

        async def ask_all() -> None:
            try:
                async with asyncio.TaskGroup() as tasks:
                    for number, line in enumerate(far):
                        tasks.create_task(self._ask_file(number, line["path"], results))
                    for url in urls:
                        tasks.create_task(self._ask_web(url, store, accept_changed, results))
            except BaseException as error:
                results.put(error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error)
                raise

        loop = self._start(bool(urls))
        running = asyncio.run_coroutine_threadsafe(ask_all(), loop)
        left = len(far) + len(urls)

        def take() -> Iterator[tuple[str | int, Fetched | Rejected]]:
            nonlocal left
            while left:
                if results.empty():
                    self._give_room()
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                left -= 1
                key, found = result
                yield key, self._taken(found) if isinstance(found, _Body) else found

        try:
            yield take()
        finally:
            if left:  # whoever took the results has given up
                running.cancel()
                wait([running])
                while not results.empty():
                    result = results.get()
                    if isinstance(result, tuple) and isinstance(result[1], _Body):
                        self._taken(result[1])
            self._give_room()

    def _taken(self, body: _Body) -> Fetched:
        with body.file as file:
            data = file.read()
        self._taken_bodies += 1
        if self._taken_bodies == TAKEN_TOGETHER:
            self._give_room()
        return Fetched(data, body.sha256, body.asked)

    def _give_room(self) -> None:
        """Let as many bodies come as have been taken: waking the loop costs more than what it then does."""

        def release(count: int) -> None:
            for _ in range(count):
                self._room.release()

        if self._taken_bodies:
            assert self._loop
            self._loop.call_soon_threadsafe(release, self._taken_bodies)
            self._taken_bodies = 0

    async def _ask_file(self, number: int, path: str, results: SimpleQueue[Any]) -> None:
        async with self._room:
            found = await asyncio.get_running_loop().run_in_executor(None, self._file, path)
        results.put((number, found))

    async def _ask_web(self, url: str, store: Store, accept_changed: bool, results: SimpleQueue[Any]) -> None:
        try:
            assert self._web
            file, asked = await self._web.fetch(url)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # spooled or not, it reads like one
            known = store.known.get(url)
            if known and known.sha256 not in (None, digest) and not accept_changed:
                file.close()
                self._room.release()
                raise Rejected("content_changed", f"{url}: {digest}, and {known.sha256} before", asked)
            store.put(url, file, digest, asked)
            file.seek(0)
            results.put((url, _Body(file, digest, asked)))
        except Rejected as rejected:
            store.put_rejected(url, rejected)
            results.put((url, rejected))

    def _start(self, web: bool) -> asyncio.AbstractEventLoop:
        """The event loop, which begins with the first fetch that waits."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._threads = ThreadPoolExecutor(WAITING_THREADS)
            self._loop.set_default_executor(self._threads)
            self._thread = threading.Thread(target=self._loop.run_forever, name="fetch", daemon=True)
            self._thread.start()
            self._room = asyncio.Semaphore(self._config.fetches)
        if web and self._web is None:
            if not self._config.contact and not self._config.allow_private_hosts:
                raise DataError(
                    "the lists hold URLs, and servers are told whom to write to about it: set ingest.contact"
                )
            self._web = asyncio.run_coroutine_threadsafe(self._open_web(), self._loop).result()
        return self._loop

    async def _open_web(self) -> Web:
        return Web(self._config, self._room)
