"""The warning about runs that are too short for their method."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.study.small_study import arguments
from training import MentorMix, RobustLoss
from training.__main__ import main
from training.config import TrainConfig
from training.run_length import optimizer_steps, warn_of_short_runs


@pytest.mark.parametrize(
    ("images", "changes", "steps"),
    [
        (100, {"batch_size": 32}, 9),
        (100, {"batch_size": 32, "validation": 0.05}, 6),
        (31, {"batch_size": 32}, 0),
    ],
)
def test_steps_count_full_batches_of_the_images_that_are_not_held_out(
    images: int, changes: dict[str, Any], steps: int
) -> None:
    assert optimizer_steps(TrainConfig(epochs=3, **changes), images) == steps


def test_the_shortest_of_several_runs_is_named_once() -> None:
    runs = [(TrainConfig(method="mentormix", epochs=epochs, batch_size=10), 100) for epochs in (30, 20, 40)]
    with pytest.warns(
        UserWarning, match=r"^a run of 200 steps is short for mentormix, .* at least 500 "
    ) as warned:
        warn_of_short_runs([*runs, (TrainConfig(epochs=1, batch_size=10), 100)])
    assert len(warned) == 1


def test_long_runs_and_methods_without_a_mentor_are_not_warned_about(
    recwarn: pytest.WarningsRecorder,
) -> None:
    warn_of_short_runs(
        [(TrainConfig(method="mentornet", epochs=50, batch_size=10), 100), (TrainConfig(epochs=1), 128)]
    )
    assert not recwarn.list


@pytest.mark.parametrize(
    "make", [lambda: MentorMix(20), lambda: RobustLoss(TrainConfig(method="mentormix"), steps=20)]
)
def test_a_loss_with_few_steps_warns_where_it_is_made_and_says_what_to_do(make: Callable[[], Any]) -> None:
    message = r"^a run of 20 steps is short for mentormix, .*; train for more epochs or with smaller batches, or use "
    with pytest.warns(UserWarning, match=message) as warned:
        make()
    assert warned[0].filename == __file__


def test_a_study_warns_once_with_the_steps_of_its_shortest_run(dataset: Path, tmp_path: Path) -> None:
    """Neither the timing of a few steps nor the trials of the weight decay are runs of the study."""
    options = [
        *(
            "--levels",
            "0.0",
            "0.4",
            "--colors",
            "blue",
            "--methods",
            "vanilla",
            "mentormix",
            "--seeds",
            "0",
            "1",
        ),
        *("--set", "optimizer.weight_decays=[0.0, 0.01]", "--set", "epochs=2"),
    ]
    command = arguments(dataset, tmp_path / "study", *options)
    with pytest.warns(UserWarning, match="is short for") as warned:
        assert main(command) == 0
    assert [str(warning.message) for warning in warned] == [
        "a run of 6 steps is short for mentormix, which needs at least 500 to learn which labels to trust; raise epochs "
        "or lower batch_size"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(command) == 0  # all runs have finished
