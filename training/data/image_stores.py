"""The pictures of a set, decoded: resident on the device, or streamed to it by worker threads."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from common.errors import DataError
from training.data.decode import decode
from training.data.encoded import EncodedImages
from training.device import available_cores

CPU = torch.device("cpu")
AHEAD = 4  # batches that are decoded before they are asked for
CHUNK = 16  # pictures that a worker decodes at a time


class ImageStore(Protocol):
    """The pictures of a set, all of one size, by row."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of each."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """Return the same pictures, whose batches come on `device`."""

    def take(self, rows: Tensor) -> Self:
        """Return some of the pictures, by row, int64 [n]."""

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield for each int64 [B] of `rows` these pictures, uint8 [B, 3, H, W], channels-last."""


@dataclass(frozen=True)
class ResidentImages:
    """All pictures as one tensor: uint8 [N, 3, H, W], stored channels-last."""

    images: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of each."""
        return self.images.shape[2], self.images.shape[3]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Self:
        """Copy them to `device`."""
        return replace(self, images=self.images.to(device))

    def take(self, rows: Tensor) -> Self:
        """Copy some of them."""
        return replace(self, images=self._pick(rows))

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pick each batch on the device; the host does not wait for it."""
        for index in rows:
            yield self._pick(index)

    def _pick(self, index: Tensor) -> Tensor:
        here = index.to(self.images.device, non_blocking=True)  # else a batch waits for the one before
        pixels = self.images.permute(0, 2, 3, 1).index_select(0, here)
        return pixels.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class StreamedImages:
    """Encoded pictures on disk, decoded by threads (the decoder releases Python's lock) some batches ahead."""

    encoded: EncodedImages
    ids: Sequence[str]
    size: tuple[int, int]
    where: str
    device: torch.device = CPU
    workers: int = field(default_factory=available_cores)

    def __len__(self) -> int:
        return len(self.encoded)

    def to(self, device: torch.device) -> Self:
        """Return the same pictures, for another device."""
        return replace(self, device=device)

    def take(self, rows: Tensor) -> Self:
        """Return some of them; nothing is copied."""
        chosen = rows.tolist()
        return replace(self, encoded=self.encoded.take(rows.numpy()), ids=[self.ids[row] for row in chosen])

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decode into pinned memory, from where the host need not wait for the copy to a GPU."""
        waiting: deque[tuple[Tensor, list[Future[None]]]] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for index in rows:
                    waiting.append(self._start(index.tolist(), pool))
                    if len(waiting) > AHEAD:
                        yield self._finish(*waiting.popleft())
                while waiting:
                    yield self._finish(*waiting.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _start(self, rows: list[int], pool: ThreadPoolExecutor) -> tuple[Tensor, list[Future[None]]]:
        pinned = self.device.type == "cuda"
        into = torch.empty((len(rows), *self.size, 3), dtype=torch.uint8, pin_memory=pinned)
        pixels, chunks = into.numpy(), range(0, len(rows), CHUNK)
        return into, [
            pool.submit(self._fill, pixels[at : at + CHUNK], rows[at : at + CHUNK]) for at in chunks
        ]

    def _finish(self, into: Tensor, work: list[Future[None]]) -> Tensor:
        for one in work:
            one.result()
        return into.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _fill(self, into: np.ndarray, rows: list[int]) -> None:
        """Decode pictures into uint8 [B, H, W, 3]. Raises DataError that names the picture."""
        for place, row in zip(into, rows, strict=True):
            try:
                pixels = decode(self.encoded[row])
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{self.where}: image {self.ids[row]!r} cannot be decoded ({error}); build again"
                ) from error
            if pixels.shape != place.shape:
                raise DataError(
                    f"{self.where}: image {self.ids[row]!r} is {pixels.shape[1]}×{pixels.shape[0]}, others are "
                    f"{self.size[1]}×{self.size[0]}; build the set with one image size"
                )
            place[...] = pixels

    def resident(self) -> ResidentImages:
        """Decode all of them at once."""
        images = torch.empty((len(self), *self.size, 3), dtype=torch.uint8)
        with ThreadPoolExecutor(self.workers) as pool:
            rows = [list(range(at, min(at + 256, len(self)))) for at in range(0, len(self), 256)]
            list(pool.map(lambda some: self._fill(images.numpy()[some[0] : some[-1] + 1], some), rows))
        return ResidentImages(images.permute(0, 3, 1, 2))
