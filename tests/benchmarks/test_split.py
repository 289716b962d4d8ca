"""The benchmark of the split stage writes tables that the stage accepts."""

from pathlib import Path

from benchmarks.split import RUNS, measure, write_tables


def test_twenty_sets_are_written(tmp_path: Path) -> None:
    write_tables(tmp_path, clean=400, wrong=400, test=100)
    _, size, _ = measure(tmp_path, RUNS["twenty sets, shared"])
    assert size > 400 * 1000
    assert len(list((tmp_path / "dataset").glob("*-0.*"))) == 20
