"""What the features say about every question, image by image, in blocks of bounded memory."""

from dataclasses import dataclass

import numpy as np

from pipeline.audit.inputs import AuditInputs
from pipeline.audit.neighbors import TILE_ROWS, class_share, nearest_labels
from pipeline.audit.probe import UNLABELED, Blocks, Probe, fit_probe, tiles

NEIGHBORS = 50
REFERENCES = 20_000  # labeled images, drawn by a keyed hash, among which neighbors are searched


@dataclass(frozen=True)
class Evidence:
    """What the features say about m questions.

    own: probability of the class, by a probe that did not see the image. neighbor_share: NaN without references. guess:
    most probable class, int (m,); guess_share: its probability. sampled: int (s,), questions whose class probabilities are
    kept; probabilities: float32 (s, classes).
    """

    own: np.ndarray
    neighbor_share: np.ndarray
    guess: np.ndarray
    guess_share: np.ndarray
    sampled: np.ndarray
    probabilities: np.ndarray
    probe: Probe


def collect_evidence(blocks: Blocks, inputs: AuditInputs, sampled: np.ndarray) -> Evidence:
    """Fit the probe, then apply it and search neighbors. `sampled`: ascending indices of questions; see Evidence."""
    classes, count = len(inputs.class_names), len(inputs.question_images)
    probe = fit_probe(blocks, inputs.labels, inputs.folds, inputs.order, classes)
    chosen = _references(inputs)
    references = _rows(blocks, chosen), inputs.labels[chosen], inputs.groups[chosen]
    own, share, guess_share = (np.empty(count) for _ in range(3))
    guess = np.empty(count, np.int32)
    kept = np.empty((len(sampled), classes), np.float32)
    first = 0
    for tile in tiles(blocks, TILE_ROWS):
        last = first + len(tile)
        labels = nearest_labels(tile, inputs.groups[first:last], *references, NEIGHBORS)
        probabilities = probe.probabilities(tile, inputs.folds[first:last])
        lo, hi = np.searchsorted(inputs.question_images, [first, last])
        rows, asked = inputs.question_images[lo:hi] - first, inputs.question_classes[lo:hi]
        own[lo:hi] = probabilities[rows, asked]
        share[lo:hi] = class_share(labels[rows], asked)
        guess[lo:hi] = probabilities[rows].argmax(axis=1)
        guess_share[lo:hi] = probabilities[rows].max(axis=1)
        begin, end = np.searchsorted(sampled, [lo, hi])
        kept[begin:end] = probabilities[rows[sampled[begin:end] - lo]]
        first = last
    return Evidence(own, share, guess, guess_share, sampled, kept, probe)


def _references(inputs: AuditInputs) -> np.ndarray:
    """Return the indices of the images among which neighbors are searched, ascending."""
    labeled = np.flatnonzero(inputs.labels != UNLABELED)
    return np.sort(labeled[np.argsort(inputs.order[labeled], kind="stable")[:REFERENCES]])


def _rows(blocks: Blocks, indices: np.ndarray) -> np.ndarray:
    """Return the features of some images, given by ascending indices."""
    parts, first = [], 0
    for block in blocks():
        lo, hi = np.searchsorted(indices, [first, first + len(block)])
        parts.append(block[indices[lo:hi] - first])
        first += len(block)
    return np.concatenate(parts)
