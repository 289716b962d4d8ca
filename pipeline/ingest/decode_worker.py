"""The process that decodes untrusted images: `python -m pipeline.ingest.decode_worker`, started by decode_pool.py.

Image decoders are C code. A file that crashes one, or keeps it busy forever, ends this process and nothing else. Its
memory is limited by the size of each image (memory_limit.py). It does not import Beam, so it starts in a few tenths of a
second.

The first line of input is a JSON object with the source folder and the configuration, every further line a JSON list of
requests. Results are written to standard output in the order of the requests. The process ends with its input.
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
from pipeline.ingest_config import IngestConfig

FRAME = struct.Struct("<III")  # header of a result: numbers of bytes of JSON, thumbnail and encoded image
READY = FRAME.pack(0, 0, 0)
ORPHAN_DEADLINES = 2  # the process ends after so many deadlines on one image, even if its parent is gone


def greeting(source: str, config: IngestConfig) -> bytes:
    """Return the first line of input of the process."""
    return json.dumps({"source": source, "config": asdict(config)}).encode() + b"\n"


def request_line(requests: list[ImageRequest]) -> bytes:
    """Return a line of input with requests."""
    return (
        json.dumps(
            [[r.path, r.offset, r.length, r.fetched_sha256, r.listed_sha256] for r in requests]
        ).encode()
        + b"\n"
    )


def pack(result: ImageResult | OSError) -> bytes:
    """Return a result, or an error of the machine, as the process writes it."""
    pixels = encoded = b""
    match result:
        case ProcessedImage(encoded, Thumbnail(pixels, sharpness), columns):
            fields: Any = ["image", sharpness, columns]
        case ImageRejection(code, detail):
            fields = ["rejection", code, detail]
        case DamagedBody():
            fields = ["damaged"]
        case OSError():
            fields = ["error", result.errno, result.strerror, result.filename]
    text = json.dumps(fields).encode()
    return b"".join([FRAME.pack(len(text), len(pixels), len(encoded)), text, pixels, encoded])


def unpack(buffer: bytearray) -> Iterator[ImageResult | None]:
    """Remove the complete results from a buffer and yield them; None means that the process is ready.

    Raises OSError for an error of the machine.
    """
    start = 0
    view = memoryview(buffer)
    try:
        while start + FRAME.size <= len(view):
            text, pixels, encoded = FRAME.unpack_from(view, start)
            position = start + FRAME.size
            end = position + text + pixels + encoded
            if end > len(view):
                break
            start = end
            if not text:
                yield None
                continue
            kind, *fields = json.loads(bytes(view[position : position + text]))
            position += text
            if kind == "image":
                sharpness, columns = fields
                thumbnail = Thumbnail(bytes(view[position : position + pixels]), sharpness)
                yield ProcessedImage(bytes(view[position + pixels : end]), thumbnail, columns)
            elif kind == "error":
                raise OSError(*fields)
            else:
                yield ImageRejection(*fields) if kind == "rejection" else DamagedBody()
    finally:
        view.release()
        del buffer[:start]


def serve(lines: IO[bytes], output: int) -> None:
    """Process requests until the input ends."""
    first = json.loads(lines.readline())
    config = IngestConfig(**first["config"])
    source = SourceFolder(first["source"], config.max_bytes)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is one process per core, and threads take memory
    gc.freeze()  # imported objects stay; the garbage collector need not visit them
    _write(output, READY)
    for line in lines:
        for fields in json.loads(line):
            signal.setitimer(signal.ITIMER_REAL, ORPHAN_DEADLINES * config.decode_seconds)
            result = pack(_process(ImageRequest(*fields), source, config))
            signal.setitimer(signal.ITIMER_REAL, 0)
            _write(output, result)


def _process(request: ImageRequest, source: SourceFolder, config: IngestConfig) -> ImageResult | OSError:
    try:
        limit_memory(config.max_pixels, config.max_bytes)  # until the size of the image is known
        return read_and_process(request, source, config, limit_memory)
    except OSError as error:
        if error.errno is None:  # raised by a decoder
            raise
        return error


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def main() -> None:
    """Process standard input. Anything that libraries print goes to standard error."""
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        serve(sys.stdin.buffer, output)
    except BrokenPipeError:  # the parent is gone
        os._exit(0)


if __name__ == "__main__":
    main()
