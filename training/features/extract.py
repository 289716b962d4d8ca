"""The features of a set's pictures: the inputs of a pretrained network's last dense layer."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.errors import UsageError
from training.config import NetworkConfig, TrainConfig
from training.data.augment import Augmenter
from training.data.image_stores import ImageStore, StreamedImages
from training.data.shards import ImageSet
from training.device import use_bf16
from training.features.store import FeatureStore
from training.features.vectors import FeatureVectors
from training.models.registry import make_network

FEATURES = "features"  # folder of a study, or beside a run, for the features of frozen networks
BATCH = 32  # always: kernels differ between batch sizes, so a picture's last bits would depend on its company
PART = 32  # batches of a part of the store


def backbone(config: NetworkConfig) -> nn.Module:
    """Return a pretrained network without its last dense layer: images float [B, 3, H, W] to features [B, C].

    Raises UsageError without weights, or for a network without a dense layer.
    """
    if not config.weights:
        raise UsageError("network.frozen: name the pretrained weights, network.weights=FILE")
    network = make_network(replace(config, frozen=False), classes=2, seed=0)
    dense = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not dense:
        raise UsageError(f"network.frozen: {config.name} has no dense layer to replace; take another network")
    parent, _, name = dense[-1].rpartition(".")
    setattr(network.get_submodule(parent), name, nn.Identity())
    return network.eval().requires_grad_(False)


def with_features(
    config: TrainConfig,
    sets: tuple[ImageSet, ...],
    folder: Path,
    device: torch.device,
    *,
    progress: bool = False,
    stop: Callable[[], bool] = bool,
) -> tuple[ImageSet, ...]:
    """Return the sets with feature vectors in the place of pictures; what is not in `folder` is computed.

    Raises KeyboardInterrupt when stopped, UsageError for a network that gives no features.
    """
    network, bf16 = backbone(config.network).to(device), use_bf16(config.precision, device)
    store = FeatureStore(folder / _key(config, network, bf16))
    found = []
    for one in sets:
        digests = _digests(one.images)
        _compute(network, one, digests, store, config, device, bf16, progress, stop)
        found.append(replace(one, images=FeatureVectors(store.get(digests))))
    return tuple(found)


def _key(config: TrainConfig, network: nn.Module, bf16: bool) -> str:
    """Name what decides the features of a picture: the network, its weights, the input size and the precision."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    size = {name: asdict(config.augment)[name] for name in ("resize", "size")}
    digest.update(json.dumps([size, bf16], sort_keys=True).encode())
    return f"{config.network.name.replace('/', '-')}-{digest.hexdigest()[:16]}"


def _digests(pictures: ImageStore) -> list[bytes]:
    """SHA-256 of each picture: of its encoded bytes, or of its pixels if only these are there."""
    if isinstance(pictures, StreamedImages):
        return [hashlib.sha256(pictures.encoded[row].data).digest() for row in range(len(pictures))]
    pixels = pictures.batches(torch.arange(len(pictures)).split(1))
    return [hashlib.sha256(one.cpu().contiguous().numpy().data).digest() for one in pixels]


@torch.inference_mode()
def _compute(
    network: nn.Module,
    data: ImageSet,
    digests: list[bytes],
    store: FeatureStore,
    config: TrainConfig,
    device: torch.device,
    bf16: bool,
    progress: bool,
    stop: Callable[[], bool],
) -> None:
    """Compute and store the features that are missing, a part at a time."""
    missing = store.missing(digests)
    augmenter = Augmenter(config.augment, *data.images.size, device)
    pictures = data.images.to(device).batches(torch.tensor(missing, dtype=torch.int64).split(BATCH))
    bar = tqdm(
        total=len(missing),
        desc=f"features of {data.name}",
        unit="image",
        disable=None if progress else True,
        leave=False,
    )
    features: list[Tensor] = []
    done = 0
    with bar:
        for images in pictures if missing else ():
            if stop():
                raise KeyboardInterrupt
            x = augmenter.evaluate(images)
            x = torch.cat([x, x.new_zeros(BATCH - len(x), *x.shape[1:])])
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                found = network(x.contiguous(memory_format=torch.channels_last))
            features.append(found[: len(images)].flatten(1).float().cpu())
            bar.update(len(images))
            count = sum(map(len, features))
            if len(features) == PART or done + count == len(missing):
                rows = missing[done : done + count]
                store.add([digests[row] for row in rows], torch.cat(features))
                features, done = [], done + count
