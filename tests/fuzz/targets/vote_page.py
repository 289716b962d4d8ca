"""Requests reach the server of the voting page (pipeline/vote/server.py, service.py, journal.py), over HTTP.

A line is a request: its first byte chooses the path, the rest is the body or what follows in the path. Each request gets
one of the STATUSES. Afterwards the vote file holds exactly the answers that the service knows, all of them valid votes, one
per worker and question, and a service that starts with this file counts the same.
"""

import io
import json
from collections.abc import Iterator
from functools import cache
from urllib.parse import quote_from_bytes

import pyarrow as pa
from PIL import Image

from pipeline.layout import Layout
from pipeline.shards import commit
from pipeline.shards.parquet import write_shard
from pipeline.vote.earlier_votes import read_rows
from pipeline.vote.load import ClassInfo, LoadedVote
from pipeline.vote.worker_state import RESERVED_SECONDS
from schemas.image import IMAGES
from schemas.vote import ANSWERS
from tests.fuzz.inputs import folder
from tests.pipeline.vote.desk import CLASSES, Ask, Desk, served

QUESTIONS = 5
REQUESTS = 24  # of an input
POSTS = ("start", "answer", "undo", "skip", "skipped", "leave")
PATHS = (*(f"/api/{name}" for name in POSTS), "/image/", "/")
WAIT = len(PATHS)  # no request, but a worker who is silent for long
STATUSES = {200, 400, 404, 405, 409, 413, 429}
WORDS = (
    b"\n\x00", b"\n\x01", b"\n\x02", b"\n\x03", b"\n\x08", b'"worker": ', b'"question": ', b'"answer": ', b'"seen_class": ',
    b'"milliseconds": ', b'"request": ', b'"anna"', b'"Bea"', b'"yes"', b'"no"', b'"unsure"', b'"ant"', b'"bee"', b'"cow"', b"null",
    b"NaN", b"1e999", b'"\\ud800"', b'"\\n"', b"\\u2028", b"\xc3\x9f", b"SS", b"\xcc\x81", b"=",
)  # fmt: skip


@cache
def desk() -> Desk:
    """Return the service on a vote file that does not exist yet."""
    made = Desk(folder("page"), QUESTIONS)
    made.journal.close()
    return made


@cache
def build() -> str:
    """Return a build with one image of the questions."""
    path = str(folder("build"))
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "png")
    row = {"image_id": "image-0", "image": {"bytes": file.getvalue(), "path": None}}
    schema = pa.schema([IMAGES.schema.field(name) for name in row])
    images = Layout(path).images
    staged = write_shard(images, "part-00000-of-00001", schema, [pa.Table.from_pylist([row], schema)])
    assert staged is not None
    commit.commit(images, IMAGES.name, [staged], {})
    return path


def lines(*requests: tuple[int, object]) -> bytes:
    return b"\n".join(bytes([path]) + json.dumps(body).encode() for path, body in requests)


def seeds() -> Iterator[bytes]:
    """Yield a vote that is given, repeated, undone, skipped and given again; two workers; and bodies with faults."""
    key = [desk().key(number) for number in range(QUESTIONS)]
    worker = {"worker": "anna"}
    vote = {**worker, "question": key[0], "answer": "no", "seen_class": "bee", "milliseconds": 1200, "request": "a"}  # fmt: skip
    asked = {**worker, "question": key[0]}
    yield lines((0, worker), (1, vote), (1, vote), (2, asked), (1, {**vote, "answer": "yes"}), (5, worker))
    yield lines((0, worker), (3, asked), (3, asked), (4, worker), (1, vote), (2, asked), (2, asked))
    names = ("anna", "Bea", "=c|d", '"é,')
    votes = [
        (1, {**vote, "worker": name, "question": one, "request": f"{name}{one}", "seen_class": None})
        for name in names
        for one in key
    ]
    yield lines(*votes)
    yield lines(
        *votes[:4], (WAIT, 0), (0, {"worker": "ANNA "}), (1, {**vote, "question": key[3], "answer": "unsure"})
    )
    yield lines(
        (1, {**vote, "milliseconds": float("inf")}),
        (1, {**vote, "worker": "\ud800"}),
        (0, []),
        (6, 0),
        (7, 0),
    )
    yield b"\x00" + b"[" * 3000 + b"\n\x01" + b" " * 5000 + b"\n\x06" + b"0" * 16


def check(data: bytes) -> None:
    """Send the requests, and compare the vote file with what the service knows."""
    here = desk()
    here.path.unlink(missing_ok=True)
    here.start()
    requests = data.split(b"\n")[:REQUESTS]
    classes = tuple(ClassInfo(name, "", ()) for name in CLASSES)
    loaded = LoadedVote(here.service, classes, (here.journal,), ())

    async def talk(ask: Ask, _port: int) -> None:
        for request in requests:
            here.clock.now += 1
            await answered(ask, here, request)

    served(loaded, build(), talk)
    rows = read_rows([str(here.path)], CLASSES, here.pairs).to_pylist() if not here.journal.is_empty else []
    stored = {(row["worker_id"], row["image_id"], row["answer"], row["seen_class"]) for row in rows}
    assert here.path.read_bytes().count(b"\n") == 1 + len(rows) == 1 + len(stored)
    assert stored == known(here)
    counts = here.service.assignment.counts.copy()
    here.start()
    try:
        assert (here.service.assignment.counts == counts).all()
        assert not here.journal.removed_bytes
    finally:
        here.journal.close()


async def answered(ask: Ask, here: Desk, request: bytes) -> None:
    """Send a request, and check its answer."""
    number, body = (request[0] if request else 0) % (WAIT + 1), request[1:]
    if number == WAIT:
        here.clock.now += RESERVED_SECONDS + 1
    elif number < len(POSTS):
        status, headers, reply = await ask(PATHS[number], "POST", body)
        assert status in STATUSES, (status, reply)
        if headers["Content-Type"].startswith("application/json"):
            assert isinstance(json.loads(reply), dict)
    else:
        status, _, reply = await ask(PATHS[number] + quote_from_bytes(body, safe=""))
        assert status in STATUSES, (status, reply)


def known(here: Desk) -> set[tuple[str, str, str, str | None]]:
    """Return the answers that the service knows: worker, image, answer and class seen instead."""
    images = here.pairs["image_id"].to_pylist()
    return {
        (name, images[question], ANSWERS[code], seen)
        for name, worker in here.service.workers.items()
        for question, (code, seen) in worker.answers.items()
    }
