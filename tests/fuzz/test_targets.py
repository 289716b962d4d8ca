"""Each fuzz target holds for its seeds and for damaged seeds; no atheris is needed."""

import random
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.__main__ import main

DAMAGED = 3  # variants of each seed


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return a seed cut short, with other bytes in it, or with a part of it repeated."""
    if len(data) < 2:
        return data
    start, end = sorted(draw.sample(range(len(data) + 1), 2))
    return draw.choice(
        [
            data[:end],
            data[:start] + draw.randbytes(min(4, end - start)) + data[start + min(4, end - start) :],
            data[:end] + data[start:],
            data[:start] + data[end:],
        ]
    )


@pytest.mark.parametrize("name", targets.NAMES)
def test_a_target_holds_for_its_seeds_and_for_damaged_ones(name: str) -> None:
    target = targets.load(name)
    draw = random.Random(0)
    seeds = list(target.seeds())
    assert seeds
    for data in seeds:
        target.check(data)
        for _ in range(DAMAGED):
            target.check(damaged(data, draw))
    target.check(b"")


def test_an_input_is_replayed(tmp_path: Path) -> None:
    seed = next(targets.load("robots").seeds())
    (tmp_path / "crash").write_bytes(seed)
    assert main(["robots", "--replay", str(tmp_path / "crash")]) == 0


def test_an_unknown_target_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["robot"])
    assert "unknown target 'robot'" in capsys.readouterr().err
