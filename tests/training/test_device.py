"""Kernel settings, which can be tested without a GPU."""

import os

import torch

from training.device import kernel_settings


def settings() -> tuple[bool, bool, str]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.get_float32_matmul_precision(),
    )


def test_cublas_gets_the_workspace_of_deterministic_runs_before_its_first_call() -> None:
    assert "CUBLAS_WORKSPACE_CONFIG" in os.environ


def test_a_run_on_a_gpu_leaves_the_callers_settings_as_they_were() -> None:
    before, gpu = settings(), torch.device("cuda")
    with kernel_settings(gpu, deterministic=True):
        assert settings() == (True, False, "high")
        with kernel_settings(gpu, deterministic=False):
            assert settings() == (False, True, "high")
        assert settings() == (True, False, "high")
    assert settings() == before
    with kernel_settings(torch.device("cpu"), deterministic=True):
        assert settings() == before
