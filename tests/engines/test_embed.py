"""Features, and the leaks that they find, are the same bytes in worker processes and on Prism as in one process."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from tests.engines.conftest import digests
from tests.pipeline.embed.conftest import NETWORK, save_weights

PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def flags(world, tmp_path_factory) -> list[str]:
    weights = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(weights)
    keys = {"weights": weights, "network": NETWORK, "size": 64, "batch_size": 8}
    # So that many pairs are compared, and some kept.
    limits = {"neighbors": 4, "min_similarity": -1, "min_match": 0.01}
    return [
        "--config",
        str(world.config),
        *(f"--set=embed.{key}={value}" for key, value in keys.items()),
        *(f"--set=dedupe.{key}={value}" for key, value in limits.items()),
    ]


def features_and_leaks(output: Path, flags: list[str], *workers: str) -> dict[str, str]:
    """Run the stages embed and dedupe, started from this process, and return the digests of their files."""
    for verb in ("embed", "dedupe"):
        assert main([verb, *flags, "--output", str(output), *workers]) == 0
    return digests(output / "embed") | digests(output / "dedupe")


@pytest.fixture(scope="module")
def expected(local, flags, tmp_path_factory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("expected") / "out"
    shutil.copytree(local, output)
    result = features_and_leaks(output, flags, "--direct_num_workers=1")
    assert "embedding" in pq.read_table(output / "dedupe" / "duplicates")["witness"].to_pylist()
    return result


@pytest.mark.parametrize("workers", [PROCESSES, ("--runner=PrismRunner",)], ids=["processes", "prism"])
def test_other_worker_processes_write_the_same_bytes(
    local: Path, flags: list[str], expected: dict[str, str], tmp_path: Path, workers: tuple[str, ...]
) -> None:
    if workers != PROCESSES and not shutil.which("prism"):
        pytest.skip("no program prism on the PATH (make test-engines builds it with Go)")
    shutil.copytree(local, tmp_path / "out")
    assert features_and_leaks(tmp_path / "out", flags, *workers) == expected
