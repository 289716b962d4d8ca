"""The decoded images of a set: resident on the device, or streamed to it by threads."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from common.errors import DataError
from training.data.decode import OtherSizeError, decode
from training.data.encoded import EncodedImages
from training.device import available_cores

CPU = torch.device("cpu")
PREFETCH_BATCHES = 4  # batches decoded in advance
# images per task of a thread, at least: a task costs 0.1 to 0.2 ms, as much as decoding a few images of 84 pixels
MIN_CHUNK = 16


class ImageStore(Protocol):
    """The images of a set by row, all of one size."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """Return the same images with batches on `device`."""

    def take(self, rows: Tensor) -> Self:
        """Return the images of some rows, int64 [n]."""

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the images uint8 [B, 3, H, W], channels-last, for each int64 [B] of `rows`."""


@dataclass(frozen=True)
class ResidentImages:
    """All images in one tensor uint8 [N, 3, H, W], channels-last."""

    images: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Self:
        """Copy the images to `device`."""
        return replace(self, images=self.images.to(device))

    def take(self, rows: Tensor) -> Self:
        """Copy the images of some rows."""
        return replace(self, images=self._select(rows))

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield each batch, selected on the device without waiting."""
        for index in rows:
            yield self._select(index)

    def _select(self, index: Tensor) -> Tensor:
        device_index = index.to(self.images.device, non_blocking=True)  # do not wait for the batch before
        pixels = self.images.permute(0, 2, 3, 1).index_select(0, device_index)
        return pixels.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class StreamedImages:
    """Encoded images on disk, decoded some batches in advance by threads; the decoder releases the GIL."""

    encoded: EncodedImages
    ids: Sequence[str]
    size: tuple[int, int]
    directory: str
    device: torch.device = CPU
    workers: int = field(default_factory=available_cores)

    def __len__(self) -> int:
        return len(self.encoded)

    def to(self, device: torch.device) -> Self:
        """Return the same images with batches on `device`."""
        return replace(self, device=device)

    def take(self, rows: Tensor) -> Self:
        """Return the images of some rows without copying."""
        chosen = rows.tolist()
        return replace(self, encoded=self.encoded.take(rows.numpy()), ids=[self.ids[row] for row in chosen])

    def batches(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield each batch, decoded into pinned memory so that the copy to a GPU is asynchronous."""
        pending: deque[tuple[Tensor, list[Future[None]]]] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for index in rows:
                    pending.append(self._start(index.tolist(), pool))
                    if len(pending) > PREFETCH_BATCHES:
                        yield self._finish(*pending.popleft())
                while pending:
                    yield self._finish(*pending.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _start(self, rows: list[int], pool: ThreadPoolExecutor) -> tuple[Tensor, list[Future[None]]]:
        pinned = self.device.type == "cuda"
        buffer = torch.empty((len(rows), *self.size, 3), dtype=torch.uint8, pin_memory=pinned)
        pixels, size = buffer.numpy(), max(MIN_CHUNK, math.ceil(len(rows) / self.workers))
        return buffer, [
            pool.submit(self._fill, pixels[start : start + size], rows[start : start + size])
            for start in range(0, len(rows), size)
        ]

    def _finish(self, buffer: Tensor, tasks: list[Future[None]]) -> Tensor:
        for task in tasks:
            task.result()
        return buffer.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _fill(self, buffer: np.ndarray, rows: list[int]) -> None:
        """Decode images into uint8 [B, H, W, 3]. Raises the exceptions of `pixels`."""
        for target, row in zip(buffer, rows, strict=True):
            target[...] = self.pixels(row, self.size)

    def pixels(self, row: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Decode one image to uint8 [H, W, 3]. Raises DataError naming it if it cannot be decoded, or lacks the `size`, if any."""
        try:
            return decode(self.encoded[row], size)
        except OtherSizeError as error:
            raise DataError(
                f"{self.directory}: image {self.ids[row]!r} {error}; build the set with one image size"
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.directory}: image {self.ids[row]!r} cannot be decoded ({error}); build the set again"
            ) from error

    def resident(self) -> ResidentImages:
        """Decode all images into memory."""
        images = torch.empty((len(self), *self.size, 3), dtype=torch.uint8)
        with ThreadPoolExecutor(self.workers) as pool:
            parts = [list(range(start, min(start + 256, len(self)))) for start in range(0, len(self), 256)]
            list(pool.map(lambda rows: self._fill(images.numpy()[rows[0] : rows[-1] + 1], rows), parts))
        return ResidentImages(images.permute(0, 3, 1, 2))
