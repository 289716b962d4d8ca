"""Test accuracy, and memorization of label noise."""

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from training.data.augment import Augmenter
from training.data.shards import UNKNOWN, ImageSet
from training.distributed import Processes
from training.errors import TRAIN_MORE_GENTLY, DivergedError
from training.models.freezing import evaluation_mode

BATCH = 500  # maximum number of images that are evaluated at once
# Pixels of a batch, so that evaluation takes less memory than training. 500 images of 224 pixels take about as much in a
# ResNet-50 as a training step of 64 (on a CPU), and `accumulate` does not divide them.
BATCH_PIXELS = BATCH * 96 * 96
ONE_PROCESS = Processes()


@torch.no_grad()
def summed_logits(
    networks: Sequence[nn.Module],
    data: ImageSet,
    augmenter: Augmenter,
    bf16: bool,
    processes: Processes = ONE_PROCESS,
) -> Iterator[Tensor]:
    """Yield the sum of the networks' logits, float32 [B, classes], for each batch of a set without augmentation.

    Each of several processes computes every size-th batch, and all yield all batches, equal to those of one process.
    The networks run in evaluation mode, and their previous mode is restored. Raises DivergedError after the last batch if a
    logit is not finite: the last step of a training can do that, and no loss is computed after it.
    """
    finite = torch.ones((), dtype=torch.bool, device=data.labels.device)
    for logits in _all_logits(networks, data, augmenter, bf16, processes):
        finite &= logits.isfinite().all()  # a GPU is waited for only once, below
        yield logits
    if not finite:
        raise DivergedError(
            f"the network's outputs on {data.name} are not finite numbers: its training has diverged; {TRAIN_MORE_GENTLY}"
        )


def _all_logits(
    networks: Sequence[nn.Module], data: ImageSet, augmenter: Augmenter, bf16: bool, processes: Processes
) -> Iterator[Tensor]:
    """Yield the logits of each batch, as `summed_logits` does."""
    batch = batch_size(data.images.size, augmenter.output_size)
    rows = torch.arange(len(data)).split(batch)
    with evaluation_mode(networks):
        own = _logits(networks, data, rows[processes.rank :: processes.size], augmenter, bf16)
        if processes.size == 1:
            yield from own
            return
        for first in range(0, len(rows), processes.size):
            lengths = [len(chosen) for chosen in rows[first : first + processes.size]]
            padded = torch.zeros(batch, len(data.class_names), device=data.labels.device)
            if processes.rank < len(lengths):
                padded[: lengths[processes.rank]] = next(own)
            gathered = processes.gather(padded).split(batch)
            yield from (logits[:length] for logits, length in zip(gathered, lengths, strict=False))


def batch_size(*sizes: tuple[int, int]) -> int:
    """Return how many images are evaluated at once, given their heights and widths before and after resizing."""
    return max(1, min(BATCH, BATCH_PIXELS // max(height * width for height, width in sizes)))


def _logits(
    networks: Sequence[nn.Module], data: ImageSet, rows: Sequence[Tensor], augmenter: Augmenter, bf16: bool
) -> Iterator[Tensor]:
    for images in data.images.batches(rows):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            x = augmenter.evaluate(images)
            logits = functools.reduce(torch.add, (network(x) for network in networks))
        yield logits.float()


def predict(
    networks: Sequence[nn.Module],
    data: ImageSet,
    augmenter: Augmenter,
    bf16: bool,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """Return the predicted classes int64 [N] of a set, by the sum of the networks' logits."""
    logits = summed_logits(networks, data, augmenter, bf16, processes)
    return torch.cat([batch.argmax(dim=1) for batch in logits])


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
