"""A tiny network of timm with seeded random weights, saved as safetensors."""

from pathlib import Path

import pytest

from pipeline.embed.loading import close_network
from pipeline.embed.spec import NetworkSpec

timm = pytest.importorskip("timm")

NETWORK = "test_efficientnet"


def save_weights(path: Path, network: str = NETWORK, seed: int = 0) -> dict:
    """Save random weights of a network under timm's names, and return them."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    tensors = timm.create_model(network, pretrained=False).state_dict()
    save_file(tensors, path)
    return tensors


def spec_of(weights: Path, **changes: object) -> NetworkSpec:
    from pipeline import files

    values = {
        "network": NETWORK, "weights": str(weights), "weights_sha256": files.sha256(str(weights)), "size": None,
        "resize": "network", "interpolation": None, "mean": None, "std": None, "batch_size": 8, "precision": "float32",
    }  # fmt: skip
    return NetworkSpec(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path)
    return path


@pytest.fixture(autouse=True)
def closed_network():
    yield
    close_network()
