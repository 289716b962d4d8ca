"""Which labels of its training set a run distrusts, how much, and what it would say instead.

Trust is the mean over training of σ(z_y − max_{k≠y} z_k), a bounded form of the area under the margin (Pleiss et al.,
NeurIPS 2020), for logits z and given label y. It takes no more of a method than its network, so that all methods can be
compared, and is measured on unaugmented pictures in the epochs in which memorization is measured anyway.
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

LATE = 0.5  # share of training after which losses count
LAST = 0.75  # share of training after which the method's weights count


class LabelTrust:
    """Running sums over the examples of a training set, some 48 bytes each; updates are the same on every run."""

    def __init__(self, examples: int, device: torch.device) -> None:
        def zeros(kind: torch.dtype, count: int = examples) -> Tensor:
            return torch.zeros(count, dtype=kind, device=device)

        self.trust, self.loss, self.weight = (zeros(torch.float64) for _ in range(3))
        self.weighed = zeros(torch.int64)
        self.guess = zeros(torch.int64)
        self.guess_probability, self.label_probability = zeros(torch.float32), zeros(torch.float32)
        self.looks = zeros(torch.int64, 2)  # in all, and late
        self.state = {
            name: value for name, value in vars(self).items() if isinstance(value, Tensor)
        }  # changed in place

    def look(self, logits: Iterable[Tensor], labels: Tensor, share_done: float) -> Tensor:
        """Take in the logits [B, classes] of the whole set, batch by batch; return the predictions int64 [N]."""
        late, first = share_done > LATE, 0
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

    def weigh(self, index: Tensor, weights: Tensor, share_done: float) -> None:
        """Take in the weights [B] that the method gave the labels of the examples `index` [B]."""
        if share_done >= LAST:
            self.weight.index_add_(0, index, weights.double())
            self.weighed.index_add_(0, index, torch.ones_like(index))

    def table(self, data: ImageSet) -> pa.Table:
        """Return a row for each example of the training set, in its order (schemas/label_trust.py)."""
        looks, late = self.looks.tolist()
        names = pa.array(data.class_names)
        label, guess = (pa.array(one.cpu().numpy()) for one in (data.labels, self.guess))
        weighed = self.weighed.cpu().numpy()
        weight = self.weight.cpu().numpy() / np.maximum(weighed, 1)
        columns: dict[str, Any] = {
            "set": pa.repeat(data.name, len(data)),
            "image_id": data.image_ids.column,
            "label": label,
            "label_name": names.take(label),
            "trust": self.trust.cpu().numpy() / looks,
            "guess": guess,
            "guess_name": names.take(guess),
            "guess_probability": self.guess_probability.cpu().numpy(),
            "label_probability": self.label_probability.cpu().numpy(),
            "loss": self.loss.cpu().numpy() / late,
            "weight": pa.array(weight, mask=weighed == 0),
        }
        return LABEL_TRUST.conform(pa.table(columns), data.name)


def write(table: pa.Table, directory: Path) -> None:
    """Write the table of a run in one rename; equal tables give equal bytes."""
    with replacing(directory / FILE) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def quality(table: pa.Table, is_clean: np.ndarray) -> dict[str, float | None]:
    """Compare trust with the truth, bool [N].

    distrusted: share of labels with trust below 0.5; distrust_precision: share of these that are wrong;
    distrust_recall: share of the wrong labels that are distrusted; distrust_auroc: probability that a wrong label is
    trusted less than a right one. None where there is no such label.
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
