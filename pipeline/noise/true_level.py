"""The expected true noise of each set and class: nominal levels count verdicts, and some verdicts are wrong.

A label with an estimate (`p_wrong`, of a web image) is counted with the probability that it is wrong, whatever its verdict:
fixed sets also have web images with the verdict yes. Its interval has two parts: the uncertainty of the error
model, in draws that are shared by all images (schemas/error_model.py), and the chance that is left when the model is known.
Labels without an estimate (blue noise, clean and test images) are counted as they are stated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from scipy.special import ndtri

from pipeline.noise.examples import ExamplePool

MILLION = 1_000_000
PERCENT = 100
_NOT_ESTIMATED = PERCENT + 1  # index of the wrong labels without p_wrong
_QUANTILES = ndtri(
    (np.arange(200) + 0.5) / 200
)  # of the normal distribution that approximates the binomial one
INTERVAL = (0.025, 0.975)
ROUNDING = 1e-4  # of the shares in manifests


def millionths_wrong(table: pa.Table) -> int:
    """Return the expected number of wrong labels among examples, in millionths; one without p_wrong counts as stated.

    A p_wrong below 0 or above 1, which only a damaged table has, counts as 0 or 1.
    """
    is_wrong, p_wrong = _stated_and_estimated(table)
    return int(np.rint(np.where(np.isnan(p_wrong), is_wrong, np.clip(p_wrong, 0, 1)) * MILLION).sum())


class TrueLevels:
    """Sums over the examples of each set, in millionths and counts, so that they do not depend on the order of parts."""

    def __init__(self, error_model: pa.Table, class_names: Sequence[str]) -> None:
        self.class_names = list(class_names)
        self._draws = _draws_by_class(error_model, class_names)
        self._histograms: dict[str, np.ndarray] = {}
        self._millionths: dict[str, np.ndarray] = {}
        self._rows: dict[str, np.ndarray] = {}

    def add(self, pool: ExamplePool) -> None:
        """Add the examples of all sets of a pool."""
        classes, table = len(self.class_names), pool.table
        labels = _counted_class(table)
        is_wrong, p_wrong = _stated_and_estimated(table)
        is_counted = is_wrong | ~np.isnan(p_wrong)
        index = np.where(np.isnan(p_wrong), _NOT_ESTIMATED, np.rint(np.nan_to_num(p_wrong) * PERCENT))
        keys = labels * (PERCENT + 2) + index.astype(np.int64)
        millionths = np.rint(np.where(np.isnan(p_wrong), 1, p_wrong) * MILLION)
        for name, rows in pool.sets.items():
            counted = rows[is_counted[rows]]
            sums = (
                np.bincount(keys[counted], minlength=classes * (PERCENT + 2)).reshape(classes, -1),
                np.bincount(labels[counted], millionths[counted], classes).astype(np.int64),
                np.bincount(labels[rows], minlength=classes),
            )
            for totals, part in zip((self._histograms, self._millionths, self._rows), sums, strict=True):
                totals[name] = totals.get(name, 0) + part

    def estimate(self, name: str) -> dict[str, Any] | None:
        """Return {value, low, high, classes} of a set, shares from 0 to 1; None if it has no label with an estimate."""
        histogram = self._histograms.get(name)
        if histogram is None or not histogram[:, :_NOT_ESTIMATED].any():
            return None
        levels = np.arange(PERCENT + 1) / PERCENT
        mean = np.einsum("cb,cbd->cd", histogram[:, :_NOT_ESTIMATED], self._draws_of(levels))
        mean = mean + histogram[:, _NOT_ESTIMATED, None]
        variance = histogram[:, :_NOT_ESTIMATED] @ (levels * (1 - levels))
        most = histogram.sum(axis=1)
        value, rows = self._millionths[name] / MILLION, self._rows[name]
        classes = {
            each: _interval(value[i], mean[i], variance[i], rows[i], most[i])
            for i, each in enumerate(self.class_names)
            if rows[i]
        }
        whole = _interval(value.sum(), mean.sum(axis=0), variance.sum(), rows.sum(), most.sum())
        return {**whole, "classes": classes}

    def _draws_of(self, levels: np.ndarray) -> np.ndarray:
        """Return the draws of each class and percent, (classes, PERCENT + 1, draws); without a model, the percent itself."""
        if self._draws is None:
            return np.broadcast_to(levels[None, :, None], (len(self.class_names), len(levels), 1))
        return self._draws


def _stated_and_estimated(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return whether the label of each example is stated as wrong, bool (n,), and its p_wrong, float64 (n,), NaN without one."""
    is_wrong = ~np.asarray(table["is_clean"].fill_null(True).to_numpy(), bool)
    return is_wrong, table["p_wrong"].cast(pa.float64()).fill_null(np.nan).to_numpy()


