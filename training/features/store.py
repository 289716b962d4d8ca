"""A cache of features by content: a picture is computed once for each network, whatever sets it is in."""

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
    """The features of one network at one input size, in parts of safetensors below a folder.

    Each part holds `digests`, uint8 [n, 32], and `features`, float32 [n, C]. Parts are written in one rename and
    named after their content, so any number of processes can share a folder, and an interrupted one loses at most the
    part under way. A damaged part is deleted, and its pictures are computed again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[Tensor] = []
        self._at: dict[bytes, tuple[int, int]] = {}
        self._seen: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read the parts that were added since, by this process or by others."""
        for path in sorted(self.folder.glob("part-*.safetensors")):
            if path.name in self._seen:
                continue
            self._seen.add(path.name)
            try:
                tensors = load_file(path)
                self._take(tensors["digests"], tensors["features"])
            except (SafetensorError, KeyError):
                path.unlink(missing_ok=True)

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Return the first index of each distinct digest that has no features yet, in order."""
        first = {digest: index for index, digest in reversed(list(enumerate(digests)))}
        return sorted(index for digest, index in first.items() if digest not in self._at)

    def add(self, digests: Sequence[bytes], features: Tensor) -> None:
        """Store features float32 [n, C] of n pictures."""
        packed = torch.from_numpy(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32).copy())
        name = f"part-{hashlib.sha256(packed.numpy().tobytes()).hexdigest()[:16]}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        # save_file makes files that their owner alone may read
        write_bytes(self.folder / name, save({"digests": packed, "features": features.contiguous()}))
        self._seen.add(name)
        self._take(packed, features)

    def get(self, digests: Sequence[bytes]) -> Tensor:
        """Return the features float32 [n, C] of n pictures. Raises KeyError for one that has none."""
        places = [self._at[digest] for digest in digests]
        return torch.stack([self._parts[part][row] for part, row in places])

    def _take(self, digests: Tensor, features: Tensor) -> None:
        for row, digest in enumerate(digests.numpy()):
            self._at.setdefault(digest.tobytes(), (len(self._parts), row))
        self._parts.append(features)
