"""Summarize a ledger of link rot: the share of each outcome by check and by class, with 95 % Wilson intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.text_table import aligned
from pipeline.aggregate.wilson import wilson_interval
from pipeline.links.ledger import read_checks
from pipeline.rejections import printable
from schemas.link_check import OUTCOMES


@dataclass(frozen=True)
class Share:
    """How many URLs had an outcome: number, share, bounds of the 95 % interval."""

    count: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class CheckSummary:
    """One check, or one class in a check.

    urls: number of URLs with an outcome; planned: number of URLs of the check. shares: by outcome, in the order of OUTCOMES,
    without outcomes that no URL of the ledger has.
    """

    started_at: datetime
    urls: int
    planned: int
    shares: Mapping[str, Share]

    @property
    def reached(self) -> int:
        """Number of URLs whose host gave a usable answer."""
        return sum(share.count for name, share in self.shares.items() if name != "unreachable")

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        shares = {name: vars(share) for name, share in self.shares.items()}
        return {
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "urls": self.urls,
            "planned": self.planned,
            "outcomes": shares,
        }


@dataclass(frozen=True)
class LedgerSummary:
    """All checks of a ledger, the oldest first, and the classes of the last one by name."""

    checks: tuple[CheckSummary, ...] = ()
    classes: Mapping[str, CheckSummary] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        classes = {name: each.to_json() for name, each in (self.classes or {}).items()}
        return {"checks": [check.to_json() for check in self.checks], "classes": classes}


def summarize(ledger: str) -> LedgerSummary:
    """Summarize a ledger; one without checks has an empty summary. Raises DataError if a file is damaged."""
    rows = read_checks(ledger, ["started_at", "urls", "outcome", "class_names"])
    if not rows.num_rows:
        return LedgerSummary()
    seen = set(pc.unique(rows["outcome"]).to_pylist())
    names = [name for name in OUTCOMES if name in seen]
    starts = pc.unique(rows["started_at"]).to_pylist()
    checks = [_summary(rows.filter(pc.equal(rows["started_at"], start)), names) for start in starts]
    last = rows.filter(pc.equal(rows["started_at"], starts[-1])).combine_chunks()
    of_class = last.take(pc.list_parent_indices(last["class_names"]))
    flat = pc.list_flatten(last["class_names"])
    classes = {
        name: _summary(of_class.filter(pc.equal(flat, name)), names) for name in sorted(set(flat.to_pylist()))
    }
    return LedgerSummary(tuple(checks), classes)


def _summary(rows: pa.Table, names: list[str]) -> CheckSummary:
    """Summarize rows of one check."""
    counts = np.array([pc.sum(pc.equal(rows["outcome"], name)).as_py() for name in names])
    bounds = zip(*wilson_interval(counts, np.full(len(counts), rows.num_rows)), strict=True)
    shares = {
        name: Share(int(count), *map(float, bound))
        for name, count, bound in zip(names, counts, bounds, strict=True)
    }
    return CheckSummary(rows["started_at"][0].as_py(), rows.num_rows, rows["urls"][0].as_py(), shares)


def check_table(summary: LedgerSummary) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the table of checks."""
    names = list(summary.checks[0].shares) if summary.checks else []
    return ["check (UTC)", "URLs", *names], [
        [f"{each.started_at:%Y-%m-%d %H:%M}", _urls(each), *map(share_text, each.shares.values())]
        for each in summary.checks
    ]


def class_table(summary: LedgerSummary) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the table of classes in the last check."""
    names = list(summary.checks[-1].shares) if summary.checks else []
    return ["class", "URLs", *names], [
        [printable(name), f"{each.urls:,}", *map(share_text, each.shares.values())]
        for name, each in (summary.classes or {}).items()
    ]


def share_text(share: Share) -> str:
    """Return '93.1 % (91.5 to 94.4)': a share with its 95 % interval."""
    return f"{100 * share.share:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def summary_lines(summary: LedgerSummary) -> list[str]:
    """Return the summary as lines of text."""
    if not summary.checks:
        return ["the ledger has no checks"]
    lines = []
    for head, rows in (check_table(summary), class_table(summary)):
        lines += [*aligned([head, *rows]), ""]
    return [*lines[:-1], "95 % Wilson intervals in parentheses"]


def _urls(check: CheckSummary) -> str:
    stopped = f" of {check.planned:,} (stopped)" if check.urls < check.planned else ""
    return f"{check.urls:,}{stopped}"
