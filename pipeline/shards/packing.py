"""Rows as compressed bytes: for a shuffle between tasks, or for a temporary file."""

from collections.abc import Iterator
from tempfile import TemporaryFile
from types import TracebackType

import pyarrow as pa


def pack(rows: pa.Table) -> bytes:
    """Serialize a table as a compressed Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue().to_pybytes())


def unpack(data: bytes) -> pa.Table:
    """Return the table that `pack` has serialized."""
    return pa.ipc.open_stream(data).read_all()


class GroupedFile:
    """Packed rows grouped by a number, in a temporary file: memory holds only where each piece starts.

    It does for one process what a shuffle does for a job.
    """

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._pieces: dict[int, list[tuple[int, int]]] = {}

    def __enter__(self) -> "GroupedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, group: int, data: bytes) -> None:
        """Append the packed rows to a group."""
        self._pieces.setdefault(group, []).append((self._file.seek(0, 2), len(data)))
        self._file.write(data)

    def groups(self) -> Iterator[list[bytes]]:
        """Yield the packed rows of one group after the other."""
        for _, pieces in sorted(self._pieces.items()):
            yield [self._read(start, size) for start, size in pieces]

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)
