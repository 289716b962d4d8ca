"""Kernel settings, which can be tested without a GPU."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from common.errors import UsageError
from training import evaluate_verb
from training.__main__ import main
from training.device import kernel_settings

GPU = torch.device("cuda")


def settings() -> tuple[bool, bool, str, str]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,
    )


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the precision of torch's products after a test."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, convolution.fp32_precision
    yield
    torch.set_float32_matmul_precision("highest")  # torch's default
    matmul.fp32_precision, convolution.fp32_precision = before


def test_cublas_gets_the_workspace_of_deterministic_runs_before_its_first_call() -> None:
    assert "CUBLAS_WORKSPACE_CONFIG" in os.environ


def use_older_function() -> None:
    torch.set_float32_matmul_precision("high")


def use_newer_attribute() -> None:
    """After this, torch.get_float32_matmul_precision raises RuntimeError."""
    torch.backends.cuda.matmul.fp32_precision = "tf32"


@pytest.mark.parametrize("by_caller", [lambda: None, use_older_function, use_newer_attribute])
def test_a_run_on_a_gpu_has_full_precision_and_leaves_the_callers_settings_as_they_were(
    by_caller: Callable[[], None], restored: None
) -> None:
    by_caller()
    before = settings()
    with kernel_settings(GPU, deterministic=True):
        assert settings() == (True, False, "ieee", "ieee")
        with kernel_settings(GPU, deterministic=False):
            assert settings() == (False, True, "ieee", "ieee")
        assert settings() == (True, False, "ieee", "ieee")
    assert settings() == before
    with kernel_settings(torch.device("cpu"), deterministic=True):
        assert settings() == before


def test_a_layer_without_a_deterministic_kernel_is_an_error_with_a_remedy() -> None:
    """The operation stands for the backward pass of adaptive pooling on a GPU, in AlexNet and VGG."""
    before = settings()
    with (
        pytest.raises(UsageError, match=r"deterministic=true: .* put_, .* set deterministic=false"),
        kernel_settings(GPU, deterministic=True),
    ):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    assert settings() == before
    with pytest.raises(RuntimeError, match="another"), kernel_settings(GPU, deterministic=True):
        raise RuntimeError("another error")


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_run_is_evaluated_with_the_kernels_of_its_training(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    run = ("--set-name", "blue-0.40", "--recipe", "tiny", "--set", "epochs=1", "--set", "network.width=2")
    flags = (*run, "--set", f"deterministic={str(deterministic).lower()}", "--output", str(tmp_path / "run"))
    assert main(["train", "--data", str(dataset), *flags]) == 0
    seen: list[tuple[bool, bool, str, str]] = []
    predict = evaluate_verb.predict

    def record(*arguments: object) -> torch.Tensor:
        seen.append(settings())
        return predict(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate_verb, "predict", record)
    monkeypatch.setattr(evaluate_verb, "kernel_settings", lambda _, setting: kernel_settings(GPU, setting))
    assert main(["evaluate", "--data", str(dataset), "--run", str(tmp_path / "run")]) == 0
    assert seen == [(deterministic, not deterministic, "ieee", "ieee")]
