"""Test accuracy, and memorization of label noise."""

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from training.data.augment import Augmenter
from training.data.shards import UNKNOWN, ImageSet
from training.models.freezing import evaluation_mode

BATCH = 500


@torch.no_grad()
def summed_logits(
    networks: Sequence[nn.Module], data: ImageSet, augmenter: Augmenter, bf16: bool
) -> Iterator[Tensor]:
    """Yield the sum of the networks' logits, float32 [B, classes], for each batch of a set without augmentation.

    The networks run in evaluation mode, and their previous mode is restored.
    """
    with evaluation_mode(networks):
        for images in data.images.batches(torch.arange(len(data)).split(BATCH)):
            with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                x = augmenter.evaluate(images)
                logits = functools.reduce(torch.add, (network(x) for network in networks))
            yield logits.float()


def predict(networks: Sequence[nn.Module], data: ImageSet, augmenter: Augmenter, bf16: bool) -> Tensor:
    """Return the predicted classes int64 [N] of a set, by the sum of the networks' logits."""
    return torch.cat([logits.argmax(dim=1) for logits in summed_logits(networks, data, augmenter, bf16)])


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of predictions [N] that equal the labels [N]."""
    return (predicted == labels).double().mean().item()


def memorization(predicted: Tensor, data: ImageSet) -> dict[str, float | None]:
    """Compare predictions [N] on a training set with its labels.

    train_accuracy: share of given labels that are predicted. clean_accuracy: the same among right labels. memorized:
    the same among wrong labels. recovered: share of wrongly labeled images with a known true class for which the true
    class is predicted. A value is None if the set has no such example.
    """
    right = predicted == data.labels
    wrong_label = ~data.is_clean
    known_truth = wrong_label & (data.true_labels != UNKNOWN)

    def share(hits: Tensor, among: Tensor) -> float | None:
        count = int(among.sum())
        return (hits & among).sum().item() / count if count else None

    return {
        "train_accuracy": right.double().mean().item(),
        "clean_accuracy": share(right, data.is_clean),
        "memorized": share(right, wrong_label),
        "recovered": share(predicted == data.true_labels, known_truth),
    }
