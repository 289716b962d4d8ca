"""A process that makes pictures out of bytes that strangers sent: `python -m pipeline.ingest.decode_worker`.

It imports the core and no Beam, so it starts in a few tenths of a second. Its first line of input is a JSON object with
the source folder and the configuration, every other line a JSON list of requests. It answers each request on standard
output, in order, as soon as the picture is made, and ends with its input. Image decoders are C code: a file that crashes
one, or keeps it busy forever, takes down this process and nothing else (decode_pool.py). Its memory is limited by the
size of each picture (memory.py).
"""

import gc
import json
import os
import signal
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any

from PIL import AvifImagePlugin

from pipeline.config import IngestConfig
from pipeline.ingest.memory_limit import limit_memory
from pipeline.ingest.process_image import (
    DamagedBody,
    ImageRejection,
    ImageRequest,
    ImageResult,
    ProcessedImage,
    read_and_process,
)
from pipeline.ingest.source_folder import SourceFolder
from pipeline.ingest.thumbnail import Thumbnail

FRAME = struct.Struct(
    "<III"
)  # an answer: bytes of its JSON, of its thumbnail, of its encoded picture; then these
READY = FRAME.pack(0, 0, 0)
ORPHAN_DEADLINES = 2  # after so many deadlines on one picture the process ends, even if its parent is gone


def greeting(source: str, config: IngestConfig) -> bytes:
    """Return the first line of input."""
    return json.dumps({"source": source, "config": asdict(config)}).encode() + b"\n"


def request_line(requests: list[ImageRequest]) -> bytes:
    """Return a line of input."""
    return json.dumps([[r.path, r.offset, r.length, r.fetched, r.listed] for r in requests]).encode() + b"\n"


def pack(answer: ImageResult) -> bytes:
    """Return an answer as the process writes it."""
    pixels = encoded = b""
    match answer:
        case ProcessedImage(encoded, Thumbnail(pixels, sharpness), seen):
            fields: Any = ["picture", sharpness, seen]
        case ImageRejection(code, detail):
            fields = ["refused", code, detail]
        case DamagedBody():
            fields = ["damaged"]
    text = json.dumps(fields).encode()
    return b"".join([FRAME.pack(len(text), len(pixels), len(encoded)), text, pixels, encoded])


def unpack(buffer: bytearray) -> Iterator[ImageResult | None]:
    """Take the complete answers out of a buffer and yield them; None stands for the sign that the process is ready."""
    start = 0
    view = memoryview(buffer)
    try:
        while start + FRAME.size <= len(view):
            text, pixels, encoded = FRAME.unpack_from(view, start)
            at = start + FRAME.size
            end = at + text + pixels + encoded
            if end > len(view):
                break
            start = end
            if not text:
                yield None
                continue
            kind, *fields = json.loads(bytes(view[at : at + text]))
            at += text
            if kind == "picture":
                sharpness, seen = fields
                thumbnail = Thumbnail(bytes(view[at : at + pixels]), sharpness)
                yield ProcessedImage(bytes(view[at + pixels : end]), thumbnail, seen)
            else:
                yield ImageRejection(*fields) if kind == "refused" else DamagedBody()
    finally:
        view.release()
        del buffer[:start]


def serve(lines: IO[bytes], answers: int) -> None:
    """Process requests until the input ends."""
    first = json.loads(lines.readline())
    config = IngestConfig(**first["config"])
    source = SourceFolder(first["source"], config.max_bytes)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is a process for each core; threads take memory
    gc.freeze()  # what is imported stays; the collector need not look at it again
    _write(answers, READY)
    for line in lines:
        for fields in json.loads(line):
            signal.setitimer(signal.ITIMER_REAL, ORPHAN_DEADLINES * config.decode_seconds)
            limit_memory(config.max_pixels, config.max_bytes)  # until the size of the picture is known
            answer = pack(read_and_process(ImageRequest(*fields), source, config, limit_memory))
            signal.setitimer(signal.ITIMER_REAL, 0)
            _write(answers, answer)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def main() -> None:
    """Serve standard input; libraries that print anything print it to standard error."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        serve(sys.stdin.buffer, answers)
    except BrokenPipeError:  # the other side is gone
        os._exit(0)


if __name__ == "__main__":
    main()
