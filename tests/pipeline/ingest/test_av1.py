"""Sizes of the frames inside hostile AVIF files are read in bounded time and memory."""

import struct
import subprocess
import sys
import time
import tracemalloc

import pytest

from pipeline.ingest.av1 import largest_frame

HEAD = struct.pack(">I4s", 24, b"ftyp") + b"avif\x00\x00\x00\x00avifmif1"


def item_locations(sizes: int, items: bytes, count: int) -> bytes:
    """Return an item location box. sizes: of offset, length, base offset and index, one hexadecimal digit each."""
    body = struct.pack(">B3xHH", 0, sizes, count) + items
    return struct.pack(">I4s", 8 + len(body), b"iloc") + body


WHOLE_FILE = item_locations(0, struct.pack(">HHH", 1, 0, 65_535), 1) + bytes(40_000)
BEHIND_THE_END = item_locations(0x40, struct.pack(">HHIH", 1, 0, 1 << 30, 65_535) * 5000, 5000)
EMPTY_EXTENTS = item_locations(0x4040, (struct.pack(">HHIH", 1, 0, 1 << 30, 1000) + bytes(4000)) * 500, 500)
CHUNKS = (b"stco" + bytes(4) + struct.pack(">I", 16) + b"\xff" * 64) * 20_000
SHORT_UNITS = b"stco" + bytes(4) + struct.pack(">I", 1) + struct.pack(">I", 40) + b"\x12\x00" * 1_000_000


@pytest.mark.parametrize(
    "boxes",
    [WHOLE_FILE, BEHIND_THE_END, EMPTY_EXTENTS, CHUNKS, SHORT_UNITS, b"iloc" * 200_000],
    ids=["whole file", "behind the end", "empty extents", "chunks", "short units", "boxes"],
)
def test_many_parts_take_bounded_time_and_memory(boxes: bytes) -> None:
    data = HEAD + boxes
    start = time.process_time()
    assert largest_frame(data) == (0, 0)
    assert time.process_time() - start < 3
    if len(data) < 100_000:
        tracemalloc.start()
        largest_frame(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 30 * len(data) + 1_000_000


def test_headers_that_need_too_much_memory_are_rejected() -> None:
    """One item of nine extents, each of which is the whole file."""
    program = f"""
import resource, struct, sys
from pipeline.ingest_config import IngestConfig
from pipeline.ingest.decode import decode
from pipeline.rejections import Rejected

extents = bytes(4 * 9)
body = struct.pack(">B3xHH", 0, 0x4000, 1) + struct.pack(">HHH", 1, 0, 9) + extents
data = {HEAD!r} + struct.pack(">I4s", 8 + len(body), b"iloc") + body + bytes(16_000_000)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
try:
    decode(data, IngestConfig())
except Rejected as rejected:
    print(rejected.code, rejected.detail)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "too_many_pixels the headers of the file require too much memory\n"
