"""Align one image with another that may be a crop of it, or show it with a border.

The transformation scales and shifts both axes separately: x ↦ (scale_x·x + shift_x, scale_y·y + shift_y), with x and y from
−1 to 1 across an image. It is found by Gauss-Newton steps on the difference of the images after each is brought to mean 0
and norm 1 where they overlap, from coarse to fine (Lucas and Kanade, IJCAI 1981; Baker and Matthews, IJCV 2004), with
weights that fall with the difference (Cauchy), so that text over a copy does not pull.
"""

import numpy as np

COARSE_SIDE = 16  # pixels of the coarsest level; it is shifted by 2 of them if 12 % are cut off on one side
COARSE_STEPS, FINE_STEPS = 6, 4
MAX_STEP = 0.12
SCALES, SHIFTS = (0.7, 1.4), (-0.35, 0.35)
"""Limits of the transformation: cutting off 12 % gives a scale of 0.88 and shifts of up to 0.12."""
STARTS = np.array(
    [
        [1.0, 0, 1.0, 0],
        [0.88, 0, 0.88, 0],
        [1.12, 0, 1.12, 0],
        [1.0, 0, 0.9, 0],
        [0.9, 0, 1.0, 0],
    ],
    np.float32,
)
"""Transformations (scale_x, shift_x, scale_y, shift_y) from which the search starts: as is, crops, borders, strips."""


def align(a: np.ndarray, b: np.ndarray, min_correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the transformation from each image in `a` to that in `b`, float32 (n, 4), and the correlation, float32 (n,).

    a, b: gray levels, float32 (n, side, side), side = COARSE_SIDE · 2^k. Pairs whose coarse correlation is below
    `min_correlation` are not refined. The result of a pair does not depend on the other pairs.
    """
    transform = np.empty((len(a), 4), np.float32)
    correlation = np.full(len(a), -2, np.float32)
    factor = a.shape[1] // COARSE_SIDE
    coarse = _shrunk(a, factor), _shrunk(b, factor)
    for start in STARTS:
        found, r = _refine(*coarse, np.repeat(start[None], len(a), 0), COARSE_STEPS)
        better = r > correlation
        transform[better], correlation[better] = found[better], r[better]
    rows = np.flatnonzero(correlation >= min_correlation)
    while factor > 1 and len(rows):
        factor //= 2
        transform[rows], correlation[rows] = _refine(
            _shrunk(a[rows], factor), _shrunk(b[rows], factor), transform[rows], FINE_STEPS
        )
    return transform, correlation


def warp(b: np.ndarray, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images `b` as seen through the transformations, and where they are defined, float32 (n, side, side)."""
    side = b.shape[1]
    centers = _centers(side)
    x = transform[:, :1] * centers + transform[:, 1:2]
    y = transform[:, 2:3] * centers + transform[:, 3:]
    inside = (np.abs(y) <= 1)[:, :, None] & (np.abs(x) <= 1)[:, None, :]
    columns = _interpolated(b.transpose(0, 2, 1), x).transpose(0, 2, 1)
    return _interpolated(columns, y), inside.astype(np.float32)


def _centers(side: int) -> np.ndarray:
    return ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1).astype(np.float32)


def _interpolated(images: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return rows of images (n, side, side) at positions (n, side) from −1 to 1, by linear interpolation."""
    side = images.shape[1]
    row = np.clip((positions + 1) * (side / 2) - 0.5, 0, side - 1)
    above = np.minimum(row.astype(np.int64), side - 2)
    weight = (row - above).astype(np.float32)[:, :, None]
    n = np.arange(len(images))[:, None]
    result: np.ndarray = images[n, above] * (1 - weight) + images[n, above + 1] * weight
    return result


def _shrunk(images: np.ndarray, factor: int) -> np.ndarray:
    n, side = len(images), images.shape[1] // factor
    result: np.ndarray = images.reshape(n, side, factor, side, factor).mean(axis=(2, 4))
    return result


def _sums(values: np.ndarray) -> np.ndarray:
    """Return the sum of each image, (n, 1, 1); each is summed in the same order, however many there are."""
    result: np.ndarray = np.ascontiguousarray(values).reshape(len(values), -1).sum(axis=1)
    return result[:, None, None]


def _normalized(images: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return images with mean 0 and norm 1 over the pixels inside, and 0 elsewhere."""
    mean = _sums(images * inside) / np.maximum(_sums(inside), 1)
    centered = (images - mean) * inside
    result: np.ndarray = centered / (np.sqrt(_sums(centered * centered)) + 1e-3)
    return result


def _refine(a: np.ndarray, b: np.ndarray, transform: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Improve transformations by Gauss-Newton steps; return the best of each pair and its correlation."""
    best, highest = transform.copy(), np.full(len(a), -2, np.float32)
    for step in range(steps + 1):
        seen, inside = warp(b, transform)
        target, seen = _normalized(a, inside), _normalized(seen, inside)
        correlation = _sums(target * seen)[:, 0, 0]
        better = correlation > highest
        best[better], highest[better] = transform[better], correlation[better]
        if step < steps:
            transform = _stepped(transform, target, seen, inside)
    return best, highest


def _stepped(transform: np.ndarray, target: np.ndarray, seen: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the transformations after one damped Gauss-Newton step with Cauchy weights."""
    side = seen.shape[1]
    centers = _centers(side)
    by_y, by_x = np.gradient(seen, 2 / side, axis=(1, 2))
    by_x, by_y = by_x / transform[:, 0, None, None], by_y / transform[:, 2, None, None]
    difference = target - seen
    spread = np.median(np.abs(difference).reshape(len(seen), -1), axis=1)[:, None, None]
    weight = inside / (1 + (difference / (2.5 * spread + 1e-6)) ** 2)
    slopes = [by_x * centers, by_x, by_y * centers[:, None], by_y]
    normal, right = np.empty((len(seen), 4, 4)), np.empty((len(seen), 4, 1))
    for i, slope in enumerate(slopes):
        weighted = slope * weight
        right[:, i] = _sums(weighted * difference)[:, 0]
        for j in range(i, 4):
            normal[:, i, j] = normal[:, j, i] = _sums(weighted * slopes[j])[:, 0, 0]
    damping = 2.5e-4 * np.trace(normal, axis1=1, axis2=2) + 1e-9
    change = np.linalg.solve(normal + damping[:, None, None] * np.eye(4), right)[:, :, 0]
    moved = (transform + np.clip(change, -MAX_STEP, MAX_STEP)).astype(np.float32)
    moved[:, 0::2] = np.clip(moved[:, 0::2], *SCALES)
    moved[:, 1::2] = np.clip(moved[:, 1::2], *SHIFTS)
    return moved
