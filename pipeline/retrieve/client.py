"""Asks a provider for one page at a time: politely, with patience that has an end, and telling no secrets."""

import asyncio
import json
import random
import time
import zlib
from typing import Any

import httpx

from common.errors import DataError
from pipeline.fetch.body import Decompressor, TooLong
from pipeline.fetch.hosts import retry_after
from pipeline.rejections import Rejected, printable
from pipeline.retrieve.providers import BadAnswerError, Page, Parameters, Provider

ATTEMPTS = 5
MAX_WAIT = 120.0
"""Seconds; whoever is asked to wait for longer does better to come back later."""
MAX_WAITED = 1800.0
"""Seconds of such waits in a whole search."""
ANSWER_SECONDS = 60.0
"""For one answer as a whole."""
MAX_BYTES = 10_000_000
_TEMPORARY = ("maxlag", "ratelimited", "internal_api_error_DBQueryError", "readonly")  # MediaWiki's words


class Client:
    """Asks for pages, one after another, with a pause between two requests."""

    def __init__(
        self, provider: Provider, contact: str, endpoint: str | None = None, pause: float | None = None
    ):
        self._provider = provider
        self._endpoint = endpoint or provider.endpoint
        self._pause = provider.pause if pause is None else pause
        self._next = 0.0
        self._waited = 0.0
        self.requests = 0
        # Redirects are not followed: they would carry the key elsewhere. The environment's proxies are the user's own.
        self._loop = asyncio.Runner()
        self._client = httpx.AsyncClient(
            headers={
                "Accept-Encoding": "gzip",
                "User-Agent": f"controlled-noise/0.1 (image search for research; +{contact})",
                **provider.headers(),
            },
            timeout=30,
        )

    def close(self) -> None:
        """Close the connection."""
        with self._loop as loop:
            loop.run(self._client.aclose())

    def first(self, query: str) -> Parameters:
        """The parameters of a query's first page."""
        return self._provider.first(query)

    def page(self, parameters: Parameters) -> Page:
        """One page of results. Raises DataError with what the provider says and what to do."""
        for attempt in range(ATTEMPTS):
            time.sleep(max(0.0, self._next - time.monotonic()))
            self.requests += 1
            try:
                status, headers, body = self._get(parameters)
            except (httpx.RequestError, TimeoutError) as error:
                told, wait = type(error).__name__, None
            else:
                answer = _parse(body) if status == 200 else None
                code = self._provider.error(answer)
                if status == 200 and code is None:
                    self._next = time.monotonic() + self._pause
                    try:
                        return self._provider.read(answer, parameters)
                    except BadAnswerError as error:
                        raise DataError(
                            f"{self._endpoint}: the answer is not in its documented form: {error}"
                        ) from error
                told = code or f"HTTP {status}: {self._without_secrets(_message(body))}"
                if not (status == 429 or status >= 500 or code in _TEMPORARY):
                    raise DataError(
                        f"{self._endpoint}: {told}; look at the key, the query and the provider's terms"
                    )
                wait = retry_after(headers.get("retry-after"))
            if wait is not None and wait > MAX_WAIT:
                break
            backoff = max(self._pause, 1.0) * 2**attempt * random.uniform(1, 1.5)
            self._waited += backoff if wait is None else wait
            if self._waited > MAX_WAITED:
                break
            self._next = time.monotonic() + (backoff if wait is None else wait)
        asked = f", and asks to wait {wait:.0f} s" if wait else ""
        raise DataError(
            f"{self._endpoint}: {told}, after {attempt + 1} attempts{asked}; "
            "run the same command later: it goes on where it stopped"
        )

    def _get(self, parameters: Parameters) -> tuple[int, httpx.Headers, bytes]:
        try:
            return self._loop.run(self._answer({**parameters, **self._provider.account()}))
        except TooLong as error:
            raise DataError(f"{self._endpoint}: the answer is larger than any page of results") from error
        except (httpx.InvalidURL, ValueError, zlib.error, Rejected) as error:
            # The client parses the Location of a redirect though it does not follow it.
            raise DataError(
                f"{self._endpoint}: the answer cannot be read ({printable(str(error))}); look at the address"
            ) from error

    async def _answer(self, parameters: Parameters) -> tuple[int, httpx.Headers, bytes]:
        """Send one request, and read and decompress the body within its limit."""
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            self._client.stream("GET", self._endpoint, params=parameters) as response,
        ):
            codings = response.headers.get("Content-Encoding", "").lower().replace(",", " ").split()
            decompressor, body, received = Decompressor(codings, MAX_BYTES), bytearray(), 0
            async for piece in response.aiter_raw():
                received += len(piece)
                for plain in decompressor.decompress(piece):
                    body += plain
                if max(received, len(body)) > MAX_BYTES:
                    raise TooLong
            return response.status_code, response.headers, bytes(body)

    def _without_secrets(self, text: str) -> str:
        for secret in " ".join(
            [*self._provider.headers().values(), *self._provider.account().values()]
        ).split():
            text = text.replace(secret, "…")
        return text


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None  # what is no JSON has not its documented form either


def _message(body: bytes) -> str:
    """What an error says in words, in the forms of the three providers."""
    answer = _parse(body)
    if not isinstance(answer, dict):
        return "no JSON"
    error = answer.get("error")
    told = error.get("message") if isinstance(error, dict) else answer.get("detail") or error
    return printable(str(told))
