"""Read the sizes of the frames inside an AVIF file, which may exceed the size in its header.

A decoder fills a whole frame before it scales it to the size in the header. Data that cannot be read here are skipped:
the memory limit of the process still applies (memory_limit.py).
"""

import re
import struct
from collections.abc import Iterator
from itertools import islice

from pipeline.ingest.container import MAX_PARTS

_SEQUENCE_HEADER = 1  # OBU type
_WORDS = {0: "", 4: "I", 8: "Q"}  # sizes of the fields of an item location box


def largest_frame(data: bytes) -> tuple[int, int]:
    """Return width and height of the largest frame that a sequence header declares; (0, 0) if none is found.

    Reads at most MAX_PARTS boxes, items, extents, chunks and OBUs in total.
    """
    sizes = [(0, 0)]
    parts = iter(range(MAX_PARTS))
    for stream in _streams(data, parts):
        try:
            sizes += _frame_sizes(stream, parts)
        except IndexError:
            continue
    return max(sizes, key=lambda size: size[0] * size[1])


def _streams(data: bytes, parts: Iterator[int]) -> Iterator[bytes]:
    """Yield the data of each item and of each chunk of a track, in total at most ten times the bytes of the file."""
    left = 10 * len(data)
    own = data.find(b"idat") + 4
    for box, _ in zip(re.finditer(b"iloc|stco|co64", data), parts, strict=False):
        is_items = box[0] == b"iloc"
        ranges = _items(data, box.start(), own, parts) if is_items else _chunks(data, box.start(), parts)
        try:
            for of_stream in ranges:
                pieces = []
                for start, length in of_stream:
                    pieces.append(data[start : start + min(length, left)])
                    left -= len(pieces[-1])
                    if left <= 0:
                        return
                yield b"".join(pieces)
        except struct.error:
            continue


Ranges = list[tuple[int, int]]
"""Offset in the file and number of bytes of pieces of data."""


def _items(data: bytes, position: int, own: int, parts: Iterator[int]) -> Iterator[Ranges]:
    """Yield the ranges of each item in an item location box (ISO/IEC 14496-12, 8.11.3).

    own: position of the data in the item data box.
    """
    version, sizes = struct.unpack_from(">B3xH", data, position + 4)
    offset, length, base, index = (_WORDS.get(sizes >> shift & 15) for shift in (12, 8, 4, 0))
    index = index if version in (1, 2) else ""
    if offset is None or length is None or base is None or index is None:
        return
    count, head = ("I", "IHH") if version == 2 else ("H", "HHH" if version == 1 else "HH")
    (items,) = struct.unpack_from(f">{count}", data, position + 10)
    position += 10 + struct.calcsize(f">{count}")
    for _ in islice(parts, items):
        fields = struct.unpack_from(f">{head}{base}H", data, position)
        position += struct.calcsize(f">{head}{base}H")
        first = (fields[-2] if base else 0) + (own if len(head) == 3 and fields[1] & 15 == 1 else 0)
        # Extents without fields would all be the same bytes.
        extents = fields[-1] if index + offset + length else min(fields[-1], 1)
        ranges = []
        for _ in islice(parts, extents):
            extent = struct.unpack_from(f">{index}{offset}{length}", data, position)
            position += struct.calcsize(f">{index}{offset}{length}")
            size = extent[-1] if length else 0
            begin = extent[1 if index else 0] if offset else 0
            ranges.append((first + begin, size or len(data)))
        yield ranges


def _chunks(data: bytes, position: int, parts: Iterator[int]) -> Iterator[Ranges]:
    """Yield the range from each chunk offset to the end of the file (ISO/IEC 14496-12, 8.7.5). A chunk begins with a frame."""
    word = "Q" if data[position : position + 4] == b"co64" else "I"
    (count,) = struct.unpack_from(">I", data, position + 8)
    for i, _ in zip(range(min(count, 16)), parts, strict=False):
        (begin,) = struct.unpack_from(f">{word}", data, position + 12 + i * struct.calcsize(word))
        yield [(begin, len(data))]


def _frame_sizes(stream: bytes, parts: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield the frame size of each sequence header of an OBU stream (AV1 specification, 5.3 and 5.5). Raises IndexError."""
    position = 0
    for _ in parts:
        if position >= len(stream) or stream[position] & 0x81:  # the forbidden bit, and the reserved one
            return
        obu_type, has_size = stream[position] >> 3 & 15, stream[position] & 2
        position += 2 if stream[position] & 4 else 1
        size = len(stream) - position
        if has_size:
            size, shift = 0, 0
            while True:
                size |= (stream[position] & 0x7F) << shift
                shift, position = shift + 7, position + 1
                if not stream[position - 1] & 0x80 or shift > 56:
                    break
        if obu_type == _SEQUENCE_HEADER:
            yield _sequence_size(_Bits(stream[position : position + min(size, 1024)]))
        position += size


class _Bits:
    """Reader of unsigned integers of any number of bits, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, bits: int) -> int:
        """Return the next integer of `bits` bits. Raises IndexError at the end."""
        self._left -= bits
        if self._left < 0:
            raise IndexError("the sequence header ends early")
        return self._value >> self._left & (1 << bits) - 1


def _sequence_size(bits: _Bits) -> tuple[int, int]:
    """Return the largest width and height of frames in a sequence header (AV1 specification, 5.5.1)."""
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
    """Skip timing and decoder model; return the number of bits of the model's delays, 0 without a model."""
    if not bits.take(1):
        return 0
    bits.take(64)
    if bits.take(1):  # equal intervals: an integer of variable length
        zeros = 0
        while not bits.take(1):
            zeros += 1
        bits.take(zeros if zeros < 32 else 0)
    if not bits.take(1):
        return 0
    delay_bits = bits.take(5) + 1
    bits.take(42)
    return delay_bits
