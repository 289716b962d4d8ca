"""Request pages of search results from a provider: one at a time, with pauses, limits, and no secret in any message."""

import asyncio
import json
import ssl
import time
import zlib
from typing import Any
from urllib.parse import urlencode

from common.errors import DataError
from common.extras import user_agent
from pipeline.fetch.body import TemporaryRejection, read_body
from pipeline.fetch.connections import Connections, UnknownHost
from pipeline.fetch.http1 import Headers
from pipeline.fetch.retries import RetryPolicy, is_temporary, retry_after
from pipeline.fetch.urls import parse_url
from pipeline.rejections import Rejected, RequestStats, printable
from pipeline.retrieve.provider import BadAnswerError, Parameters, Provider, ResultPage

MAX_ATTEMPTS = 5  # per page
MAX_WAIT_SECONDS = 120.0  # a longer wait that the provider asks for ends the search
MAX_TOTAL_WAIT_SECONDS = 1800.0  # all waits of a search together
TIMEOUT_SECONDS = 30.0  # for connecting, and for each wait for more bytes
ANSWER_SECONDS = 60.0  # for one answer as a whole
MAX_BYTES = 10_000_000
LATER = "run the same command later to continue the search"


class ProviderClient:
    """Requests pages, one after another, with a pause in seconds between two requests.

    Redirects are not followed, because they would carry the API key to another host. As in the fetch stage, proxy
    settings of the environment are ignored.
    """

    def __init__(
        self, provider: Provider, contact: str, endpoint: str | None = None, pause: float | None = None
    ):
        self._provider = provider
        self._endpoint = endpoint or provider.endpoint
        self._pause = provider.pause if pause is None else pause
        self._retries = RetryPolicy(MAX_ATTEMPTS, MAX_WAIT_SECONDS, max(self._pause, 1.0))
        self._next_request = 0.0
        self._total_wait = 0.0
        self.requests = 0
        self._runner = asyncio.Runner()
        self._connections = Connections(
            {
                "Accept-Encoding": "gzip",
                "User-Agent": user_agent("image search for research", contact),
                **provider.headers(),
            },
            TIMEOUT_SECONDS,
            guarded=False,
        )

    def close(self) -> None:
        """Close the connections."""
        with self._runner as runner:
            runner.run(self._connections.close())

    def first(self, query: str) -> Parameters:
        """Return the parameters of the first page of a query."""
        return self._provider.first(query)

    def page(self, parameters: Parameters) -> ResultPage:
        """Return one page of results. Raises DataError with the provider's message and a remedy."""
        attempt = 0
        while True:
            time.sleep(max(0.0, self._next_request - time.monotonic()))
            attempt += 1
            self.requests += 1
            requested_wait, remedy = None, LATER
            try:
                status, headers, body = self._get(parameters)
            except ssl.SSLCertVerificationError as error:
                raise DataError(
                    f"{self._endpoint}: the certificate is refused ({error.verify_message}); check the address, and the "
                    "clock and certificates of this machine"
                ) from error
            except (OSError, EOFError, TemporaryRejection) as error:
                problem = self._without_secrets(_text(error))
                if not isinstance(error, TimeoutError | TemporaryRejection):
                    remedy = f"check the address and the network, then {LATER}"
            else:
                answer = _parse(body) if status == 200 else None
                code = self._provider.error(answer)
                if status == 200 and code is None:
                    self._next_request = time.monotonic() + self._pause
                    return self._read(answer, parameters)
                problem = (
                    self._without_secrets(code or "")
                    or f"HTTP {status}: {self._without_secrets(_error_message(body))}"
                )
                may_pass = code is not None and code.partition(" ")[0] in self._provider.temporary_errors
                if not (is_temporary(status) or may_pass):
                    raise DataError(
                        f"{self._endpoint}: {problem}; check the key, the query and the terms of the provider"
                    )
                requested_wait = retry_after(headers.get("Retry-After"))
            wait = self._retries.wait(attempt, requested_wait)
            self._total_wait += wait or 0.0
            if wait is None or self._total_wait > MAX_TOTAL_WAIT_SECONDS:
                break
            self._next_request = time.monotonic() + max(wait, self._pause)
        asks = f"; the provider asks to wait {requested_wait:.0f} s" if requested_wait else ""
        raise DataError(
            f"{self._endpoint}: {problem}, after {attempt} attempt{'s'[: attempt > 1]}{asks}; {remedy}"
        )

    def _read(self, answer: Any, parameters: Parameters) -> ResultPage:
        try:
            return self._provider.read(answer, parameters)
        except BadAnswerError as error:
            raise DataError(f"{self._endpoint}: the answer is not in its documented form: {error}") from error

    def _get(self, parameters: Parameters) -> tuple[int, Headers, bytes]:
        try:
            return self._runner.run(self._request({**parameters, **self._provider.account()}))
        except (TemporaryRejection, ssl.SSLError):
            raise
        except (ValueError, zlib.error, Rejected) as error:
            if isinstance(error, Rejected) and error.code == "too_large":
                problem = "the answer is larger than any page of results"
            else:
                problem = f"the answer cannot be read ({printable(str(error))}); check the address"
            raise DataError(f"{self._endpoint}: {problem}") from error

    async def _request(self, parameters: Parameters) -> tuple[int, Headers, bytes]:
        """Send one request, and read and decompress the body within its limit."""
        url = parse_url(self._endpoint)
        url = url.with_target(f"{url.target}{'&' if '?' in url.target else '?'}{urlencode(parameters)}")
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            self._connections.get(url, "application/json") as response,
        ):
            with await read_body(response, RequestStats(url.host), MAX_BYTES) as body:
                return response.status, response.headers, body.read()

    def _without_secrets(self, text: str) -> str:
        secrets = [*self._provider.headers().values(), *self._provider.account().values()]
        for secret in " ".join(secrets).split():
            text = text.replace(secret, "…")
        return text


def _text(error: Exception) -> str:
    """Describe an error of the connection."""
    match error:
        case UnknownHost():
            return f"unknown host ({printable(str(error))})"
        case TimeoutError():
            return "no complete answer in time"
        case TemporaryRejection():
            return error.detail
        case _:
            return f"the connection failed ({printable(str(error) or type(error).__name__)})"


def _parse(body: bytes) -> Any:
    """Parse JSON; other text becomes None, which no provider documents as an answer."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error_message(body: bytes) -> str:
    """Return the message of an error, in the forms of the providers."""
    answer = _parse(body)
    if not isinstance(answer, dict):
        return "no JSON"
    error = answer.get("error")
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail")
    else:
        message = answer.get("detail") or error
    return printable(str(message))
