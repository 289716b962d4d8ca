"""Votes as integer codes, and the sums over them that the methods consist of."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class VoteMatrix:
    """V votes as sorted codes, so that no result depends on the order of rows.

    `items`, `workers` int32 (V,) and `answers` int16 (V,) are codes from 0. Answers below `classes` name a class; the
    others (`unsure`) name none. Construct it with `VoteMatrix.of`.
    """

    items: np.ndarray
    workers: np.ndarray
    answers: np.ndarray
    n_items: int
    n_workers: int
    n_answers: int
    classes: int

    @classmethod
    def of(
        cls,
        items: np.ndarray,
        workers: np.ndarray,
        answers: np.ndarray,
        classes: int,
        n_answers: int | None = None,
        n_items: int | None = None,
        n_workers: int | None = None,
    ) -> "VoteMatrix":
        """Check and sort codes, each (V,). Counts default to one more than the largest code.

        Raises ValueError if a code is out of range or there are fewer than two classes.
        """
        n_answers = classes if n_answers is None else n_answers
        n_items = int(items.max(initial=-1)) + 1 if n_items is None else n_items
        n_workers = int(workers.max(initial=-1)) + 1 if n_workers is None else n_workers
        if not 2 <= classes <= n_answers:
            raise ValueError(
                f"classes must be 2 or more and at most n_answers; got {classes} classes, {n_answers} answers"
            )
        limits = (("items", items, n_items), ("workers", workers, n_workers), ("answers", answers, n_answers))
        for name, codes, count in limits:
            if len(codes) != len(items):
                raise ValueError(
                    f"columns must have equal lengths, got {len(items)} items and {len(codes)} {name}"
                )
            if len(codes) and not (codes.min() >= 0 and codes.max() < count):
                raise ValueError(
                    f"{name} must be codes from 0 to {count - 1}, got {codes.min()} to {codes.max()}"
                )
        cells = workers.astype(np.int64) * n_answers + answers
        keys = items.astype(np.int64) * (n_workers * n_answers) + cells
        if len(keys) and (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            items, workers, answers = items[order], workers[order], answers[order]
        return cls(
            items.astype(np.int32),
            workers.astype(np.int32),
            answers.astype(np.int16),
            n_items,
            n_workers,
            n_answers,
            classes,
        )

    @cached_property
    def names_class(self) -> np.ndarray:
        """Whether each vote names a class, bool (V,)."""
        return self.answers < self.classes

    @cached_property
    def _named(self) -> np.ndarray | slice:
        """Index of the votes that name a class; a slice if all do, which avoids a copy."""
        return slice(None) if self.names_class.all() else self.names_class

    @cached_property
    def _class_cells(self) -> np.ndarray:
        """For votes that name a class: index of (item, class) in a raveled (items, classes) array."""
        return self.items[self._named].astype(np.int64) * self.classes + self.answers[self._named]

    @cached_property
    def cells(self) -> np.ndarray:
        """Index of (worker, answer) in a raveled (workers, answers) array, int64 (V,)."""
        return self.workers.astype(np.int64) * self.n_answers + self.answers

    @cached_property
    def incidence(self) -> sparse.csr_array:
        """Counts of items × (worker·answer), CSR, float64."""
        starts = np.searchsorted(self.items, np.arange(self.n_items + 1))
        shape = (self.n_items, self.n_workers * self.n_answers)
        return sparse.csr_array((np.ones(len(self.items)), self.cells.astype(np.int32), starts), shape=shape)

    @cached_property
    def incidence_transposed(self) -> sparse.csr_array:
        """Counts of (worker·answer) × items, CSR: its products read memory in order."""
        return self.incidence.T.tocsr()

    def tally(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the sum of the weights (V,) of an item's votes for each class, float64 (items, classes)."""
        weights = None if weights is None else weights[self._named]
        sums = np.bincount(self._class_cells, weights, self.n_items * self.classes)
        return sums.astype(np.float64, copy=False).reshape(self.n_items, self.classes)

    def chosen(self, posterior: np.ndarray) -> np.ndarray:
        """Return the posterior (items, classes) of the class that each vote names, float64 (V,); 0 if it names none."""
        values = np.zeros(len(self.items))
        values[self._named] = posterior.ravel()[self._class_cells]
        return values

    def by_worker(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return the sum of values (V,) by worker, float64 (workers,); without values, the number of votes."""
        return np.bincount(self.workers, values, self.n_workers).astype(np.float64, copy=False)

    def by_item(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return the sum of values (V,) by item, float64 (items,); without values, the number of votes."""
        return np.bincount(self.items, values, self.n_items).astype(np.float64, copy=False)

    def by_cell(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return the sum of values (V,) by worker and answer, float64 (workers, answers)."""
        sums = np.bincount(self.cells, values, self.n_workers * self.n_answers)
        return sums.astype(np.float64, copy=False).reshape(self.n_workers, self.n_answers)
