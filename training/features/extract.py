"""Extract the features of images: the inputs of the last dense layer of a pretrained network."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from common.errors import UsageError
from common.locks import wait_for_lock
from training.callbacks import never_stop
from training.config import NetworkConfig, TrainConfig
from training.data.augment import Augmenter
from training.data.image_stores import ImageStore, StreamedImages
from training.data.shards import ImageSet
from training.device import full_precision, use_bf16
from training.features.store import FeatureStore
from training.features.vectors import FeatureVectors
from training.models.linear_head import head_name
from training.models.registry import make_network
from training.progress import ItemProgress

FEATURES = "features"  # name of the folder with features, in a study or next to a run
BATCH = 32  # fixed, because the last bits of features depend on the batch size
CLASSES = 1009  # of the head that is removed; no other layer has so many outputs
PART = 32  # batches per part of the store


def backbone(config: NetworkConfig) -> nn.Module:
    """Return a pretrained network without its last dense layer, from images float [B, 3, H, W] to features [B, C].

    Raises UsageError for a network without a dense layer, or with several as deit_tiny_distilled of timm.
    """
    network = make_network(config, CLASSES, seed=0)
    name = head_name(network, CLASSES)
    if name is None:
        raise UsageError(
            f"network.frozen=true needs a network with one dense layer for its classes, which {config.name} does not have; "
            "set network.name"
        )
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network.eval().requires_grad_(False)


def with_features(
    config: TrainConfig,
    sets: tuple[ImageSet, ...],
    folder: Path,
    device: torch.device,
    *,
    progress: bool = False,
    stop: Callable[[], bool] = never_stop,
) -> tuple[ImageSet, ...]:
    """Return the sets with feature vectors instead of images; features that are not in `folder` are computed and
    stored.

    Raises KeyboardInterrupt if `stop()` returns true, UsageError as `backbone` does.
    """
    network, bf16 = backbone(config.network).to(device), use_bf16(config.precision, device)
    key = _key(config, network, bf16)
    store = FeatureStore(folder / key)
    result = []
    for data in sets:
        digests = _digests(data.images)
        if store.missing(digests):
            folder.mkdir(parents=True, exist_ok=True)
            # another process may be computing the same features, on all cores
            with wait_for_lock(folder / f"{key}.lock", stop), full_precision(device):
                store.refresh()
                _compute(network, data, digests, store, config, device, bf16, progress, stop)
        result.append(replace(data, images=FeatureVectors(store.get(digests))))
    return tuple(result)


@torch.inference_mode()
def with_random_features(config: TrainConfig, sets: tuple[ImageSet, ImageSet]) -> tuple[ImageSet, ImageSet]:
    """Return the sets with random vectors instead of features, on which training takes the same time.

    Raises UsageError as `backbone` does.
    """
    size = config.augment.input_size(sets[0].images.size)
    width = backbone(config.network)(torch.zeros(1, 3, *size)).numel()
    source = torch.Generator().manual_seed(0)
    train, test = (
        replace(data, images=FeatureVectors(torch.rand(len(data), width, generator=source))) for data in sets
    )
    return train, test


def _key(config: TrainConfig, network: nn.Module, bf16: bool) -> str:
    """Return the name of the store for a network, its weights and scale of inputs, the input size and the precision."""
    digest = hashlib.sha256()
    # The state dictionary lacks the buffers of Rescaled, which hold the scale.
    tensors = network.state_dict() | dict(network.named_buffers())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    size = {name: asdict(config.augment)[name] for name in ("resize", "size")}
    digest.update(json.dumps([size, bf16], sort_keys=True).encode())
    return f"{config.network.name.replace('/', '-')}-{digest.hexdigest()[:16]}"


def _digests(images: ImageStore) -> list[bytes]:
    """Return the SHA-256 of each image: of the encoded image if available, else of its pixels."""
    if isinstance(images, StreamedImages):
        return [hashlib.sha256(images.encoded[row].data).digest() for row in range(len(images))]
    batches = images.batches(torch.arange(len(images)).split(1))
    return [hashlib.sha256(pixels.cpu().contiguous().numpy().data).digest() for pixels in batches]


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
    """Compute and store missing features, one part at a time."""
    missing = store.missing(digests)
    augmenter = Augmenter(config.augment, *data.images.size, device)
    batches = data.images.to(device).batches(torch.tensor(missing, dtype=torch.int64).split(BATCH))
    bar = ItemProgress(f"features of {data.name}", len(missing), progress)
    features: list[Tensor] = []
    done = 0
    with bar:
        for images in batches if missing else ():
            if stop():
                raise KeyboardInterrupt
            x = augmenter.evaluate(images)
            x = torch.cat([x, x.new_zeros(BATCH - len(x), *x.shape[1:])])
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                outputs = network(x.contiguous(memory_format=torch.channels_last))
            features.append(outputs[: len(images)].flatten(1).float().cpu())
            bar.update(len(images))
            count = sum(map(len, features))
            if len(features) == PART or done + count == len(missing):
                rows = missing[done : done + count]
                store.add([digests[row] for row in rows], torch.cat(features))
                features, done = [], done + count
