"""The series of a study: the lines of its figures and the sides of its comparisons."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from training.config import METHODS


@dataclass(frozen=True)
class Series:
    """A method, and the settings under which it has the same runs; these are part of the name if it has others, too."""

    method: str
    settings: tuple[str, ...]
    names_settings: bool

    def __str__(self) -> str:
        """Format as `mixup` or `mixup (fine-tuned)`."""
        return f"{self.method} ({', '.join(self.settings)})" if self.names_settings else self.method

    def has(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of the results belongs to the series."""
        return row["method"] == self.method and row["setting"] in self.settings


def with_series(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the results, in their order, with the key `series`.

    Settings that share all runs of a method, because none of their keys affects it, are one series, whose rows occur
    once.
    """
    rows = list(rows)
    runs: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        runs[row["network"], row["method"]][row["setting"]].add(row["run"])
    series = {}
    for (network, method), by_setting in runs.items():
        settings_of: dict[frozenset[str], list[str]] = defaultdict(list)
        for setting in sorted(by_setting):
            settings_of[frozenset(by_setting[setting])].append(setting)
        for settings in settings_of.values():
            key = network, method, settings[0]
            series[key] = Series(method, tuple(settings), names_settings=len(settings_of) > 1)
    keys = [(row["network"], row["method"], row["setting"]) for row in rows]
    return [row | {"series": series[key]} for row, key in zip(rows, keys, strict=True) if key in series]


def all_series(rows: Iterable[Mapping[str, Any]]) -> list[Series]:
    """Return the series of rows in the order of METHODS, those of one method ordered by setting."""
    return sorted(
        {row["series"] for row in rows},
        key=lambda series: (METHODS.index(series.method), series.settings),
    )


def settings_note(series: Iterable[Series]) -> str:
    """Return a sentence on the settings that no name has; "" if all have one, or if there is a single setting."""
    series = list(series)
    if len({setting for one in series for setting in one.settings}) < 2:
        return ""
    methods: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for one in series:
        if not one.names_settings:
            methods[one.settings].append(one.method)
    return " ".join(f"Setting of {', '.join(names)}: {', '.join(key)}." for key, names in methods.items())
