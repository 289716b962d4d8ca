"""Sums over buckets do not depend on the order in which a runner delivers them."""

import json
import random
from pathlib import Path

import apache_beam as beam
import pytest

from pipeline.jobs.ordered_sums import GROUP, AddInOrder
from pipeline.running.run import JobSpec, run_job
from tests.pipeline.small_world import ONE_PROCESS


def add_floats(parts: list[float]) -> float:
    total = 0.0
    for part in parts:
        total += part
    return total


def run(parts: list[tuple[int, float]], output: Path) -> float:
    def write(total: float) -> None:
        output.write_text(json.dumps(total))

    def construct(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create(parts) | AddInOrder(add_floats) | beam.Map(write)

    run_job(construct, [ONE_PROCESS], JobSpec("sums", str(output.parent), "buckets", 0))
    return json.loads(output.read_text())


@pytest.mark.parametrize("seed", range(3))
def test_floats_are_added_in_the_order_of_buckets(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    parts = [(bucket, rng.uniform(-1, 1) * 10.0 ** rng.randint(-9, 9)) for bucket in range(3 * GROUP + 5)]
    shuffled = rng.sample(parts, len(parts))
    groups = [add_floats([part for bucket, part in parts if bucket // GROUP == group]) for group in range(4)]
    assert run(shuffled, tmp_path / "total.json") == add_floats(groups)


def test_no_parts_give_the_empty_sum(tmp_path: Path) -> None:
    assert run([], tmp_path / "total.json") == 0
