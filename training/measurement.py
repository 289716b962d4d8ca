"""What a run measures after its epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.averaging import AveragedWeights
from training.config import TrainConfig
from training.data.augment import Augmenter
from training.data.shards import ImageSet
from training.distributed import Processes
from training.evaluation import accuracy, memorization, predict, summed_logits
from training.label_trust import LabelTrust


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Measures the networks of a run on its sets, in the epochs that the configuration names.

    networks: those that predict. averages: their averaged weights. If there are any, they are measured, and the raw weights
    only after the last epoch, to save time. trust: receives the logits on the training set.
    """

    config: TrainConfig
    train: ImageSet
    test: ImageSet
    held_out: ImageSet | None
    networks: Sequence[nn.Module]
    averages: Sequence[AveragedWeights]
    augmenter: Augmenter
    bf16: bool
    processes: Processes
    trust: LabelTrust

    def image_count(self, epoch: int) -> int:
        """Return the number of images that `row` evaluates after an epoch."""
        count = 0
        if self._tests_in(epoch):
            count += len(self.test) * (2 if self.averages and self._is_last(epoch) else 1)
            count += len(self.held_out) if self.held_out else 0
        if self._memorization_in(epoch):
            count += len(self.train)
        return count

    def row(self, epoch: int) -> dict[str, Any]:
        """Return the metrics after an epoch, counted from 1; empty in epochs without measurements."""
        row: dict[str, Any] = {}
        networks = [average.for_evaluation() for average in self.averages] or self.networks
        if self._tests_in(epoch):
            row["test_accuracy"] = self._accuracy(networks, self.test)
            if not self.averages:
                row["test_accuracy_raw"] = row["test_accuracy"]
            elif self._is_last(epoch):
                row["test_accuracy_raw"] = self._accuracy(self.networks, self.test)
            if self.held_out:
                row["validation_accuracy"] = self._accuracy(networks, self.held_out)
        if self._memorization_in(epoch):
            logits = summed_logits(networks, self.train, self.augmenter, self.bf16, self.processes)
            predicted = self.trust.add_logits(logits, self.train.labels, epoch / self.config.epochs)
            row |= memorization(predicted, self.train)
        return row

    def losses(self, network: nn.Module) -> Tensor:
        """Return the cross-entropy [N] of a network on the training set without augmentation."""
        logits = torch.cat(list(summed_logits([network], self.train, self.augmenter, self.bf16)))
        return cross_entropy(logits, self.train.labels, reduction="none")

    def _is_last(self, epoch: int) -> bool:
        return epoch == self.config.epochs

    def _tests_in(self, epoch: int) -> bool:
        return self._is_last(epoch) or epoch % self.config.evaluation_interval == 0

    def _memorization_in(self, epoch: int) -> bool:
        return self._is_last(epoch) or epoch % self.config.memorized_every == 0

    def _accuracy(self, networks: Sequence[nn.Module], data: ImageSet) -> float:
        predicted = predict(networks, data, self.augmenter, self.bf16, self.processes)
        return accuracy(predicted, data.labels)
