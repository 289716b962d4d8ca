"""A voting service over a few questions without a build, a clock that tests move, and the server of a voting page."""

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pyarrow as pa
from aiohttp import web

from pipeline.local_server import LOOPBACK
from pipeline.vote.build_images import BuildImages, KeyIndex
from pipeline.vote.earlier_votes import AnswersByWorker, read_rows, valid_votes
from pipeline.vote.journal import VoteJournal
from pipeline.vote.load import LoadedVote
from pipeline.vote.questions import Questions, question_keys
from pipeline.vote.server import application
from pipeline.vote.service import EarlierAnswers, Reply, VoteService
from schemas.vote import ANSWERS

CLASSES = ["ant", "bee", "cow"]
Ask = Callable[..., Coroutine[Any, Any, tuple[int, Any, bytes]]]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """The service on a vote file, which can be started again, as after a kill."""

    def __init__(
        self,
        folder: Path,
        count: int,
        limits: tuple[int, int] = (3, 3),
        known: dict[int, int] | None = None,
        share: float = 0.0,
    ) -> None:
        self.path, self.count, self.limits = folder / "votes.csv", count, limits
        self.known, self.share, self.clock = known or {}, share, Clock()
        self.requests = 0
        self.start()

    def start(self) -> None:
        images = pa.array([f"image-{i}" for i in range(self.count)])
        self.pairs = pa.table({"image_id": images, "class_name": [CLASSES[i % 3] for i in range(self.count)]})
        self.journal = VoteJournal(str(self.path))
        rows = read_rows([] if self.journal.is_empty else [str(self.path)], CLASSES, self.pairs)
        keys = question_keys(self.pairs)
        index = KeyIndex(keys)
        votes = valid_votes(rows, self.pairs)
        counts = np.zeros((self.count, 3), np.int64)
        counts[index.positions(question_keys(votes.questions))] = votes.counts()
        known = np.full(self.count, -1, np.int8)
        known[list(self.known)] = list(self.known.values())
        undecided = 2 * counts[:, :2].max(axis=1) <= counts.sum(axis=1)
        questions = Questions(
            self.pairs, np.arange(self.count) % 3, keys, np.arange(self.count) // 4, counts, undecided, known, np.ones(self.count, bool)
        )  # fmt: skip
        answers = AnswersByWorker(rows, index)
        self.service = VoteService(
            questions,
            CLASSES,
            self.limits,
            EarlierAnswers(answers, answers),
            self.journal,
            None,
            self.share,
            self.clock,
        )

    def restart(self) -> None:
        """As after SIGKILL: all that is in memory is gone."""
        self.journal.close()
        self.start()

    def answer(
        self, worker: str, question: str, answer: str = "yes", seen: str | None = None, request: str = ""
    ) -> Reply:
        self.clock.now += 1
        self.requests += 1
        return self.service.answer(worker, question, answer, seen, 1200.0, request or f"r{self.requests}")

    def key(self, index: int) -> str:
        return f"{int(self.service.questions.keys[index]):016x}"

    def stored(self) -> list[tuple[str, str, str]]:
        """Image, worker and answer of each vote in the file."""
        if self.journal.is_empty:
            return []
        rows = read_rows([str(self.path)], CLASSES, self.pairs)
        return [(row["image_id"], row["worker_id"], row["answer"]) for row in rows.to_pylist()]


def wanted(answers: list[str], least: int, most: int) -> int:
    """Votes that a question with these answers needs in all."""
    total = len(answers)
    if total < least:
        return least
    majority = any(2 * answers.count(one) > total for one in ANSWERS[:2])
    return total if majority or total >= most else total + 1


def served(
    loaded: LoadedVote,
    build: Path,
    talk: Callable[[Ask, int], Coroutine[Any, Any, None]],
    token: str | None = None,
) -> None:
    """Run the real server, and `talk` to it: ask(path, method, body, headers) gives status, headers and body."""

    async def run() -> None:
        listener = socket.create_server((LOOPBACK, 0))
        port = listener.getsockname()[1]
        host = LOOPBACK if token else None
        runner = web.AppRunner(application(loaded, BuildImages(str(build)), host, port, token))
        await runner.setup()
        await web.SockSite(runner, listener).start()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

            async def ask(
                path: str, method: str = "GET", body: Any = None, **headers: str
            ) -> tuple[int, Any, bytes]:
                headers = {name.replace("_", "-"): value for name, value in headers.items()}
                data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
                if method == "POST":
                    headers = {
                        "Content-Type": "application/json",
                        "Origin": f"http://{LOOPBACK}:{port}",
                    } | headers
                url = f"http://{LOOPBACK}:{port}{path}"
                async with session.request(
                    method, url, data=data, headers=headers, allow_redirects=False
                ) as answer:
                    return answer.status, answer.headers, await answer.read()

            await talk(ask, port)
        await runner.cleanup()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(run())).result()
    loaded.close()
