"""Pools and sets of a few rows, as the split job makes them of whole tables."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from pipeline.noise.examples import training_examples
from pipeline.noise.pools import EXAMPLE_COLUMNS, VERDICT_COLUMNS, PoolPart, collect_pools, read_part
from pipeline.noise.training_sets import TrainingSet, training_sets
from pipeline.noise_config import NoiseConfig
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT


def part_of(
    retrievals: pa.Table | list[dict[str, Any]],
    verdicts: pa.Table | list[dict[str, Any]],
    class_names: Sequence[str],
    removed: Iterable[str] = (),
    min_confidence: float = 0.0,
    min_votes: int = 1,
) -> PoolPart:
    """Join tables, or lists of rows, in a single part."""
    if isinstance(retrievals, list):
        retrievals = RETRIEVAL.from_rows(retrievals)
    if isinstance(verdicts, list):
        verdicts = VERDICT.from_rows(verdicts)
    return read_part(
        retrievals.select(EXAMPLE_COLUMNS),
        verdicts.select(VERDICT_COLUMNS),
        pa.array(list(removed), pa.string()),
        class_names,
        min_confidence,
        min_votes,
    )


def drawn_sets(
    part: PoolPart, class_names: Sequence[str], config: NoiseConfig, seed: int
) -> list[tuple[TrainingSet, pa.Table]]:
    """Draw all sets of a single part, each with its examples in the order of their shard keys."""
    pools = collect_pools([part])
    sets = []
    for each in training_sets(pools, class_names, config, seed):
        pool = training_examples([each], pools, part, 0)
        sets.append((each, pool.table.take(pa.array(pool.sets[each.name]))))
    return sets
