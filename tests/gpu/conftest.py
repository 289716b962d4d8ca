"""Run each test on the CPU and, if torch sees one, on a GPU. `pytest tests/gpu -k cuda` runs the GPU's part alone."""

import pytest
import torch

from tests.training.conftest import dataset, tiny_config, unchanged_dataset

__all__ = ["dataset", "tiny_config", "unchanged_dataset"]

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)
