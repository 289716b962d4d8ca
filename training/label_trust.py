"""Measure how far a run trusts each label of its training set, and which class it predicts.

Trust is the mean over training of σ(z_y − max_{k≠y} z_k), a bounded form of the area under the margin (Pleiss et al.,
NeurIPS 2020), for logits z and given label y. It needs only the network, so all methods can be compared. It is measured
on unaugmented images, in the epochs in which memorization is measured.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import cross_entropy

from common.atomic_file import replacing
from schemas.label_trust import FILE, LABEL_TRUST
from training.data.shards import ImageSet

LOSS_START = 0.5  # share of training after which losses are averaged
WEIGHT_START = 0.75  # share of training after which the method's weights are averaged


class LabelTrust:
    """Running sums for each example of a training set (48 bytes each); deterministic."""

    def __init__(self, examples: int, device: torch.device) -> None:
        def zeros(kind: torch.dtype, count: int = examples) -> Tensor:
            return torch.zeros(count, dtype=kind, device=device)

        self.trust, self.loss, self.weight = (zeros(torch.float64) for _ in range(3))
        self.weighed = zeros(torch.int64)
        self.guess = zeros(torch.int64)
        self.guess_probability, self.label_probability = zeros(torch.float32), zeros(torch.float32)
        self.looks = zeros(torch.int64, 2)  # evaluations: all, and after LOSS_START
        # tensors of checkpoints, which are updated in place
        self.state = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def add_logits(self, logits: Iterable[Tensor], labels: Tensor, share_done: float) -> Tensor:
        """Add the logits [B, classes] of the whole set, batch by batch; return the predictions int64 [N]."""
        late, first = share_done > LOSS_START, 0
        for z in logits:
            rows = slice(first, first + len(z))
            first += len(z)
            y = labels[rows, None]
            own, others = z.gather(1, y), z.scatter(1, y, -torch.inf)
            self.trust[rows] += (own - others.amax(dim=1, keepdim=True)).sigmoid().squeeze(1)
            p = z.softmax(dim=1)
            self.guess_probability[rows], self.guess[rows] = p.max(dim=1)
            self.label_probability[rows] = p.gather(1, y).squeeze(1)
            if late:
                self.loss[rows] += cross_entropy(z, y.squeeze(1), reduction="none")
        self.looks += torch.tensor([1, int(late)], device=self.looks.device)
        return self.guess.clone()

    def add_weights(self, index: Tensor, weights: Tensor, share_done: float) -> None:
        """Add the weights [B] that the method gave to the labels of the examples `index` [B]."""
        if share_done >= WEIGHT_START:
            self.weight.index_add_(0, index, weights.double())
            self.weighed.index_add_(0, index, torch.ones_like(index))

    def table(self, data: ImageSet) -> pa.Table:
        """Return a row for each example of the training set, in its order (schemas/label_trust.py)."""
        evaluations, late_evaluations = self.looks.tolist()
        names = pa.array(data.class_names)
        label, guess = (pa.array(ids.cpu().numpy()) for ids in (data.labels, self.guess))
        weighed = self.weighed.cpu().numpy()
        weight = self.weight.cpu().numpy() / np.maximum(weighed, 1)
        columns: dict[str, Any] = {
            "set_name": pa.repeat(data.name, len(data)),
            "image_id": data.image_ids.column,
            "label": label,
            "label_name": names.take(label),
            "trust": self.trust.cpu().numpy() / evaluations,
            "guess": guess,
            "guess_name": names.take(guess),
            "guess_probability": self.guess_probability.cpu().numpy(),
            "label_probability": self.label_probability.cpu().numpy(),
            "loss": self.loss.cpu().numpy() / late_evaluations,
            "weight": pa.array(weight, mask=weighed == 0),
        }
        return LABEL_TRUST.conform(pa.table(columns), data.name)


def write(table: pa.Table, directory: Path) -> None:
    """Write the table of a run atomically; equal tables give equal bytes."""
    with replacing(directory / FILE) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def quality(table: pa.Table, is_clean: np.ndarray) -> dict[str, float | None]:
    """Return how well distrust finds the wrong labels; `is_clean` is bool [N].

    distrusted: share of labels with trust below 0.5; distrust_precision: share of these that are wrong;
    distrust_recall: share of the wrong labels that are distrusted; distrust_auroc: probability that a wrong label has
    less trust than a right one. None where there is no such label.
    """
    trust, wrong = table["trust"].to_numpy(), ~is_clean
    distrusted, hits = trust < 0.5, int(((trust < 0.5) & wrong).sum())
    ranks, right = rankdata(-trust), len(wrong) - int(wrong.sum())
    above = ranks[wrong].sum() - wrong.sum() * (wrong.sum() + 1) / 2
    return {
        "distrusted": float(distrusted.mean()),
        "distrust_precision": hits / int(distrusted.sum()) if distrusted.any() else None,
        "distrust_recall": hits / int(wrong.sum()) if wrong.any() else None,
        "distrust_auroc": float(above / (wrong.sum() * right)) if wrong.any() and right else None,
    }
