"""Which network computes features, and from which weights."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from common.errors import DataError, UsageError
from pipeline import files


@dataclass(frozen=True)
class NetworkSpec:
    """A network with its weights and its input, as `EmbedConfig` states them.

    weights: path of the file. weights_sha256: digest of its bytes, which identifies it.
    """

    network: str
    weights: str
    weights_sha256: str
    size: int | None
    resize: str
    interpolation: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    batch_size: int
    precision: str

    def key(self, *versions: Any) -> str:
        """Return the digest of all that decides the features of an image; the path of the weights does not."""
        values = {name: value for name, value in asdict(self).items() if name != "weights"}
        text = json.dumps([values, *versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def check_weights(network: str, weights: str) -> None:
    """Raise UsageError or DataError unless a network is named and the file of weights is a safetensors file."""
    if not network:
        raise UsageError("embed.network is missing; name the network of timm that embed.weights belong to")
    if not weights.endswith(".safetensors"):
        raise UsageError(f"embed.weights: {weights!r} is not a .safetensors file; give a file of that format")
    if not files.exists(weights):
        raise DataError(f"{weights}: no such file; correct embed.weights")
