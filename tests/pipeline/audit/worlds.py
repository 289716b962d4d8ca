"""Images with class-dependent features, and class probabilities with known truth."""

import numpy as np

from pipeline.audit.exact import on_grid


def features(truth: np.ndarray, size: int = 24, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    """Return features on the grid, scattered about a center for each class."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((int(truth.max()) + 1, size))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    return on_grid(centers[truth] + spread * rng.standard_normal((len(truth), size)))


def calibrated(count: int, classes: int, seed: int, sharpness: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """Return class probabilities (count, classes), and true classes drawn from them."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((count, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, draw(probabilities, rng)


def draw(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one class for each row of probabilities."""
    uniform = rng.random(len(probabilities))[:, None] * (1 - 1e-12)
    return (uniform >= np.cumsum(probabilities, axis=1)).sum(axis=1)
