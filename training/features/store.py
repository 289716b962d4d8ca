"""A cache of features by image content, shared by all sets."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from common.atomic_file import write_bytes


class FeatureStore:
    """The features of one network at one input size, in safetensors files in a folder.

    Each file holds `digests`, uint8 [n, 32], and `features`, float32 [n, C]. Files are named after their content and
    renamed into place, so several processes can share a folder, and an interrupted process loses at most one file. A
    damaged file is deleted, and its features are computed again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[Tensor] = []
        self._locations: dict[bytes, tuple[int, int]] = {}
        self._read_files: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read the files that any process has added since the last call."""
        for path in sorted(self.folder.glob("part-*.safetensors")):
            if path.name in self._read_files:
                continue
            self._read_files.add(path.name)
            try:
                tensors = load_file(path)
                digests, features = tensors["digests"], tensors["features"]
                if digests.shape != (len(features), 32) or digests.dtype != torch.uint8:
                    raise KeyError("digests")
                self._take(digests, features)
            except (SafetensorError, KeyError, FileNotFoundError):
                path.unlink(missing_ok=True)  # another process may have done so already

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Return the index of the first occurrence of each digest without features, in ascending order."""
        first = {digest: index for index, digest in reversed(list(enumerate(digests)))}
        return sorted(index for digest, index in first.items() if digest not in self._locations)

    def add(self, digests: Sequence[bytes], features: Tensor) -> None:
        """Store features float32 [n, C] of n images."""
        packed = torch.from_numpy(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32).copy())
        name = f"part-{hashlib.sha256(packed.numpy().tobytes()).hexdigest()[:16]}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        # save_file would create files that only their owner can read
        write_bytes(self.folder / name, save({"digests": packed, "features": features.contiguous()}))
        self._read_files.add(name)
        self._take(packed, features)

    def get(self, digests: Sequence[bytes]) -> Tensor:
        """Return the features float32 [n, C] of n images. Raises KeyError for an image without features."""
        locations = [self._locations[digest] for digest in digests]
        return torch.stack([self._parts[part][row] for part, row in locations])

    def _take(self, digests: Tensor, features: Tensor) -> None:
        for row, digest in enumerate(digests.numpy()):
            self._locations.setdefault(digest.tobytes(), (len(self._parts), row))
        self._parts.append(features)
