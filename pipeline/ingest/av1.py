"""How large the frames inside an AVIF file are, whatever its header says of the picture that is made of them.

A decoder fills a whole frame before it is scaled to the size of the header. What cannot be read here is passed over: it
is no reason to refuse a file, and the memory limit of the process still holds (memory.py).
"""

import re
import struct
from collections.abc import Iterator

from pipeline.ingest.container import MAX_PARTS

_SEQUENCE_HEADER = 1  # type of an OBU
_WORDS = {0: "", 4: "I", 8: "Q"}  # sizes of the fields of an item location box


def largest_frame(data: bytes) -> tuple[int, int]:
    """Return width and height of the largest frame that a sequence header declares; (0, 0) if none is found."""
    sizes = [(0, 0)]
    for stream in _streams(data):
        try:
            sizes += _frame_sizes(stream)
        except IndexError:
            continue
    return max(sizes, key=lambda size: size[0] * size[1])


def _streams(data: bytes) -> Iterator[bytes]:
    """Yield the data of each item, and what begins at each chunk of a track, no more bytes in all than ten files."""
    left = 10 * len(data)
    for found in re.finditer(b"iloc|stco|co64", data):
        read = _items if found[0] == b"iloc" else _chunks
        try:
            for ranges in read(data, found.start()):
                stream = b"".join(data[start : start + min(length, left)] for start, length in ranges)
                left -= len(stream)
                if left <= 0:
                    return
                yield stream
        except struct.error:
            continue


Ranges = list[tuple[int, int]]
"""Where data begin in the file, and how many bytes they have."""


def _items(data: bytes, at: int) -> Iterator[Ranges]:
    """Item location box: ISO/IEC 14496-12, 8.11.3."""
    version, sizes = struct.unpack_from(">B3xH", data, at + 4)
    offset, length, base, index = (_WORDS.get(sizes >> shift & 15) for shift in (12, 8, 4, 0))
    index = index if version in (1, 2) else ""
    if offset is None or length is None or base is None or index is None:
        return
    count, head = ("I", "IHH") if version == 2 else ("H", "HHH" if version == 1 else "HH")
    (items,) = struct.unpack_from(f">{count}", data, at + 10)
    at += 10 + struct.calcsize(f">{count}")
    own = data.find(b"idat") + 4
    for _ in range(min(items, MAX_PARTS)):
        fields = struct.unpack_from(f">{head}{base}H", data, at)
        at += struct.calcsize(f">{head}{base}H")
        first = (fields[-2] if base else 0) + (own if len(head) == 3 and fields[1] & 15 == 1 else 0)
        ranges = []
        for _ in range(fields[-1]):
            extent = struct.unpack_from(f">{index}{offset}{length}", data, at)
            at += struct.calcsize(f">{index}{offset}{length}")
            size = extent[-1] if length else 0
            begin = extent[1 if index else 0] if offset else 0
            ranges.append((first + begin, size or len(data)))
        yield ranges


def _chunks(data: bytes, at: int) -> Iterator[Ranges]:
    """Chunk offset boxes: ISO/IEC 14496-12, 8.7.5. A chunk begins with a frame; where it ends does not matter."""
    word = "Q" if data[at : at + 4] == b"co64" else "I"
    (count,) = struct.unpack_from(">I", data, at + 8)
    for i in range(min(count, 16)):
        (begin,) = struct.unpack_from(f">{word}", data, at + 12 + i * struct.calcsize(word))
        yield [(begin, len(data))]


def _frame_sizes(stream: bytes) -> Iterator[tuple[int, int]]:
    """Yield the size in each sequence header of a stream of OBUs: AV1 specification, 5.3 and 5.5. Raises IndexError."""
    at = 0
    for _ in range(MAX_PARTS):
        if at >= len(stream) or stream[at] & 0x81:  # the forbidden bit, and the reserved one
            return
        kind, has_size = stream[at] >> 3 & 15, stream[at] & 2
        at += 2 if stream[at] & 4 else 1
        size = len(stream) - at
        if has_size:
            size, shift = 0, 0
            while True:
                size |= (stream[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if not stream[at - 1] & 0x80 or shift > 56:
                    break
        if kind == _SEQUENCE_HEADER:
            yield _sequence_size(_Bits(stream[at : at + min(size, 1024)]))
        at += size


class _Bits:
    """Numbers of so many bits, one after the other, first bit highest."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, bits: int) -> int:
        """Return the next number. Raises IndexError at the end."""
        self._left -= bits
        if self._left < 0:
            raise IndexError("fewer bits than a sequence header has")
        return self._value >> self._left & (1 << bits) - 1


def _sequence_size(bits: _Bits) -> tuple[int, int]:
    """Return the largest width and height of frames from a sequence header: AV1 specification, 5.5.1."""
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header of a still picture
        bits.take(5)
    else:
        delay_bits = _skip_timing(bits)
        has_display_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):  # operating points
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay_bits and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if has_display_delay and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_timing(bits: _Bits) -> int:
    """Skip timing and decoder model; return the bits of the model's delays, 0 without one."""
    if not bits.take(1):
        return 0
    bits.take(64)
    if bits.take(1):  # equal intervals: a number of variable length
        zeros = 0
        while not bits.take(1):
            zeros += 1
        bits.take(zeros if zeros < 32 else 0)
    if not bits.take(1):
        return 0
    delay_bits = bits.take(5) + 1
    bits.take(42)
    return delay_bits