def _interval(value: float, draws: np.ndarray, variance: float, rows: int, most: int) -> dict[str, float]:
    """Return the expected share, and the 95 % interval of a sum up to `most` that is normal given each of the `draws`."""
    low, high = np.quantile(draws[:, None] + np.sqrt(variance) * _QUANTILES, INTERVAL)
    share = float(value) / float(rows)
    bounds = min(low / rows, share), max(high / rows, share)
    return {
        "value": round(share, 4),
        "low": round(max(bounds[0], 0.0), 4),
        "high": round(max(min(bounds[1], most / rows), share), 4),
    }


def _counted_class(table: pa.Table) -> np.ndarray:
    """The class in which an example counts: see `count_classes`."""
    labels = table["label"].fill_null(0).to_numpy()
    red = pc.fill_null(pc.equal(table["source"], "web"), False).to_numpy().astype(bool)
    true = table["true_label"].fill_null(-1).to_numpy()
    return np.asarray(np.where(~red & (true >= 0), true, labels), np.int64)


def _draws_by_class(table: pa.Table, class_names: Sequence[str]) -> np.ndarray | None:
    """Return the draws of each (class, percent), float64 (classes, PERCENT + 1, draws); None for an empty table.

    A pair that the sample lacks gets the draws of its percent for all classes; a percent that it lacks, interpolated ones.
    """
    if not table.num_rows:
        return None
    percent = table["p_wrong_percent"].to_numpy().astype(np.int64)
    draws = np.array(table["draws"].to_pylist(), np.float64)
    codes = pc.fill_null(pc.index_in(table["class_name"], pa.array(class_names, pa.string())), -1).to_numpy()
    of_all = np.asarray(pc.is_null(table["class_name"]).to_numpy(), bool)
    order = np.argsort(percent[of_all])
    known, values = percent[of_all][order], draws[of_all][order]
    shift = values - known[:, None] / PERCENT  # between known percents, the shift is interpolated
    grid = np.arange(PERCENT + 1)
    columns = [np.interp(grid, known, shift[:, d]) for d in range(draws.shape[1])]
    whole = np.clip(np.stack(columns, axis=1) + grid[:, None] / PERCENT, 0, 1)
    result = np.repeat(whole[None], len(class_names), axis=0)
    chosen = ~of_all & (codes >= 0)
    result[codes[chosen], percent[chosen]] = draws[chosen]
    return result


def describe(nominal: float | None, estimated: Mapping[str, Any]) -> str:
    """Return 'nominal 40.0 %, estimated 35.1 % (33.9–36.4)'."""
    value, low, high = (100 * estimated[name] for name in ("value", "low", "high"))
    nominal_text = "" if nominal is None else f"nominal {100 * nominal:.1f} %, "
    return f"{nominal_text}estimated {value:.1f} % ({low:.1f}–{high:.1f})"


def describe_sets(entries: Mapping[str, Mapping[str, Any]], limit: int = 12) -> list[str]:
    """Return a line for each set whose manifest entry has `estimated_noise`, at most `limit`, and what they leave out."""
    estimated = {name: entry for name, entry in entries.items() if entry.get("estimated_noise")}
    lines = [
        f"{name}: {describe(entry.get('noise_level'), entry['estimated_noise'])}"
        for name, entry in list(estimated.items())[:limit]
    ]
    if len(estimated) > limit:
        lines.append(f"and {len(estimated) - limit} more sets (see the card)")
    if lines:
        lines.append("true noise: 95 % intervals; clean and test labels are taken as right")
    return lines
