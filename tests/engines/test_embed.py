"""The stage embed writes the same bytes in worker processes and on Prism as in one process."""

import shutil
from pathlib import Path

import pytest

from tests.engines.conftest import digests, run
from tests.pipeline.embed.conftest import NETWORK, save_weights

PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def flags(world, tmp_path_factory) -> list[str]:
    weights = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(weights)
    keys = {"weights": weights, "network": NETWORK, "size": 64, "batch_size": 8}
    return ["--config", str(world.config), *(f"--set=embed.{key}={value}" for key, value in keys.items())]


@pytest.fixture(scope="module")
def expected(local, flags, tmp_path_factory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("expected") / "out"
    shutil.copytree(local, output)
    done = run("embed", *flags, "--output", str(output), "--direct_num_workers=1")
    assert done.returncode == 0, done.stderr
    return digests(output / "embed")


@pytest.mark.parametrize("workers", [PROCESSES, ("--runner=PrismRunner",)], ids=["processes", "prism"])
def test_other_worker_processes_write_the_same_bytes(
    local: Path, flags: list[str], expected: dict[str, str], tmp_path: Path, workers: tuple[str, ...]
) -> None:
    if workers != PROCESSES and not shutil.which("prism"):
        pytest.skip("no program prism on the PATH (make test-engines builds it with Go)")
    shutil.copytree(local, tmp_path / "out")
    done = run("embed", *flags, "--output", str(tmp_path / "out"), *workers)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out" / "embed") == expected
